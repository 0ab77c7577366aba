//! Computes the next state: rows first, then storage tries, then the account trie.

use super::view::Layers;
use super::{Row, StateView};
use crate::StorageError;
use crate::schema;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use vibecoin_execution::StateChanges;
use vibecoin_primitives::{
    Account, AccountRow, Address, DiffEntry, Hash, SlotRow, StateDiff, StateKey, account_key, encode,
    slot_key,
};
use vibecoin_trie::{Change, Job, Nibbles, NodeRecord, NodeWrites, Parallel, Trie};

/// Below this number of rows the old ones are read, and the new ones made, sequentially.
const PARALLEL_ROWS_MIN: usize = 256;
/// Minimum number of slots of one account that are read by several threads: a cold value costs far more than
/// handing it to another thread.
const PARALLEL_SLOTS_MIN: usize = 16;

/// The process's thread pool as a parallel executor.
pub(crate) struct Executor;

impl Parallel for Executor {
    fn run(&self, jobs: &mut [Job<'_>]) {
        jobs.par_iter_mut().for_each(|job| job());
    }
}

type NodeEntry = ((Hash, Nibbles), Option<NodeRecord>);

/// A slot and its value after the block.
type ChangedSlot<'a> = (Hash, &'a Option<Vec<u8>>);

/// An account that a block touches.
struct Touched<'a> {
    key: Hash,
    address: Address,
    account: Account,
    old_row: Row,
    slots: Vec<ChangedSlot<'a>>,
}

/// Result of applying one account: its entry if it changed, those of its slots, and nodes of its storage
/// trie.
type Applied = (Option<DiffEntry>, Vec<DiffEntry>, Vec<NodeEntry>);

impl StateView {
    /// The state after `changes`, and the rows that differ between the two. This view is unchanged.
    ///
    /// A slot's owner must be among the accounts; the storage roots in `changes` are computed here.
    ///
    /// # Errors
    /// [`StorageError`] when the old state cannot be read or is damaged.
    pub fn apply(&self, changes: &StateChanges) -> Result<(Self, StateDiff), StorageError> {
        let view = self.rebased();
        let mut touched = view.touched(changes)?;
        touched.sort_unstable_by_key(|account| account.key);
        let rows = rows_of(touched.iter().map(|account| account.slots.len()));
        let (mut entries, mut slots, mut nodes) = (Vec::with_capacity(touched.len()), Vec::new(), Vec::new());
        let applied: Vec<Applied> = if rows < PARALLEL_ROWS_MIN {
            let applied = touched.into_iter().map(|account| view.apply_account(account));
            applied.collect::<Result<_, _>>()?
        } else {
            let applied = touched.into_par_iter().with_min_len(8);
            let applied = applied.map(|account| view.apply_account(account));
            applied.collect::<Result<_, _>>()?
        };
        for (entry, mut own, mut written) in applied {
            entries.extend(entry);
            slots.append(&mut own);
            nodes.append(&mut written);
        }
        entries.append(&mut slots);
        let trie = view.update_accounts(&entries, &mut nodes)?;
        let diff = StateDiff {
            parent_root: self.root(),
            root: trie.root(),
            entries,
        };
        Ok((view.push(&diff.entries, nodes, trie), diff))
    }

