//! Creation and opening of a chain.

use super::genesis::{CreationState, GenesisState, begin_creation, creation_state, write_genesis};
use super::replay::{read_base, replay};
use super::rewind::finish_rewind;
use super::{Store, StoreConfig, StoredChain};
use crate::StorageError;
use crate::kv::{Family, KvStore, RocksKv};
use crate::reader::Reader;
use crate::schema::{self, GenesisRecord, SCHEMA_VERSION};
use crate::state::StateSource;
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use std::path::Path;
use std::sync::Arc;
use vibecoin_primitives::Hash;

impl Store {
    /// Creates the chain of `genesis` in an empty database. Remains of an interrupted creation are cleared.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when there is a chain already or the accounts do not have the header's root,
    /// [`StorageError::Corrupt`] when there are rows not left by a creation, else a fault of the database.
    /// Nothing is cleared unless a creation was interrupted.
    pub fn create(
        kv: Arc<dyn KvStore>,
        genesis: &GenesisState,
        config: StoreConfig,
    ) -> Result<Self, StorageError> {
        begin_creation(&*kv)?;
        write_genesis(&*kv, genesis)?;
        Self::open(kv, Some(&genesis.header.hash()), config)
    }

    /// Opens the chain in a database and replays blocks that were committed but not materialised.
    ///
    /// # Errors
    /// [`StorageError::NotCreated`] when there is none, [`StorageError::SchemaTooNew`], with `genesis`
    /// [`StorageError::GenesisMismatch`] when it is a different one, else damage or a fault of the database.
    pub fn open(
        kv: Arc<dyn KvStore>,
        genesis: Option<&Hash>,
        config: StoreConfig,
    ) -> Result<Self, StorageError> {
        let record = read_genesis(&kv, genesis)?;
        let base = Reader::new(&*kv).base()?;
        let source = Arc::new(StateSource::new(Arc::clone(&kv), read_base(&kv, 0)?, &config));
        if let Some(target) = Reader::new(&*kv).rewind_target()? {
            finish_rewind(&source, &record.hash, target, &config)?;
        }
        let (published, writer) = replay(&source, &record.hash)?;
        let chain = Arc::new(StoredChain {
            kv,
            genesis: record,
            base,
            config,
            source,
            published: ArcSwap::from_pointee(published),
            writer: Mutex::new(writer),
            step: Mutex::new(()),
            work: Condvar::new(),
            drained: Condvar::new(),
        });
        let thread = config.background.then(|| chain.spawn()).transpose()?;
        Ok(Self {
            chain,
            thread: Mutex::new(thread),
        })
    }

    /// Opens the chain in a database, or creates it if there is none.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::create`].
    pub fn open_or_create(
        kv: Arc<dyn KvStore>,
        genesis: &GenesisState,
        config: StoreConfig,
    ) -> Result<Self, StorageError> {
        match kv.get(Family::Meta, schema::SCHEMA)? {
            Some(_) => Self::open(kv, Some(&genesis.header.hash()), config),
            None => Self::create(kv, genesis, config),
        }
    }

    /// [`Store::open`] on the RocksDB in a folder.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StorageError::Locked`] when another process has it open.
    pub fn open_path(path: &Path, genesis: Option<&Hash>, config: StoreConfig) -> Result<Self, StorageError> {
        if !path.join("CURRENT").exists() {
            return Err(StorageError::NotCreated {
                what: path.display().to_string(),
            });
        }
        Self::open(Arc::new(RocksKv::open(path, config.rocks)?), genesis, config)
    }

    /// [`Store::open_or_create`] on the RocksDB in a folder.
    ///
    /// # Errors
    /// As [`Store::open_or_create`]; [`StorageError::Locked`] when another process has it open.
    pub fn open_or_create_path(
        path: &Path,
        genesis: &GenesisState,
        config: StoreConfig,
    ) -> Result<Self, StorageError> {
        Self::open_or_create(Arc::new(RocksKv::open(path, config.rocks)?), genesis, config)
    }
}

/// Reads the initial data of the chain, after the schema version and before anything else.
pub(crate) fn read_genesis(
    kv: &Arc<dyn KvStore>,
    expected: Option<&Hash>,
) -> Result<GenesisRecord, StorageError> {
    let Some(version) = kv.get(Family::Meta, schema::SCHEMA)? else {
        let what = match creation_state(&**kv)? {
            CreationState::Empty => "the database",
            CreationState::Interrupted => "the database, whose creation was interrupted,",
        };
        return Err(StorageError::NotCreated {
            what: what.to_owned(),
        });
    };
    let found = version.as_slice().try_into().map(u32::from_le_bytes);
    let found = found.map_err(|_| StorageError::corrupt("schema version", "not four bytes"))?;
    if found > SCHEMA_VERSION {
        return Err(StorageError::SchemaTooNew {
            found,
            known: SCHEMA_VERSION,
        });
    }
    if found == 0 {
        return Err(StorageError::corrupt(
            "schema version",
            "there never was a version 0",
        ));
    }
    if found < SCHEMA_VERSION {
        return Err(StorageError::SchemaTooOld {
            found,
            known: SCHEMA_VERSION,
        });
    }
    let record =
        Reader::new(&**kv).record::<GenesisRecord>(Family::Meta, schema::GENESIS, "genesis record")?;
    let record = record.ok_or_else(|| StorageError::missing("genesis record"))?;
    match expected {
        Some(expected) if *expected != record.hash => Err(StorageError::GenesisMismatch {
            expected: *expected,
            found: record.hash,
        }),
        _ => Ok(record),
    }
}
