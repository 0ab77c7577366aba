//! The files beside the database: torn writes are repaired, damage is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use vibecoin_primitives::{FaultClass, Hash, Height, Round};
use vibecoin_storage::files::*;
use vibecoin_storage::{Head, StorageError};

const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];

fn log(file: &MemoryFile) -> Result<OpenedLog, StorageError> {
    ConsensusLog::open_on(Box::new(file.clone()), Relied::All)
}

fn new_log() -> (MemoryFile, ConsensusLog) {
    let file = MemoryFile::new(ConsensusLog::fresh(Height(7), SALT));
    let log = log(&file).unwrap().log;
    (file, log)
}

fn record(n: u8) -> Vec<u8> {
    vec![n; 10 + usize::from(n) * 7]
}

#[test]
fn a_log_comes_back_with_every_synced_record_and_a_prefix_of_the_rest() {
    let (file, mut open) = new_log();
    (0..4).for_each(|n| open.append(&record(n)).unwrap());
    open.sync().unwrap();
    (4..8).for_each(|n| open.append(&record(n)).unwrap());
    let all: Vec<_> = (0..8).map(record).collect();
    let mut torn = 0;
    for seed in 0..300 {
        let left = file.crash(seed);
        let opened = log(&left).unwrap();
        assert!(
            opened.records.len() >= 4 && all.starts_with(&opened.records),
            "seed {seed}"
        );
        assert_eq!(opened.log.height(), Height(7));
        torn += usize::from(opened.dropped_bytes > 0);
        // The tail is permanently gone, and the log continues after it.
        let mut again = opened.log;
        again.append(b"more").unwrap();
        again.sync().unwrap();
        let reopened = log(&left).unwrap();
        assert_eq!(
            (
                reopened.dropped_bytes,
                reopened.records.last().unwrap().as_slice()
            ),
            (0, &b"more"[..])
        );
    }
    assert!(torn > 50, "{torn} of 300 crashes tore a record");
}

#[test]
fn a_flipped_bit_before_the_last_record_is_refused_and_in_it_drops_only_that_record() {
    let (file, mut open) = new_log();
    (0..3).for_each(|n| open.append(&record(n)).unwrap());
    open.sync().unwrap();
    let last = open.len() - 28 - record(2).len();
    for at in 8192..open.len() {
        for bit in [0, 7] {
            file.flip(at, bit);
            match log(&file.crash(0)) {
                Err(error) => {
                    assert!(at < last, "byte {at}");
                    assert_eq!(error.class(), FaultClass::Corruption, "byte {at}: {error}");
                }
                Ok(opened) => {
                    assert!(at >= last, "byte {at}");
                    assert_eq!(opened.records, [record(0), record(1)]);
                }
            }
            file.flip(at, bit);
        }
    }
    assert_eq!(log(&file).unwrap().records.len(), 3);
}

#[test]
fn bytes_of_a_payload_are_a_record_for_the_owner_of_the_salt_only() {
    // Another log, up to a record whose offset is inside a payload of ours.
    let forged = |salt| {
        let file = MemoryFile::new(ConsensusLog::fresh(Height(7), salt));
        let mut open = log(&file).unwrap().log;
        open.append(&[0; 1000]).unwrap();
        let at = open.len();
        open.append(&[]).unwrap();
        (at, file.read().unwrap()[at..].to_vec())
    };
    let mut other = SALT;
    other[0] ^= 1;
    for (salt, is_known) in [(SALT, true), (other, false)] {
        let (at, bytes) = forged(salt);
        let (file, mut open) = new_log();
        let payload_at = open.len() + 28;
        let mut payload = vec![1; 2000];
        payload[at - payload_at..][..bytes.len()].copy_from_slice(&bytes);
        open.append(&payload).unwrap();
        open.sync().unwrap();
        assert_eq!(log(&file.crash(0)).unwrap().records, [payload]);
        // The header, a byte before the forged record, a byte after it.
        for torn in [8192, 8192 + 4, payload_at + 1, at + bytes.len(), open.len() - 1] {
            file.flip(torn, 0);
            match log(&file.crash(0)) {
                Err(error) => assert!(
                    is_known && error.class() == FaultClass::Corruption,
                    "byte {torn}: {error}"
                ),
                Ok(opened) => {
                    assert!(!is_known, "byte {torn}: the control was not found");
                    assert_eq!((opened.records.len(), opened.whole), (0, false), "byte {torn}");
                }
            }
            file.flip(torn, 0);
        }
    }
}