    /// The state after a recorded diff, which must lead from this root to its own.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when the diff does not apply to this state or does not yield its recorded
    /// root.
    pub(crate) fn apply_diff(&self, diff: &StateDiff) -> Result<Self, StorageError> {
        let wrong = |detail: String| {
            StorageError::corrupt(format!("diff on top of height {}", self.height()), detail)
        };
        if diff.parent_root != self.root() {
            return Err(wrong(format!(
                "it starts from root {}, the state has {}",
                diff.parent_root,
                self.root()
            )));
        }
        let accounts = diff
            .entries
            .partition_point(|entry| matches!(entry.key, StateKey::Account(_)));
        let (accounts, slots) = diff.entries.split_at_checked(accounts).unwrap_or_default();
        let mut nodes = Vec::new();
        for group in slots.chunk_by(|a, b| owner_of(&a.key) == owner_of(&b.key)) {
            let Some(owner) = group.first().map(|entry| owner_of(&entry.key)) else {
                continue;
            };
            let at = accounts
                .binary_search_by_key(&StateKey::Account(owner), |entry| entry.key)
                .ok();
            let account = at.and_then(|at| accounts.get(at));
            let account =
                account.ok_or_else(|| wrong(format!("slots of {owner} change, their account does not")))?;
            let (old, new) = (
                stored_root(account.old.as_deref())?,
                stored_root(account.new.as_deref())?,
            );
            let found = self.update_storage(owner, old, group, &mut nodes)?;
            if found != new {
                return Err(wrong(format!(
                    "storage of {owner} has root {found}, its account says {new}"
                )));
            }
        }
        let trie = self.update_accounts(accounts, &mut nodes)?;
        if trie.root() != diff.root {
            return Err(wrong(format!(
                "it says root {}, its rows give {}",
                diff.root,
                trie.root()
            )));
        }
        Ok(self.push(&diff.entries, nodes, trie))
    }

    fn touched<'a>(&self, changes: &'a StateChanges) -> Result<Vec<Touched<'a>>, StorageError> {
        let mut slots: BTreeMap<Address, Vec<ChangedSlot<'a>>> = BTreeMap::new();
        for ((owner, slot), value) in &changes.slots {
            slots.entry(*owner).or_default().push((*slot, value));
        }
        let mut accounts = Vec::with_capacity(changes.accounts.len());
        for (address, account) in &changes.accounts {
            accounts.push((*address, *account, slots.remove(address).unwrap_or_default()));
        }
        if let Some(owner) = slots.keys().next() {
            return Err(StorageError::Refused(format!(
                "slots of {owner:?} change without their account"
            )));
        }
        let touch = |(address, account, slots)| {
            let key = account_key(&address);
            let old_row = self.row(&StateKey::Account(key))?;
            Ok(Touched {
                key,
                address,
                account,
                old_row,
                slots,
            })
        };
        if accounts.len() < PARALLEL_ROWS_MIN {
            return accounts.into_iter().map(touch).collect();
        }
        accounts.into_par_iter().with_min_len(64).map(touch).collect()
    }

    fn apply_account(&self, touched: Touched<'_>) -> Result<Applied, StorageError> {
        let Touched {
            key,
            address,
            mut account,
            old_row,
            slots: changed,
        } = touched;
        let mut root = stored_root(old_row.as_deref())?;
        let (mut slots, mut nodes) = (Vec::new(), Vec::new());
        if !changed.is_empty() {
            slots = self.slot_entries(key, changed)?;
            root = self.update_storage(key, root, &slots, &mut nodes)?;
        }
        account.storage_root = (!root.is_zero()).then_some(root);
        let new = Some(schema::account_row(&AccountRow { address, account }));
        let old = old_row.map(|row| row.to_vec());
        let entry = (old != new).then_some(DiffEntry {
            key: StateKey::Account(key),
            old,
            new,
        });
        Ok((entry, slots, nodes))
    }

    /// The entries of an account's slots that change, ascending.
    fn slot_entries(
        &self,
        owner: Hash,
        changed: Vec<ChangedSlot<'_>>,
    ) -> Result<Vec<DiffEntry>, StorageError> {
        let entry = |(slot, value): ChangedSlot<'_>| {
            let key = StateKey::Slot(owner, slot_key(&slot));
            let old = self.row(&key)?.map(|row| row.to_vec());
            let value = value.as_ref().filter(|value| !value.is_empty());
            let new = value.map(|value| {
                encode(&SlotRow {
                    slot,
                    value: value.clone(),
                })
            });
            Ok((old != new).then_some(DiffEntry { key, old, new }))
        };
        let entries: Vec<Option<DiffEntry>> = if changed.len() < PARALLEL_SLOTS_MIN {
            changed
                .into_iter()
                .map(entry)
                .collect::<Result<_, StorageError>>()?
        } else {
            changed
                .into_par_iter()
                .map(entry)
                .collect::<Result<_, StorageError>>()?
        };
        let mut entries: Vec<DiffEntry> = entries.into_iter().flatten().collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        Ok(entries)
    }

    /// Applies slot entries of one owner to its storage trie and returns the new root.
    fn update_storage(
        &self,
        owner: Hash,
        root: Hash,
        entries: &[DiffEntry],
        nodes: &mut Vec<NodeEntry>,
    ) -> Result<Hash, StorageError> {
        let changes: Result<Vec<_>, _> = entries
            .iter()
            .map(|entry| change(entry, schema::slot_leaf))
            .collect();
        let (trie, writes) = Trie::storage(owner, root).update(&changes?, self, &Executor)?;
        collect(writes, nodes);
        Ok(trie.root())
    }

    /// Applies the account entries to the account trie.
    fn update_accounts(
        &self,
        entries: &[DiffEntry],
        nodes: &mut Vec<NodeEntry>,
    ) -> Result<Trie, StorageError> {
        let accounts = entries
            .iter()
            .take_while(|entry| matches!(entry.key, StateKey::Account(_)));
        let changes: Result<Vec<_>, _> = accounts
            .map(|entry| change(entry, schema::account_leaf))
            .collect();
        let (trie, writes) = self.layers.trie.update(&changes?, self, &Executor)?;
        let mut all = Vec::with_capacity(writes.writes.len().saturating_add(nodes.len()));
        collect(writes, &mut all);
        all.append(nodes);
        *nodes = all;
        Ok(trie)
    }

    fn push(&self, entries: &[DiffEntry], nodes: Vec<NodeEntry>, trie: Trie) -> Self {
        let layers = &self.layers;
        let (height, boundary) = (layers.height.saturating_add(1), self.boundary());
        let rows = entries
            .iter()
            .map(|entry| (entry.key, entry.new.as_deref().map(Arc::from)))
            .collect();
        let root = trie.root();
        let trie = match layers.source.trie_nodes_max {
            max if trie.node_count() > max.saturating_mul(2) => trie.shrink(max),
            _ => trie,
        };
        Self::new(Layers {
            height,
            trie,
            rows: layers.rows.push(height.0, rows, boundary),
            nodes: layers.nodes.push(height.0, nodes, boundary),
            roots: layers.roots.push(height.0, vec![(height.0, root)], boundary),
            ..(**layers).clone()
        })
    }
}

