//! Passphrases and where they come from.

use zeroize::Zeroizing;

use crate::{KeyError, KeyInfo};

/// Most bytes of a passphrase.
pub const PASSPHRASE_BYTES_MAX: usize = 4096;

/// A passphrase: 1 to 4,096 bytes, wiped on drop, without `Debug`. Taken as it is, byte for byte.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`] when it is empty or too long.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text.into());
        match text.len() {
            0 => Err(KeyError::NoPassphrase {
                detail: "it is empty".to_owned(),
            }),
            1..=PASSPHRASE_BYTES_MAX => Ok(Self(text)),
            _ => Err(KeyError::NoPassphrase {
                detail: format!("it has more than {PASSPHRASE_BYTES_MAX} bytes"),
            }),
        }
    }

    /// Takes the content of a password file: without the one line end that editors add.
    ///
    /// # Errors
    /// As [`Passphrase::new`].
    pub fn from_file_text(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Somebody who can be asked for a passphrase: a terminal, a file, the environment.
///
/// Asked only when the key is encrypted, and once for each key. A closure is one.
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

/// Nobody to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassphrase;

impl PassphraseSource for NoPassphrase {
    fn passphrase(&mut self, key: &KeyInfo) -> Result<Passphrase, KeyError> {
        let detail = format!("key {:?} is encrypted and nobody can be asked", key.name);
        Err(KeyError::NoPassphrase { detail })
    }
}
