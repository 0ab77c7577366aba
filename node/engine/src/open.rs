//! Opening a home: every file is read and checked before a thread runs, and their joint contents decide
//! whether the node may sign, follows in silence first, or does not start.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Access;
use tracing::{info, warn};
use vibecoin_config::{Config, Paths};
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_host::{
    Files, Notice, Recovered, Role, genesis_state, head_of, newest_entry, read_log, recover,
};
use vibecoin_primitives::Height;
use vibecoin_replica::Head;
use vibecoin_rpc_backend::Head as RpcHead;
use vibecoin_storage::files::{
    ConsensusLog, DiskFile, GuardFile, HeadWitness, MemoryFile, OpenedLog, RawFile, Relied, SALT_BYTES,
};
use vibecoin_storage::kv::RocksConfig;
use vibecoin_storage::start::{StartReport, check_start};
use vibecoin_storage::{StateView, StorageError, Store, StoreConfig};

use crate::error::NodeError;

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
) -> Result<(Arc<Store>, Recovered), NodeError> {
    make_folder("storage.db_dir", &paths.db)?;
    make_folder("consensus.log_dir", &paths.consensus)?;
    let store = Store::open_or_create_path(&paths.db, &genesis_state(genesis), store_config(config))
        .map_err(storage("open the database"))?;
    let recovered = recover(&mut HomeFiles { paths }, &store, role)?;
    Ok((Arc::new(store), recovered))
}

/// The files of a home on disk.
struct HomeFiles<'a> {
    paths: &'a Paths,
}

impl Files for HomeFiles<'_> {
    fn witness(&mut self) -> Result<HeadWitness, StorageError> {
        HeadWitness::open_or_create(&self.paths.witness)
    }

    fn guard(&mut self) -> Result<GuardFile, StorageError> {
        GuardFile::open(&self.paths.guard)
    }

    fn log(&mut self) -> Result<Option<Box<dyn RawFile>>, StorageError> {
        match DiskFile::open(&self.paths.log) {
            Err(StorageError::Missing { .. }) => Ok(None),
            opened => Ok(Some(Box::new(opened?))),
        }
    }

    fn create_log(&mut self, content: &[u8]) -> Result<Box<dyn RawFile>, StorageError> {
        Ok(Box::new(DiskFile::create(&self.paths.log, content)?))
    }

    fn salt(&mut self) -> Result<[u8; SALT_BYTES], StorageError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| StorageError::Io {
            what: "the system's randomness".to_owned(),
            detail: error.to_string(),
        })?;
        Ok(salt)
    }

    fn notice(&mut self, notice: Notice) {
        let paths = self.paths;
        match notice {
            Notice::WitnessTorn => {
                warn!(target: "node", path = %paths.witness.display(), "{TORN_WITNESS}");
            }
            Notice::GuardTorn => warn!(target: "node", path = %paths.guard.display(), "{TORN_GUARD}"),
            Notice::LogTorn => warn!(target: "node", path = %paths.log.display(), "{TORN_LOG}"),
            Notice::LogCut { bytes } => {
                info!(target: "node", bytes, "dropped the torn tail of the consensus log");
            }
        }
    }
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
    /// The height of the guard's newest signature.
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
            let (file, newest) =
                newest_entry(GuardFile::open_on(Box::new(file)).map_err(named(&paths.guard)))?;
            if file.was_torn() {
                warnings.push(format!("{}: {TORN_GUARD}", paths.guard.display()));
            }
            // Without its key it does not prevent following.
            (
                newest
                    .filter(|entry| signs && !entry.is_abstention())
                    .map(|entry| entry.height),
                file.relied(),
            )
        }
    };
    if let Some(opened) = open_log_copy(&paths.log, relied)? {
        read_log(&opened)?;
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
pub fn head(store: &Store) -> Result<(Head<StateView>, RpcHead), NodeError> {
    let head = head_of(store)?;
    let newest = store.head();
    let rpc = RpcHead {
        header: head.parent.header.clone(),
        hash: newest.hash,
        transactions: transactions_of(store, newest.height)?,
    };
    Ok((head, rpc))
}

/// Number of transactions in the head block. Of the block of a snapshot there is no body, so it counts as empty until
/// the next block is committed.
fn transactions_of(store: &Store, height: Height) -> Result<u32, NodeError> {
    if height < store.earliest() {
        return Ok(0);
    }
    let body = store
        .reader()
        .body(height)
        .map_err(storage("read the head"))?
        .ok_or_else(|| NodeError::Damaged {
            detail: format!("the body of the head block {height} is missing"),
            remedy: "run `vibecoin db check`".to_owned(),
        })?;
    Ok(u32::try_from(body.transaction_count()).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::make_folder;

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
}
