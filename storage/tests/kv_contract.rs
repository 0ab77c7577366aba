//! The guarantees of every key-value store, tested on each implementation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::sync::Arc;
use vibecoin_primitives::FaultClass;
use vibecoin_storage::StorageError;
use vibecoin_storage::kv::*;

/// Runs a test over a store in memory and over RocksDB in a separate folder.
fn each(test: impl Fn(Arc<dyn KvStore>)) {
    test(Arc::new(MemoryKv::new()));
    let folder = tempfile::tempdir().unwrap();
    test(Arc::new(
        RocksKv::open(folder.path(), RocksConfig::default()).unwrap(),
    ));
}

type Change<'a> = (Family, &'a [u8], Option<&'a [u8]>);

fn batch(rows: &[Change<'_>]) -> Batch {
    let mut batch = Batch::new();
    for (family, key, value) in rows {
        match value {
            Some(value) => batch.put(*family, *key, *value),
            None => batch.delete(*family, *key),
        }
    }
    batch
}

fn keys(kv: &dyn KvRead, from: &[u8], to: Option<&[u8]>, direction: Direction) -> Vec<Vec<u8>> {
    kv.range(Family::State, from, to, direction)
        .map(|row| row.unwrap().0)
        .collect()
}

#[test]
fn a_batch_spans_families_and_its_last_word_on_a_key_counts() {
    each(|kv| {
        kv.write(
            &batch(&[
                (Family::Meta, b"k", Some(b"meta")),
                (Family::Blocks, b"k", Some(b"first")),
                (Family::Blocks, b"k", Some(b"second")),
                (Family::Headers, b"k", Some(b"gone")),
                (Family::Headers, b"k", None),
            ]),
            true,
        )
        .unwrap();
        assert_eq!(kv.get(Family::Meta, b"k").unwrap().unwrap(), b"meta");
        assert_eq!(kv.get(Family::Blocks, b"k").unwrap().unwrap(), b"second");
        assert_eq!(kv.get(Family::Headers, b"k").unwrap(), None);
        assert_eq!(kv.get(Family::State, b"k").unwrap(), None);
        kv.write(&batch(&[(Family::State, b"never there", None)]), false)
            .unwrap();
    });
}

#[test]
fn a_range_is_in_order_half_open_and_goes_both_ways() {
    each(|kv| {
        let all: [&[u8]; 6] = [b"", b"\x00", b"a", b"a\x00", b"b", b"\xff\xff"];
        let rows: Vec<_> = all
            .iter()
            .rev()
            .map(|key| (Family::State, *key, Some(&b"v"[..])))
            .collect();
        kv.write(&batch(&rows), true).unwrap();
        kv.write(&batch(&[(Family::Meta, b"a", Some(b"elsewhere"))]), true)
            .unwrap();
        for from in all {
            for to in all.into_iter().map(Some).chain([None]) {
                let expected: Vec<Vec<u8>> = all
                    .iter()
                    .filter(|key| **key >= from && to.is_none_or(|to| **key < to))
                    .map(|key| key.to_vec())
                    .collect();
                assert_eq!(
                    keys(&*kv, from, to, Direction::Forward),
                    expected,
                    "{from:?} to {to:?}"
                );
                let snapshot = kv.snapshot();
                for reads in [&*kv as &dyn KvRead, &*snapshot] {
                    let uncached = reads.range_uncached(Family::State, from, to);
                    let uncached: Vec<_> = uncached.map(|row| row.unwrap().0).collect();
                    assert_eq!(uncached, expected, "{from:?} to {to:?}, past the cache");
                }
                let backward: Vec<_> = expected.into_iter().rev().collect();
                assert_eq!(
                    keys(&*kv, from, to, Direction::Backward),
                    backward,
                    "{from:?} to {to:?}"
                );
            }
        }
        let prefixed: Vec<_> = kv.prefix(Family::State, b"a").map(|row| row.unwrap().0).collect();
        assert_eq!(prefixed, [b"a".to_vec(), b"a\x00".to_vec()]);
        assert_eq!(
            kv.prefix(Family::State, b"\xff\xff").count(),
            1,
            "a prefix without an end"
        );
    });
}

#[test]
fn a_snapshot_shows_one_moment() {
    each(|kv| {
        kv.write(
            &batch(&[
                (Family::State, b"1", Some(b"old")),
                (Family::State, b"2", Some(b"old")),
            ]),
            true,
        )
        .unwrap();
        let before = kv.snapshot();
        kv.write(
            &batch(&[(Family::State, b"1", Some(b"new")), (Family::State, b"2", None)]),
            true,
        )
        .unwrap();
        let rows: Vec<IngestRow> = (0..1500u32)
            .map(|n| (n.to_be_bytes().to_vec(), Some(vec![7])))
            .collect();
        kv.ingest(Family::State, &rows).unwrap();
        assert_eq!(before.get(Family::State, b"1").unwrap().unwrap(), b"old");
        assert_eq!(
            keys(&*before, b"", None, Direction::Forward),
            [b"1".to_vec(), b"2".to_vec()]
        );
        drop(before);
        assert_eq!(kv.get(Family::State, b"2").unwrap(), None);
        assert_eq!(keys(&*kv, b"", None, Direction::Backward).len(), 1501);
    });
}

#[test]
fn an_ingest_replaces_and_deletes_whatever_its_size() {
    each(|kv| {
        for count in [3u32, 5000] {
            let key = |n: u32| [&[u8::try_from(n % 3).unwrap()][..], &n.to_be_bytes()].concat();
            let mut keys: Vec<_> = (0..count).map(key).collect();
            keys.sort();
            let rows = |value: Option<&[u8]>| -> Vec<IngestRow> {
                keys.iter()
                    .map(|key| (key.clone(), value.map(<[u8]>::to_vec)))
                    .collect()
            };
            kv.ingest(Family::State, &rows(Some(b"first"))).unwrap();
            kv.ingest(Family::State, &rows(Some(b"second"))).unwrap();
            assert!(
                keys.iter()
                    .all(|key| kv.get(Family::State, key).unwrap().unwrap() == b"second")
            );
            kv.ingest(Family::State, &rows(None)).unwrap();
            assert_eq!(kv.range(Family::State, b"", None, Direction::Forward).count(), 0);
        }
        kv.ingest(Family::State, &[]).unwrap();
        kv.flush().unwrap();
        assert!(kv.stats().bytes_written > 0);
    });
}

#[test]
fn synced_batches_and_ingests_survive_a_crash_and_unsynced_ones_are_lost_from_the_end() {
    let kv = MemoryKv::new();
    let number = |kv: &MemoryKv| kv.range(Family::Meta, b"", None, Direction::Forward).count();
    kv.write(
        &batch(&[(Family::Meta, b"0", Some(b"unsynced, but before a synced one"))]),
        false,
    )
    .unwrap();
    kv.write(&batch(&[(Family::Meta, b"1", Some(b"synced"))]), true)
        .unwrap();
    for n in b'2'..b'8' {
        kv.write(&batch(&[(Family::Meta, &[n], Some(b"unsynced"))]), false)
            .unwrap();
    }
    kv.ingest(Family::State, &[(b"ingested".to_vec(), Some(b"v".to_vec()))])
        .unwrap();
    assert_eq!((number(&kv), number(&kv.crash()), kv.unsynced()), (8, 2, 6));
    let mut survived = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let left = kv.crash_with_seed(seed);
        let count = number(&left);
        assert!(left.get(Family::State, b"ingested").unwrap().is_some());
        let last = [b'0' + u8::try_from(count).unwrap() - 1];
        assert!(
            left.get(Family::Meta, &last).unwrap().is_some(),
            "a prefix survives"
        );
        survived.insert(count);
    }
    assert_eq!(survived.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_reopened_database_has_everything_and_a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || RocksKv::open(folder.path(), RocksConfig::default());
    let kv = open().unwrap();
    kv.write(&batch(&[(Family::Meta, b"k", Some(b"v"))]), true)
        .unwrap();
    let rows: Vec<IngestRow> = (0..2000u32)
        .map(|n| (n.to_be_bytes().to_vec(), Some(vec![1])))
        .collect();
    kv.ingest(Family::State, &rows).unwrap();
    let second = open().err().unwrap();
    assert_eq!(second.class(), FaultClass::Locked, "{second}");
    drop(kv);
    let kv = open().unwrap();
    assert_eq!(kv.get(Family::Meta, b"k").unwrap().unwrap(), b"v");
    assert_eq!(
        kv.range(Family::State, b"", None, Direction::Forward).count(),
        2000
    );
    assert_eq!(
        std::fs::read_dir(folder.path().join("ingest")).unwrap().count(),
        0,
        "sorted files were moved"
    );
}

#[test]
fn a_flipped_bit_in_a_sorted_file_is_corruption_and_not_another_value() {
    let folder = tempfile::tempdir().unwrap();
    let open = || RocksKv::open(folder.path(), RocksConfig::default());
    let rows: Vec<IngestRow> = (0..2000u32)
        .map(|n| (n.to_be_bytes().to_vec(), Some(vec![1; 40])))
        .collect();
    open().unwrap().ingest(Family::State, &rows).unwrap();
    let files = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "sst"))
        .max_by_key(|path| path.metadata().unwrap().len());
    let file = file.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damage: Result<Vec<_>, StorageError> =
        open().and_then(|kv| kv.range(Family::State, b"", None, Direction::Forward).collect());
    assert_eq!(damage.unwrap_err().class(), FaultClass::Corruption);
}

#[test]
fn a_full_disk_is_told_apart_by_the_database_too() {
    let kv = MemoryKv::new();
    kv.fail_writes(StorageError::DiskFull {
        what: "database".into(),
        detail: "no space".into(),
    });
    assert_eq!(
        kv.write(&Batch::new(), true).unwrap_err().class(),
        FaultClass::DiskFull
    );
    assert_eq!(
        kv.ingest(Family::State, &[]).unwrap_err().class(),
        FaultClass::DiskFull
    );
}
