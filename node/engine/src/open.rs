//! Opening a home: every file is read and checked before a thread runs, and their joint contents decide
//! whether the node may sign, follows in silence first, or does not start.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Access;
use tracing::{info, warn};
use vibecoin_config::{Config, Paths};
use vibecoin_consensus::{Guard, GuardEntry, LogRecord};
use vibecoin_execution::read_schedule;
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_primitives::{FaultModel, Height, PublicKey, ValidatorSet, decode};
use vibecoin_replica::{Head, Parent};
use vibecoin_rpc_server::backend::Head as RpcHead;
use vibecoin_storage::files::{
    ConsensusLog, GuardFile, HeadWitness, MemoryFile, OpenedLog, Relied, SALT_BYTES,
};
use vibecoin_storage::kv::RocksConfig;
use vibecoin_storage::start::{Remembered, StartReport, check_start};
use vibecoin_storage::{GenesisState, StateView, StorageError, Store, StoreConfig};

use crate::driver::GuardStore;
use crate::error::NodeError;
use crate::recovery::Recovery;

/// An opened home: the contents of its consensus files, and their writers.
pub struct Opened {
    /// The database.
    pub store: Arc<Store>,
    /// The consensus log.
    pub log: ConsensusLog,
    /// Its records, oldest first.
    pub records: Vec<LogRecord>,
    /// The double-sign guard.
    pub guard: GuardStore,
    /// Newest intact entry of the guard.
    pub newest_guard: Option<GuardEntry>,
    /// A newer entry may be lost.
    pub guard_torn: bool,
    /// The head witness.
    pub witness: HeadWitness,
    /// Blocks to fetch, and heights without signing, before the node participates again.
    pub recovery: Recovery,
}

/// The role of the node that a home is opened for.
pub struct Role<'a> {
    /// The signing key; `None` on a node that only follows.
    pub key: Option<PublicKey>,
    /// The validators of the chain.
    pub validators: &'a ValidatorSet,
    /// The faults that they tolerate.
    pub fault_model: FaultModel,
    /// Returns true if other nodes can be reached.
    pub has_network: bool,
}

impl Role<'_> {
    /// Returns true if this key alone is a quorum: no other node decided the blocks that it lost.
    fn decides_alone(&self) -> bool {
        let member = self.key.and_then(|key| self.validators.find(&key));
        member.is_some_and(|(_, validator)| {
            self.fault_model
                .is_quorum(validator.power.0, self.validators.total_power())
        })
    }
}

pub(crate) fn storage(context: &'static str) -> impl Fn(StorageError) -> NodeError {
    move |source| NodeError::Storage { context, source }
}