#[test]
fn a_new_height_starts_empty_wherever_the_crash_falls() {
    let (file, mut open) = new_log();
    (0..60).for_each(|n| open.append(&record(n % 3)).unwrap());
    open.sync().unwrap();
    open.reset(Height(8)).unwrap();
    let mut cuts_undone = 0;
    for seed in 0..50 {
        let opened = log(&file.crash(seed)).unwrap();
        assert_eq!((opened.log.height(), opened.records.len()), (Height(8), 0));
        assert!(
            opened.whole,
            "seed {seed}: nothing of the new height was synced, so nothing is missing"
        );
        cuts_undone += usize::from(opened.dropped_bytes > 0);
    }
    assert!(cuts_undone > 0, "no crash undid the cut");
    let mut partly = 0;
    for seed in 0..200 {
        let left = file.crash_out_of_order(seed);
        let first = left.read().unwrap().get(8192).copied().unwrap_or_default();
        let older = left.read().unwrap().iter().skip(8192).any(|byte| *byte != 0);
        let opened = log(&left).unwrap();
        assert_eq!(opened.whole, older || opened.dropped_bytes == 0, "seed {seed}");
        partly += usize::from(older && first == 0);
    }
    assert!(partly > 0, "no crash undid a part of the cut");
    open.append(b"x").unwrap();
    open.sync().unwrap();
    assert_eq!(log(&file.crash(1)).unwrap().records, [b"x".to_vec()]);
}

#[test]
fn a_log_of_a_height_that_is_committed_is_emptied_at_the_start() {
    let (file, mut open) = new_log();
    (0..3).for_each(|n| open.append(&record(n)).unwrap());
    open.sync().unwrap();
    let height = open.height();
    for (next, records) in [
        (height.0 - 1, 3),
        (height.0, 3),
        (height.0 + 1, 0),
        (height.0 + 1, 0),
    ] {
        let opened = log(&file).unwrap().brought_to(Height(next)).unwrap();
        assert_eq!(opened.log.height(), Height(next).max(height));
        assert_eq!(opened.records.len(), records, "height {next}");
    }
    // Durable: later records do not depend on the torn one.
    let opened = log(&file.crash(0)).unwrap();
    assert_eq!((opened.log.height().0, opened.records.len()), (height.0 + 1, 0));
}

