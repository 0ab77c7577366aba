//! Creation of a chain that begins at the block of a snapshot: a marker row, the state in bounded pieces, then one batch
//! that makes it valid.
//!
//! The rows are trusted as little as their source: each must be of its key and above the one before it, the account trie
//! that they give must have the root in the certified header, and every storage trie the root in its account. The tries
//! are built on the way, from one pass over the rows. Until all of that holds there is no chain in the database, and
//! whatever an interrupted or refused restore leaves is cleared by the next creation.

use super::Store;
use super::genesis::begin_creation;
use super::pieces::Pieces;
use super::rewind::name;
use crate::StorageError;
use crate::kv::{Batch, Family, KvStore, RocksConfig, RocksKv};
use crate::schema::{self, GenesisRecord, Head, HeightRecord, MATERIALISED, Materialised, SCHEMA_VERSION};
use std::cell::RefCell;
use std::error::Error;
use std::iter::Fuse;
use std::path::Path;
use vibecoin_primitives::{BLOCK_VERSION, CommitCertificate, Hash, Header, Height, StateKey, encode};
use vibecoin_trie::{NotAscending, TrieKind, build_sorted};

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
    /// Creates the chain that begins at `point` in an empty database, from all rows of its state in key order: accounts
    /// ascending, then slots, each as [`SnapshotSource::rows`](crate::SnapshotSource::rows) returns it. Remains of an
    /// interrupted creation are cleared.
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
        let mut state = State::new(kv, point, rows.into_iter());
        let root = state.accounts()?;
        if root != point.state_root() {
            let detail = format!(
                "its accounts have root {root}, its header says {}",
                point.state_root()
            );
            return Err(state.rows.other(detail));
        }
        state.storage()?;
        let restored = state.restored;
        write_chain(kv, point)?;
        Ok(restored)
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

/// The rows in order, each checked against its key and the one before it.
struct Rows<I> {
    rows: Fuse<I>,
    /// Read and not yet taken.
    next: Option<(StateKey, Vec<u8>)>,
    last: Option<StateKey>,
    height: Height,
}

impl<E, I> Rows<I>
where
    E: Error + 'static,
    I: Iterator<Item = Result<(StateKey, Vec<u8>), E>>,
{
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

    /// The next row if its key is one of these.
    fn next_if(
        &mut self,
        wanted: impl Fn(&StateKey) -> bool,
    ) -> Result<Option<(StateKey, Vec<u8>)>, RestoreError<E>> {
        let is_wanted = self.peek()?.is_some_and(|key| wanted(&key));
        Ok(if is_wanted { self.next.take() } else { None })
    }

    fn read(&mut self) -> Result<Option<(StateKey, Vec<u8>)>, RestoreError<E>> {
        let Some(row) = self.rows.next() else {
            return Ok(None);
        };
        let (key, row) = row.map_err(RestoreError::Rows)?;
        if let Some(last) = self.last
            && last >= key
        {
            return Err(self.other(format!("{} does not come after {}", name(&key), name(&last))));
        }
        self.last = Some(key);
        if let Err(error) = schema::check_row(&key, &row) {
            return Err(self.other(format!("{}: {error}", name(&key))));
        }
        Ok(Some((key, row)))
    }
}

/// A state being written.
struct State<'a, I> {
    kv: &'a dyn KvStore,
    pieces: RefCell<Pieces<'a>>,
    rows: Rows<I>,
    /// Number of accounts with a storage root.
    owners: u64,
    restored: Restored,
}

impl<'a, E, I> State<'a, I>
where
    E: Error + 'static,
    I: Iterator<Item = Result<(StateKey, Vec<u8>), E>>,
{
    fn new(kv: &'a dyn KvStore, point: &RestorePoint, rows: I) -> Self {
        let base = point.base();
        Self {
            kv,
            pieces: RefCell::new(Pieces::new(kv)),
            rows: Rows {
                rows: rows.fuse(),
                next: None,
                last: None,
                height: base.height,
            },
            owners: 0,
            restored: Restored {
                base,
                accounts: 0,
                slots: 0,
                nodes: 0,
            },
        }
    }

    /// Writes the accounts with their trie, and returns its root.
    fn accounts(&mut self) -> Result<Hash, RestoreError<E>> {
        let Self {
            pieces,
            rows,
            owners,
            restored,
            ..
        } = self;
        let Restored { accounts, nodes, .. } = restored;
        let leaves = std::iter::from_fn(|| {
            let row = rows.next_if(|key| matches!(key, StateKey::Account(_)));
            row.transpose().map(|row| {
                let (key, row) = row?;
                let (StateKey::Account(path) | StateKey::Slot(_, path)) = key;
                let account = schema::read_account_row(&row)?.account;
                *owners = owners.saturating_add(u64::from(account.storage_root.is_some()));
                *accounts = accounts.saturating_add(1);
                let leaf = schema::account_leaf(&row)?.to_vec();
                pieces.borrow_mut().put(schema::flat_key(&key), row)?;
                Ok((path, leaf))
            })
        });
        let root = build_sorted::<Vec<u8>, RestoreError<E>>(TrieKind::Account, leaves, |path, record| {
            *nodes = nodes.saturating_add(1);
            let key = schema::node_key(&Hash::ZERO, &path);
            Ok(pieces.borrow_mut().put(key, record.encode())?)
        })?;
        pieces.borrow_mut().flush()?;
        Ok(root)
    }

    /// Writes the slots with their tries, and compares the roots with those of the accounts, which are written.
    fn storage(&mut self) -> Result<(), RestoreError<E>> {
        let mut found = 0u64;
        while let Some(StateKey::Slot(owner, _)) = self.rows.peek()? {
            let account = self
                .kv
                .get(Family::State, &schema::flat_key(&StateKey::Account(owner)))?;
            let Some(account) = account else {
                return Err(self
                    .rows
                    .other(format!("there are slots of {owner}, which is no account")));
            };
            let account = schema::read_account_row(&account)?.account;
            let expected = schema::storage_root(Some(&account));
            let root = self.storage_of(owner)?;
            if root != expected {
                let detail = format!("the slots of account {owner} have root {root}, it says {expected}");
                return Err(self.rows.other(detail));
            }
            found = found.saturating_add(1);
        }
        // Owners are distinct, and each is an account with that root: as many of them are all.
        if found != self.owners {
            let detail = format!("{} accounts have slots, there are those of {found}", self.owners);
            return Err(self.rows.other(detail));
        }
        Ok(self.pieces.borrow_mut().flush()?)
    }

    /// Writes the slots of one account with their trie, and returns its root.
    fn storage_of(&mut self, owner: Hash) -> Result<Hash, RestoreError<E>> {
        let Self {
            pieces,
            rows,
            restored,
            ..
        } = self;
        let Restored { slots, nodes, .. } = restored;
        let leaves = std::iter::from_fn(|| {
            let row = rows.next_if(|key| matches!(key, StateKey::Slot(of, _) if *of == owner));
            row.transpose().map(|row| {
                let (key, row) = row?;
                let (StateKey::Account(path) | StateKey::Slot(_, path)) = key;
                *slots = slots.saturating_add(1);
                let leaf = schema::slot_leaf(&row)?.to_vec();
                pieces.borrow_mut().put(schema::flat_key(&key), row)?;
                Ok((path, leaf))
            })
        });
        build_sorted::<Vec<u8>, RestoreError<E>>(TrieKind::Storage, leaves, |path, record| {
            *nodes = nodes.saturating_add(1);
            let key = schema::node_key(&owner, &path);
            Ok(pieces.borrow_mut().put(key, record.encode())?)
        })
    }
}
