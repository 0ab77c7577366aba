//! The acceptance matrix of `poh.md` as a test, and the agreement of single and batch checks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::*;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;

fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha512::new();
    hasher.update(r);
    hasher.update(a);
    hasher.update(message);
    Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
}

/// Signs with secret scalar `a`, nonce `r` and torsion added to the public key and to R.
fn craft(
    message: &[u8],
    a: u64,
    r: u64,
    torsion_a: EdwardsPoint,
    torsion_r: EdwardsPoint,
) -> (PublicKey, Signature) {
    let (a, r) = (Scalar::from(a), Scalar::from(r));
    let key = (ED25519_BASEPOINT_POINT * a + torsion_a).compress().0;
    let r_bytes = (ED25519_BASEPOINT_POINT * r + torsion_r).compress().0;
    let s = r + challenge(&r_bytes, &key, message) * a;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r_bytes);
    signature[32..].copy_from_slice(&s.to_bytes());
    (PublicKey(key), Signature(signature))
}

/// Thirty-two bytes derived from this number.
fn seed_of(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn both(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
    let single = key.verify(message, signature);
    let mut alone = SignatureBatch::new();
    alone.push(key, message, signature);
    assert_eq!(
        alone.verify(),
        vec![single],
        "a batch of one disagrees with the single check"
    );
    let honest = SecretKey::from_seed(&[7; 32]);
    let mut mixed = SignatureBatch::new();
    mixed.push(&honest.public_key(), b"other", &honest.sign(b"other"));
    mixed.push(key, message, signature);
    mixed.push(&honest.public_key(), b"more", &honest.sign(b"more"));
    assert_eq!(
        mixed.verify(),
        vec![Ok(()), single, Ok(())],
        "a mixed batch disagrees with the single check"
    );
    single
}

#[test]
fn the_acceptance_matrix_holds_singly_and_in_batches() {
    let message = b"matrix";
    let none = EdwardsPoint::default();
    let (key, good) = craft(message, 12_345, 678, none, none);
    assert_eq!(both(&key, message, &good), Ok(()), "honest");
    assert_eq!(
        both(&key, b"another", &good),
        Err(SignatureError::Mismatch),
        "other message"
    );

    // Mixed-order A and mixed-order R: the cofactored equation holds, so both are accepted.
    for torsion in &EIGHT_TORSION[1..] {
        let (key, signature) = craft(message, 99, 100, *torsion, none);
        assert_eq!(both(&key, message, &signature), Ok(()), "mixed-order A");
        let (key, signature) = craft(message, 99, 100, none, *torsion);
        assert_eq!(both(&key, message, &signature), Ok(()), "mixed-order R");
    }

    // Small-order A or R: refused before the equation is evaluated.
    for torsion in &EIGHT_TORSION {
        let (key, signature) = craft(message, 0, 55, *torsion, none);
        assert_eq!(
            both(&key, message, &signature),
            Err(SignatureError::KeySmallOrder)
        );
        let (key, signature) = craft(message, 5, 0, none, *torsion);
        assert_eq!(both(&key, message, &signature), Err(SignatureError::RSmallOrder));
    }

    // S + L is not canonical.
    let l = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10u8,
    ];
    let mut malleable = good;
    let mut carry = 0u16;
    for (byte, add) in malleable.0[32..].iter_mut().zip(l) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(
        both(&key, message, &malleable),
        Err(SignatureError::Mismatch),
        "S + L"
    );
}

#[test]
fn a_key_that_is_no_point_is_named_singly_and_in_batches() {
    let no_point = (2..=255u8)
        .map(|byte| PublicKey([byte; 32]))
        .find(|key| CompressedEdwardsY(key.0).decompress().is_none() && key.check_encoding().is_ok())
        .unwrap();
    let good = SecretKey::from_seed(&[7; 32]).sign(b"m");
    assert_eq!(both(&no_point, b"m", &good), Err(SignatureError::KeyNotAPoint));
}

