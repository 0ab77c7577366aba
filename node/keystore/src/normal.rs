//! Unicode forms: the same text from another keyboard or system may have different bytes.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The form NFKD, which BIP-39 requires.
pub(crate) fn nfkd(text: &str) -> Zeroizing<String> {
    collect(text.nfkd())
}

/// The composed form, which the majority of keyboards produce.
pub(crate) fn nfc(text: &str) -> Zeroizing<String> {
    collect(text.nfc())
}

/// Collects characters into a text of exactly their size: one that grows leaves copies behind.
fn collect(chars: impl Iterator<Item = char> + Clone) -> Zeroizing<String> {
    let bytes = chars.clone().map(char::len_utf8).sum();
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    text.extend(chars);
    text
}
