//! Implementation of the runtime's interfaces for a view.

use std::sync::atomic::Ordering;

use super::StateView;
use crate::StorageError;
use crate::kv::Family;
use crate::schema;
use vibecoin_execution::{ReadError as ExecutionReadError, State, StateChanges, StateError, StateReader};
use vibecoin_primitives::{Account, Address, Hash, StateDiff, StateKey, account_key, slot_key};
use vibecoin_trie::{Nibbles, NodeReader, ReadError};

/// Maximum number of keys of all blocks in progress that are queued for read-ahead.
const READ_AHEAD_MAX: usize = 4_096;

impl StateReader for StateView {
    fn account(&self, address: &Address) -> Result<Option<Account>, ExecutionReadError> {
        Self::account(self, address).map_err(|error| ExecutionReadError::new(error.to_string()))
    }

    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ExecutionReadError> {
        Self::slot(self, address, slot).map_err(|error| ExecutionReadError::new(error.to_string()))
    }

    fn prefetch(&self, slots: Vec<(Address, Hash)>) {
        if slots.is_empty() {
            return;
        }
        // Reading ahead only saves time: beyond the bound rows are read when they are needed.
        let reading = &self.layers.source.reading_ahead;
        let mut slots = slots;
        let room = READ_AHEAD_MAX.saturating_sub(reading.load(Ordering::Relaxed));
        slots.truncate(room);
        if slots.is_empty() {
            return;
        }
        let count = slots.len();
        reading.fetch_add(count, Ordering::Relaxed);
        // A copy of the view: the rows go into the cache that all views share, and a read that fails here
        // fails again at its actual use.
        let view = self.clone();
        rayon::spawn(move || {
            for (address, slot) in slots {
                let _ = view.row(&StateKey::Slot(account_key(&address), slot_key(&slot)));
            }
            view.layers
                .source
                .reading_ahead
                .fetch_sub(count, Ordering::Relaxed);
        });
    }
}

impl State for StateView {
    fn root(&self) -> Hash {
        Self::root(self)
    }

    fn apply(&self, changes: &StateChanges) -> Result<(Self, StateDiff), StateError> {
        Self::apply(self, changes).map_err(StateError::from)
    }
}

impl From<StorageError> for StateError {
    fn from(error: StorageError) -> Self {
        let what = error.to_string();
        match error {
            StorageError::Corrupt { .. } | StorageError::Missing { .. } => Self::Corrupt { what },
            _ => Self::Read(ExecutionReadError::new(what)),
        }
    }
}

impl NodeReader for StateView {
    fn node(&self, owner: &Hash, path: &Nibbles) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(node) = self.layers.nodes.get(&(*owner, *path)) {
            return Ok(node.as_ref().map(vibecoin_trie::NodeRecord::encode));
        }
        Ok(self
            .layers
            .base
            .snapshot
            .get(Family::State, &schema::node_key(owner, path))?)
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

/// The key of the row with the leaf `key` of the trie of `owner`.
pub(crate) fn state_key(owner: &Hash, key: Hash) -> StateKey {
    if owner.is_zero() {
        StateKey::Account(key)
    } else {
        StateKey::Slot(*owner, key)
    }
}
