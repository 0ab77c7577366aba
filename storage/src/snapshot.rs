//! A state at one height as the source of a snapshot: its block, its rows in key order, its trie.
//!
//! A source is a view of the state after a committed block, and so it costs nothing to have: the rows are those of the
//! pinned snapshot of the database with the changes of the blocks above it merged in. The node commits and materialises
//! meanwhile, and no commit waits for a source. While it lives, the database keeps the rows that were overwritten since,
//! the memory of the blocks that were not materialised when it was made stays in use, and the database stays open after
//! the store is dropped.

use crate::kv::Family;
use crate::schema::{self, GenesisRecord};
use crate::state::{MergedRows, StateView, state_key};
use crate::{StorageError, Store};
use vibecoin_primitives::{AccountRow, CommitCertificate, Hash, Header, Height, SlotRow, StateKey};
use vibecoin_trie::{Nibbles, NodeReader, NodeRecord, ReadError, Trie};

/// An account with its key.
pub type KeyedAccount = (Hash, AccountRow);

/// A slot with the key of its owner and its own.
pub type KeyedSlot = (Hash, Hash, SlotRow);

/// The state after one block, with that block's header and certificate.
pub struct SnapshotSource {
    genesis: GenesisRecord,
    header: Header,
    hash: Hash,
    certificate: CommitCertificate,
    view: StateView,
}

impl Store {
    /// The state after the last committed block. Neither waits for a commit nor lets one wait.
    ///
    /// # Errors
    /// As [`SnapshotSource::of_view`].
    pub fn snapshot_source(&self) -> Result<SnapshotSource, StorageError> {
        SnapshotSource::of_view(self, self.view())
    }
}

impl SnapshotSource {
    /// The state of a view of `store`, which must be of a committed block above genesis. [`Store::commit`] returns the
    /// view of exactly one height.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for another view: of genesis, which every node derives itself, of a block that was not
    /// decided, or of one that a rewind has removed. Else a fault of the database.
    pub fn of_view(store: &Store, view: StateView) -> Result<Self, StorageError> {
        let (height, reader) = (view.height(), store.reader());
        let refuse = |detail: &str| {
            Err(StorageError::Refused(format!(
                "there is no snapshot of height {height}: {detail}"
            )))
        };
        if height == Height::ZERO {
            return refuse("the genesis file is that state");
        }
        let Some(header) = reader.header(height)? else {
            return refuse("the chain has no such block");
        };
        if header.state_root != view.root() {
            return refuse("the state is not the one of the chain's block");
        }
        let certificate = reader.certificate(height)?;
        let certificate =
            certificate.ok_or_else(|| StorageError::missing(format!("certificate of height {height}")))?;
        Ok(Self {
            genesis: store.genesis().clone(),
            hash: header.hash(),
            header,
            certificate,
            view,
        })
    }

    /// The initial data of the chain.
    #[must_use]
    pub const fn genesis(&self) -> &GenesisRecord {
        &self.genesis
    }

    /// The header of the block with this state.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The hash of the block.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The certificate that decided the block.
    #[must_use]
    pub const fn certificate(&self) -> &CommitCertificate {
        &self.certificate
    }

    /// The rows from a key on: accounts ascending by key, then slots ascending by owner and key. Values are the encoded
    /// [`AccountRow`] and [`SlotRow`], as they are stored.
    ///
    /// # Errors
    /// [`StorageError`] when the disk fails.
    pub fn rows_from(&self, from: StateKey) -> Result<StateRows<'_>, StorageError> {
        self.view.scan_from(from).map(StateRows)
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`SnapshotSource::rows_from`].
    pub fn rows(&self) -> Result<StateRows<'_>, StorageError> {
        self.rows_from(StateKey::Account(Hash::ZERO))
    }

    /// The accounts ascending by key, from `from` on.
    ///
    /// # Errors
    /// As [`SnapshotSource::rows_from`].
    pub fn accounts_from(
        &self,
        from: Hash,
    ) -> Result<impl Iterator<Item = Result<KeyedAccount, StorageError>> + '_, StorageError> {
        let rows = self.rows_from(StateKey::Account(from))?;
        Ok(rows.map_while(|row| match row {
            Ok((StateKey::Account(key), row)) => Some(schema::read_account_row(&row).map(|row| (key, row))),
            Ok((StateKey::Slot(..), _)) => None,
            Err(error) => Some(Err(error)),
        }))
    }

    /// The slots with the keys of their owner and their own, ascending by both, from the pair `from` on.
    ///
    /// # Errors
    /// As [`SnapshotSource::rows_from`].
    pub fn slots_from(
        &self,
        from: (Hash, Hash),
    ) -> Result<impl Iterator<Item = Result<KeyedSlot, StorageError>> + '_, StorageError> {
        let rows = self.rows_from(StateKey::Slot(from.0, from.1))?;
        Ok(rows.map_while(|row| match row {
            Ok((StateKey::Slot(owner, key), row)) => {
                Some(schema::read_slot_row(&row).map(|row| (owner, key, row)))
            }
            Ok((StateKey::Account(_), _)) => None,
            Err(error) => Some(Err(error)),
        }))
    }

    /// The account trie, for proofs; this source is its reader.
    #[must_use]
    pub fn trie(&self) -> Trie {
        Trie::accounts(self.header.state_root)
    }

    /// The storage trie of the account with this key, for proofs; empty when there is no such account.
    ///
    /// # Errors
    /// [`StorageError`] when the disk fails or the row is damaged.
    pub fn storage_trie(&self, owner: &Hash) -> Result<Trie, StorageError> {
        let row = self.row(&StateKey::Account(*owner))?;
        let row = row.as_deref().map(schema::read_account_row).transpose()?;
        let root = schema::storage_root(row.as_ref().map(|row| &row.account));
        Ok(Trie::storage(*owner, root))
    }

    /// The encoded row of a key. Nothing is cached: a snapshot reads every row once.
    fn row(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StorageError> {
        let layers = &self.view.layers;
        match layers.rows.get(key) {
            Some(row) => Ok(row.as_deref().map(<[u8]>::to_vec)),
            None => {
                let snapshot = &layers.base.snapshot;
                snapshot.get_uncached(Family::State, &schema::flat_key(key))
            }
        }
    }
}

impl NodeReader for SnapshotSource {
    fn node(&self, owner: &Hash, path: &Nibbles) -> Result<Option<Vec<u8>>, ReadError> {
        let layers = &self.view.layers;
        if let Some(node) = layers.nodes.get(&(*owner, *path)) {
            return Ok(node.as_ref().map(NodeRecord::encode));
        }
        let snapshot = &layers.base.snapshot;
        Ok(snapshot.get_uncached(Family::State, &schema::node_key(owner, path))?)
    }

    fn leaf(&self, owner: &Hash, key: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(row) = self.row(&state_key(owner, *key))? else {
            return Ok(None);
        };
        let leaf = if owner.is_zero() {
            schema::account_leaf(&row)?
        } else {
            schema::slot_leaf(&row)?
        };
        Ok(Some(leaf.to_vec()))
    }
}

/// Rows of a state in key order. The first error is the end.
pub struct StateRows<'a>(MergedRows<'a>);

impl Iterator for StateRows<'_> {
    type Item = Result<(StateKey, Vec<u8>), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.0.next()?;
        Some(row.map(|(key, row)| (key, row.into_owned())))
    }
}
