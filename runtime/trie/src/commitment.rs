//! Hash rules of the commitment, which every node of the chain must compute identically.
//!
//! ```text
//! empty trie  32 zero bytes
//! leaf        H_leaf(key, 32 bytes ‖ value)              one domain for accounts, one for slots
//! extension   H_ext(count, 1 byte ‖ packed nibbles ‖ child)    1 to 63 nibbles, leads to a branch
//! branch      a binary tree of four levels over 16 slots:
//!               an empty slot is 32 zero bytes
//!               pair(0, 0) = 0, on every level
//!               pair(l, r) = H_pair(l ‖ r)               on the lower three levels
//!               top(l, r)  = H_top(l ‖ r)                on the highest level
//! ```
//!
//! A branch has two or more children and no value. A leaf's hash covers its whole key, so it does not depend on the
//! leaf's position. Every kind of node has a separate hash domain, so a node of one kind can never pass for another.

use crate::Nibbles;
use vibecoin_primitives::{Domain, Hash};

/// Kind of a trie: the two kinds differ in the domain of their leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrieKind {
    /// The one trie of accounts, keyed by hashed address.
    Account,
    /// A contract's trie of slots, keyed by hashed slot.
    Storage,
}

impl TrieKind {
    const fn leaf_domain(self) -> Domain {
        match self {
            Self::Account => Domain::TrieAccountLeaf,
            Self::Storage => Domain::TrieSlotLeaf,
        }
    }
}

/// The children of a branch, by nibble; [`Hash::ZERO`] where there is none.
pub type Slots = [Hash; 16];

/// Leaves up to this size are hashed from the stack in one call, which is faster than piecewise.
const LEAF_STACK_BYTES: usize = 256;

/// Returns the hash of the leaf that holds `value` under `key`.
#[must_use]
pub fn leaf(kind: TrieKind, key: &Hash, value: &[u8]) -> Hash {
    let mut stack = [0u8; LEAF_STACK_BYTES];
    let len = value.len().saturating_add(32);
    if let Some(input) = stack.get_mut(..len)
        && let Some((head, tail)) = input.split_at_mut_checked(32)
    {
        head.copy_from_slice(&key.0);
        tail.copy_from_slice(value);
        return kind.leaf_domain().hash(input);
    }
    kind.leaf_domain().hash_parts(&[&key.0, value])
}

/// Returns the hash of the extension that skips `nibbles` on the way to the branch `child`;
/// just `child` when there are none to skip.
#[must_use]
pub fn extension(nibbles: &Nibbles, child: &Hash) -> Hash {
    if nibbles.is_empty() {
        return *child;
    }
    Domain::TrieExtension.hash_parts(&[&[nibbles.len()], nibbles.packed(), &child.0])
}

/// Returns the hash of two neighbours inside a branch; `level` counts from the slots, 0 to 3.
#[must_use]
pub fn pair(level: u8, left: &Hash, right: &Hash) -> Hash {
    if left.is_zero() && right.is_zero() {
        return Hash::ZERO;
    }
    if level == 3 {
        Domain::TrieBranchTop.pair(left, right)
    } else {
        Domain::TrieBranchPair.pair(left, right)
    }
}

/// The hashes of a branch's four quarters, each over four slots: the row in the middle of its tree.
pub type Quarters = [Hash; 4];

/// Returns the hash of a branch. Up to 15 compressions: one per pair that is not empty.
#[must_use]
pub fn branch(slots: &Slots) -> Hash {
    branch_of_quarters(&quarters(slots, |_| None))
}

/// Returns the quarters of a branch; `known` returns those that need not be computed, by position.
#[must_use]
pub fn quarters(slots: &Slots, known: impl Fn(usize) -> Option<Hash>) -> Quarters {
    let mut row = [Hash::ZERO; 4];
    for (index, (quarter, four)) in row.iter_mut().zip(slots.as_chunks::<4>().0).enumerate() {
        *quarter = known(index).unwrap_or_else(|| {
            let [hash] = fold(1, &fold::<4, 2>(0, four));
            hash
        });
    }
    row
}

/// Returns the hash of the branch with these quarters.
#[must_use]
pub fn branch_of_quarters(quarters: &Quarters) -> Hash {
    let [top] = fold(3, &fold::<4, 2>(2, quarters));
    top
}

/// Returns the hash of a part of a branch's binary tree: the 2 to the power of `level` slots from slot `start` on, which
/// is a multiple of their number. The whole branch for level 4. `quarters` are those of `slots`, if known.
#[must_use]
pub fn group(slots: &Slots, quarters: Option<&Quarters>, start: u8, level: u8) -> Hash {
    let known = match (level, quarters) {
        (0, _) => slots.get(usize::from(start)),
        (2, Some(quarters)) => quarters.get(usize::from(start >> 2)),
        _ => None,
    };
    let (None, Some(below)) = (known, level.checked_sub(1)) else {
        return known.copied().unwrap_or_default();
    };
    let middle = start.saturating_add(1u8.checked_shl(u32::from(below)).unwrap_or(16));
    let [left, right] = [start, middle].map(|start| group(slots, quarters, start, below));
    pair(below, &left, &right)
}

