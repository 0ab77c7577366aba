//! The binary Merkle tree over a list: transactions of a tick, ticks of a block, receipts, evidence.
//!
//! A pair is `H_pair(left ‖ right)`; an odd node is promoted, never doubled; the root is
//! `H_root(count as u64 LE ‖ top)`, so two lists of different length never share a root. The empty
//! list has the root [`Hash::ZERO`].

use crate::{Domain, Hash};
use wincode::{SchemaRead, SchemaWrite};

/// Returns the root over `leaves`. Linear time, one allocation.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    if leaves.is_empty() {
        return Hash::ZERO;
    }
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = fold(&level);
    }
    seal(leaves.len() as u64, level.first().unwrap_or(&Hash::ZERO))
}

fn fold(level: &[Hash]) -> Vec<Hash> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => Domain::MerklePair.pair(left, right),
            [single] => *single,
            _ => Hash::ZERO,
        })
        .collect()
}

fn seal(count: u64, top: &Hash) -> Hash {
    Domain::MerkleRoot.hash_parts(&[&count.to_le_bytes(), &top.0])
}

/// The path from one leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct MerklePath {
    /// Position of the leaf, from zero.
    pub index: u64,
    /// Number of leaves in the list.
    pub count: u64,
    /// Siblings from the leaf upwards; a level at which the node is promoted has none.
    pub siblings: Vec<Hash>,
}

impl MerklePath {
    /// Returns the path of `leaves[index]`, or `None` when the index is out of range.
    #[must_use]
    pub fn new(leaves: &[Hash], index: usize) -> Option<Self> {
        leaves.get(index)?;
        let mut siblings = Vec::new();
        let mut level = leaves.to_vec();
        let mut at = index;
        while level.len() > 1 {
            if let Some(sibling) = level.get(at ^ 1) {
                siblings.push(*sibling);
            }
            level = fold(&level);
            at /= 2;
        }
        Some(Self {
            index: index as u64,
            count: leaves.len() as u64,
            siblings,
        })
    }

    /// Returns the root that `leaf` has at this position, or `None` when the path is malformed
    /// (index out of range, or too few or too many siblings).
    #[must_use]
    pub fn root(&self, leaf: Hash) -> Option<Hash> {
        if self.index >= self.count {
            return None;
        }
        let (mut at, mut width, mut node) = (self.index, self.count, leaf);
        let mut siblings = self.siblings.iter();
        while width > 1 {
            if at ^ 1 < width {
                let sibling = siblings.next()?;
                node = if at % 2 == 0 {
                    Domain::MerklePair.pair(&node, sibling)
                } else {
                    Domain::MerklePair.pair(sibling, &node)
                };
            }
            at /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none().then(|| seal(self.count, &node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u8) -> Vec<Hash> {
        (0..n).map(|i| Domain::Receipt.hash(&[i])).collect()
    }

    #[test]
    fn every_leaf_of_every_small_list_has_a_path_that_holds() {
        for n in 1..40u8 {
            let list = leaves(n);
            let top = root(&list);
            for (i, leaf) in list.iter().enumerate() {
                let path = MerklePath::new(&list, i).expect("index in range");
                assert_eq!(path.root(*leaf), Some(top), "leaf {i} of {n}");
                let mut other = path.clone();
                other.index ^= 1;
                assert_ne!(
                    other.root(*leaf).filter(|_| n > 1),
                    Some(top),
                    "leaf {i} of {n} moved"
                );
                let mut extra = path.clone();
                extra.siblings.push(Hash::ZERO);
                assert_eq!(extra.root(*leaf), None);
            }
        }
    }

    #[test]
    fn lists_of_different_length_never_share_a_root() {
        let three = leaves(3);
        let mut four = three.clone();
        four.push(three[2]);
        assert_ne!(root(&three), root(&four));
        assert_eq!(root(&[]), Hash::ZERO);
        assert_ne!(root(&three[..1]), three[0]);
    }
}
