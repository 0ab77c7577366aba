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
//! Because of the cofactor, checking one by one and checking in batches always agree, so a batch may decide.
//! `ed25519-dalek` makes keys and signatures; `ed25519-zebra` decides rules 2 and 3 for one signature,
//! [`SignatureBatch`] evaluates the same equation with `curve25519-dalek` for many, with keys it has seen
//! before. `verify_batch` of `ed25519-dalek` never decides anything: on crafted input its result differs from
//! one batch size to the next.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha512};
use wincode::{SchemaRead, SchemaWrite};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Domain, HexError, hex, planted};

#[path = "bisect.rs"]
mod bisect;

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
            /// Reads lower- or upper-case hex with the prefix `0x`, of exactly the right length.
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

/// Reason why a signature or a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key's `y` is not below the field's prime.
    #[error("public key is not a canonical encoding")]
    KeyNotCanonical,
    /// The key is one of the eight torsion points (or their other encoding).
    #[error("public key is of small order")]
    KeySmallOrder,
    /// The key's bytes are not a point of the curve.
    #[error("public key is not a point of the curve")]
    KeyNotAPoint,
    /// The `y` of `R` is not below the field's prime.
    #[error("R of the signature is not a canonical encoding")]
    RNotCanonical,
    /// `R` is one of the eight torsion points.
    #[error("R of the signature is of small order")]
    RSmallOrder,
    /// `R` is not a point, `s` is not below the group order, or the equation does not hold.
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

thread_local! {
    static CHECKS: Cell<u64> = const { Cell::new(0) };
}

/// Number of signature checks that this thread has made so far. A batch counts as one each time its equation
/// is evaluated, so tests can measure the cost of a message.
#[must_use]
pub fn signature_checks() -> u64 {
    CHECKS.get()
}

fn count_check() {
    CHECKS.set(CHECKS.get().wrapping_add(1));
}

impl PublicKey {
    /// Rule 1 for this key, and that it is a point: the conditions for registering a key.
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
        count_check();
        let key = self.point()?;
        key.verify(&ed25519_zebra::Signature::from_bytes(&signature.0), message)
            .map_err(|_| SignatureError::Mismatch)
    }
}

impl Signature {
    fn r_bytes(&self) -> &[u8; 32] {
        self.0.first_chunk().unwrap_or(&[0; 32])
    }

    fn s_bytes(&self) -> &[u8; 32] {
        self.0.last_chunk().unwrap_or(&[0; 32])
    }
}

fn check_cheaply(key: &PublicKey, signature: &Signature) -> Result<(), SignatureError> {
    key.check_encoding()?;
    check_encoding(signature.r_bytes()).map_err(|fault| match fault {
        PointFault::NotCanonical => SignatureError::RNotCanonical,
        PointFault::SmallOrder => SignatureError::RSmallOrder,
    })
}

/// Points of the public keys of signatures that were checked before: a cached point costs a lookup, decoding
/// one from its 32 bytes a fifth of a check. Bounded; the least recently used are evicted first, in halves.
/// No verdict depends on the cached keys.
#[derive(Debug, Default)]
pub struct KnownKeys {
    recent: HashMap<PublicKey, EdwardsPoint>,
    older: HashMap<PublicKey, EdwardsPoint>,
}

impl KnownKeys {
    /// Maximum number of keys in each half: the capacity of a table of 2^14 places before it grows, together
    /// about 6 MiB.
    const HALF: usize = 14_336;

    /// The point of `key`, from memory or from its bytes; `None` when it is not a point of the curve.
    fn point(&mut self, key: &PublicKey) -> Option<EdwardsPoint> {
        if let Some(point) = self.recent.get(key) {
            return Some(*point);
        }
        let point = match self.older.get(key) {
            Some(point) => *point,
            None => CompressedEdwardsY(key.0).decompress()?,
        };
        self.learn(*key, point);
        Some(point)
    }

    fn learn(&mut self, key: PublicKey, point: EdwardsPoint) {
        if self.recent.len() >= Self::HALF {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, point);
    }
}

/// A queued signature: `R ‖ s` by `key` over a message whose hash is `k`.
struct Item {
    key: PublicKey,
    signature: Signature,
    k: Scalar,
    /// Rule 1.
    encoding: Result<(), SignatureError>,
}

#[allow(clippy::arithmetic_side_effects)] // Scalars and points: nothing can overflow.
impl Item {
    /// Rules 2 and 3, deterministic.
    fn holds_alone(&self, key: &EdwardsPoint) -> bool {
        count_check();
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(*self.signature.s_bytes()));
        let r = CompressedEdwardsY(*self.signature.r_bytes()).decompress();
        r.zip(s).is_some_and(|(r, s)| {
            let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.k, &-key, &s);
            (r - expected).mul_by_cofactor().is_identity()
        })
    }

    /// The verdict without the others, where rule 1 holds.
    fn alone(&self, keys: &mut KnownKeys) -> Result<(), SignatureError> {
        let point = keys.point(&self.key).ok_or(SignatureError::KeyNotAPoint)?;
        let holds = self.holds_alone(&point);
        holds.then_some(()).ok_or(SignatureError::Mismatch)
    }
}

/// Signatures that are checked together: two to five times cheaper than one by one, with exactly the
/// same verdicts.
#[derive(Default)]
pub struct SignatureBatch {
    items: Vec<Item>,
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