/// Reads the genesis file of a home.
pub fn read_genesis(path: &Path) -> Result<BuiltGenesis, NodeError> {
    let what = path.display().to_string();
    let config = |detail: String| NodeError::Config {
        what: what.clone(),
        detail,
    };
    let bytes = std::fs::metadata(path)
        .map_err(|error| config(error.to_string()))?
        .len();
    if usize::try_from(bytes).unwrap_or(usize::MAX) > GENESIS_BYTES_MAX {
        return Err(config(format!("{bytes} bytes, the most are {GENESIS_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| config(error.to_string()))?;
    Genesis::parse(&text)
        .and_then(|genesis| genesis.build())
        .map_err(|error| config(error.to_string()))
}

/// Configuration of the store.
pub fn store_config(config: &Config) -> StoreConfig {
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let rocks = RocksConfig {
        block_cache_bytes: bytes(config.storage.block_cache_bytes),
        write_buffer_bytes: bytes(config.storage.write_buffer_bytes),
        ..RocksConfig::default()
    };
    StoreConfig {
        rocks,
        pending_updates_max: bytes(config.storage.backlog_updates_max),
        ..StoreConfig::default()
    }
}

/// Creates a folder of the configuration where there is none. A path where none can be is an error in the
/// configuration: the database would report it as corruption.
pub fn make_folder(key: &'static str, folder: &Path) -> Result<(), NodeError> {
    let path = || folder.display().to_string();
    let made = std::fs::create_dir_all(folder).and_then(|()| {
        let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::access(folder, wanted)?)
    });
    made.map_err(|error| {
        let detail = error.to_string();
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                NodeError::Access { path: path(), detail }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                let what = path();
                storage("make a folder")(StorageError::DiskFull { what, detail })
            }
            _ => NodeError::Place {
                key,
                path: path(),
                detail,
            },
        }
    })
}

/// Opens the home and checks it.
pub fn open(
    paths: &Paths,
    config: &Config,
    genesis: &BuiltGenesis,
    role: &Role<'_>,
) -> Result<Opened, NodeError> {
    let store_config = store_config(config);
    let state = GenesisState {
        header: genesis.header.clone(),
        body: genesis.body.clone(),
        params: genesis.params.clone(),
        validators: genesis.validators.clone(),
        accounts: genesis.accounts.clone(),
        slots: genesis.slots.clone(),
    };
    make_folder("storage.db_dir", &paths.db)?;
    make_folder("consensus.log_dir", &paths.consensus)?;
    let store =
        Store::open_or_create_path(&paths.db, &state, store_config).map_err(storage("open the database"))?;
    let witness = HeadWitness::open_or_create(&paths.witness).map_err(storage("open the head witness"))?;
    if witness.was_torn() {
        warn!(target: "node", path = %paths.witness.display(), "{TORN_WITNESS}");
    }
    let (next, had_log) = (store.head().height.saturating_add(1), paths.log.exists());
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| {
        storage("make the salt of the consensus log")(StorageError::Io {
            what: "the system's randomness".to_owned(),
            detail: error.to_string(),
        })
    })?;
    // First, because it states which part of the log was signed for.
    let (mut guard, guard_torn, mut newest_guard, relied) = guard_for(&paths.guard, genesis, role)?;
    if guard_torn {
        warn!(target: "node", path = %paths.guard.display(), "{TORN_GUARD}");
    }
    // Judged before the log is opened for writing, which repairs it: a start that ends after that would erase
    // the evidence of the loss for the next one. So the silence is made durable first.
    let recovery = judge(
        &store,
        witness.head(),
        &LogFound::look(&paths.log, relied)?.unwrap_or(LogFound {
            height: next,
            whole: false,
        }),
        guard_torn,
        newest_guard.as_ref(),
        role,
    )?;
    if let Some(through) = recovery.silent_through {
        newest_guard = remember_silence(&mut guard, newest_guard, through)?;
    }
    let opened = ConsensusLog::open_or_create(&paths.log, next, salt, relied)
        .map_err(storage("open the consensus log"))?;
    if opened.dropped_bytes > 0 {
        info!(target: "node", bytes = opened.dropped_bytes, "dropped the torn tail of the consensus log");
    } else if had_log && !opened.whole {
        warn!(target: "node", path = %paths.log.display(), "{TORN_LOG}");
    }
    let opened = opened
        .brought_to(next)
        .map_err(storage("reset the consensus log"))?;
    let records = decode_log(&opened)?;
    Ok(Opened {
        store: Arc::new(store),
        log: opened.log,
        records,
        guard,
        newest_guard,
        guard_torn,
        witness,
        recovery,
    })
}

/// Height and integrity of the consensus log, read before anything is written to it.
struct LogFound {
    /// The height of its records.
    height: Height,
    /// The file was there, and every byte of it is valid.
    whole: bool,
}

impl LogFound {
    /// Reads a copy, because opening the file cuts a torn tail; `None` when there is no file.
    fn look(path: &Path, relied: Relied) -> Result<Option<Self>, NodeError> {
        let Some(opened) = open_log_copy(path, relied)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            height: opened.log.height(),
            whole: opened.whole,
        }))
    }
}

/// Records in the guard that the key signs nothing up to this height. Returns the guard's newest entry.
fn remember_silence(
    store: &mut GuardStore,
    newest: Option<GuardEntry>,
    through: Height,
) -> Result<Option<GuardEntry>, NodeError> {
    let mut guard = Guard::new(newest);
    guard.abstain_through(through);
    guard.keep_abstention();
    if let Some(entry) = guard.take_unsaved() {
        // No part of the log is behind it: the key does not continue from what it signed at these heights.
        store.store(&entry, 0)?;
    }
    Ok(guard.newest().cloned())
}

