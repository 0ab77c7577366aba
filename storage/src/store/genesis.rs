//! Creation of block 0: a marker row, the state in bounded pieces, then one batch that makes it valid.
//!
//! Only that marker allows a later start to clear the database: without it, rows without a schema version are
//! the remains of a damaged chain.

use super::pieces::Pieces;
use crate::StorageError;
use crate::kv::{Batch, Direction, Family, KvStore};
use crate::schema::{
    self, BlockPart, GenesisRecord, Head, HeightRecord, MATERIALISED, Materialised, SCHEMA_VERSION,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use vibecoin_primitives::{
    Account, AccountRow, Address, Body, ChainParams, Hash, Header, Height, Receipts, SlotRow, StateKey,
    ValidatorSet, account_key, encode, slot_key,
};
use vibecoin_trie::{TrieKind, build_sorted};

/// The initial state of a chain, as plain values.
#[derive(Debug, Clone)]
pub struct GenesisState {
    /// Header of block 0; its hash identifies the chain.
    pub header: Header,
    /// Body of block 0.
    pub body: Body,
    /// The chain's parameters.
    pub params: ChainParams,
    /// The validators.
    pub validators: ValidatorSet,
    /// Every account. Storage roots are computed here; given ones are ignored.
    pub accounts: Vec<(Address, Account)>,
    /// Every slot: owner, slot, value.
    pub slots: Vec<(Address, Hash, Vec<u8>)>,
}

/// Number of keys deleted at a time when an unfinished creation is cleared.
const CLEAR_KEYS_MAX: usize = 10_000;

/// State of a database without a schema version.
pub(super) enum CreationState {
    /// It is empty.
    Empty,
    /// Its creation was interrupted.
    Interrupted,
}

/// Distinguishes a database that never held a chain from one that lost its schema version.
///
/// # Errors
/// [`StorageError::Corrupt`] when there are rows not left by a creation.
pub(super) fn creation_state(kv: &dyn KvStore) -> Result<CreationState, StorageError> {
    if kv.get(Family::Meta, schema::CREATING)?.is_some() {
        return Ok(CreationState::Interrupted);
    }
    for family in Family::ALL {
        let first = kv.range(family, &[], None, Direction::Forward).next();
        if first.transpose()?.is_some() {
            let detail = format!("it is missing, and family `{}` is not empty", family.name());
            return Err(StorageError::corrupt("schema version", detail));
        }
    }
    Ok(CreationState::Empty)
}

/// Begins a creation in an empty database, or in the remains of an interrupted one, which are cleared.
///
/// # Errors
/// [`StorageError::Refused`] when there is a chain already, [`StorageError::Corrupt`] when there are rows not left by a
/// creation; nothing is changed then. Else a fault of the database.
pub(super) fn begin_creation(kv: &dyn KvStore) -> Result<(), StorageError> {
    if kv.get(Family::Meta, schema::SCHEMA)?.is_some() {
        return Err(StorageError::Refused(
            "the database holds a chain already".to_owned(),
        ));
    }
    match creation_state(kv)? {
        CreationState::Empty => {}
        CreationState::Interrupted => clear(kv)?,
    }
    mark_creation(kv)
}

/// Durably marks a creation in progress.
fn mark_creation(kv: &dyn KvStore) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.put(Family::Meta, schema::CREATING, []);
    kv.write(&batch, true)
}

/// Removes the remains of an interrupted creation, the marker last.
fn clear(kv: &dyn KvStore) -> Result<(), StorageError> {
    // Backwards: family `meta`, which has the marker, is the first.
    for family in Family::ALL.into_iter().rev() {
        loop {
            let keys: Result<Vec<_>, _> = kv
                .range(family, &[], None, Direction::Forward)
                .take(CLEAR_KEYS_MAX)
                .map(|row| row.map(|(key, _)| key))
                .collect();
            let mut batch = Batch::new();
            keys?.into_iter().for_each(|key| batch.delete(family, key));
            if batch.is_empty() {
                break;
            }
            kv.write(&batch, true)?;
        }
    }
    Ok(())
}

