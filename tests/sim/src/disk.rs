//! Durable state of a node, across process and power failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vibecoin_consensus::{GuardEntry, GuardStep, LogRecord};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Hash, Height, decode, encode};
use vibecoin_storage::files::{self, ConsensusLog, GuardFile, HeadWitness, MemoryFile, RawFile};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::start::{Remembered, check_start};
use vibecoin_storage::{StorageError, Store, StoreConfig};

use crate::rng::Rng;

/// Salt of the logs: no transaction of a scenario imitates a record.
const LOG_SALT: [u8; files::SALT_BYTES] = [0x5a; files::SALT_BYTES];

/// Three files and a database, all in memory, all able to lose what was not synced.
pub struct Disk {
    pub kv: MemoryKv,
    log: MemoryFile,
    guard: MemoryFile,
    witness: MemoryFile,
    power: Power,
    log_dirty: Dirty,
    /// Actual contents of the database after a falsely acknowledged commit.
    pub forgotten: Option<MemoryKv>,
    /// A copy of the database at an earlier block, and that block.
    pub kept: Option<(MemoryKv, (Height, Hash))>,
    /// True if the database lost blocks on purpose.
    pub tail_lost: bool,
}

/// State of a node as found at a start.
pub struct Opened {
    pub store: Arc<Store>,
    pub log: ConsensusLog,
    /// True if the log is about a committed height: the process ended between the commit and the reset.
    pub log_is_older: bool,
    pub records: Vec<LogRecord>,
    pub guard: GuardFile,
    pub newest_guard: Option<GuardEntry>,
    pub witness: HeadWitness,
    /// True if the database lost blocks that peers have.
    pub lost: bool,
    /// The last height at which the key must be silent.
    pub silent_through: Option<Height>,
}

/// Switch that makes a sync fail before it is done.
#[derive(Clone, Default)]
pub struct Power(Arc<AtomicBool>);

/// True if a file holds bytes that a power failure would lose. A killed process leaves them behind.
#[derive(Clone, Default)]
struct Dirty(Arc<AtomicBool>);

