//! An immutable view of one state.

use super::{Overlay, Row, RowCache};
use crate::kv::{Family, KvRead, KvStore};
use crate::schema::{self, Materialised};
use crate::{StorageError, StoreConfig};
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use vibecoin_primitives::{
    Account, AccountRow, Address, Hash, Height, StateKey, account_key, encode, slot_key,
};
use vibecoin_trie::{NodeRecord, Proof, Trie};

/// Source of all views of one store: the database, its newest materialised state, and the row cache.
pub(crate) struct StateSource {
    pub(crate) kv: Arc<dyn KvStore>,
    /// The newest materialised state.
    pub(crate) base: ArcSwap<Base>,
    pub(crate) cache: RowCache,
    /// Height up to which the materialiser is writing: runs below and above it are kept separate.
    pub(crate) boundary: AtomicU64,
    /// Maximum number of trie nodes that a view keeps in memory; twice as many between two prunings.
    pub(crate) trie_nodes_max: usize,
    /// Keys that are being read ahead.
    pub(crate) reading_ahead: AtomicUsize,
}

impl StateSource {
    pub(crate) fn new(kv: Arc<dyn KvStore>, base: Base, config: &StoreConfig) -> Self {
        Self {
            kv,
            base: ArcSwap::from_pointee(base),
            cache: RowCache::new(config.rows_cached_max),
            boundary: AtomicU64::new(0),
            trie_nodes_max: config.trie_nodes_max,
            reading_ahead: AtomicUsize::new(0),
        }
    }
}

/// A materialised state.
pub(crate) struct Base {
    pub(crate) snapshot: Arc<dyn KvRead>,
    pub(crate) at: Materialised,
    /// Number of materialised states; see [`RowCache`].
    pub(crate) epoch: u64,
}

/// The state after one block: cheap to clone, immutable, readable while the chain advances.
///
/// A view is a snapshot of the materialised state, the changes of the blocks above it, and the account trie.
/// [`StateView::apply`] returns the view after another block and changes nothing, so several candidates exist
/// side by side, and one that is not decided is simply dropped.
#[derive(Clone)]
pub struct StateView {
    pub(crate) layers: Arc<Layers>,
}

/// The layers of one state, the newest last: the base, then the changes of the blocks above it.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) source: Arc<StateSource>,
    pub(crate) base: Arc<Base>,
    pub(crate) height: Height,
    pub(crate) trie: Trie,
    pub(crate) rows: Overlay<StateKey, Row>,
    pub(crate) nodes: Overlay<(Hash, vibecoin_trie::Nibbles), Option<NodeRecord>>,
    /// State roots of the heights above the base.
    pub(crate) roots: Overlay<u64, Hash>,
}

impl fmt::Debug for StateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StateView {{ height: {}, root: {} }}",
            self.height(),
            self.root()
        )
    }
}

/// An account with the proof of its existence or absence.
#[derive(Debug, Clone)]
pub struct AccountProof {
    /// The account; `None` when there is none at the address.
    pub account: Option<Account>,
    /// Proof for [`account_key`] under the state root; the value is the encoded account.
    pub proof: Proof,
}

/// A slot with the proof of its value or absence.
#[derive(Debug, Clone)]
pub struct SlotProof {
    /// The slot.
    pub slot: Hash,
    /// Its value; `None` when it is empty.
    pub value: Option<Vec<u8>>,
    /// Proof for [`slot_key`] under the account's storage root; the value is the slot's bytes.
    pub proof: Proof,
}

impl StateView {
    pub(crate) fn new(layers: Layers) -> Self {
        Self {
            layers: Arc::new(layers),
        }
    }

    /// The view of a materialised state.
    pub(crate) fn of_base(source: &Arc<StateSource>, base: Arc<Base>) -> Self {
        Self::new(Layers {
            source: Arc::clone(source),
            height: base.at.height,
            trie: Trie::accounts(base.at.root),
            base,
            rows: Overlay::default(),
            nodes: Overlay::default(),
            roots: Overlay::default(),
        })
    }

    /// The height of the block whose state this is.
    #[must_use]
    pub fn height(&self) -> Height {
        self.layers.height
    }