/// Writes the state, compares its root with the header, and only then writes the records that make it a
/// chain.
pub(super) fn write_genesis(kv: &dyn KvStore, genesis: &GenesisState) -> Result<(), StorageError> {
    let (height, hash, root) = (Height(0), genesis.header.hash(), genesis.header.state_root);
    let found = write_state(kv, genesis)?;
    if genesis.header.height != height || found != root {
        return Err(StorageError::Refused(format!(
            "genesis accounts have root {found}, the header says {root}"
        )));
    }
    kv.ingest(
        Family::State,
        &[(
            MATERIALISED.to_vec(),
            Some(encode(&Materialised { height, root })),
        )],
    )?;
    let record = GenesisRecord {
        hash,
        params: genesis.params.clone(),
        validators: genesis.validators.clone(),
    };
    let mut batch = Batch::new();
    batch.put(
        Family::Headers,
        schema::header_key(height),
        encode(&genesis.header),
    );
    batch.put(
        Family::Headers,
        schema::hash_key(&hash),
        encode(&HeightRecord(height)),
    );
    batch.put(
        Family::Blocks,
        schema::block_key(height, BlockPart::Body),
        encode(&genesis.body),
    );
    batch.put(
        Family::Blocks,
        schema::block_key(height, BlockPart::Receipts),
        encode(&Receipts::default()),
    );
    batch.put(Family::Meta, schema::GENESIS, encode(&record));
    batch.put(Family::Meta, schema::HEAD, encode(&Head { height, hash }));
    batch.put(Family::Meta, schema::SCHEMA, encode(&SCHEMA_VERSION));
    batch.delete(Family::Meta, schema::CREATING);
    kv.write(&batch, true)
}

/// Writes rows and trie nodes of all accounts and returns the state root.
fn write_state(kv: &dyn KvStore, genesis: &GenesisState) -> Result<Hash, StorageError> {
    let pieces = RefCell::new(Pieces::new(kv));
    let mut slots: BTreeMap<Address, Vec<(Hash, SlotRow)>> = BTreeMap::new();
    for (owner, slot, value) in &genesis.slots {
        let row = SlotRow {
            slot: *slot,
            value: value.clone(),
        };
        slots.entry(*owner).or_default().push((slot_key(slot), row));
    }
    let mut accounts: Vec<(Hash, AccountRow)> = Vec::with_capacity(genesis.accounts.len());
    for (address, account) in &genesis.accounts {
        let key = account_key(address);
        let own = slots.remove(address).unwrap_or_default();
        let root = write_storage(key, own, &pieces)?;
        let account = Account {
            storage_root: (!root.is_zero()).then_some(root),
            ..*account
        };
        accounts.push((
            key,
            AccountRow {
                address: *address,
                account,
            },
        ));
    }
    if let Some(owner) = slots.keys().next() {
        return Err(StorageError::Refused(format!(
            "genesis sets slots of {owner:?}, which has no account"
        )));
    }
    accounts.sort_unstable_by_key(|(key, _)| *key);
    let leaves = accounts.iter().map(|(key, row)| {
        pieces.borrow_mut().put(
            schema::flat_key(&StateKey::Account(*key)),
            schema::account_row(row),
        )?;
        Ok((*key, encode(&row.account)))
    });
    let root = build_sorted::<_, StorageError>(TrieKind::Account, leaves, |path, record| {
        pieces
            .borrow_mut()
            .put(schema::node_key(&Hash::ZERO, &path), record.encode())
    })?;
    pieces.into_inner().flush()?;
    Ok(root)
}

fn write_storage(
    owner: Hash,
    mut slots: Vec<(Hash, SlotRow)>,
    pieces: &RefCell<Pieces<'_>>,
) -> Result<Hash, StorageError> {
    slots.sort_unstable_by_key(|(key, _)| *key);
    let leaves = slots.into_iter().map(|(key, row)| {
        pieces
            .borrow_mut()
            .put(schema::flat_key(&StateKey::Slot(owner, key)), encode(&row))?;
        Ok((key, row.value))
    });
    build_sorted::<_, StorageError>(TrieKind::Storage, leaves, |path, record| {
        pieces
            .borrow_mut()
            .put(schema::node_key(&owner, &path), record.encode())
    })
}
