#![allow(clippy::arithmetic_side_effects)]

use super::*;
use vibecoin_primitives::encoded_len;
use vibecoin_tests_support::{self as support, key};

fn prefix(digits: &str) -> KeyPrefix {
    let nibbles = digits.chars().fold(Nibbles::EMPTY, |prefix, digit| {
        prefix::child(&prefix, u8::try_from(digit.to_digit(16).unwrap()).unwrap())
    });
    KeyPrefix::new(&nibbles)
}

fn chunk(owner: u8, digits: &str) -> ChunkInfo {
    ChunkInfo {
        owner: Hash([owner; 32]),
        root: Hash([owner + 7; 32]),
        prefix: prefix(digits),
        bytes: 1_000,
        rows: 3,
        hash: Hash([1; 32]),
    }
}

fn manifest(chunks: Vec<ChunkInfo>) -> Manifest {
    let sum = |of: fn(&ChunkInfo) -> u32| chunks.iter().map(|chunk| u64::from(of(chunk))).sum();
    Manifest {
        format: SNAPSHOT_FORMAT,
        genesis: support::GENESIS,
        header: Header {
            state_root: Hash([7; 32]),
            ..support::header()
        },
        bytes: sum(|chunk| chunk.bytes),
        rows: sum(|chunk| chunk.rows),
        chunks,
    }
}

fn whole(owner: u8) -> Vec<ChunkInfo> {
    "0123456789abcdef"
        .chars()
        .map(|digit| chunk(owner, &digit.to_string()))
        .collect()
}

/// A manifest of a cut account trie and the slots of two accounts.
fn sound() -> Manifest {
    let mut chunks = whole(0);
    // The last sixteenth is cut again.
    chunks.pop();
    chunks.extend(
        "0123456789abcdef"
            .chars()
            .map(|digit| chunk(0, &format!("f{digit}"))),
    );
    chunks.push(chunk(3, ""));
    chunks.extend(whole(9));
    manifest(chunks)
}

fn check(change: impl FnOnce(&mut Vec<ChunkInfo>), expected: &str) {
    let mut chunks = sound().chunks;
    change(&mut chunks);
    let refused = manifest(chunks).check().map_err(|error| error.to_string());
    assert_eq!(refused, Err(expected.to_owned()));
}

#[test]
fn the_layout_is_the_one_drawn() {
    assert_eq!(encoded_len(&chunk(0, "")), CHUNK_INFO_BYTES);
    let empty = manifest(Vec::new());
    assert_eq!(encoded_len(&empty), HEAD_BYTES + 8);
    assert_eq!(
        encode(&sound()).len(),
        HEAD_BYTES + 8 + sound().chunks.len() * CHUNK_INFO_BYTES
    );
}

#[test]
fn a_list_that_covers_every_key_once_is_accepted() {
    sound().check().unwrap();
    manifest(vec![chunk(0, "")]).check().unwrap();
    let sent = SnapshotManifest {
        manifest: sound(),
        certificate: None,
    };
    assert_eq!(SnapshotManifest::from_bytes(&sent.to_bytes()), Ok(sent));
}

#[test]
fn a_chunk_left_out_doubled_or_moved_is_named() {
    let key = |first: u8| {
        let mut key = Hash::ZERO;
        key.0[0] = first;
        key
    };
    let gap = |index: usize, expected: Hash, got: Hash| {
        format!("chunk {index}: the prefix begins at key {got}, expected {expected}")
    };
    check(|chunks| _ = chunks.remove(4), &gap(4, key(0x40), key(0x50)));
    check(|chunks| _ = chunks.remove(0), &gap(0, key(0), key(0x10)));
    check(|chunks| _ = chunks.remove(17), &gap(17, key(0xf2), key(0xf3)));
    check(
        |chunks| chunks.insert(5, chunks[5]),
        &gap(6, key(0x60), key(0x50)),
    );
    check(|chunks| chunks.swap(2, 3), &gap(2, key(0x20), key(0x30)));
    check(
        |chunks| chunks.insert(15, chunk(0, "f")),
        "chunk 16: the chunks before it cover every key",
    );
    check(
        |chunks| _ = chunks.remove(30),
        &format!("chunk 29: the keys from {} on are in no chunk", key(0xff)),
    );
    check(
        |chunks| _ = chunks.pop(),
        &format!("chunk 46: the keys from {} on are in no chunk", key(0xf0)),
    );
    check(
        |chunks| chunks.insert(31, chunk(0, "")),
        "chunk 31: the chunks before it cover every key",
    );
}