    /// The root that the block's header carries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.layers.trie.root()
    }

    /// The account at `address`; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`] when the store fails or contains invalid rows.
    pub fn account(&self, address: &Address) -> Result<Option<Account>, StorageError> {
        Ok(self
            .account_row(&account_key(address), address)?
            .map(|row| row.account))
    }

    /// The value of a slot of `address`, never empty; `None` when it is not set.
    ///
    /// # Errors
    /// As [`StateView::account`].
    pub fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(row) = self.row(&StateKey::Slot(account_key(address), slot_key(slot)))? else {
            return Ok(None);
        };
        let row = schema::read_slot_row(&row)?;
        if row.slot != *slot {
            return Err(StorageError::corrupt(
                format!("row of slot {slot}"),
                format!("it is slot {}", row.slot),
            ));
        }
        Ok(Some(row.value))
    }

    /// The account at `address` with the proof for it.
    ///
    /// # Errors
    /// As [`StateView::account`].
    pub fn prove_account(&self, address: &Address) -> Result<AccountProof, StorageError> {
        let key = account_key(address);
        let account = self.account_row(&key, address)?.map(|row| row.account);
        let value = account.as_ref().map(encode);
        let proof = self.layers.trie.prove(&key, value.as_deref(), self)?;
        Ok(AccountProof { account, proof })
    }

    /// Slots of `address` with their proofs, under the storage root of its account. Of an account that does
    /// not exist every slot is empty, under the zero root.
    ///
    /// # Errors
    /// As [`StateView::account`].
    pub fn prove_slots(&self, address: &Address, slots: &[Hash]) -> Result<Vec<SlotProof>, StorageError> {
        let owner = account_key(address);
        let account = self.account_row(&owner, address)?.map(|row| row.account);
        let trie = Trie::storage(owner, schema::storage_root(account.as_ref()));
        let prove = |slot: &Hash| {
            let value = self.slot(address, slot)?;
            let proof = trie.prove(&slot_key(slot), value.as_deref(), self)?;
            Ok(SlotProof {
                slot: *slot,
                value,
                proof,
            })
        };
        slots.iter().map(prove).collect()
    }

    /// Number of nodes of the account trie in memory.
    #[must_use]
    pub fn trie_nodes(&self) -> usize {
        self.layers.trie.node_count()
    }

    /// The same state on the newest base, if that is an ancestor of this state.
    ///
    /// A state root commits to the whole state: a base whose root is the one this view had at that height is
    /// that state, so the overlay's entries up to there may be dropped.
    pub(crate) fn rebased(&self) -> Self {
        let layers = &self.layers;
        let base = layers.source.base.load_full();
        let at = base.at;
        let newer =
            base.epoch > layers.base.epoch && at.height > layers.base.at.height && at.height <= layers.height;
        if !newer || layers.roots.get(&at.height.0) != Some(&at.root) {
            return self.clone();
        }
        Self::new(Layers {
            base,
            rows: layers.rows.without_through(at.height.0),
            nodes: layers.nodes.without_through(at.height.0),
            roots: layers.roots.without_through(at.height.0),
            ..(**layers).clone()
        })
    }

    /// The encoded row of a key.
    pub(crate) fn row(&self, key: &StateKey) -> Result<Row, StorageError> {
        let layers = &self.layers;
        if let Some(row) = layers.rows.get(key) {
            return Ok(row.clone());
        }
        if let Some(row) = layers.source.cache.get(key, layers.base.epoch) {
            return Ok(row);
        }
        let (snapshot, stored) = (&layers.base.snapshot, schema::flat_key(key));
        let found = match key {
            StateKey::Account(_) => snapshot.get(Family::State, &stored)?,
            // Two large values fill a block, and the row cache keeps the requested one.
            StateKey::Slot(..) => snapshot.get_uncached(Family::State, &stored)?,
        };
        let row: Row = found.map(Arc::from);
        layers.source.cache.put(key, layers.base.epoch, &row);
        Ok(row)
    }

    /// The row of an account, which must belong to `address`.
    pub(crate) fn account_row(
        &self,
        key: &Hash,
        address: &Address,
    ) -> Result<Option<AccountRow>, StorageError> {
        let Some(row) = self.row(&StateKey::Account(*key))? else {
            return Ok(None);
        };
        let row = schema::read_account_row(&row)?;
        if row.address != *address {
            let detail = format!("it is of address {:?}", row.address);
            return Err(StorageError::corrupt(
                format!("row of account {address:?}"),
                detail,
            ));
        }
        Ok(Some(row))
    }

    pub(crate) fn boundary(&self) -> u64 {
        self.layers.source.boundary.load(Ordering::Acquire)
    }
}