    /// Number of signatures queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns true if no signature is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Queues one signature. The message is hashed now and not kept.
    pub fn push(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) {
        let hash = Sha512::new()
            .chain_update(signature.r_bytes())
            .chain_update(key.0)
            .chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        self.transcript.update(&key.0);
        self.transcript.update(&signature.0);
        self.transcript.update(k.as_bytes());
        self.items.push(Item {
            key: *key,
            signature: *signature,
            k,
            encoding: check_cheaply(key, signature),
        });
    }

    /// [`SignatureBatch::verify_with`] for keys that are not likely to be used again.
    #[must_use]
    pub fn verify(self) -> Vec<Result<(), SignatureError>> {
        self.verify_with(&mut KnownKeys::default())
    }

    /// Checks all queued signatures and returns a verdict for each, in the order they were queued.
    ///
    /// The coefficients are drawn from a BLAKE3 stream over the whole batch, so no sender of a signature can
    /// predict them, and no ambient randomness is read. When the batch as a whole fails, it is halved until
    /// the invalid signatures are found: one among 1,024 costs about two more batches, and many cost little
    /// more than all of them one by one.
    #[must_use]
    pub fn verify_with(self, keys: &mut KnownKeys) -> Vec<Result<(), SignatureError>> {
        let mut stream = self.transcript.finalize_xof();
        let candidates: Vec<&Item> = self.items.iter().filter(|item| item.encoding.is_ok()).collect();
        let keys = RefCell::new(keys);
        let found = bisect::verdicts(
            &candidates,
            |items| equation(items, &mut stream, &mut keys.borrow_mut()),
            |item| item.alone(&mut keys.borrow_mut()),
        );
        let mut found = found.into_iter();
        let verdict = |item: &Item| {
            item.encoding?;
            found.next().unwrap_or(Err(SignatureError::Mismatch))
        };
        self.items.iter().map(verdict).collect()
    }

    /// Returns true if every queued signature holds: for a caller that discards all of them if one is
    /// invalid. Costs one batch, whatever it contains.
    #[must_use]
    pub fn all_hold(self, keys: &mut KnownKeys) -> bool {
        let mut stream = self.transcript.finalize_xof();
        let items: Vec<&Item> = self.items.iter().collect();
        items.iter().all(|item| item.encoding.is_ok()) && equation(&items, &mut stream, keys)
    }
}

/// Returns true if `[8]([Σ z s]B - Σ [z]R - Σ [z k]A)` is the neutral point, with a coefficient `z` of 128
/// bits from `stream` for each signature: this holds if all signatures hold, and otherwise with a chance of
/// 2^-128. Terms of the same key are added up before they are multiplied.
#[allow(clippy::arithmetic_side_effects)] // Scalars and points: nothing can overflow.
fn equation(items: &[&Item], stream: &mut blake3::OutputReader, keys: &mut KnownKeys) -> bool {
    count_check();
    let items = planted::batch(items);
    let mut of_base = Scalar::ZERO;
    let mut of_r = Vec::with_capacity(items.len());
    let mut places: HashMap<PublicKey, usize> = HashMap::new();
    let mut of_key: Vec<(Scalar, EdwardsPoint)> = Vec::new();
    for item in items {
        let mut bytes = [0; 16];
        stream.fill(&mut bytes);
        let z = Scalar::from(u128::from_le_bytes(bytes));
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*item.signature.s_bytes())) else {
            return false;
        };
        of_base -= z * s;
        of_r.push(z);
        let place = *places.entry(item.key).or_insert(of_key.len());
        if let Some((sum, _)) = of_key.get_mut(place) {
            *sum += z * item.k;
            continue;
        }
        let Some(point) = keys.point(&item.key) else {
            return false;
        };
        of_key.push((z * item.k, point));
    }
    let scalars = std::iter::once(&of_base)
        .chain(of_key.iter().map(|(sum, _)| sum))
        .chain(&of_r);
    let points = std::iter::once(Some(ED25519_BASEPOINT_POINT))
        .chain(of_key.iter().map(|(_, point)| Some(*point)))
        .chain(
            items
                .iter()
                .map(|item| CompressedEdwardsY(*item.signature.r_bytes()).decompress()),
        );
    EdwardsPoint::optional_multiscalar_mul(scalars, points)
        .is_some_and(|sum| sum.mul_by_cofactor().is_identity())
}

/// A private key; has no `Debug`.
///
/// Its seed is in one place of the heap from its creation on: a value that is moved leaves no copy behind,
/// and clones share the place. It is wiped when the last of them is dropped.
#[derive(Clone)]
pub struct SecretKey(Arc<ed25519_dalek::SigningKey>);

impl SecretKey {
    /// Makes the key of a 32-byte seed. The caller wipes its own copy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Self::boxed(seed);
        wipe_stack();
        key
    }

    /// Values derived here pass over the stack, below the caller's frame.
    #[inline(never)]
    fn boxed(seed: &[u8; 32]) -> Self {
        Self(Arc::new(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// The seed, in memory that is wiped when dropped.
    #[must_use]
    pub fn seed(&self) -> Box<Zeroizing<[u8; 32]>> {
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        seed.copy_from_slice(self.0.as_bytes());
        seed
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`; the public key in the hash is the key's own, never the caller's.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.signed(message);
        wipe_stack();
        signature
    }

    #[inline(never)]
    fn signed(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// Words of the stack that [`wipe_stack`] overwrites: more than the derivation of a key or signing uses.
const STACK_WORDS: usize = 2048;

/// Overwrites the stack below the caller's frame, where functions that have returned left their values. Call
/// it from the function that called them; costs about a microsecond.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0u64; STACK_WORDS];
    below.zeroize();
    std::hint::black_box(&mut below);
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
