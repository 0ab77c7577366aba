//! Waiting for another process, never in silence.

use std::fs::File;
use std::io;
use std::path::Path;

pub use vibecoin_devnet::wait::{Reports, holder, report};

use crate::output::REPORTER;

/// Waits for the lock of a folder with keys; for [`vibecoin_keystore::private::wait_with`].
pub fn for_keys(folder: &File, path: &Path) -> io::Result<()> {
    vibecoin_devnet::wait::take(folder, path, "another command that changes these keys", REPORTER)
}
