//! Creation of a chain that begins at the block of a snapshot: a marker row, the state in bounded pieces, then one batch
//! that makes it valid.
//!
//! The rows are trusted as little as their source: each must be of its key and above the one before it, the account trie
//! that they give must have the root in the certified header, and every storage trie the root in its account. The tries
//! are built on the way, from one pass over the rows. Until all of that holds there is no chain in the database, and
//! whatever an interrupted or refused restore leaves is cleared by the next creation.
//!
//! ```text
//! account ‖ its slots     accounts ascending; the slots of an account directly behind it, or
//! account
//! …
//! slots of an owner       behind all accounts, owners ascending
//! slots of an owner
//! ```

use super::Store;
use super::genesis::begin_creation;
use super::pieces::Pieces;
use super::rewind::name;
use crate::StorageError;
use crate::kv::{Batch, Family, KvStore, RocksConfig, RocksKv};
use crate::schema::{self, GenesisRecord, Head, HeightRecord, MATERIALISED, Materialised, SCHEMA_VERSION};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::iter::Fuse;
use std::path::Path;
use vibecoin_primitives::{
    Account, BLOCK_VERSION, CommitCertificate, Hash, Header, Height, StateKey, encode,
};
use vibecoin_trie::{Nibbles, NodeRecord, NotAscending, TrieKind, build_sorted};

/// The block that a restored chain begins with: certified by the validators of genesis.
#[derive(Debug, Clone)]
pub struct RestorePoint {
    genesis: GenesisRecord,
    header: Header,
    hash: Hash,
    certificate: CommitCertificate,
}

/// Result of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The block that the chain begins with.
    pub base: Head,
    /// Accounts in its state.
    pub accounts: u64,
    /// Slots in its state.
    pub slots: u64,
    /// Trie nodes written.
    pub nodes: u64,
}

/// Reason why a state was not restored. There is no chain in the database then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError<E: Error + 'static> {
    /// The source of the rows failed.
    #[error(transparent)]
    Rows(E),
    /// The rows are not the certified state.
    #[error("the rows are not the state of block {height}: {detail}")]
    OtherState {
        /// Height of the block.
        height: Height,
        /// Description of the first difference.
        detail: String,
    },
    /// The database failed, or it is not empty.
    #[error(transparent)]
    Storage(StorageError),
}

impl<E: Error + 'static> From<StorageError> for RestoreError<E> {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

// The rows are ascending before they reach the trie.
impl<E: Error + 'static> From<NotAscending> for RestoreError<E> {
    fn from(error: NotAscending) -> Self {
        Self::Storage(error.into())
    }
}

impl RestorePoint {
    /// A block of the chain of `genesis`, proven by its certificate.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the header is of genesis or of another chain, or the certificate does not prove it.
    pub fn new(
        genesis: GenesisRecord,
        header: Header,
        certificate: CommitCertificate,
    ) -> Result<Self, StorageError> {
        let (height, hash) = (header.height, header.hash());
        let refuse = |detail: String| {
            Err(StorageError::Refused(format!(
                "block {height} of the snapshot is not one of this chain: {detail}"
            )))
        };
        if height == Height::ZERO {
            return refuse("the genesis file is that block".to_owned());
        }
        if header.version != BLOCK_VERSION {
            return refuse(format!("it has version {}", header.version));
        }
        let validators_hash = genesis.validators.hash();
        for (what, expected, found) in [
            ("parameters", genesis.params.hash(), header.params_hash),
            ("validators", validators_hash, header.validators_hash),
            ("next validators", validators_hash, header.next_validators_hash),
        ] {
            if expected != found {
                return refuse(format!("its {what} have hash {found}, genesis says {expected}"));
            }
        }
        let model = genesis.params.fault_model;
        let verdict = certificate.verify(&genesis.hash, model, &genesis.validators, height, &hash);
        if let Err(error) = verdict {
            return refuse(format!("its certificate: {error}"));
        }
        Ok(Self {
            genesis,
            header,
            hash,
            certificate,
        })
    }

    /// The block.
    #[must_use]
    pub const fn base(&self) -> Head {
        Head {
            height: self.header.height,
            hash: self.hash,
        }
    }