/// Returns the guard of this role, true if one of its slots is damaged, its newest entry, and the part of the
/// log that was signed for.
fn guard_for(
    path: &Path,
    genesis: &BuiltGenesis,
    role: &Role<'_>,
) -> Result<(GuardStore, bool, Option<GuardEntry>, Relied), NodeError> {
    if !is_guarded(genesis, role) {
        return Ok((GuardStore::Memory, false, None, relied_unguarded(path, role)));
    }
    let ((file, torn), newest) = open_guard(path)?;
    let relied = file.relied();
    Ok((GuardStore::File(Box::new(file)), torn, newest, relied))
}

/// The part of the log that a node without a guard relies on. A node without a key signs nothing, but its
/// home may have signed before; a lone validator signs without a record of it.
fn relied_unguarded(guard: &Path, role: &Role<'_>) -> Relied {
    match (role.key, GuardFile::open(guard)) {
        (None, Err(StorageError::Missing { .. })) => Relied::Nothing,
        (None, Ok(file)) => file.relied(),
        (None, Err(_)) | (Some(_), _) => Relied::All,
    }
}

fn is_guarded(genesis: &BuiltGenesis, role: &Role<'_>) -> bool {
    needs_guard(
        genesis.params.dev,
        genesis.validators.members().len(),
        role.key.is_some(),
    )
}

/// Returns true if signatures must be recorded in a file. A node that never signs has nothing to guard, and
/// the only validator of a dev chain cannot contradict any vote; with others there are votes to contradict.
const fn needs_guard(dev: bool, validators: usize, signs: bool) -> bool {
    signs && !(dev && validators == 1)
}

/// Warning for a damaged slot of the guard.
const TORN_GUARD: &str = "one of the two slots of the double-sign guard is damaged: after a power cut it is the trace \
    of a write that never returned; otherwise suspect the disk";

/// Warning for a damaged slot of the witness.
const TORN_WITNESS: &str =
    "one of the two slots of the head witness is damaged: it may remember an older head";
/// Warning for a damaged slot of the log.
const TORN_LOG: &str = "one of the two slots of the consensus log is damaged: after a power cut it is the trace of a \
    write that never returned; otherwise suspect the disk";

fn decode_log(opened: &OpenedLog) -> Result<Vec<LogRecord>, NodeError> {
    opened
        .records
        .iter()
        .map(|bytes| decode(bytes))
        .collect::<Result<Vec<LogRecord>, _>>()
        .map_err(|error| NodeError::Damaged {
            detail: format!("consensus log: {error}"),
            remedy: "keep a copy of the file for a report; it holds only the height in progress".to_owned(),
        })
}

/// A key never signs without its guard, which is created together with the key. The flag is true if one of
/// its slots is damaged.
fn open_guard(path: &Path) -> Result<((GuardFile, bool), Option<GuardEntry>), NodeError> {
    guard_of(GuardFile::open(path))
}

fn guard_of(
    opened: Result<GuardFile, StorageError>,
) -> Result<((GuardFile, bool), Option<GuardEntry>), NodeError> {
    let file = match opened {
        Err(error @ (StorageError::Missing { .. } | StorageError::Corrupt { .. })) => {
            return Err(NodeError::GuardLost {
                detail: error.to_string(),
            });
        }
        opened => opened.map_err(storage("open the double-sign guard"))?,
    };
    let newest = file.latest().map(|entry| decode(&entry.payload)).transpose();
    let newest = newest.map_err(|error| NodeError::GuardLost {
        detail: error.to_string(),
    })?;
    let torn = file.was_torn();
    Ok(((file, torn), newest))
}

/// D4, D5: a database that lost its tail catches up in silence; an inconsistent one is refused.
fn judge(
    store: &Store,
    witness: Option<vibecoin_storage::Head>,
    log: &LogFound,
    guard_torn: bool,
    guard: Option<&GuardEntry>,
    role: &Role<'_>,
) -> Result<Recovery, NodeError> {
    let guard = guard.map(|entry| entry.height);
    let report = check_start(store, witness, guard).map_err(storage("check the database"))?;
    if let Some(damage) = report.unmendable() {
        return Err(NodeError::Damaged {
            detail: damage.to_string(),
            remedy: damage.remedy().to_owned(),
        });
    }
    let remembered = Remembered {
        head: report.head.height,
        witness: witness.map(|head| head.height),
        guard,
        guard_torn,
        log: log.height,
        log_whole: log.whole,
    };
    let recovery = Recovery {
        lost: report.lost(),
        silent_through: remembered.silent_through().filter(|_| role.key.is_some()),
    };
    may_recover(&report, &recovery, role)?;
    Ok(recovery)
}

