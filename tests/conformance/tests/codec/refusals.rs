//! Foreign bytes: one form per value, and no allocation for bytes with a false length.

use crate::allocations::largest_during;
use crate::cases::{self, Case};
use crate::layout::Mark;

/// Decodes and returns the result: refused, or accepted in the only form of the value.
fn accepted(case: &Case, bytes: &[u8]) -> bool {
    match (case.redo)(bytes) {
        Ok(again) => {
            assert_eq!(
                again, bytes,
                "{}: accepted bytes are not the value's encoding",
                case.name
            );
            true
        }
        Err(_) => false,
    }
}

fn refused(case: &Case, bytes: &[u8], why: &str) {
    assert!(!accepted(case, bytes), "{}: accepted {why}", case.name);
}

#[test]
fn every_value_survives_its_encoding() {
    for case in cases::all() {
        assert!(accepted(&case, &case.bytes), "{}", case.name);
        assert!(case.bytes.len() <= case.limit, "{}", case.name);
    }
}

#[test]
fn a_byte_too_many_or_too_few_is_refused() {
    for case in cases::all().iter().filter(|case| !case.open_ended) {
        for extra in [0, 1, 255] {
            let longer = [case.bytes.as_slice(), &[extra]].concat();
            refused(case, &longer, "a trailing byte");
        }
        for len in 0..case.bytes.len() {
            refused(case, &case.bytes[..len], &format!("a cut at byte {len}"));
        }
    }
}

#[test]
fn bytes_over_the_limit_are_refused_unread() {
    for case in cases::all() {
        let large = vec![0; case.limit + 1];
        let (error, largest) = largest_during(|| (case.redo)(&large).unwrap_err());
        if case.oracle.is_some() {
            assert!(error.contains("over the limit"), "{}: {error}", case.name);
        }
        assert!(largest < 4096, "{}: asked for {largest} bytes", case.name);
    }
}

fn with(bytes: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn every_flag_tag_and_length_out_of_range_is_refused() {
    let mut seen = [0u32; 4];
    for case in cases::all() {
        let Some(oracle) = &case.oracle else { continue };
        for &(offset, mark) in &oracle.marks {
            seen[mark as usize] += 1;
            let what = |value: u64| format!("{mark:?} {value} at byte {offset}");
            match mark {
                Mark::Bool | Mark::Option => {
                    for value in 2..=255u8 {
                        refused(
                            &case,
                            &with(&case.bytes, offset, &[value]),
                            &what(u64::from(value)),
                        );
                    }
                }
                Mark::Tag => {
                    for value in [6, 7, 255, 256, 1 << 16, 1 << 31, u32::MAX] {
                        let bytes = with(&case.bytes, offset, &value.to_le_bytes());
                        refused(&case, &bytes, &what(u64::from(value)));
                    }
                }
                Mark::Length => {
                    for value in [1 << 32, 1 << 40, 1 << 63, u64::MAX] {
                        let bytes = with(&case.bytes, offset, &value.to_le_bytes());
                        let ((), largest) = largest_during(|| refused(&case, &bytes, &what(value)));
                        // Enough for a copy of the bytes before the false length, and for the
                        // message.
                        let bound = 64 * bytes.len() + 4096;
                        assert!(
                            largest <= bound,
                            "{}: {largest} bytes for {}",
                            case.name,
                            what(value)
                        );
                    }
                }
            }
        }
    }
    assert!(
        seen.iter().all(|count| *count > 0),
        "a kind of mark that no type has: {seen:?}"
    );
}

/// A length that is large but permitted may cost memory before the bytes end: never more than this.
const PREALLOCATION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The diff record is read from the local disk only, behind a checksum, and may hold a whole block's
/// changes.
const LOCAL: &[(&str, usize)] = &[("state diff", 512 * 1024 * 1024)];

#[test]
fn a_length_that_promises_more_than_there_is_costs_a_bounded_allocation() {
    for case in cases::all() {
        let Some(oracle) = &case.oracle else { continue };
        let local = LOCAL.iter().find(|(name, _)| *name == case.name);
        let most = local.map_or(PREALLOCATION_BYTES_MAX, |(_, most)| *most);
        for &(offset, mark) in &oracle.marks {
            if mark != Mark::Length {
                continue;
            }
            for shift in 8..=31 {
                let bytes = with(&case.bytes, offset, &(1u64 << shift).to_le_bytes());
                let ((), largest) =
                    largest_during(|| refused(&case, &bytes, &format!("length 2^{shift} at byte {offset}")));
                assert!(
                    largest <= most,
                    "{}: length 2^{shift} at byte {offset} asked for {largest} bytes",
                    case.name
                );
            }
        }
    }
}

#[test]
fn a_changed_byte_is_refused_or_is_the_encoding_of_another_value() {
    for case in cases::all() {
        for offset in 0..case.bytes.len() {
            for flip in [0x01, 0x02, 0x40, 0x80, 0xff] {
                let mut bytes = case.bytes.clone();
                bytes[offset] ^= flip;
                let ours = accepted(&case, &bytes);
                if let Some(oracle) = &case.oracle {
                    assert_eq!(
                        ours,
                        (oracle.accepts)(&bytes),
                        "{}: byte {offset} flipped by {flip:#04x}: we and bincode 1.3.3 disagree",
                        case.name
                    );
                }
            }
        }
    }
}
