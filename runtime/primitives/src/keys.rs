//! Keys, signatures, and the one rule that decides whether a signature is valid.
//!
//! # The signature rule
//!
//! A signature `(R, s)` by the key `A` over a message is valid exactly when
//! 1. `A` and `R` are canonical encodings and not of small order: with the sign bit cleared,
//!    `y < p`, and `y` is none of the five `y` coordinates of the torsion points;
//! 2. `s` is canonical (`s < L`);
//! 3. `[8][s]B = [8]R + [8][k]A` with `k = SHA-512(R ‖ A ‖ message)` (ZIP-215, with the cofactor).
//!
//! Because of the cofactor, checking one by one and checking in batches always agree, so a batch may
//! decide. `ed25519-dalek` makes keys and signatures; `ed25519-zebra` decides rules 2 and 3.
//! `verify_batch` of `ed25519-dalek` never decides anything: on crafted input it disagrees with
//! itself from one batch size to the next.

use std::convert::Infallible;
use std::fmt;

use ed25519_dalek::Signer as _;
use wincode::{SchemaRead, SchemaWrite};
use zeroize::Zeroizing;

use crate::{Domain, HexError, hex};

/// An Ed25519 public key as 32 bytes. Not known to be a valid point until a signature by it verifies
/// or [`PublicKey::check`] passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 signature: `R ‖ s`, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Signature(pub [u8; 64]);

macro_rules! hex_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl $type {
            /// Reads lower- or upper-case hex behind `0x`, of exactly the right length.
            ///
            /// # Errors
            /// [`HexError`] when the prefix, the length or a digit is wrong.
            pub fn from_hex(text: &str) -> Result<Self, HexError> {
                hex::fixed(text).map(Self)
            }
        }
    };
}
hex_text!(PublicKey);
hex_text!(Signature);

/// Why a signature or a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key's `y` is not below the field's prime.
    #[error("public key is not a canonical encoding")]
    KeyNotCanonical,
    /// The key is one of the eight torsion points (or their other encoding).
    #[error("public key is of small order")]
    KeySmallOrder,
    /// The key's bytes are no point of the curve.
    #[error("public key is not a point of the curve")]
    KeyNotAPoint,
    /// The `y` of `R` is not below the field's prime.
    #[error("R of the signature is not a canonical encoding")]
    RNotCanonical,
    /// `R` is one of the eight torsion points.
    #[error("R of the signature is of small order")]
    RSmallOrder,
    /// `R` is no point, `s` is not below the group order, or the equation does not hold.
    #[error("signature does not match the key and the message")]
    Mismatch,
}

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The `y` coordinates of the eight torsion points, little-endian: 0, 1, p-1 and the two of order 8.
const TORSION_Y: [[u8; 32]; 5] = {
    let mut one = [0u8; 32];
    one[0] = 1;
    let mut minus_one = P;
    minus_one[0] = 0xec;
    [
        [0; 32],
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

enum PointFault {
    NotCanonical,
    SmallOrder,
}

/// Rule 1 by byte comparison; decompression alone would accept `x = 0` with a sign bit.
fn check_encoding(bytes: &[u8; 32]) -> Result<(), PointFault> {
    let mut y = *bytes;
    if let Some(top) = y.last_mut() {
        *top &= 0x7f;
    }
    if y.iter().rev().ge(P.iter().rev()) {
        return Err(PointFault::NotCanonical);
    }
    if TORSION_Y.contains(&y) {
        return Err(PointFault::SmallOrder);
    }
    Ok(())
}

impl PublicKey {
    /// Rule 1 for this key, and that it is a point: what registration of a key asks for.
    ///
    /// # Errors
    /// [`SignatureError::KeyNotCanonical`], [`SignatureError::KeySmallOrder`] or
    /// [`SignatureError::KeyNotAPoint`].
    pub fn check(&self) -> Result<(), SignatureError> {
        self.check_encoding()?;
        self.point().map(|_| ())
    }

    fn point(&self) -> Result<ed25519_zebra::VerificationKey, SignatureError> {
        ed25519_zebra::VerificationKey::try_from(self.0).map_err(|_| SignatureError::KeyNotAPoint)
    }

    fn check_encoding(&self) -> Result<(), SignatureError> {
        check_encoding(&self.0).map_err(|fault| match fault {
            PointFault::NotCanonical => SignatureError::KeyNotCanonical,
            PointFault::SmallOrder => SignatureError::KeySmallOrder,
        })
    }

    /// Checks `signature` over `message` under the signature rule.
    ///
    /// # Errors
    /// The first part of the rule that does not hold.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        check_cheaply(self, signature)?;
        let key = self.point()?;
        key.verify(&ed25519_zebra::Signature::from_bytes(&signature.0), message)
            .map_err(|_| SignatureError::Mismatch)
    }
}

impl Signature {
    fn r_bytes(&self) -> &[u8; 32] {
        self.0.first_chunk().unwrap_or(&[0; 32])
    }
}

fn check_cheaply(key: &PublicKey, signature: &Signature) -> Result<(), SignatureError> {
    key.check_encoding()?;
    check_encoding(signature.r_bytes()).map_err(|fault| match fault {
        PointFault::NotCanonical => SignatureError::RNotCanonical,
        PointFault::SmallOrder => SignatureError::RSmallOrder,
    })
}

/// Signatures that are checked together: two to five times cheaper than one by one, with exactly the
/// same verdicts.
#[derive(Default)]
pub struct SignatureBatch {
    items: Vec<(PublicKey, ed25519_zebra::batch::Item, Result<(), SignatureError>)>,
    transcript: blake3::Hasher,
}

impl SignatureBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            items: Vec::new(),
            transcript: blake3::Hasher::new_keyed(Domain::SignatureBatch.key()),
        }
    }

    /// Signatures queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Queues one signature. The message is hashed now and not kept.
    pub fn push(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) {
        let item = ed25519_zebra::batch::Item::from((
            ed25519_zebra::VerificationKeyBytes::from(key.0),
            ed25519_zebra::Signature::from_bytes(&signature.0),
            message,
        ));
        self.transcript.update(&key.0);
        self.transcript.update(&signature.0);
        self.transcript.update(&(message.len() as u64).to_le_bytes());
        self.transcript.update(message);
        self.items.push((*key, item, check_cheaply(key, signature)));
    }

    /// Checks all queued signatures and returns a verdict for each, in the order they were queued.
    ///
    /// The coefficients come from a BLAKE3 stream over the whole batch, so nobody who sends a
    /// signature can predict them, and no ambient randomness is read. When the batch as a whole
    /// fails, its members are checked one by one under the same rule.
    #[must_use]
    pub fn verify(self) -> Vec<Result<(), SignatureError>> {
        let mut verifier = ed25519_zebra::batch::Verifier::new();
        for (_, item, cheap) in &self.items {
            if cheap.is_ok() {
                verifier.queue(item.clone());
            }
        }
        let whole = verifier.verify(TranscriptRng(self.transcript.finalize_xof()));
        self.items
            .into_iter()
            .map(|(key, item, cheap)| match (cheap, &whole) {
                (Err(fault), _) => Err(fault),
                (Ok(()), Ok(())) => Ok(()),
                (Ok(()), Err(_)) => {
                    key.point()?;
                    item.verify_single().map_err(|_| SignatureError::Mismatch)
                }
            })
            .collect()
    }
}

struct TranscriptRng(blake3::OutputReader);

impl rand_core::TryRng for TranscriptRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for TranscriptRng {}

/// A private key. Wiped from memory on drop; has no `Debug`.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// Makes the key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, in memory that wipes itself.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`; the public key is the key's own, never the caller's.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
