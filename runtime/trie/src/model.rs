//! A slow and obvious reference implementation of the trie, for tests of this and other crates.
//!
//! Only the hash domains are shared with the trie: [`naive_root`] computes the commitment from its
//! definition, from scratch. [`MemoryState`] is the storage crate in two maps.

use crate::{Change, Nibbles, NodeReader, NodeWrites, ReadError, TrieKind};
use std::collections::BTreeMap;
use vibecoin_primitives::{Domain, Hash};

/// Returns the root of the trie that holds exactly `entries`, computed from scratch.
#[must_use]
pub fn naive_root(kind: TrieKind, entries: &BTreeMap<Hash, Vec<u8>>) -> Hash {
    let all: Vec<(Vec<u8>, Hash)> = entries
        .iter()
        .map(|(key, value)| {
            let domain = match kind {
                TrieKind::Account => Domain::TrieAccountLeaf,
                TrieKind::Storage => Domain::TrieSlotLeaf,
            };
            let nibbles = key.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
            (nibbles, domain.hash(&[&key.0[..], value].concat()))
        })
        .collect();
    naive_node(&all, 0)
}

fn naive_node(entries: &[(Vec<u8>, Hash)], depth: usize) -> Hash {
    let at = |nibbles: &[u8], index: usize| nibbles.get(index).copied().unwrap_or(0);
    let (first, _) = match entries {
        [] => return Hash::ZERO,
        [(_, leaf)] => return *leaf,
        [first, ..] => first,
    };
    let fork = (depth..64)
        .find(|&index| {
            entries
                .iter()
                .any(|(other, _)| at(other, index) != at(first, index))
        })
        .unwrap_or(64);
    let mut row: Vec<Hash> = (0..16)
        .map(|nibble| {
            let below: Vec<_> = entries
                .iter()
                .filter(|(key, _)| at(key, fork) == nibble)
                .cloned()
                .collect();
            naive_node(&below, fork.saturating_add(1))
        })
        .collect();
    while row.len() > 1 {
        let domain = if row.len() == 2 {
            Domain::TrieBranchTop
        } else {
            Domain::TrieBranchPair
        };
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] if !(left.is_zero() && right.is_zero()) => {
                    domain.hash(&[left.0, right.0].concat())
                }
                _ => Hash::ZERO,
            })
            .collect();
    }
    let branch = row.first().copied().unwrap_or_default();
    let skipped = first.get(depth..fork).unwrap_or_default();
    if skipped.is_empty() {
        return branch;
    }
    let mut input = vec![u8::try_from(skipped.len()).unwrap_or(u8::MAX)];
    input.extend(skipped.chunks(2).map(|pair| at(pair, 0) << 4 | at(pair, 1)));
    input.extend_from_slice(&branch.0);
    Domain::TrieExtension.hash(&input)
}

/// Flat state and stored nodes of any number of tries, in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    /// Values by (owner, key).
    pub flat: BTreeMap<(Hash, Hash), Vec<u8>>,
    /// Records by (owner, path).
    pub nodes: BTreeMap<(Hash, Nibbles), Vec<u8>>,
}

impl MemoryState {
    /// Stores the result of an update: its node writes and its changes.
    pub fn apply(&mut self, writes: &NodeWrites, changes: &[Change<'_>]) {
        for write in &writes.writes {
            let at = (writes.owner, write.path);
            match &write.node {
                Some(node) => self.nodes.insert(at, node.encode()),
                None => self.nodes.remove(&at),
            };
        }
        for change in changes {
            let at = (writes.owner, change.key);
            match change.new {
                Some(value) => self.flat.insert(at, value.to_vec()),
                None => self.flat.remove(&at),
            };
        }
    }

    /// All entries of one trie.
    #[must_use]
    pub fn entries(&self, owner: &Hash) -> BTreeMap<Hash, Vec<u8>> {
        let from = (*owner, Hash::ZERO);
        let mine = self
            .flat
            .range(from..)
            .take_while(|((other, _), _)| other == owner);
        mine.map(|((_, key), value)| (*key, value.clone())).collect()
    }
}

impl NodeReader for MemoryState {
    fn node(&self, owner: &Hash, path: &Nibbles) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.nodes.get(&(*owner, *path)).cloned())
    }

    fn leaf(&self, owner: &Hash, key: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.flat.get(&(*owner, *key)).cloned())
    }
}