/// Returns the part of a branch that a proof contains for `nibble`: the neighbour on each level, from the
/// slots up. `quarters` are those of `slots`.
#[must_use]
pub fn siblings(slots: &Slots, quarters: &Quarters, nibble: u8) -> [Hash; 4] {
    let [h0] = beside(slots.as_chunks::<1>().0, nibble);
    let [h1] = fold::<2, 1>(0, &beside(slots.as_chunks::<2>().0, nibble >> 1));
    let [h2] = beside(quarters.as_chunks::<1>().0, nibble >> 2);
    let [h3] = fold::<2, 1>(2, &beside(quarters.as_chunks::<2>().0, nibble >> 3));
    [h0, h1, h2, h3]
}

/// The group next to group `index`, the other half of the pair.
fn beside<const N: usize>(groups: &[[Hash; N]], index: u8) -> [Hash; N] {
    groups
        .get(usize::from(index) ^ 1)
        .copied()
        .unwrap_or([Hash::ZERO; N])
}

fn fold<const N: usize, const M: usize>(level: u8, row: &[Hash; N]) -> [Hash; M] {
    let mut above = [Hash::ZERO; M];
    for (slot, two) in above.iter_mut().zip(row.chunks_exact(2)) {
        if let [left, right] = two {
            *slot = pair(level, left, right);
        }
    }
    above
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    fn slots(filled: &[u8]) -> Slots {
        let mut slots = [Hash::ZERO; 16];
        for &n in filled {
            slots[usize::from(n)] = Domain::Receipt.hash(&[n]);
        }
        slots
    }

    #[test]
    fn a_branch_is_folded_in_pairs_and_an_empty_pair_is_zero() {
        let slots = slots(&[0, 1, 15]);
        let h = |domain: Domain, a: Hash, b: Hash| domain.pair(&a, &b);
        let left = h(Domain::TrieBranchPair, slots[0], slots[1]);
        let left = h(Domain::TrieBranchPair, left, Hash::ZERO);
        let left = h(Domain::TrieBranchPair, left, Hash::ZERO);
        let right = h(Domain::TrieBranchPair, Hash::ZERO, slots[15]);
        let right = h(Domain::TrieBranchPair, Hash::ZERO, right);
        let right = h(Domain::TrieBranchPair, Hash::ZERO, right);
        assert_eq!(branch(&slots), h(Domain::TrieBranchTop, left, right));
        assert_eq!(branch(&[Hash::ZERO; 16]), Hash::ZERO);
    }

    #[test]
    fn the_siblings_of_every_slot_lead_to_the_branch() {
        let slots = slots(&[0, 3, 4, 5, 9, 14]);
        for nibble in 0..16u8 {
            let mut hash = slots[usize::from(nibble)];
            for (level, sibling) in (0u8..).zip(siblings(&slots, &quarters(&slots, |_| None), nibble)) {
                let (left, right) = if nibble >> level & 1 == 0 {
                    (&hash, &sibling)
                } else {
                    (&sibling, &hash)
                };
                hash = pair(level, left, right);
            }
            assert_eq!(hash, branch(&slots), "slot {nibble}");
        }
    }

    #[test]
    fn the_groups_of_a_branch_are_the_nodes_of_its_tree() {
        let slots = slots(&[0, 3, 4, 5, 9, 14]);
        let quarters = quarters(&slots, |_| None);
        for known in [None, Some(&quarters)] {
            for start in 0..16 {
                assert_eq!(group(&slots, known, start, 0), slots[usize::from(start)]);
            }
            for (index, quarter) in (0u8..).zip(quarters) {
                assert_eq!(group(&slots, known, index * 4, 2), quarter);
            }
            for nibble in 0..16u8 {
                for (level, sibling) in (0u8..).zip(siblings(&slots, &quarters, nibble)) {
                    let start = (nibble >> level ^ 1) << level;
                    assert_eq!(group(&slots, known, start, level), sibling);
                }
            }
            assert_eq!(group(&slots, known, 0, 4), branch(&slots));
        }
    }

    #[test]
    fn long_and_short_values_are_hashed_alike() {
        let key = Domain::TrieAccountKey.hash(b"k");
        for len in [0, 1, 223, 224, 225, 5000] {
            let value = vec![7u8; len];
            let joined = [&key.0[..], &value].concat();
            assert_eq!(
                leaf(TrieKind::Account, &key, &value),
                Domain::TrieAccountLeaf.hash(&joined)
            );
            assert_eq!(
                leaf(TrieKind::Storage, &key, &value),
                Domain::TrieSlotLeaf.hash(&joined)
            );
        }
    }

    #[test]
    fn an_extension_commits_to_its_count_its_nibbles_and_its_child() {
        let child = Domain::Receipt.hash(b"child");
        let path = Nibbles::unpack(3, &[0xab, 0xc0]).expect("three nibbles");
        let joined = [&[3, 0xab, 0xc0][..], &child.0].concat();
        assert_eq!(extension(&path, &child), Domain::TrieExtension.hash(&joined));
        assert_eq!(extension(&Nibbles::EMPTY, &child), child);
    }
}
