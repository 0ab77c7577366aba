//! A state in memory, for tests and simulations: ordered maps, and a root computed from its definition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vibecoin_primitives::{
    Account, AccountRow, AccountType, Address, Amount, DiffEntry, Hash, ProposerSchedule, SlotRow, StateDiff,
    StateKey, account_key, encode, records, slot_key,
};
use vibecoin_trie::{TrieKind, model::naive_root};

use crate::records::amount_value;
use crate::{ReadError, State, StateChanges, StateError, StateReader};

/// A whole state in memory.
///
/// Cloning is cheap. Applying copies everything and computes the root from scratch, so it is slow on purpose:
/// its roots are the reference for the real store.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemoryState {
    content: Arc<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Content {
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<(Address, Hash), Vec<u8>>,
    root: Hash,
}

impl MemoryState {
    /// The state of a new chain: these balances, and the chain's records.
    #[must_use]
    pub fn with_balances(
        balances: impl IntoIterator<Item = (Address, Amount)>,
        schedule: &ProposerSchedule,
    ) -> Self {
        let balances: BTreeMap<Address, Amount> = balances.into_iter().collect();
        let supply = balances
            .values()
            .fold(0u64, |sum, balance| sum.saturating_add(balance.0));
        let accounts = balances
            .into_iter()
            .map(|(address, balance)| (address, user(balance)));
        let system = (
            Address::system(),
            Account {
                kind: AccountType::System,
                ..Account::default()
            },
        );
        let record = |slot, value| ((Address::system(), slot), value);
        Self::new(
            accounts.chain([system]).collect(),
            BTreeMap::from([
                record(records::BURNED, amount_value(Amount::ZERO)),
                record(records::SUPPLY, amount_value(Amount(supply))),
                record(records::SCHEDULE, encode(schedule)),
            ]),
        )
    }

    /// A state with exactly this content. Storage roots are filled in.
    #[must_use]
    pub fn new(accounts: BTreeMap<Address, Account>, slots: BTreeMap<(Address, Hash), Vec<u8>>) -> Self {
        let mut content = Content {
            accounts,
            slots,
            root: Hash::ZERO,
        };
        let owners: Vec<Address> = content.accounts.keys().copied().collect();
        for owner in owners {
            content.fill_storage_root(&owner);
        }
        content.fill_root();
        Self {
            content: Arc::new(content),
        }
    }

    /// All accounts by address.
    #[must_use]
    pub fn accounts(&self) -> &BTreeMap<Address, Account> {
        &self.content.accounts
    }

    /// All slots by owner and slot.
    #[must_use]
    pub fn slots(&self) -> &BTreeMap<(Address, Hash), Vec<u8>> {
        &self.content.slots
    }
}

impl StateReader for MemoryState {
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError> {
        Ok(self.content.accounts.get(address).copied())
    }

    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.content.slots.get(&(*address, *slot)).cloned())
    }
}

impl State for MemoryState {
    fn root(&self) -> Hash {
        self.content.root
    }

    fn apply(&self, changes: &StateChanges) -> Result<(Self, StateDiff), StateError> {
        let mut next = Content::clone(&self.content);
        for (address, account) in &changes.accounts {
            next.accounts.insert(*address, *account);
        }
        for (key, value) in &changes.slots {
            match value.clone().filter(|value| !value.is_empty()) {
                Some(value) => next.slots.insert(*key, value),
                None => next.slots.remove(key),
            };
        }
        let owners: BTreeSet<Address> = changes.slots.keys().map(|(owner, _)| *owner).collect();
        for owner in owners.iter().chain(changes.accounts.keys()) {
            next.fill_storage_root(owner)
                .then_some(())
                .ok_or(StateError::NoOwner { owner: *owner })?;
        }
        next.fill_root();
        let diff = diff(&self.content, &next, changes);
        Ok((
            Self {
                content: Arc::new(next),
            },
            diff,
        ))
    }
}

impl Content {
    /// Sets the storage root of `owner`; false when there is no such account.
    fn fill_storage_root(&mut self, owner: &Address) -> bool {
        let slots = self
            .slots
            .range((*owner, Hash([0; 32]))..=(*owner, Hash([255; 32])));
        let entries: BTreeMap<Hash, Vec<u8>> = slots
            .map(|((_, slot), value)| (slot_key(slot), value.clone()))
            .collect();
        let Some(account) = self.accounts.get_mut(owner) else {
            return false;
        };
        account.storage_root = (!entries.is_empty()).then(|| naive_root(TrieKind::Storage, &entries));
        true
    }

    fn fill_root(&mut self) {
        let entries = self
            .accounts
            .iter()
            .map(|(address, account)| (account_key(address), encode(account)));
        self.root = naive_root(TrieKind::Account, &entries.collect());
    }

    fn account_row(&self, address: &Address) -> Option<Vec<u8>> {
        let account = *self.accounts.get(address)?;
        Some(encode(&AccountRow {
            address: *address,
            account,
        }))
    }

    fn slot_row(&self, key: &(Address, Hash)) -> Option<Vec<u8>> {
        let value = self.slots.get(key)?.clone();
        Some(encode(&SlotRow { slot: key.1, value }))
    }
}

fn diff(old: &Content, new: &Content, changes: &StateChanges) -> StateDiff {
    let accounts = changes
        .accounts
        .keys()
        .chain(changes.slots.keys().map(|(owner, _)| owner));
    let accounts = accounts.map(|address| {
        let key = StateKey::Account(account_key(address));
        (key, (old.account_row(address), new.account_row(address)))
    });
    let slots = changes.slots.keys().map(|owned| {
        let key = StateKey::Slot(account_key(&owned.0), slot_key(&owned.1));
        (key, (old.slot_row(owned), new.slot_row(owned)))
    });
    let rows: BTreeMap<_, _> = accounts.chain(slots).collect();
    let rows = rows.into_iter().filter(|(_, (old, new))| old != new);
    StateDiff {
        parent_root: old.root,
        root: new.root,
        entries: rows
            .map(|(key, (old, new))| DiffEntry { key, old, new })
            .collect(),
    }
}

fn user(balance: Amount) -> Account {
    Account {
        balance,
        ..Account::default()
    }
}