#[test]
fn the_five_torsion_coordinates_are_those_of_the_eight_torsion_points() {
    let mut seen: Vec<[u8; 32]> = EIGHT_TORSION
        .iter()
        .map(|point| {
            let mut y = point.compress().0;
            y[31] &= 0x7f;
            y
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    let mut ours = TORSION_Y.to_vec();
    ours.sort_unstable();
    assert_eq!(seen, ours);
}

#[test]
fn encodings_at_and_above_p_are_not_canonical() {
    for add in 0..19u8 {
        let mut bytes = P;
        bytes[0] = bytes[0].wrapping_add(add);
        for sign in [0, 0x80] {
            bytes[31] = (bytes[31] & 0x7f) | sign;
            assert_eq!(
                PublicKey(bytes).check(),
                Err(SignatureError::KeyNotCanonical),
                "p + {add}"
            );
        }
    }
    // x = 0 with a sign bit: decompression accepts it, the rule does not.
    let mut identity = [0; 32];
    identity[0] = 1;
    identity[31] = 0x80;
    assert!(CompressedEdwardsY(identity).decompress().is_some());
    assert_eq!(PublicKey(identity).check(), Err(SignatureError::KeySmallOrder));
}

#[test]
fn four_hundred_crafted_signatures_get_the_same_verdict_in_every_batch_size() {
    let none = EdwardsPoint::default();
    let items: Vec<_> = (0..400u64)
        .map(|i| {
            let torsion = EIGHT_TORSION[(i % 8) as usize];
            let message = i.to_le_bytes();
            let (key, mut signature) = if i % 2 == 0 {
                craft(&message, 7 + i, 9 + i, none, torsion)
            } else {
                craft(&message, 7 + i, 9 + i, torsion, none)
            };
            if i % 5 == 0 {
                signature.0[40] ^= 1;
            }
            (key, message, signature)
        })
        .collect();
    let single: Vec<_> = items
        .iter()
        .map(|(key, message, signature)| key.verify(message, signature))
        .collect();
    assert_eq!(single.iter().filter(|v| v.is_ok()).count(), 320);
    let mut keys = KnownKeys::default();
    for size in [1, 32, 64, 400] {
        let mut batched = |known: bool| -> Vec<_> {
            let check = |chunk: &[(PublicKey, [u8; 8], Signature)]| {
                let mut batch = SignatureBatch::new();
                for (key, message, signature) in chunk {
                    batch.push(key, message, signature);
                }
                if known {
                    batch.verify_with(&mut keys)
                } else {
                    batch.verify()
                }
            };
            items.chunks(size).flat_map(check).collect()
        };
        assert_eq!(batched(false), single, "batches of {size}");
        assert_eq!(batched(true), single, "batches of {size} by keys that are known");
    }
}

/// The library computes large sums by another method than small ones, in steps from 190, 500 and 800 points
/// on. A sum that wrongly fails costs time only, since the signatures are then checked one by one: no test of
/// verdicts detects it.
#[test]
fn the_equation_of_a_large_batch_holds_exactly_when_every_signature_does() {
    let mut keys = KnownKeys::default();
    for size in [90, 100, 240, 260, 390, 410, 700] {
        for wrong in [None, Some(0), Some(size / 2), Some(size - 1)] {
            let mut batch = SignatureBatch::new();
            for at in 0..size {
                let key = SecretKey::from_seed(&seed_of(at));
                let message = at.to_le_bytes();
                let signed = if wrong == Some(at) { [1; 8] } else { message };
                batch.push(&key.public_key(), &message, &key.sign(&signed));
            }
            let items: Vec<&Item> = batch.items.iter().collect();
            let whole = equation(&items, &mut batch.transcript.finalize_xof(), &mut keys);
            assert_eq!(whole, wrong.is_none(), "{size} signatures, wrong: {wrong:?}");
        }
    }
}

/// The table of the base point is the same code on every processor; sums of many points are computed with
/// vectors of different widths, the widest that this one has.
#[test]
fn sums_of_any_number_of_points_agree_with_the_table_of_the_base_point() {
    let scalar = |name: u64| Scalar::from_bytes_mod_order(seed_of(name));
    for size in [1, 2, 3, 16, 189, 190, 191, 499, 500, 501, 799, 800, 801, 1_200] {
        let logs: Vec<Scalar> = (0..size).map(scalar).collect();
        let factors: Vec<Scalar> = (0..size).map(|i| scalar(1_000_000 + i)).collect();
        let points = logs.iter().map(|log| Some(EdwardsPoint::mul_base(log)));
        let sum = EdwardsPoint::optional_multiscalar_mul(&factors, points).unwrap();
        let log: Scalar = logs.iter().zip(&factors).map(|(log, factor)| log * factor).sum();
        assert_eq!(sum, EdwardsPoint::mul_base(&log), "{size} points");
    }
    for i in 0..100 {
        let (a, x, b) = (scalar(i), scalar(1_000 + i), scalar(2_000 + i));
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&a, &EdwardsPoint::mul_base(&x), &b);
        assert_eq!(sum, EdwardsPoint::mul_base(&(a * x + b)), "number {i}");
    }
}

/// RFC 8032, section 7.1, tests 1, 2 and 3.
#[test]
fn the_vectors_of_the_standard_hold_and_no_others_near_them() {
    let vectors = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (key, message, signature) in vectors {
        let key = PublicKey(const_hex::decode(key).unwrap().try_into().unwrap());
        let message = const_hex::decode(message).unwrap();
        let signature = Signature(const_hex::decode(signature).unwrap().try_into().unwrap());
        assert_eq!(both(&key, &message, &signature), Ok(()));
        let mut longer = message.clone();
        longer.push(0);
        assert_eq!(both(&key, &longer, &signature), Err(SignatureError::Mismatch));
        // One bit of R, then one of s.
        for at in [1, 33] {
            let mut other = signature;
            other.0[at] ^= 1;
            assert_eq!(
                both(&key, &message, &other),
                Err(SignatureError::Mismatch),
                "byte {at}"
            );
        }
    }
}

#[test]
fn whoever_signs_in_one_batch_answers_for_each_signature_alone() {
    let alice = SecretKey::from_seed(&[1; 32]);
    let bob = SecretKey::from_seed(&[2; 32]);
    let mut keys = KnownKeys::default();
    for wrong in [None, Some(0), Some(2), Some(5)] {
        let mut batch = SignatureBatch::new();
        for at in 0..6u8 {
            let key = if at % 2 == 0 { &alice } else { &bob };
            let signed = if wrong == Some(at) { [at, 1] } else { [at, 0] };
            batch.push(&key.public_key(), &[at, 0], &key.sign(&signed));
        }
        let expected: Vec<_> = (0..6u8)
            .map(|at| {
                if wrong == Some(at) {
                    Err(SignatureError::Mismatch)
                } else {
                    Ok(())
                }
            })
            .collect();
        let items: Vec<&Item> = batch.items.iter().collect();
        let whole = equation(&items, &mut batch.transcript.finalize_xof(), &mut keys);
        assert_eq!(whole, wrong.is_none(), "wrong: {wrong:?}");
        assert_eq!(batch.verify_with(&mut keys), expected, "wrong: {wrong:?}");
    }
}

/// Two errors that would cancel out under equal coefficients.
#[test]
fn errors_that_add_up_to_nothing_are_found() {
    let key = SecretKey::from_seed(&[1; 32]);
    let shifted = |message: &[u8], by: Scalar| {
        let mut signature = key.sign(message);
        let s = Scalar::from_canonical_bytes(*signature.s_bytes()).unwrap() + by;
        signature.0[32..].copy_from_slice(s.as_bytes());
        signature
    };
    let mut batch = SignatureBatch::new();
    batch.push(&key.public_key(), b"one", &shifted(b"one", Scalar::ONE));
    batch.push(&key.public_key(), b"two", &shifted(b"two", -Scalar::ONE));
    batch.push(&key.public_key(), b"three", &key.sign(b"three"));
    assert_eq!(
        batch.verify(),
        [
            Err(SignatureError::Mismatch),
            Err(SignatureError::Mismatch),
            Ok(())
        ]
    );
}

#[test]
fn what_is_known_of_keys_is_bounded_and_the_recent_ones_stay() {
    let mut keys = KnownKeys::default();
    let often = SecretKey::from_seed(&[9; 32]).public_key();
    let mut point = ED25519_BASEPOINT_POINT;
    for _ in 0..KnownKeys::HALF * 3 {
        point += ED25519_BASEPOINT_POINT;
        keys.learn(PublicKey(point.to_montgomery().0), point);
        assert!(keys.point(&often).is_some());
        assert!(keys.recent.len() <= KnownKeys::HALF && keys.older.len() <= KnownKeys::HALF);
    }
    assert!(!keys.older.is_empty());
    assert!(keys.recent.contains_key(&often));
}
