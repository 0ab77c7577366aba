//! What the rooms of the runtime ask of a view.

use std::sync::atomic::Ordering;

use super::StateView;
use super::view::Inner;
use crate::StorageError;
use crate::kv::{Direction, Family};
use crate::schema;
use vibecoin_execution::{ReadError as ExecutionReadError, State, StateChanges, StateError, StateReader};
use vibecoin_primitives::{Account, Address, Hash, StateDiff, StateKey, account_key, slot_key};
use vibecoin_trie::{Nibbles, NodeReader, ReadError};

/// Most keys of all blocks in work that wait to be read ahead.
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
        // Reading ahead only saves time: beyond the bound rows are read where they are needed.
        let reading = &self.inner.shared.reading_ahead;
        let mut slots = slots;
        let room = READ_AHEAD_MAX.saturating_sub(reading.load(Ordering::Relaxed));
        slots.truncate(room);
        if slots.is_empty() {
            return;
        }
        let count = slots.len();
        reading.fetch_add(count, Ordering::Relaxed);
        // A copy of the view: the rows go into the cache that all views share, and a read that fails here fails
        // again where it counts.
        let view = self.clone();
        rayon::spawn(move || {
            for (address, slot) in slots {
                let _ = view.row(&StateKey::Slot(account_key(&address), slot_key(&slot)));
            }
            view.inner
                .shared
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
        if let Some(node) = self.inner.nodes.get(&(*owner, *path)) {
            return Ok(node.as_ref().map(vibecoin_trie::NodeRecord::encode));
        }
        Ok(self
            .inner
            .base
            .snapshot
            .get(Family::State, &schema::node_key(owner, path))?)
    }

    fn leaf(&self, owner: &Hash, prefix: &Nibbles) -> Result<Option<(Hash, Vec<u8>)>, ReadError> {
        Ok(first_leaf(&self.inner, owner, prefix)?)
    }
}

fn state_key(owner: &Hash, key: Hash) -> StateKey {
    if owner.is_zero() {
        StateKey::Account(key)
    } else {
        StateKey::Slot(*owner, key)
    }
}

/// The first row under a prefix: of the overlay and the base the lower key, where they have the same one
/// the overlay's, and of those the first that is not deleted.
fn first_leaf(
    inner: &Inner,
    owner: &Hash,
    prefix: &Nibbles,
) -> Result<Option<(Hash, Vec<u8>)>, StorageError> {
    let own = |key: &StateKey| match key {
        StateKey::Account(key) => owner.is_zero().then_some(*key),
        StateKey::Slot(other, key) => (other == owner).then_some(*key),
    };
    let within = |key: &StateKey| own(key).filter(|key| prefix.leads_to(key));
    let mut from = state_key(owner, prefix.first_key());
    let mut stored =
        inner
            .base
            .snapshot
            .range(Family::State, &schema::flat_key(&from), None, Direction::Forward);
    let mut next_stored = || -> Result<Option<(StateKey, Vec<u8>)>, StorageError> {
        let Some((key, row)) = stored.next().transpose()? else {
            return Ok(None);
        };
        Ok(schema::parse_flat_key(&key)
            .filter(|key| within(key).is_some())
            .map(|key| (key, row)))
    };
    let mut below = next_stored()?;
    let mut after = false;
    loop {
        let above = inner
            .rows
            .next(&from, after)
            .filter(|(key, _)| within(key).is_some());
        let (key, row) = match (above, &mut below) {
            (Some((key, row)), Some((other, _))) if key == other => {
                let found = (*key, row.as_deref().map(<[u8]>::to_vec));
                below = next_stored()?;
                found
            }
            (Some((key, row)), Some((other, _))) if key < other => (*key, row.as_deref().map(<[u8]>::to_vec)),
            (Some((key, row)), None) => (*key, row.as_deref().map(<[u8]>::to_vec)),
            (_, Some((key, row))) => (*key, Some(std::mem::take(row))),
            (None, None) => return Ok(None),
        };
        if let (Some(row), Some(hash)) = (row, own(&key)) {
            let leaf = if owner.is_zero() {
                schema::account_leaf(&row)?
            } else {
                schema::slot_leaf(&row)?
            };
            return Ok(Some((hash, leaf.to_vec())));
        }
        (from, after) = (key, true);
    }
}