    /// The root of the state after it.
    #[must_use]
    pub const fn state_root(&self) -> Hash {
        self.header.state_root
    }
}

impl Store {
    /// Creates the chain that begins at `point` in an empty database, from all rows of its state: accounts ascending by
    /// key, and the slots of each, ascending, either directly behind it or, of owners ascending, behind all accounts.
    /// That is the order of [`SnapshotSource::rows`](crate::SnapshotSource::rows), and that of chunks which have most
    /// slots beside their accounts. Remains of an interrupted creation are cleared.
    ///
    /// Takes memory for one piece of rows, of 32 MiB and its overhead. Call [`Store::open`] afterwards.
    ///
    /// # Errors
    /// [`RestoreError`]; there is no chain in the database then, and another restore may be tried.
    pub fn restore<E: Error + 'static>(
        kv: &dyn KvStore,
        point: &RestorePoint,
        rows: impl IntoIterator<Item = Result<(StateKey, Vec<u8>), E>>,
    ) -> Result<Restored, RestoreError<E>> {
        begin_creation(kv)?;
        let mut rows = Rows::new(point.header.height, rows.into_iter());
        let state = State::new(kv);
        let root = state.accounts(&mut rows)?;
        if root != point.state_root() {
            let detail = format!(
                "its accounts have root {root}, its header says {}",
                point.state_root()
            );
            return Err(rows.other(detail));
        }
        state.slots_behind(&mut rows)?;
        write_chain(kv, point)?;
        Ok(Restored {
            base: point.base(),
            accounts: state.accounts.get(),
            slots: state.slots.get(),
            nodes: state.nodes.get(),
        })
    }

    /// [`Store::restore`] into the RocksDB in a folder, which is created. The database is flushed and closed at the end,
    /// so the folder may then be renamed to its final place; a caller that does so makes the rename durable.
    ///
    /// # Errors
    /// As [`Store::restore`]; [`StorageError::Locked`] when another process has it open.
    pub fn restore_path<E: Error + 'static>(
        folder: &Path,
        point: &RestorePoint,
        rows: impl IntoIterator<Item = Result<(StateKey, Vec<u8>), E>>,
        config: RocksConfig,
    ) -> Result<Restored, RestoreError<E>> {
        let kv = RocksKv::open(folder, config)?;
        let restored = Self::restore(&kv, point, rows)?;
        kv.flush()?;
        Ok(restored)
    }
}

/// Writes the records that make the rows a chain.
fn write_chain(kv: &dyn KvStore, point: &RestorePoint) -> Result<(), StorageError> {
    let base = point.base();
    let (height, root) = (base.height, point.state_root());
    kv.ingest(
        Family::State,
        &[(
            MATERIALISED.to_vec(),
            Some(encode(&Materialised { height, root })),
        )],
    )?;
    let mut batch = Batch::new();
    batch.put(Family::Headers, schema::header_key(height), encode(&point.header));
    batch.put(
        Family::Headers,
        schema::certificate_key(height),
        encode(&point.certificate),
    );
    batch.put(
        Family::Headers,
        schema::hash_key(&base.hash),
        encode(&HeightRecord(height)),
    );
    batch.put(Family::Meta, schema::GENESIS, encode(&point.genesis));
    batch.put(Family::Meta, schema::HEAD, encode(&base));
    batch.put(Family::Meta, schema::BASE, encode(&base));
    batch.put(Family::Meta, schema::SCHEMA, encode(&SCHEMA_VERSION));
    batch.delete(Family::Meta, schema::CREATING);
    kv.write(&batch, true)
}

/// A row: its key, and its encoding.
type StateRow = (StateKey, Vec<u8>);

/// The key of a row in its trie, and its encoding or its leaf.
type Leaf = (Hash, Vec<u8>);

/// The rows in order, each checked against its key and the one before it.
struct Rows<I> {
    rows: Fuse<I>,
    height: Height,
    /// Read and not yet taken.
    next: Option<StateRow>,
    last: Option<StateKey>,
    /// The last account.
    account: Option<Hash>,
    /// The last owner of slots that are not directly behind their account. No account follows them.
    behind: Option<Hash>,
}