/// Number of accounts and slots together, from the number of slots of each account.
fn rows_of(slots: impl Iterator<Item = usize>) -> usize {
    slots.fold(0, |sum, slots| sum.saturating_add(slots).saturating_add(1))
}

const fn owner_of(key: &StateKey) -> Hash {
    let (StateKey::Account(owner) | StateKey::Slot(owner, _)) = key;
    *owner
}

/// The storage root in an encoded account row.
fn stored_root(row: Option<&[u8]>) -> Result<Hash, StorageError> {
    let account = row
        .map(schema::read_account_row)
        .transpose()?
        .map(|row| row.account);
    Ok(schema::storage_root(account.as_ref()))
}

fn change<'a>(
    entry: &'a DiffEntry,
    leaf: impl Fn(&'a [u8]) -> Result<&'a [u8], StorageError>,
) -> Result<Change<'a>, StorageError> {
    let (StateKey::Account(key) | StateKey::Slot(_, key)) = entry.key;
    let old = entry.old.as_deref().map(&leaf).transpose()?;
    let new = entry.new.as_deref().map(&leaf).transpose()?;
    Ok(Change { key, old, new })
}

fn collect(writes: NodeWrites, nodes: &mut Vec<NodeEntry>) {
    let owner = writes.owner;
    nodes.extend(
        writes
            .writes
            .into_iter()
            .map(|write| ((owner, write.path), write.node)),
    );
}