/// Refuses a home whose lost blocks no other node can supply.
fn may_recover(report: &StartReport, recovery: &Recovery, role: &Role<'_>) -> Result<(), NodeError> {
    let detail = match (report.damage.first(), recovery.silent_through) {
        (Some(damage), _) => damage.to_string(),
        (None, Some(through)) if role.decides_alone() => format!(
            "a slot of the double-sign guard is damaged and the consensus log does not say what was signed up to height {through}"
        ),
        (None, _) => return Ok(()),
    };
    let remedy = if role.decides_alone() && report.damage.is_empty() {
        "This validator decides blocks alone: nobody else goes on while it is silent. Put the consensus log back, or \
         restore a copy of the whole home that was made when the node was stopped"
    } else if role.decides_alone() {
        "This validator decides blocks alone: to make the lost ones again it would have to contradict what it signed. \
         Copy the database folder of a follower of this chain that has them (both nodes stopped), or restore a copy \
         of the whole home that was made when the node was stopped"
    } else if role.has_network {
        return Ok(());
    } else {
        "The missing blocks can be fetched from peers, but this node has none: set p2p.peers (or p2p.listen) and start again"
    };
    Err(NodeError::Damaged {
        detail,
        remedy: remedy.to_owned(),
    })
}

/// An in-memory copy of a consensus file; `None` when there is no file.
fn copy(path: &Path) -> Result<Option<MemoryFile>, NodeError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(MemoryFile::new(bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NodeError::System {
            what: "read a consensus file",
            detail: format!("{}: {error}", path.display()),
        }),
    }
}

/// Adds the path to a report of damage.
fn named(path: &Path) -> impl Fn(StorageError) -> StorageError {
    let path = path.display().to_string();
    move |error| match error {
        StorageError::Corrupt { detail, .. } => StorageError::Corrupt {
            what: path.clone(),
            detail,
        },
        other => other,
    }
}

/// Opens a copy of the consensus log; `None` when there is no file.
fn open_log_copy(path: &Path, relied: Relied) -> Result<Option<OpenedLog>, NodeError> {
    let Some(file) = copy(path)? else {
        return Ok(None);
    };
    ConsensusLog::open_on(Box::new(file), relied)
        .map(Some)
        .map_err(named(path))
        .map_err(storage("open the consensus log"))
}

/// Contents of a stopped node's consensus files, read without changing them.
#[derive(Debug)]
pub struct Inspected {
    /// The newest head that the witness saw.
    pub witness: Option<vibecoin_storage::Head>,
    /// The height of the guard's newest entry.
    pub guard: Option<Height>,
    /// Report of a start on the database beside them.
    pub report: StartReport,
    /// Damage that a start reports and tolerates.
    pub warnings: Vec<String>,
}

/// Checks the files beside the database as a start would, and changes nothing. `signs` states that the home
/// has the key of a validator, whose guard must exist.
///
/// # Errors
/// The errors with which a start would refuse the files.
pub fn inspect(paths: &Paths, store: &Store, signs: bool) -> Result<Inspected, NodeError> {
    let mut warnings = Vec::new();
    let witness = match copy(&paths.witness)? {
        None => None,
        Some(file) => {
            let witness = HeadWitness::open_on(Box::new(file))
                .map_err(named(&paths.witness))
                .map_err(storage("open the head witness"))?;
            if witness.was_torn() {
                warnings.push(format!("{}: {TORN_WITNESS}", paths.witness.display()));
            }
            witness.head()
        }
    };
    let (guard, relied) = match copy(&paths.guard)? {
        None if signs => {
            return Err(NodeError::GuardLost {
                detail: format!("{} is missing", paths.guard.display()),
            });
        }
        None => (None, Relied::Nothing),
        Some(file) => {
            let ((file, torn), newest) =
                guard_of(GuardFile::open_on(Box::new(file)).map_err(named(&paths.guard)))?;
            if torn {
                warnings.push(format!("{}: {TORN_GUARD}", paths.guard.display()));
            }
            // Without its key it does not prevent following.
            (newest.map(|entry| entry.height).filter(|_| signs), file.relied())
        }
    };
    if let Some(opened) = open_log_copy(&paths.log, relied)? {
        decode_log(&opened)?;
        if !opened.whole {
            warnings.push(format!(
                "{}: its end or one of its slots is damaged; a start drops it",
                paths.log.display()
            ));
        }
    }
    let report = check_start(store, witness, guard).map_err(storage("check the database"))?;
    Ok(Inspected {
        witness,
        guard,
        report,
        warnings,
    })
}