impl<E, I> Rows<I>
where
    E: Error + 'static,
    I: Iterator<Item = Result<StateRow, E>>,
{
    fn new(height: Height, rows: I) -> Self {
        Self {
            rows: rows.fuse(),
            height,
            next: None,
            last: None,
            account: None,
            behind: None,
        }
    }

    fn other(&self, detail: String) -> RestoreError<E> {
        RestoreError::OtherState {
            height: self.height,
            detail,
        }
    }

    /// The key of the next row.
    fn peek(&mut self) -> Result<Option<StateKey>, RestoreError<E>> {
        if self.next.is_none() {
            self.next = self.read()?;
        }
        Ok(self.next.as_ref().map(|(key, _)| *key))
    }

    /// The next row if it is an account.
    fn next_account(&mut self) -> Result<Option<Leaf>, RestoreError<E>> {
        let Some(StateKey::Account(key)) = self.peek()? else {
            return Ok(None);
        };
        Ok(self.next.take().map(|(_, row)| (key, row)))
    }

    /// The owner of the next row if it is a slot.
    fn next_owner(&mut self) -> Result<Option<Hash>, RestoreError<E>> {
        Ok(match self.peek()? {
            Some(StateKey::Slot(owner, _)) => Some(owner),
            _ => None,
        })
    }

    /// The next row if it is a slot of this owner.
    fn next_slot(&mut self, owner: Hash) -> Result<Option<Leaf>, RestoreError<E>> {
        let Some(StateKey::Slot(of, key)) = self.peek()? else {
            return Ok(None);
        };
        if of != owner {
            return Ok(None);
        }
        Ok(self.next.take().map(|(_, row)| (key, row)))
    }

    fn read(&mut self) -> Result<Option<StateRow>, RestoreError<E>> {
        let Some(row) = self.rows.next() else {
            return Ok(None);
        };
        let (key, row) = row.map_err(RestoreError::Rows)?;
        if !self.follows(&key) {
            let before = self.last.as_ref().map_or_else(String::new, name);
            return Err(self.other(format!("{} does not come after {before}", name(&key))));
        }
        self.last = Some(key);
        if let Err(error) = schema::check_row(&key, &row) {
            return Err(self.other(format!("{}: {error}", name(&key))));
        }
        Ok(Some((key, row)))
    }

    /// Returns true if this key may be the next one.
    fn follows(&mut self, key: &StateKey) -> bool {
        match (key, self.last) {
            (StateKey::Account(account), _) => {
                let rises = self.behind.is_none() && self.account.is_none_or(|last| last < *account);
                self.account = Some(*account);
                rises
            }
            (StateKey::Slot(owner, slot), Some(StateKey::Slot(of, last))) if *owner == of => last < *slot,
            (StateKey::Slot(owner, _), Some(StateKey::Account(account))) if *owner == account => true,
            (StateKey::Slot(owner, _), _) => {
                let rises = self.behind.is_none_or(|last| last < *owner);
                self.behind = Some(*owner);
                rises
            }
        }
    }
}

/// A state being written.
struct State<'a> {
    kv: &'a dyn KvStore,
    pieces: RefCell<Pieces<'a>>,
    accounts: Cell<u64>,
    slots: Cell<u64>,
    nodes: Cell<u64>,
    /// Number of accounts whose slots have not come yet.
    owners: Cell<u64>,
}

fn add(count: &Cell<u64>, more: bool) {
    count.set(count.get().saturating_add(u64::from(more)));
}

