//! Interfaces for reading the state, and for a block's changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use vibecoin_primitives::{Account, Address, Hash, StateDiff};

/// The state could not be read: a damaged or failing store, never a property of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state cannot be read: {what}")]
pub struct ReadError {
    /// The item read and the error.
    pub what: String,
}

impl ReadError {
    /// An error with this description.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// Accounts and slots as of one block.
pub trait StateReader {
    /// The account at `address`; `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`] when the store fails.
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError>;

    /// The value of a slot of `address`, never empty; `None` when it is not set.
    ///
    /// # Errors
    /// [`ReadError`] when the store fails.
    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError>;

    /// Announces that these slots are about to be replaced, so that their old values are at hand when the
    /// changes are applied. Returns at once and changes no result; a reader that is never slow ignores it.
    fn prefetch(&self, _slots: Vec<(Address, Hash)>) {}
}

impl<R: StateReader + ?Sized> StateReader for &R {
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError> {
        (**self).account(address)
    }

    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        (**self).slot(address, slot)
    }

    fn prefetch(&self, slots: Vec<(Address, Hash)>) {
        (**self).prefetch(slots);
    }
}

impl<R: StateReader + ?Sized> StateReader for Arc<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError> {
        (**self).account(address)
    }

    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        (**self).slot(address, slot)
    }

    fn prefetch(&self, slots: Vec<(Address, Hash)>) {
        (**self).prefetch(slots);
    }
}

/// Changes of the state by a block: absolute new values.
///
/// The owner of every slot in `slots` is in `accounts` too, because its storage root changes. The
/// `storage_root` in `accounts` is the one before the block; applying fills in the new one. A slot may be
/// listed with the value that it already has.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StateChanges {
    /// Accounts by address, as they are after the block. Accounts are never removed.
    pub accounts: BTreeMap<Address, Account>,
    /// Slots by owner and slot, as they are after the block; `None` removes the slot.
    pub slots: BTreeMap<(Address, Hash), Option<Vec<u8>>>,
}

/// Reason why changes could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The old state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A change of a slot whose account does not exist.
    #[error("slots of {owner:?} cannot change: there is no such account")]
    NoOwner {
        /// The missing account.
        owner: Address,
    },
    /// The store returned data that differs from the data stored.
    #[error("state is damaged: {what}")]
    Corrupt {
        /// The data found.
        what: String,
    },
}

/// A state with a root, to which changes can be applied. Applying leaves the original unchanged.
pub trait State: StateReader + Clone {
    /// The root that headers contain.
    fn root(&self) -> Hash;

    /// The state after `changes`, and the rows that differ between the two.
    ///
    /// # Errors
    /// [`StateError`] when the old state cannot be read or is damaged.
    fn apply(&self, changes: &StateChanges) -> Result<(Self, StateDiff), StateError>;
}
