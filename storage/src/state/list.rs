//! Accounts in key order.

use super::StateView;
use crate::{StorageError, schema};
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
        let from = StateKey::Account(after.copied().unwrap_or(Hash::ZERO));
        // Slots follow the accounts. Without an end the last page would step over each removed slot.
        let first_slot = StateKey::Slot(Hash::ZERO, Hash::ZERO);
        let mut rows = self.rows_from(from, after.is_some(), Some(first_slot))?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((StateKey::Account(_), row)) = rows.next().transpose()?
        {
            let row = schema::read_account_row(&row)?;
            found.push((row.address, row.account));
        }
        Ok(found)
    }
}