impl<'a> State<'a> {
    const fn new(kv: &'a dyn KvStore) -> Self {
        Self {
            kv,
            pieces: RefCell::new(Pieces::new(kv)),
            accounts: Cell::new(0),
            slots: Cell::new(0),
            nodes: Cell::new(0),
            owners: Cell::new(0),
        }
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StorageError> {
        self.pieces.borrow_mut().put(key, value)
    }

    fn put_node(&self, owner: &Hash, path: &Nibbles, record: &NodeRecord) -> Result<(), StorageError> {
        add(&self.nodes, true);
        self.put(schema::node_key(owner, path), record.encode())
    }

    /// Makes everything that was put readable.
    fn flush(&self) -> Result<(), StorageError> {
        self.pieces.borrow_mut().flush()
    }

    /// Writes the accounts with their trie, and the slots directly behind them. Returns the root.
    fn accounts<E, I>(&self, rows: &mut Rows<I>) -> Result<Hash, RestoreError<E>>
    where
        E: Error + 'static,
        I: Iterator<Item = Result<StateRow, E>>,
    {
        let leaves = std::iter::from_fn(|| self.next_leaf(rows).transpose());
        let root = build_sorted(TrieKind::Account, leaves, |path, record| {
            self.put_node(&Hash::ZERO, &path, &record)
                .map_err(RestoreError::from)
        })?;
        self.flush()?;
        Ok(root)
    }

    /// Writes the next account and the slots directly behind it. Returns its leaf.
    fn next_leaf<E, I>(&self, rows: &mut Rows<I>) -> Result<Option<Leaf>, RestoreError<E>>
    where
        E: Error + 'static,
        I: Iterator<Item = Result<StateRow, E>>,
    {
        let Some((key, row)) = rows.next_account()? else {
            return Ok(None);
        };
        let account = schema::read_account_row(&row)?.account;
        let leaf = schema::account_leaf(&row)?.to_vec();
        self.put(schema::flat_key(&StateKey::Account(key)), row)?;
        add(&self.accounts, true);
        if rows.next_owner()? == Some(key) {
            self.storage(rows, key, &account)?;
        } else {
            add(&self.owners, account.storage_root.is_some());
        }
        Ok(Some((key, leaf)))
    }

    /// Writes the slots that come behind all accounts.
    fn slots_behind<E, I>(&self, rows: &mut Rows<I>) -> Result<(), RestoreError<E>>
    where
        E: Error + 'static,
        I: Iterator<Item = Result<StateRow, E>>,
    {
        let mut found = 0u64;
        while let Some(owner) = rows.next_owner()? {
            let read = |key: &[u8]| self.kv.get(Family::State, key);
            let Some(account) = read(&schema::flat_key(&StateKey::Account(owner)))? else {
                return Err(rows.other(format!("there are slots of {owner}, which is no account")));
            };
            // Every trie with an entry has this record. Owners ascend, so that of this one is of slots behind its account.
            if read(&schema::node_key(&owner, &Nibbles::EMPTY))?.is_some() {
                return Err(rows.other(format!("there are slots of account {owner} in two places")));
            }
            let account = schema::read_account_row(&account)?.account;
            self.storage(rows, owner, &account)?;
            found = found.saturating_add(1);
        }
        // Each is another account with a storage root whose slots had not come: as many of them are all.
        let expected = self.owners.get();
        if found != expected {
            return Err(rows.other(format!(
                "the slots of {expected} accounts are missing, {found} came"
            )));
        }
        Ok(self.flush()?)
    }

    /// Writes the slots of one account with their trie, and compares its root with the account's.
    fn storage<E, I>(&self, rows: &mut Rows<I>, owner: Hash, account: &Account) -> Result<(), RestoreError<E>>
    where
        E: Error + 'static,
        I: Iterator<Item = Result<StateRow, E>>,
    {
        let leaves = std::iter::from_fn(|| {
            let row = rows.next_slot(owner).transpose()?;
            Some(row.and_then(|(key, row)| {
                let leaf = schema::slot_leaf(&row)?.to_vec();
                self.put(schema::flat_key(&StateKey::Slot(owner, key)), row)?;
                add(&self.slots, true);
                Ok((key, leaf))
            }))
        });
        let root = build_sorted(TrieKind::Storage, leaves, |path, record| {
            self.put_node(&owner, &path, &record).map_err(RestoreError::from)
        })?;
        let expected = schema::storage_root(Some(account));
        if root != expected {
            let detail = format!("the slots of account {owner} have root {root}, it says {expected}");
            return Err(rows.other(detail));
        }
        Ok(())
    }
}
