//! Durable state of a node, across process and power failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vibecoin_consensus::GuardEntry;
use vibecoin_host::{Files, RecoverError, Recovered, Role, recover};
use vibecoin_primitives::{Hash, Height, PublicKey, decode};
use vibecoin_replica::Chain;
use vibecoin_storage::files::{self, ConsensusLog, GuardFile, HeadWitness, MemoryFile, RawFile};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::{StorageError, Store, StoreConfig};
use vibecoin_tests_behaviours::Rng;

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

/// Switch that makes a sync fail before it is done, and everything after it.
#[derive(Clone, Default)]
pub struct Power {
    /// Number of syncs until one fails, counting it; 0 when none will.
    left: Arc<AtomicU64>,
    off: Arc<AtomicBool>,
}

/// True if a file holds bytes that a power failure would lose. A killed process leaves them behind.
#[derive(Clone, Default)]
struct Dirty(Arc<AtomicBool>);

impl Power {
    /// Makes a sync fail, after so many that succeed.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.left.store(syncs + 1, Ordering::Relaxed);
    }

    /// No sync fails any more, unless one has failed.
    pub fn hold(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Returns true if a sync has failed.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.is_off() {
            return Err(io_error("the power failed"));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            if left == 1 {
                self.off.store(true, Ordering::Relaxed);
            }
        }
        self.check()
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
        self.power.check()?;
        self.dirty.0.store(true, Ordering::Relaxed);
        self.file.write_at(offset, bytes)
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.power.check()?;
        self.file.truncate(len)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.power.sync()?;
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
    pub fn open(
        &mut self,
        chain: &Chain,
        key: PublicKey,
        config: StoreConfig,
    ) -> Result<(Arc<Store>, Recovered), RecoverError> {
        let store = Store::open(Arc::new(self.kv.clone()), Some(&chain.genesis), config);
        let store = store.map_err(|source| vibecoin_host::HostError {
            context: "open the database",
            source,
        })?;
        let role = Role {
            key: Some(key),
            validators: &chain.validators,
            fault_model: chain.fault_model(),
            // A lone validator has a guard here as well: the rules of the observer apply to it.
            dev: false,
            has_network: true,
        };
        let recovered = recover(&mut DiskFiles(self), &store, &role)?;
        Ok((Arc::new(store), recovered))
    }

    fn on(&self, file: &MemoryFile, dirty: Dirty) -> Box<dyn RawFile> {
        Box::new(PowerFile {
            file: file.clone(),
            power: self.power.clone(),
            dirty,
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

    /// Damages the newest slot of the guard and the last record of the log, if both exist. Returns the height of
    /// the entry that the guard does not have any more, if it is not an abstention: nothing was signed with one.
    pub fn damage_guard_and_log(&mut self) -> Option<Height> {
        let newest = latest(&self.guard)?;
        let (guard, mut log) = (self.guard.read().unwrap(), self.log.read().unwrap());
        if log.len() <= EMPTY_LOG_BYTES {
            return None;
        }
        let damaged = [SLOT_BYTE, guard.len() / 2 + SLOT_BYTE].map(|at| {
            let mut bytes = guard.clone();
            bytes[at] ^= 1;
            MemoryFile::new(bytes)
        });
        self.guard = damaged
            .into_iter()
            .find(|file| latest(file).is_some_and(|older| older != newest))?;
        *log.last_mut()? ^= 1;
        self.log = MemoryFile::new(log);
        self.log_dirty = Dirty::default();
        let entry: GuardEntry = decode(&newest.payload).unwrap();
        (!entry.is_abstention()).then_some(newest.height)
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

/// A byte of a slot, behind its head.
const SLOT_BYTE: usize = 60;
/// Bytes of a log without records.
const EMPTY_LOG_BYTES: usize = 8192;

/// The newest entry of a guard; `None` when there is none or none is intact.
fn latest(file: &MemoryFile) -> Option<files::GuardEntry> {
    let copy = MemoryFile::new(file.read().unwrap());
    GuardFile::open_on(Box::new(copy)).ok()?.latest().cloned()
}

/// The files of a disk, as a start opens them.
struct DiskFiles<'a>(&'a Disk);

impl Files for DiskFiles<'_> {
    fn witness(&mut self) -> Result<HeadWitness, StorageError> {
        HeadWitness::open_on(self.0.on(&self.0.witness, Dirty::default()))
    }

    fn guard(&mut self) -> Result<GuardFile, StorageError> {
        GuardFile::open_on(self.0.on(&self.0.guard, Dirty::default()))
    }

    fn log(&mut self) -> Result<Option<Box<dyn RawFile>>, StorageError> {
        Ok(Some(self.0.on(&self.0.log, self.0.log_dirty.clone())))
    }

    fn create_log(&mut self, _content: &[u8]) -> Result<Box<dyn RawFile>, StorageError> {
        Err(io_error("the log exists from the beginning"))
    }

    fn salt(&mut self) -> Result<[u8; files::SALT_BYTES], StorageError> {
        Ok(LOG_SALT)
    }
}
