//! Creation, opening and replay of a chain.

use super::commit::{pending, places_of};
use super::genesis::{CreationState, GenesisState, clear, creation_state, mark_creation, write_genesis};
use super::read::{diff, header, place_ids, read_record};
use super::rewind::finish_rewind;
use super::{Core, Published, Store, StoreConfig, Writer};
use crate::StorageError;
use crate::kv::{Family, KvStore, RocksKv};
use crate::schema::{self, GenesisRecord, Head, HeightRecord, MATERIALISED, Materialised, SCHEMA_VERSION};
use crate::state::{Base, Overlay, Shared, StateView};
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
        if kv.get(Family::Meta, schema::SCHEMA)?.is_some() {
            return Err(StorageError::Refused(
                "the database holds a chain already".to_owned(),
            ));
        }
        match creation_state(&*kv)? {
            CreationState::Empty => {}
            CreationState::Interrupted => clear(&*kv)?,
        }
        mark_creation(&*kv)?;
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
        let shared = Arc::new(Shared::new(Arc::clone(&kv), read_base(&kv, 0)?, &config));
        if let Some(target) =
            read_record::<HeightRecord>(&*kv, Family::Meta, schema::REWIND, "rewind intent")?
        {
            finish_rewind(&shared, &record.hash, target.0, &config)?;
        }
        let (published, writer) = replay(&shared, &record.hash)?;
        let core = Arc::new(Core {
            kv,
            genesis: record,
            config,
            shared,
            published: ArcSwap::from_pointee(published),
            writer: Mutex::new(writer),
            step: Mutex::new(()),
            work: Condvar::new(),
            drained: Condvar::new(),
        });
        let thread = config.background.then(|| core.spawn()).transpose()?;
        Ok(Self {
            core,
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
    let record = read_record::<GenesisRecord>(&**kv, Family::Meta, schema::GENESIS, "genesis record")?
        .ok_or_else(|| StorageError::missing("genesis record"))?;
    match expected {
        Some(expected) if *expected != record.hash => Err(StorageError::GenesisMismatch {
            expected: *expected,
            found: record.hash,
        }),
        _ => Ok(record),
    }
}

/// The base in the database at present.
pub(crate) fn read_base(kv: &Arc<dyn KvStore>, epoch: u64) -> Result<Base, StorageError> {
    let snapshot = kv.snapshot();
    let at = read_record::<Materialised>(&*snapshot, Family::State, MATERIALISED, "materialised height")?
        .ok_or_else(|| StorageError::missing("materialised height"))?;
    Ok(Base { snapshot, at, epoch })
}

/// Replays the diffs from the materialised height to the head, and compares every root.
pub(crate) fn replay(shared: &Arc<Shared>, genesis: &Hash) -> Result<(Published, Writer), StorageError> {
    let kv = &*shared.kv;
    let head = read_record::<Head>(kv, Family::Meta, schema::HEAD, "head")?;
    replay_to(
        shared,
        genesis,
        head.ok_or_else(|| StorageError::missing("head"))?,
    )
}

/// [`replay`] up to a block of the chain that is not above its head.
pub(super) fn replay_to(
    shared: &Arc<Shared>,
    genesis: &Hash,
    head: Head,
) -> Result<(Published, Writer), StorageError> {
    let kv = &*shared.kv;
    let base = shared.base.load_full();
    if base.at.height > head.height {
        let detail = format!(
            "the state is at height {}, so blocks above {} were lost",
            base.at.height, head.height
        );
        return Err(StorageError::corrupt("head", detail));
    }
    let stored = header(kv, base.at.height)?.state_root;
    if stored != base.at.root {
        let detail = format!(
            "root {} is stored, the header of height {} says {stored}",
            base.at.root, base.at.height
        );
        return Err(StorageError::corrupt("materialised height", detail));
    }
    let mut view = StateView::of_base(shared, base);
    let (mut transactions, mut writer) = (Overlay::default(), Writer::default());
    while view.height() < head.height {
        let height = view.height().saturating_add(1);
        let diff = diff(kv, height)?;
        view = view.apply_diff(&diff)?;
        let expected = header(kv, height)?.state_root;
        if view.root() != expected {
            let detail = format!("it gives root {}, the header says {expected}", view.root());
            return Err(StorageError::corrupt(format!("diff of height {height}"), detail));
        }
        let ids = place_ids(kv, height, genesis)?;
        writer.push(pending(height, &diff, ids.len()));
        transactions = transactions.push(height.0, places_of(height, ids.into_iter()), 0);
    }
    Ok((
        Published {
            head,
            view,
            transactions,
        },
        writer,
    ))
}
