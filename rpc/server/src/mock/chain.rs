//! Execution of a block on a state, and its results: receipts, roots, diffs.

use super::*;

pub(super) fn leaves(tick: &Tick) -> Vec<Hash> {
    tick.transactions.iter().map(Transaction::hash).collect()
}

/// Every transaction succeeds or is impossible: enough for a server that does not inspect the
/// effects.
pub(super) fn execute(state: &mut State, transaction: &VerifiedTransaction) {
    let body = transaction.body();
    let sender = transaction.sender();
    let account = state.accounts.get_mut(&sender).unwrap();
    account.nonce = account.nonce.next().unwrap();
    account.balance = account.balance.checked_sub(body.fee).unwrap();
    let payout = state
        .accounts
        .entry(MockBackend::address(ACCOUNTS - 1))
        .or_default();
    payout.balance = payout.balance.checked_add(body.fee).unwrap();
    for operation in &body.operations {
        match operation {
            Operation::Transfer { to, amount } => {
                let from = state.accounts.get_mut(&sender).unwrap();
                from.balance = from
                    .balance
                    .checked_sub(*amount)
                    .expect("tests pay what they have");
                let to = state.accounts.entry(*to).or_default();
                to.balance = to.balance.checked_add(*amount).unwrap();
            }
            Operation::SetStorage { slot, value } => {
                state
                    .slots
                    .entry(sender)
                    .or_default()
                    .insert(*slot, value.clone());
            }
        }
    }
}

pub(super) fn receipt(transaction: &VerifiedTransaction) -> Receipt {
    Receipt::V1(ReceiptV1 {
        transaction: *transaction.id(),
        fee: transaction.body().fee,
        burned: Amount(0),
        outcome: Outcome::Success,
    })
}

/// Puts the roots of the storage tries into their accounts.
pub(super) fn seal_storage(state: &mut State) {
    for (address, slots) in &state.slots {
        let root = insert(
            &mut MemoryState::default(),
            &Trie::storage(account_key(address), Hash::ZERO),
            slot_rows(slots),
        );
        let account = state.accounts.entry(*address).or_default();
        account.storage_root = Some(root.root());
        if *address == Address::system() {
            account.kind = AccountType::System;
        }
    }
}

pub(super) fn slot_rows(slots: &BTreeMap<Hash, Vec<u8>>) -> Vec<(Hash, Vec<u8>)> {
    slots
        .iter()
        .map(|(slot, value)| (slot_key(slot), value.clone()))
        .collect()
}

pub(super) fn insert(memory: &mut MemoryState, trie: &Trie, mut rows: Vec<(Hash, Vec<u8>)>) -> Trie {
    rows.sort();
    let changes: Vec<Change<'_>> = rows
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            old: None,
            new: Some(value),
        })
        .collect();
    let (after, writes) = trie.update(&changes, memory, &Sequential).unwrap();
    memory.apply(&writes, &changes);
    after
}

/// The account trie, from scratch.
pub(super) fn build(state: &State) -> (Trie, MemoryState) {
    let mut memory = MemoryState::default();
    let rows = state
        .accounts
        .iter()
        .map(|(address, account)| (account_key(address), encode(account)))
        .collect();
    let trie = insert(&mut memory, &Trie::accounts(Hash::ZERO), rows);
    (trie, memory)
}

pub(super) fn diff(parent: &Header, header: &Header, before: &State, after: &State) -> StateDiff {
    let row = |state: &State, address: &Address| {
        state.accounts.get(address).map(|account| {
            encode(&AccountRow {
                address: *address,
                account: *account,
            })
        })
    };
    let mut entries: Vec<DiffEntry> = after
        .accounts
        .keys()
        .map(|address| DiffEntry {
            key: StateKey::Account(account_key(address)),
            old: row(before, address),
            new: row(after, address),
        })
        .filter(|entry| entry.old != entry.new)
        .collect();
    let schedule = |state: &State| {
        let value = state.slots[&Address::system()][&records::SCHEDULE].clone();
        let slot = records::SCHEDULE;
        Some(encode(&SlotRow { slot, value }))
    };
    let (old, new) = (schedule(before), schedule(after));
    if old != new {
        let key = StateKey::Slot(account_key(&Address::system()), slot_key(&records::SCHEDULE));
        entries.push(DiffEntry { key, old, new });
    }
    entries.sort_by_key(|entry| entry.key);
    StateDiff {
        parent_root: parent.state_root,
        root: header.state_root,
        entries,
    }
}
