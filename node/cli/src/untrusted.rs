//! Texts of servers, peers and files, as they may be shown.

use std::borrow::Cow;

use vibecoin_primitives::text::visible;

/// Maximum number of characters of a message of a server, of a peer or about a file.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// Maximum number of characters of a cell of a table.
const CELL_CHARS_MAX: usize = 200;

/// An untrusted message on one line, so that it cannot pass for a line of ours.
#[must_use]
pub fn message(text: &str) -> String {
    visible(text, MESSAGE_CHARS_MAX).into_owned()
}

/// An untrusted text as a cell of a table.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    visible(text, CELL_CHARS_MAX)
}