/// The head of an opened store, for the replica and for RPC.
pub fn head_of(store: &Store) -> Result<(Head<StateView>, RpcHead), NodeError> {
    let fail = storage("read the head");
    let view = store.view();
    let newest = store.head();
    let missing = || NodeError::Damaged {
        detail: format!("the head block {} is missing", newest.height),
        remedy: "run `vibecoin db check`".to_owned(),
    };
    let header = store
        .blocks()
        .header(newest.height)
        .map_err(&fail)?
        .ok_or_else(missing)?;
    let certificate = store.blocks().certificate(newest.height).map_err(&fail)?;
    let body = store
        .blocks()
        .body(newest.height)
        .map_err(&fail)?
        .ok_or_else(missing)?;
    let schedule = read_schedule(&view).map_err(|error| NodeError::Damaged {
        detail: error.to_string(),
        remedy: "run `vibecoin db check`".to_owned(),
    })?;
    let transactions = u32::try_from(body.transaction_count()).unwrap_or(u32::MAX);
    let rpc = RpcHead {
        header: header.clone(),
        hash: newest.hash,
        transactions,
    };
    let parent = Parent {
        header,
        hash: newest.hash,
        state: view,
        schedule,
    };
    Ok((Head { parent, certificate }, rpc))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{GuardStore, make_folder, needs_guard, open_guard, remember_silence};
    use vibecoin_consensus::Guard;
    use vibecoin_primitives::Height;
    use vibecoin_storage::files::GuardFile;

    #[test]
    fn silence_is_in_the_guard_before_anything_else_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard");
        let mut store = GuardStore::File(Box::new(GuardFile::create(&path).unwrap()));
        let newest = remember_silence(&mut store, None, Height(11)).unwrap();
        drop(store);
        let ((file, torn), found) = open_guard(&path).unwrap();
        assert!(!torn);
        assert_eq!(found, newest);
        let guard = Guard::new(found);
        assert!(guard.abstains(Height(10)) && !guard.abstains(Height(12)));
        // Repeating it costs nothing, and a shorter silence does not shorten it.
        let mut store = GuardStore::File(Box::new(file));
        for through in [11, 5] {
            let again = remember_silence(&mut store, guard.newest().cloned(), Height(through)).unwrap();
            assert_eq!(again.as_ref(), guard.newest());
        }
    }

    #[test]
    fn a_place_where_no_folder_can_be_is_a_fault_of_the_configuration() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("nowhere", home.path().join("link")).unwrap();
        let new = home.path().join("a/b");
        make_folder("storage.db_dir", &new).unwrap();
        make_folder("storage.db_dir", &new).unwrap();
        for place in [
            file.clone(),
            file.join("db"),
            home.path().join("link"),
            "/proc/self/db".into(),
            "/dev/null/db".into(),
        ] {
            let error = make_folder("storage.db_dir", &place).unwrap_err();
            assert_eq!(error.exit_code(), 10, "{place:?}: {error}");
            assert!(error.to_string().starts_with("storage.db_dir: "), "{error}");
        }
    }

    #[test]
    fn only_the_lone_validator_of_a_dev_chain_signs_without_a_guard_file() {
        for (dev, validators, signs, expected) in [
            (true, 1, true, false),
            (true, 2, true, true),
            (true, 4, true, true),
            (false, 1, true, true),
            (false, 4, true, true),
            (true, 4, false, false),
            (false, 4, false, false),
        ] {
            assert_eq!(
                needs_guard(dev, validators, signs),
                expected,
                "{dev} {validators} {signs}"
            );
        }
    }
}
