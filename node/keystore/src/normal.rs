//! Unicode forms: the same text typed on another keyboard, or stored by another system, may be other bytes.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The form NFKD, which BIP-39 asks for.
pub(crate) fn nfkd(text: &str) -> Zeroizing<String> {
    collect(text.nfkd())
}

/// The composed form, which most keyboards type.
pub(crate) fn nfc(text: &str) -> Zeroizing<String> {
    collect(text.nfc())
}

/// Puts characters into a text of exactly their size: one that grows leaves copies behind.
fn collect(chars: impl Iterator<Item = char> + Clone) -> Zeroizing<String> {
    let bytes = chars.clone().map(char::len_utf8).sum();
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    text.extend(chars);
    text
}
