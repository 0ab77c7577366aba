//! Accounts in key order, from the overlay and the base together.

use super::StateView;
use crate::StorageError;
use crate::kv::{Direction, Family};
use crate::schema;
use vibecoin_primitives::{Account, Address, Hash, StateKey};

impl StateView {
    /// Up to `limit` accounts in the order of their hashed keys, from the first key above `after`.
    ///
    /// # Errors
    /// [`StorageError`] when the store fails or contains invalid rows.
    pub fn accounts_after(
        &self,
        after: Option<&Hash>,
        limit: usize,
    ) -> Result<Vec<(Address, Account)>, StorageError> {
        let mut from = StateKey::Account(after.copied().unwrap_or(Hash::ZERO));
        let mut exclusive = after.is_some();
        let snapshot = &self.inner.base.snapshot;
        let mut stored = snapshot.range(Family::State, &schema::flat_key(&from), None, Direction::Forward);
        let mut next_stored = || -> Result<Option<(StateKey, Vec<u8>)>, StorageError> {
            let Some((key, row)) = stored.next().transpose()? else {
                return Ok(None);
            };
            let key = schema::parse_flat_key(&key).filter(|key| matches!(key, StateKey::Account(_)));
            Ok(key.map(|key| (key, row)))
        };
        let mut below = next_stored()?;
        if exclusive && below.as_ref().is_some_and(|(key, _)| *key == from) {
            below = next_stored()?;
        }
        let mut found = Vec::new();
        while found.len() < limit {
            let above = self.inner.rows.next(&from, exclusive);
            let above = above.filter(|(key, _)| matches!(key, StateKey::Account(_)));
            // The overlay is newer: where both have a key, its row is used and the base's is skipped.
            let (key, row) = match (above, below.take()) {
                (None, None) => break,
                (Some((key, row)), None) => (*key, row.as_deref().map(<[u8]>::to_vec)),
                (Some((key, row)), Some(other)) if *key <= other.0 => {
                    below = if *key == other.0 {
                        next_stored()?
                    } else {
                        Some(other)
                    };
                    (*key, row.as_deref().map(<[u8]>::to_vec))
                }
                (_, Some((key, row))) => {
                    below = next_stored()?;
                    (key, Some(row))
                }
            };
            if let Some(row) = row {
                let row = schema::read_account_row(&row)?;
                found.push((row.address, row.account));
            }
            (from, exclusive) = (key, true);
        }
        Ok(found)
    }
}
