//! Encryption of a seed with a passphrase: Argon2id derives the key, XChaCha20-Poly1305 encrypts.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{KeyError, Passphrase, random};

/// Maximum memory that a key file may require: 1 GiB.
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Maximum number of passes that a key file may require.
pub const PASSES_MAX: u32 = 16;
/// Maximum number of lanes that a key file may require.
pub const LANES_MAX: u32 = 4;
/// Bytes of the salt.
pub(crate) const SALT_BYTES: usize = 16;
/// Bytes of the nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes of the encrypted seed: the seed and the tag.
pub(crate) const SEALED_BYTES: usize = 32 + 16;

/// Cost of a guess of the passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfParams {
    /// Memory, KiB.
    pub m_kib: u32,
    /// Passes over the memory.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Default for KdfParams {
    /// 64 MiB, 3 passes, 1 lane: about 130 ms.
    fn default() -> Self {
        Self {
            m_kib: 64 * 1024,
            t: 3,
            p: 1,
        }
    }
}

impl KdfParams {
    /// The cheapest valid parameters. Keys under them are not protected: for tests only.
    #[must_use]
    pub const fn weak_for_tests() -> Self {
        Self { m_kib: 8, t: 1, p: 1 }
    }

    /// Checks every parameter against its range; none is used before.
    ///
    /// # Errors
    /// [`KeyError::Kdf`] for the first that is out of range.
    pub fn check(&self) -> Result<(), KeyError> {
        // Argon2 requires eight blocks of 1 KiB for each lane.
        let memory_least = self.p.saturating_mul(8);
        for (name, found, least, most) in [
            ("p", self.p, 1, LANES_MAX),
            ("t", self.t, 1, PASSES_MAX),
            ("m_kib", self.m_kib, memory_least, MEMORY_KIB_MAX),
        ] {
            if !(least..=most).contains(&found) {
                return Err(KeyError::Kdf {
                    name,
                    found,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }

    fn derive(&self, passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.check()?;
        let fault = |error: argon2::Error| KeyError::Derivation {
            detail: error.to_string(),
        };
        let params = Params::new(self.m_kib, self.t, self.p, Some(32)).map_err(fault)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon2
            .hash_password_into(passphrase, salt, &mut *key)
            .map_err(fault)?;
        Ok(key)
    }
}

/// An encrypted seed with all parameters of its decryption, except the passphrase.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub kdf: KdfParams,
    pub salt: [u8; SALT_BYTES],
    pub nonce: [u8; NONCE_BYTES],
    pub ciphertext: [u8; SEALED_BYTES],
}

impl Sealed {
    /// Encrypts `seed` so that it can be decrypted only with the same `passphrase` and `context`.
    pub fn seal(
        seed: &[u8; 32],
        context: &[u8],
        passphrase: &Passphrase,
        kdf: KdfParams,
    ) -> Result<Self, KeyError> {
        let (salt, nonce) = (*random::<SALT_BYTES>()?, *random::<NONCE_BYTES>()?);
        let key = kdf.derive(passphrase.as_bytes(), &salt)?;
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let sealed = cipher.encrypt(
            (&nonce).into(),
            Payload {
                msg: seed,
                aad: context,
            },
        );
        let ciphertext = sealed.ok().and_then(|bytes| bytes.try_into().ok());
        let ciphertext = ciphertext.ok_or_else(|| KeyError::Derivation {
            detail: "sealing failed".to_owned(),
        })?;
        Ok(Self {
            kdf,
            salt,
            nonce,
            ciphertext,
        })
    }

    /// Returns the seed; `None` for a wrong passphrase or context, or a changed byte.
    pub fn open(
        &self,
        context: &[u8],
        passphrase: &Passphrase,
    ) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        for form in passphrase.forms() {
            let seed = self.open_with(context, form)?;
            if seed.is_some() {
                return Ok(seed);
            }
        }
        Ok(None)
    }

    fn open_with(&self, context: &[u8], passphrase: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        let key = self.kdf.derive(passphrase, &self.salt)?;
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let payload = Payload {
            msg: &self.ciphertext,
            aad: context,
        };
        let Ok(opened) = cipher.decrypt((&self.nonce).into(), payload) else {
            return Ok(None);
        };
        let opened = Zeroizing::new(opened);
        let mut seed = Zeroizing::new([0; 32]);
        if opened.len() != seed.len() {
            return Ok(None);
        }
        seed.copy_from_slice(&opened);
        Ok(Some(seed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_opens_only_in_its_context_with_its_passphrase() {
        let passphrase = |text: &str| Passphrase::new(text).unwrap();
        let sealed =
            Sealed::seal(&[7; 32], b"here", &passphrase("one"), KdfParams::weak_for_tests()).unwrap();
        let open = |context: &[u8], text: &str| sealed.open(context, &passphrase(text)).unwrap();
        assert_eq!(open(b"here", "one").as_deref(), Some(&[7; 32]));
        assert_eq!(open(b"there", "one"), None);
        assert_eq!(open(b"here", "two"), None);
    }
}
