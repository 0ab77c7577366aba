//! Applying a difference to the tries of its base.

use vibecoin_primitives::limits::SLOT_VALUE_BYTES_MAX;
use vibecoin_primitives::{Account, Hash, StateKey, decode, encode};
use vibecoin_trie::{Change, NodeReader, NodeWrites, Parallel, Trie};

use super::{Difference, DifferenceError, RowChange};

/// A difference applied in memory: what the caller writes, in one step, to turn the base into the certified state.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Changed trie nodes: the storage tries, then the account trie.
    pub nodes: Vec<NodeWrites>,
    /// Changed rows with their encoding, `None` for those that are removed; ascending by account, then slot.
    pub rows: Vec<(StateKey, Option<Vec<u8>>)>,
}

/// A leaf's key with its old and new value.
struct Leaf {
    key: Hash,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

/// The changes of one account.
struct Group<'a> {
    account: Hash,
    /// The change of the account itself.
    own: Option<&'a RowChange>,
    slots: Vec<&'a RowChange>,
}

impl Difference {
    /// Applies the changes to the base that `reader` has, and compares the result with the certified header.
    ///
    /// Nothing is written. Memory and time are linear in the changes.
    ///
    /// # Errors
    /// [`DifferenceError`]: a chunk is missing, the changes are malformed or do not lead to the certified state, or
    /// the base cannot be read.
    pub fn apply(&self, reader: &dyn NodeReader, hands: &dyn Parallel) -> Result<Applied, DifferenceError> {
        let mut leaves = Vec::new();
        let mut nodes = Vec::new();
        let mut rows = Vec::new();
        for group in self.groups()? {
            let old = read(reader, &Hash::ZERO, group.account)?;
            let (leaf, of_storage) = group.apply(old, reader, hands)?;
            nodes.extend(of_storage);
            leaves.push(leaf);
            rows.extend(group.own.into_iter().chain(group.slots.iter().copied()).map(row));
        }
        let (found, writes) = update(&Trie::accounts(self.manifest.base.root), &leaves, reader, hands)?;
        let expected = self.manifest.header.state_root;
        if found != expected {
            return Err(DifferenceError::Root { expected, found });
        }
        nodes.push(writes);
        Ok(Applied { nodes, rows })
    }

    /// The changes by account, in strictly ascending order over all chunks.
    fn groups(&self) -> Result<Vec<Group<'_>>, DifferenceError> {
        if let Some((index, _)) = self.missing().next() {
            return Err(DifferenceError::Missing { index });
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut before = None;
        for change in self.chunks.iter().flatten().flat_map(|chunk| &chunk.changes) {
            let key = change.key();
            let account = key.0;
            // Zero is the owner of the account trie, and the key of no account.
            if account.is_zero() || before.replace(key).is_some_and(|before| before >= key) {
                return Err(DifferenceError::Order { account });
            }
            if let RowChange::Slot(_, row) = change
                && (row.value.is_empty() || row.value.len() > SLOT_VALUE_BYTES_MAX)
            {
                let bytes = row.value.len();
                return Err(DifferenceError::Value { account, bytes });
            }
            match groups.last_mut() {
                // The account itself comes first, so what follows under its key are slots.
                Some(group) if group.account == account => group.slots.push(change),
                _ => {
                    let is_own = key.1.is_none();
                    groups.push(Group {
                        account,
                        own: is_own.then_some(change),
                        slots: if is_own { Vec::new() } else { vec![change] },
                    });
                }
            }
        }
        Ok(groups)
    }
}

impl Group<'_> {
    /// The change of the account's leaf, and the writes of its storage trie.
    ///
    /// An account whose slots change has another storage root, so a group without the account itself is refused here,
    /// as is one whose slots do not lead to the root that the account states.
    fn apply(
        &self,
        old: Option<Vec<u8>>,
        reader: &dyn NodeReader,
        hands: &dyn Parallel,
    ) -> Result<(Leaf, Option<NodeWrites>), DifferenceError> {
        let old_root = match &old {
            Some(bytes) => storage_root(&decode::<Account>(bytes)?),
            None => Hash::ZERO,
        };
        let (new, expected) = match self.own {
            Some(RowChange::Account(row)) => (Some(encode(&row.account)), storage_root(&row.account)),
            Some(_) => (None, Hash::ZERO),
            None => (old.clone(), old_root),
        };
        let mut slots = Vec::with_capacity(self.slots.len());
        for change in &self.slots {
            let (_, Some(key)) = change.key() else { continue };
            let new = match change {
                RowChange::Slot(_, row) => Some(row.value.clone()),
                _ => None,
            };
            let old = read(reader, &self.account, key)?;
            slots.push(Leaf { key, old, new });
        }
        let (found, writes) = if slots.is_empty() {
            (old_root, None)
        } else {
            let trie = Trie::storage(self.account, old_root);
            let (found, writes) = update(&trie, &slots, reader, hands)?;
            (found, Some(writes))
        };
        if found != expected {
            return Err(DifferenceError::StorageRoot {
                account: self.account,
                expected,
                found,
            });
        }
        let key = self.account;
        Ok((Leaf { key, old, new }, writes))
    }
}

fn storage_root(account: &Account) -> Hash {
    account.storage_root.unwrap_or(Hash::ZERO)
}

fn read(reader: &dyn NodeReader, owner: &Hash, key: Hash) -> Result<Option<Vec<u8>>, DifferenceError> {
    reader.leaf(owner, &key).map_err(|error| DifferenceError::Read {
        owner: *owner,
        key,
        error,
    })
}

/// Updates a trie. Returns its root and writes.
fn update(
    trie: &Trie,
    leaves: &[Leaf],
    reader: &dyn NodeReader,
    hands: &dyn Parallel,
) -> Result<(Hash, NodeWrites), DifferenceError> {
    let changes: Vec<Change<'_>> = leaves
        .iter()
        .map(|leaf| Change {
            key: leaf.key,
            old: leaf.old.as_deref(),
            new: leaf.new.as_deref(),
        })
        .collect();
    let (trie, writes) = trie.update(&changes, reader, hands)?;
    Ok((trie.root(), writes))
}

/// The row of a change, encoded.
fn row(change: &RowChange) -> (StateKey, Option<Vec<u8>>) {
    let key = match change.key() {
        (account, None) => StateKey::Account(account),
        (account, Some(slot)) => StateKey::Slot(account, slot),
    };
    let row = match change {
        RowChange::Account(row) => Some(encode(row)),
        RowChange::Slot(_, row) => Some(encode(row)),
        RowChange::NoAccount(_) | RowChange::NoSlot(..) => None,
    };
    (key, row)
}