impl Power {
    /// Makes the next sync fail.
    pub fn fail_next_sync(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A file whose sync can be interrupted by a power failure.
struct PowerFile {
    file: MemoryFile,
    power: Power,
    dirty: Dirty,
}

impl RawFile for PowerFile {
    fn name(&self) -> String {
        self.file.name()
    }

    fn read(&self) -> Result<Vec<u8>, StorageError> {
        self.file.read()
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.dirty.0.store(true, Ordering::Relaxed);
        self.file.write_at(offset, bytes)
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.file.truncate(len)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.power.0.swap(false, Ordering::Relaxed) {
            return Err(io_error("the power failed"));
        }
        self.dirty.0.store(false, Ordering::Relaxed);
        self.file.sync()
    }
}

pub fn io_error(detail: &str) -> StorageError {
    StorageError::Io {
        what: "simulated disk".to_owned(),
        detail: detail.to_owned(),
    }
}

impl Disk {
    /// The disk of a newly initialised node; `genesis` holds block 0.
    pub fn new(genesis: &MemoryKv) -> Self {
        Self {
            kv: genesis.crash(),
            log: MemoryFile::new(ConsensusLog::fresh(Height(1), LOG_SALT)),
            guard: MemoryFile::new(GuardFile::fresh()),
            witness: MemoryFile::new(HeadWitness::fresh()),
            power: Power::default(),
            log_dirty: Dirty::default(),
            forgotten: None,
            kept: None,
            tail_lost: false,
        }
    }

    /// Opens everything as the node does at a start.
    pub fn open(&self, genesis: &Hash, config: StoreConfig) -> Result<Opened, StorageError> {
        let on = |file: &MemoryFile, dirty| {
            Box::new(PowerFile {
                file: file.clone(),
                power: self.power.clone(),
                dirty,
            })
        };
        let file = |file| on(file, Dirty::default());
        let store = Store::open(Arc::new(self.kv.clone()), Some(genesis), config)?;
        let witness = HeadWitness::open_on(file(&self.witness))?;
        let guard = GuardFile::open_on(file(&self.guard))?;
        let opened = ConsensusLog::open_on(on(&self.log, self.log_dirty.clone()), guard.relied())?;
        let newest_guard = guard.latest().map(|entry| decode(&entry.payload)).transpose();
        let newest_guard = newest_guard.map_err(|error| damaged(format!("guard entry: {error}")))?;
        // D4 and D5: a database that lost its tail is caught up without signing; an inconsistent one never
        // gets to sign.
        let signed = newest_guard.as_ref().map(|entry: &GuardEntry| entry.height);
        let report = check_start(&store, witness.head(), signed)?;
        if let Some(damage) = report.unmendable() {
            return Err(damaged(damage.to_string()));
        }
        let remembered = Remembered {
            head: report.head.height,
            witness: witness.head().map(|head| head.height),
            guard: signed,
            guard_torn: guard.was_torn(),
            log: opened.log.height(),
            log_whole: opened.whole,
        };
        let next = report.head.height.saturating_add(1);
        let log_is_older = opened.log.height() < next;
        // The bug needs the block of the head to be in the log still.
        let opened = if active(Bug::AppliedTwice) {
            opened
        } else {
            opened.brought_to(next)?
        };
        let records = opened
            .records
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>();
        let records = records.map_err(|error| damaged(format!("log record: {error}")))?;
        Ok(Opened {
            store: Arc::new(store),
            log: opened.log,
            log_is_older,
            records,
            guard,
            newest_guard,
            witness,
            lost: report.lost().is_some(),
            silent_through: remembered.silent_through(),
        })
    }

    /// Returns true if the log holds bytes that a power failure would lose.
    pub fn log_is_dirty(&self) -> bool {
        self.log_dirty.0.load(Ordering::Relaxed)
    }

    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Ends the process. With `torn` the power fails, too, and unsynced bytes are lost or torn: in half of
    /// the cases the end is missing, in the others any sectors. Returns true if anything was lost.
    pub fn crash(&mut self, rng: &mut Rng, torn: bool) -> bool {
        self.power = Power::default();
        if torn {
            self.log_dirty = Dirty::default();
        }
        let mut lost = false;
        // When only the process is killed, the kernel keeps written bytes; they are still not durable.
        for file in [&mut self.log, &mut self.guard, &mut self.witness]
            .into_iter()
            .filter(|_| torn)
        {
            let written = file.read().unwrap();
            let seed = rng.next();
            *file = match seed % 2 {
                0 => file.crash(seed),
                _ => file.crash_out_of_order(seed),
            };
            lost |= file.read().unwrap() != written;
        }
        self.kv = match self.forgotten.take() {
            Some(kv) => kv,
            None => self.kv.crash_with_seed(rng.next()),
        };
        lost
    }

    /// Restores the database of an earlier block, if one was kept; returns that block.
    pub fn lose_tail(&mut self) -> Option<(Height, Hash)> {
        let (kv, block) = self.kept.take()?;
        self.kv = kv;
        self.tail_lost = true;
        Some(block)
    }

    /// Discards the log.
    pub fn lose_log(&mut self, height: Height) {
        self.log = MemoryFile::new(ConsensusLog::fresh(height, LOG_SALT));
        self.log_dirty = Dirty::default();
    }

    /// Discards the guard.
    pub fn lose_guard(&mut self) {
        self.guard = MemoryFile::new(GuardFile::fresh());
    }

    /// Makes every write to the log fail from now on.
    pub fn fail_log(&self) {
        self.log.fail(io_error("the disk is broken"));
    }
}

fn damaged(detail: String) -> StorageError {
    StorageError::Corrupt {
        what: "simulated disk".to_owned(),
        detail,
    }
}

/// A guard entry in the form of its file.
pub fn guard_row(entry: &GuardEntry) -> files::GuardEntry {
    files::GuardEntry {
        height: entry.height,
        round: entry.round,
        step: match entry.step {
            GuardStep::Building => 0,
            GuardStep::Proposal => 1,
            GuardStep::Prevote => 2,
            GuardStep::Precommit => 3,
        },
        payload: encode(entry),
    }
}
