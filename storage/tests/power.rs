//! Power cuts on a disk that writes its sectors in any order: data that was signed for is kept, the rest may
//! be lost.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use vibecoin_primitives::{FaultClass, Height, Round};
use vibecoin_storage::files::*;

const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];
const SLOTS: usize = 8_192;

/// A validator's log and guard, and their contents.
struct Home {
    log_file: MemoryFile,
    guard_file: MemoryFile,
    log: ConsensusLog,
    guard: GuardFile,
    records: Vec<Vec<u8>>,
    /// End of each record.
    ends: Vec<usize>,
    synced: usize,
    /// Number of records before the newest signature.
    signed: usize,
    height: u64,
    round: u32,
    dice: u64,
}

impl Home {
    fn new(seed: u64) -> Self {
        let log_file = MemoryFile::new(ConsensusLog::fresh(Height(7), SALT));
        let guard_file = MemoryFile::new(GuardFile::fresh());
        let guard = GuardFile::open_on(Box::new(guard_file.clone())).unwrap();
        let log = ConsensusLog::open_on(Box::new(log_file.clone()), guard.relied()).unwrap();
        Self {
            log_file,
            guard_file,
            log: log.log,
            guard,
            records: vec![],
            ends: vec![],
            synced: 0,
            signed: 0,
            height: 7,
            round: 0,
            dice: seed,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn append(&mut self) {
        let most = if self.roll(3) == 0 { 3_000 } else { 200 };
        let record = vec![self.records.len() as u8; self.roll(most) as usize];
        self.log.append(&record).unwrap();
        self.records.push(record);
        self.ends.push(self.log.len());
    }

    fn sync(&mut self) {
        self.log.sync().unwrap();
        self.synced = self.records.len();
    }

    fn sign(&mut self) {
        self.sync();
        self.round += 1;
        let entry = GuardEntry {
            height: Height(self.height),
            round: Round(self.round),
            step: 0,
            payload: vec![1; 50],
        };
        self.guard.store(entry, self.log.len()).unwrap();
        self.signed = self.records.len();
    }

    fn next_height(&mut self) {
        self.height += 1;
        self.log.reset(Height(self.height)).unwrap();
        self.records.clear();
        self.ends.clear();
        (self.synced, self.signed) = (0, 0);
    }

    fn step(&mut self) {
        match self.roll(12) {
            0 => self.next_height(),
            1 => self.sign(),
            2 => self.sync(),
            _ => self.append(),
        }
    }

    fn relied(&self) -> Relied {
        GuardFile::open_on(Box::new(self.guard_file.crash_out_of_order(1)))
            .unwrap()
            .relied()
    }
}

fn open(file: &MemoryFile, relied: Relied) -> Result<OpenedLog, vibecoin_storage::StorageError> {
    ConsensusLog::open_on(Box::new(file.clone()), relied)
}

#[test]
fn a_power_cut_in_any_order_keeps_what_was_synced_and_never_stops_the_node() {
    let (mut refused_without_the_guard, mut cut) = (0, 0);
    for seed in 0..150 {
        let mut home = Home::new(seed);
        for step in 0..40 {
            home.step();
            let left = home.log_file.crash_out_of_order(seed * 1_000 + step);
            refused_without_the_guard += usize::from(open(&left.crash(0), Relied::All).is_err());
            let opened = open(&left, home.relied()).unwrap();
            assert_eq!(opened.log.height(), Height(home.height));
            let count = opened.records.len();
            assert!(
                count >= home.synced,
                "seed {seed} step {step}: {count} of {}",
                home.synced
            );
            assert!(
                home.records.starts_with(&opened.records),
                "seed {seed} step {step}"
            );
            cut += usize::from(count < home.records.len());
            // The truncated part is permanently gone: the log continues in its place.
            let mut again = opened.log;
            again.append(b"more").unwrap();
            again.sync().unwrap();
            let reopened = open(&left, Relied::All).unwrap();
            assert_eq!((reopened.records.len(), reopened.dropped_bytes), (count + 1, 0));
        }
    }
    assert!(
        refused_without_the_guard > 200,
        "{refused_without_the_guard} times"
    );
    assert!(cut > 2_000, "{cut} times");
}

#[test]
fn damage_to_what_was_signed_for_is_refused_and_behind_it_cut() {
    let (mut refused, mut cut) = (0, 0);
    for seed in 0..400 {
        let mut home = Home::new(seed);
        (0..30).for_each(|_| home.step());
        home.sync();
        let Some(last) = home.records.len().checked_sub(1) else {
            continue;
        };
        let count = home.records.len() as u64;
        let at = home.roll(count) as usize;
        let from = at.checked_sub(1).map_or(SLOTS, |before| home.ends[before]);
        let length = (home.ends[at] - from) as u64;
        let byte = from + home.roll(length) as usize;
        home.log_file.flip(byte, home.dice as u8);
        match open(&home.log_file.crash_out_of_order(0), home.relied()) {
            Err(error) => {
                assert_eq!(error.class(), FaultClass::Corruption, "{error}");
                assert!(at < home.signed && at < last, "seed {seed}: record {at}");
                refused += 1;
            }
            Ok(opened) => {
                // The last record is the torn tail of any crash; the orderer compares it with the guard.
                assert!(
                    at >= home.signed || at == last,
                    "seed {seed}: record {at} was signed for"
                );
                assert_eq!(opened.records, home.records[..at], "seed {seed}");
                assert!(!opened.whole);
                cut += 1;
            }
        }
    }
    assert!(refused > 40 && cut > 40, "{refused} refused, {cut} cut");
}

#[test]
fn a_guard_that_may_have_lost_its_newest_entry_spares_nothing() {
    let mut home = Home::new(1);
    home.sign();
    assert!(home.relied().spares(Height(8), SLOTS));
    home.guard_file.flip(30, 0);
    assert_eq!(home.relied(), Relied::All);
}