#[test]
fn tries_are_in_order_and_have_one_root() {
    let order = |index: usize, owner: u8| {
        format!(
            "chunk {index}: the chunks of {} are out of order",
            Hash([owner; 32])
        )
    };
    check(|chunks| chunks.rotate_left(31), &order(0, 3));
    check(
        |chunks| chunks.swap(31, 32),
        &format!(
            "chunk 31: the keys from {} on are in no chunk",
            prefix::first_key(&prefix("1").nibbles().unwrap()),
        ),
    );
    check(|chunks| chunks.extend(whole(2)), &order(48, 2));
    let root = |index: usize, expected: u8, got: u8| {
        format!(
            "chunk {index}: the root is {}, expected {}",
            Hash([got; 32]),
            Hash([expected; 32])
        )
    };
    check(|chunks| chunks[40].root = Hash([1; 32]), &root(40, 16, 1));
    check(|chunks| chunks[0].root = Hash([1; 32]), &root(0, 7, 1));
    check(|chunks| chunks[31].root = Hash::ZERO, &root(31, 0, 0));
}

#[test]
fn sizes_that_no_chunk_has_are_refused() {
    check(
        |chunks| chunks[3].bytes = 0,
        &format!("chunk 3: 0 bytes, allowed are 1 to {CHUNK_BYTES_MAX}"),
    );
    check(
        |chunks| chunks[3].bytes = 1 << 31,
        &format!("chunk 3: 2147483648 bytes, allowed are 1 to {CHUNK_BYTES_MAX}"),
    );
    check(
        |chunks| chunks[3].rows = 25,
        "chunk 3: 25 rows do not fit into 1000 bytes",
    );
    check(
        |chunks| chunks[3].rows = u32::MAX,
        "chunk 3: 4294967295 rows do not fit into 1000 bytes",
    );
    let mut large = sound();
    large.bytes = 1 << 63;
    assert_eq!(
        large.check().unwrap_err().to_string(),
        "the manifest states 9223372036854775808 bytes, its chunks have 48000"
    );
    let mut many = sound();
    many.rows = 1 << 63;
    assert_eq!(
        many.check().unwrap_err().to_string(),
        "the manifest states 9223372036854775808 rows, its chunks have 144"
    );
    let mut other = sound();
    other.format = 2;
    assert_eq!(other.check(), Err(ManifestError::Format { got: 2 }));
    assert_eq!(manifest(Vec::new()).check(), Err(ManifestError::NoChunks));
}

#[test]
fn a_count_is_compared_with_the_bytes_before_anything_is_allocated() {
    let bytes = SnapshotManifest {
        manifest: sound(),
        certificate: None,
    }
    .to_bytes();
    let with_count = |count: u64| {
        let mut bytes = bytes.clone();
        bytes[HEAD_BYTES..HEAD_BYTES + 8].copy_from_slice(&count.to_le_bytes());
        SnapshotManifest::from_bytes(&bytes)
    };
    for count in [1 << 63, u64::MAX, CHUNKS_MAX as u64 + 1] {
        assert_eq!(
            with_count(count),
            Err(ManifestError::TooManyChunks { got: count })
        );
    }
    for count in [49, 1_000, CHUNKS_MAX as u64] {
        let (promised, held) = (count, 48);
        assert_eq!(
            with_count(count),
            Err(ManifestError::MissingChunks { promised, held })
        );
    }
    for count in [0, 1, 47] {
        assert!(
            matches!(with_count(count), Err(ManifestError::Codec(_))),
            "{count}"
        );
    }
    for len in 0..bytes.len() {
        SnapshotManifest::from_bytes(&bytes[..len]).unwrap_err();
    }
}

#[test]
fn the_id_covers_the_manifest_and_not_the_certificate() {
    let mut other = sound();
    other.chunks[1].hash = Hash([2; 32]);
    assert_ne!(sound().id(), other.id());
    let set = support::validators(1..5);
    let header = sound().header;
    let full = support::certify(
        &support::GENESIS,
        &header,
        vibecoin_primitives::Round(0),
        &[1, 2, 3, 4].map(key),
    );
    let snapshot = SnapshotManifest::new(sound(), Some(full), FaultModel::Byzantine, &set);
    assert_eq!(snapshot.manifest.id(), sound().id());
    assert_eq!(snapshot.certificate.unwrap().signatures.len(), 3);
}