#[test]
fn a_log_says_whether_it_is_whole() {
    let (file, mut open) = new_log();
    assert!(log(&file).unwrap().whole, "an empty one is");
    (0..3).for_each(|n| open.append(&record(n)).unwrap());
    open.sync().unwrap();
    assert!(log(&file).unwrap().whole);
    file.flip(open.len() - 1, 0);
    let torn = log(&file.crash(0)).unwrap();
    assert_eq!((torn.whole, torn.records.len()), (false, 2));
    file.flip(open.len() - 1, 0);
    // The slot of the previous height: nothing is lost, but the disk is suspect.
    open.reset(Height(8)).unwrap();
    file.flip(30, 0);
    let opened = log(&file).unwrap();
    assert_eq!((opened.whole, opened.log.height()), (false, Height(8)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let made = ConsensusLog::open_or_create(&path, Height(3), SALT, Relied::All).unwrap();
    assert!(!made.whole, "it was not there");
    drop(made);
    assert!(
        ConsensusLog::open_or_create(&path, Height(3), SALT, Relied::All)
            .unwrap()
            .whole
    );
}

#[test]
fn a_log_record_over_the_limit_is_refused() {
    let (_, mut open) = new_log();
    assert!(open.append(&vec![0; RECORD_BYTES_MAX + 1]).is_err());
    assert!(open.is_empty());
}

#[test]
fn a_failed_sync_is_told_with_its_class() {
    let (file, mut open) = new_log();
    open.append(b"x").unwrap();
    file.fail(StorageError::Io {
        what: "disk".into(),
        detail: "input/output error".into(),
    });
    assert_eq!(open.sync().unwrap_err().class(), FaultClass::Io);
}

fn entry(height: u64, round: u32, step: u8) -> GuardEntry {
    GuardEntry {
        height: Height(height),
        round: Round(round),
        step,
        payload: vec![step; 100],
    }
}

#[test]
fn the_guard_goes_forward_only_and_says_the_same_thing_twice_at_most() {
    let file = MemoryFile::new(GuardFile::fresh());
    let mut guard = GuardFile::open_on(Box::new(file.clone())).unwrap();
    assert_eq!(guard.latest(), None);
    for next in [entry(1, 0, 1), entry(1, 0, 2), entry(1, 1, 0), entry(2, 0, 0)] {
        guard.store(next.clone(), 8_192).unwrap();
        guard.store(next.clone(), 8_192).unwrap();
        let mut other = next.clone();
        other.payload.push(1);
        assert_eq!(
            guard.store(other, 8_192).unwrap_err().class(),
            FaultClass::Safety,
            "another message for {next:?}"
        );
        let reopened = GuardFile::open_on(Box::new(file.crash(0))).unwrap();
        assert_eq!(reopened.latest(), Some(&next));
    }
    for back in [entry(1, 9, 9), entry(2, 0, 0)] {
        let back = GuardEntry {
            payload: vec![],
            ..back
        };
        assert!(guard.store(back, 8_192).is_err());
    }
    let long = GuardEntry {
        payload: vec![0; GUARD_PAYLOAD_BYTES_MAX + 1],
        ..entry(3, 0, 0)
    };
    assert!(guard.store(long, 8_192).is_err());
}

#[test]
fn a_torn_guard_write_leaves_the_entry_before_it_and_damage_to_both_slots_is_refused() {
    let file = MemoryFile::new(GuardFile::fresh());
    let mut guard = GuardFile::open_on(Box::new(file.clone())).unwrap();
    (1..=4).for_each(|height| guard.store(entry(height, 0, 0), 8_192).unwrap());
    // A write that never became durable: power was cut in the middle of it.
    let mut torn = file.clone();
    torn.write_at(0, &[0xa5; 300]).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let guard = GuardFile::open_on(Box::new(file.crash(seed))).unwrap();
        let latest = guard.latest().unwrap().height.0;
        assert!(latest == 4 || (latest == 3 && guard.was_torn()), "{latest}");
        seen.insert((latest, guard.was_torn()));
    }
    assert!(seen.contains(&(4, false)) && seen.len() >= 2, "{seen:?}");
    file.flip(30, 0);
    file.flip(4096 + 30, 0);
    let refused = GuardFile::open_on(Box::new(file.clone())).err().unwrap();
    assert!(matches!(refused, StorageError::Corrupt { .. }), "{refused}");
}

/// A copy of the file after a disk lost one of the two slots: it reads as zeros.
fn without_slot(file: &MemoryFile, slot: usize) -> MemoryFile {
    let mut bytes = file.read().unwrap();
    bytes[slot * 4096..][..4096].fill(0);
    MemoryFile::new(bytes)
}

#[test]
fn a_slot_that_the_disk_lost_is_as_torn_as_a_damaged_one() {
    let guard_file = MemoryFile::new(GuardFile::fresh());
    let witness_file = MemoryFile::new(HeadWitness::fresh());
    let (log_file, mut open) = new_log();
    let mut guard = GuardFile::open_on(Box::new(guard_file.clone())).unwrap();
    let mut witness = HeadWitness::open_on(Box::new(witness_file.clone())).unwrap();
    for height in 1..=5 {
        for slot in 0..2 {
            let left = GuardFile::open_on(Box::new(without_slot(&guard_file, slot))).unwrap();
            assert!(left.was_torn(), "guard, height {height}, slot {slot}");
            let left = HeadWitness::open_on(Box::new(without_slot(&witness_file, slot))).unwrap();
            assert!(left.was_torn(), "witness, height {height}, slot {slot}");
            let left = log(&without_slot(&log_file, slot)).unwrap();
            assert!(!left.whole, "log, height {height}, slot {slot}");
        }
        assert!(
            !GuardFile::open_on(Box::new(guard_file.clone()))
                .unwrap()
                .was_torn()
        );
        assert!(
            !HeadWitness::open_on(Box::new(witness_file.clone()))
                .unwrap()
                .was_torn()
        );
        assert!(log(&log_file).unwrap().whole);
        guard.store(entry(height, 0, 0), 8_192).unwrap();
        let hash = Hash([9; 32]);
        let height = Height(height);
        witness.record(Head { height, hash }).unwrap();
        witness.sync().unwrap();
        open.reset(height).unwrap();
    }
    // The next entry replaces the lost one.
    let file = without_slot(&guard_file, 0);
    let mut guard = GuardFile::open_on(Box::new(file.clone())).unwrap();
    guard.store(entry(9, 0, 0), 8_192).unwrap();
    let again = GuardFile::open_on(Box::new(file)).unwrap();
    assert_eq!((again.latest(), again.was_torn()), (Some(&entry(9, 0, 0)), false));
}

#[test]
fn a_missing_guard_is_told_apart_from_a_damaged_one_and_is_never_made_silently() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard");
    assert!(matches!(
        GuardFile::open(&path).err().unwrap(),
        StorageError::Missing { .. }
    ));
    assert!(!path.exists());
    GuardFile::create(&path)
        .unwrap()
        .store(entry(5, 0, 0), 8_192)
        .unwrap();
    assert_eq!(GuardFile::open(&path).unwrap().latest(), Some(&entry(5, 0, 0)));
    assert!(
        GuardFile::create(&path).is_err(),
        "an existing guard is never replaced"
    );
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(
        GuardFile::open(&path).err().unwrap(),
        StorageError::Corrupt { .. }
    ));
}

#[test]
fn the_witness_remembers_the_head_and_a_crash_sets_it_back_only() {
    let file = MemoryFile::new(HeadWitness::fresh());
    let mut witness = HeadWitness::open_on(Box::new(file.clone())).unwrap();
    assert_eq!(witness.head(), None);
    for height in 1..=100u64 {
        witness
            .record(Head {
                height: Height(height),
                hash: Hash([9; 32]),
            })
            .unwrap();
    }
    for seed in 0..100 {
        let left = HeadWitness::open_on(Box::new(file.crash(seed)))
            .unwrap()
            .head()
            .unwrap();
        assert!((64..=100).contains(&left.height.0), "{left:?}");
    }
    witness.sync().unwrap();
    let left = HeadWitness::open_on(Box::new(file.crash(3))).unwrap();
    assert_eq!(
        (left.head().unwrap().height, left.was_torn()),
        (Height(100), false)
    );
    file.flip(30, 0);
    let torn = HeadWitness::open_on(Box::new(file.crash(3))).unwrap();
    assert!(torn.was_torn() && torn.head().unwrap().height >= Height(64));
}
