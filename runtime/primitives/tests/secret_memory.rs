//! The seed of a key is in one place of the process's memory, and in none when the key is dropped.
//!
//! A separate process: nothing else may write to this memory while it is read.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;

use vibecoin_primitives::{SecretKey, wipe_stack};
use zeroize::Zeroizing;

/// The search uses the seed under this mask, so that the pattern is not a copy of it.
const MASK: u8 = 0xA5;
/// Bytes of memory that are read at once.
const PART: usize = 1 << 20;

fn masked() -> [u8; 32] {
    std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap() ^ 0x3C ^ MASK)
}

/// Makes the key as a reader of files does: the seed is in memory that is wiped when dropped.
#[inline(never)]
fn key() -> SecretKey {
    let mut seed = Box::new(Zeroizing::new([0; 32]));
    for (byte, masked) in seed.iter_mut().zip(black_box(masked())) {
        *byte = masked ^ MASK;
    }
    SecretKey::from_seed(&seed)
}

/// Moves the key through several calls, as a node does from the file to the signer.
#[inline(never)]
fn passed_on(key: SecretKey, times: u32) -> Option<SecretKey> {
    let [key, _] = black_box([Some(key), None]);
    if times == 0 {
        return key;
    }
    passed_on(key?, times - 1)
}

/// Number of copies of the seed in the writable memory of this process.
fn copies() -> usize {
    let mask = black_box(masked());
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; PART];
    let own = buffer.as_ptr().addr() as u64;
    let own = own..own + buffer.len() as u64;
    let mut found = 0;
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next().unwrap().split_once('-').unwrap();
        if !fields.next().unwrap().starts_with("rw") {
            continue;
        }
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        // Parts overlap by the length of a seed across their border.
        for at in (from..to).step_by(PART - 31) {
            let part = usize::try_from(to - at).unwrap().min(PART);
            // A guard page cannot be read; an unreadable page holds no copy.
            let read = memory.read_at(&mut buffer[..part], at).unwrap_or(0);
            for (here, window) in (at..).zip(buffer[..read].windows(32)) {
                let same = window.iter().zip(&mask).all(|(byte, mask)| byte ^ MASK == *mask);
                found += usize::from(same && !own.contains(&here));
            }
            // Bytes that were read must not stay where they would be counted.
            buffer.fill(0);
        }
    }
    found
}

#[test]
fn a_seed_is_in_one_place_until_its_key_is_gone() {
    let key = key();
    let key = passed_on(key, 40).unwrap();
    let clones: Vec<SecretKey> = std::iter::repeat_n(&key, 10).cloned().collect();
    let signature = key.sign(b"a message");
    assert!(key.public_key().verify(b"a message", &signature).is_ok());
    assert_eq!(copies(), 1, "the key's own, and no other");
    // The test detects a copy where there is one.
    let shown = key.seed();
    assert_eq!(copies(), 2);
    drop(shown);
    drop((key, clones));
    wipe_stack();
    assert_eq!(copies(), 0, "the key is gone");
}
