//! Passphrases and their sources.

use zeroize::Zeroizing;

use crate::normal::{nfc, nfkd};
use crate::{KeyError, KeyInfo};

/// Maximum length of a passphrase in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 4096;

/// A passphrase: 1 to 4,096 bytes as typed, erased on drop, without `Debug`.
///
/// Key files are encrypted with its form NFKD, as BIP-39 requires for passphrases, so that an `é` of every
/// keyboard decrypts the same file. Nothing else is changed: neither its case nor its spaces.
#[derive(Clone)]
pub struct Passphrase {
    normal: Zeroizing<String>,
    /// Forms that a key file of an older version may be encrypted with: such versions used the bytes as
    /// typed.
    older: Vec<Zeroizing<String>>,
}

impl Passphrase {
    /// Checks a passphrase.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`] when it is empty or too long.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text.into());
        let refused = |detail: String| Err(KeyError::NoPassphrase { detail });
        match text.len() {
            0 => return refused("it is empty".to_owned()),
            1..=PASSPHRASE_BYTES_MAX => {}
            _ => return refused(format!("it has more than {PASSPHRASE_BYTES_MAX} bytes")),
        }
        let normal = nfkd(&text);
        let composed = nfc(&text);
        let mut older = Vec::new();
        for form in [text, composed] {
            if *form != *normal && !older.contains(&form) {
                older.push(form);
            }
        }
        Ok(Self { normal, older })
    }

    /// Converts the content of a password file: without the one line end that editors add.
    ///
    /// # Errors
    /// As [`Passphrase::new`].
    pub fn from_file_text(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// The bytes that new key files are encrypted with.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.normal.as_bytes()
    }

    /// The bytes that a key file may be encrypted with, in descending likelihood. Plain ASCII has one form.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        let older = self.older.iter().map(|form| form.as_bytes());
        std::iter::once(self.as_bytes()).chain(older)
    }
}

/// A source of passphrases: a terminal, a file, the environment.
///
/// Queried only when the key is encrypted, and once for each key. Closures implement it.
pub trait PassphraseSource {
    /// Returns the passphrase of `key`.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`] when there is none.
    fn passphrase(&mut self, key: &KeyInfo) -> Result<Passphrase, KeyError>;
}

impl<F: FnMut(&KeyInfo) -> Result<Passphrase, KeyError>> PassphraseSource for F {
    fn passphrase(&mut self, key: &KeyInfo) -> Result<Passphrase, KeyError> {
        self(key)
    }
}

/// A source without a passphrase.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassphrase;

impl PassphraseSource for NoPassphrase {
    fn passphrase(&mut self, key: &KeyInfo) -> Result<Passphrase, KeyError> {
        let detail = format!("key {:?} is encrypted and nobody can be asked", key.name);
        Err(KeyError::NoPassphrase { detail })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::KdfParams;
    use crate::seal::Sealed;

    const COMPOSED: &str = "caf\u{e9}";
    const DECOMPOSED: &str = "cafe\u{301}";

    fn seal(text: &str) -> Sealed {
        let passphrase = Passphrase::new(text).unwrap();
        Sealed::seal(&[7; 32], b"here", &passphrase, KdfParams::weak_for_tests()).unwrap()
    }

    fn opens(sealed: &Sealed, text: &str) -> bool {
        let passphrase = Passphrase::new(text).unwrap();
        sealed.open(b"here", &passphrase).unwrap().is_some()
    }

    #[test]
    fn the_same_text_in_another_form_opens() {
        for (one, other) in [
            (COMPOSED, DECOMPOSED),
            // A ligature, full-width letters, an Angstrom sign and a Hangul syllable.
            ("\u{fb01}sh", "fish"),
            ("\u{ff41}\u{ff42}", "ab"),
            ("\u{212b}", "A\u{30a}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
        ] {
            assert!(opens(&seal(one), other), "{one:?} {other:?}");
            assert!(opens(&seal(other), one), "{one:?} {other:?}");
        }
        for (one, other) in [(COMPOSED, "cafe"), ("a", "A"), ("a", " a"), ("a b", "a  b")] {
            assert!(!opens(&seal(one), other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_key_that_an_older_version_sealed_with_the_bytes_as_typed_opens() {
        // As in older versions: only the typed form.
        let older = |text: &str| {
            let passphrase = Passphrase {
                normal: Zeroizing::new(text.to_owned()),
                older: Vec::new(),
            };
            Sealed::seal(&[7; 32], b"here", &passphrase, KdfParams::weak_for_tests()).unwrap()
        };
        for text in ["plain", COMPOSED, DECOMPOSED, "\u{fb01}"] {
            assert!(opens(&older(text), text), "{text:?}");
        }
        assert!(opens(&older(COMPOSED), DECOMPOSED));
        assert!(!opens(&older(COMPOSED), "cafe"));
    }

    #[test]
    fn a_guess_in_plain_ascii_costs_one_derivation() {
        let forms = |text: &str| Passphrase::new(text).unwrap().forms().count();
        assert_eq!((forms("plain"), forms(COMPOSED), forms(DECOMPOSED)), (1, 2, 2));
    }
}
