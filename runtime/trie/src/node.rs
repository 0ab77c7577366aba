//! The shape of a trie in memory.
//!
//! A node stands where a slot's path ends and is a branch together with the nibbles that an extension
//! skips before it, so a slot holds nothing, a leaf, or a node. Nodes are never changed once made: an
//! update makes new ones along its way and shares the rest.

use crate::Nibbles;
use crate::commitment::{self, Quarters, Slots};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// A leaf as stored in its parent: the location of its value, and the hash that its key and value must have.
///
/// The key is not hashed into the branch. Code that relies on it reads the value under it and compares the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) key: Hash,
    pub(crate) hash: Hash,
}

/// A filled slot of a branch.
#[derive(Clone, Debug)]
pub(crate) struct Kid {
    pub(crate) hash: Hash,
    /// The node below, when it is in memory; always `None` for a leaf.
    pub(crate) node: Option<Arc<Node>>,
}

/// A branch and the extension before it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Boxed because with hashed keys hardly any node has one.
    skipped: Option<Box<Nibbles>>,
    /// This node and the nodes in memory below it.
    resident: u32,
    children: u16,
    leaves: u16,
    kids: Box<[Kid]>,
    /// The leaves' keys in slot order, one per bit of `leaves`. Beside the children, because the upper levels
    /// have no leaves.
    keys: Box<[Hash]>,
    /// Kept for well-filled branches, where they save more than half of the hashing of an update and nearly
    /// all of a proof's. Those are the upper levels: at a million keys, 70,000 of 350,000 nodes.
    quarters: Option<Box<Quarters>>,
}

/// A branch with more children than this keeps the hashes of its quarters.
const CHILDREN_WITHOUT_QUARTERS_MAX: usize = 8;

/// Content of a slot (or of the root).
#[derive(Clone, Debug)]
pub(crate) enum Sub {
    Empty,
    Leaf(Leaf),
    Node(Hash, Arc<Node>),
    /// A node that is not in memory.
    Stub(Hash),
    /// A root of which only the hash is known: a leaf or a node.
    Unknown(Hash),
}

impl Sub {
    pub(crate) fn hash(&self) -> Hash {
        match self {
            Self::Empty => Hash::ZERO,
            Self::Leaf(Leaf { hash, .. }) | Self::Node(hash, _) | Self::Stub(hash) | Self::Unknown(hash) => {
                *hash
            }
        }
    }

    pub(crate) fn resident(&self) -> u32 {
        match self {
            Self::Node(_, node) => node.resident,
            _ => 0,
        }
    }
}

/// Collects the children of a branch in slot order.
pub(crate) struct Kids {
    children: u16,
    leaves: u16,
    kids: Vec<Kid>,
    keys: Vec<Hash>,
}

impl Kids {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            children: 0,
            leaves: 0,
            kids: Vec::with_capacity(count),
            keys: Vec::new(),
        }
    }

    /// Adds the content of slot `nibble`, which must be above the slots added before it.
    pub(crate) fn push(&mut self, nibble: u8, sub: Sub) {
        let bit = 1u16 << (nibble & 15);
        debug_assert!(self.children < bit, "slots are added in order");
        let kid = match sub {
            Sub::Empty => return,
            Sub::Leaf(Leaf { key, hash }) => {
                self.leaves |= bit;
                self.keys.push(key);
                Kid { hash, node: None }
            }
            Sub::Node(hash, node) => Kid {
                hash,
                node: Some(node),
            },
            Sub::Stub(hash) | Sub::Unknown(hash) => Kid { hash, node: None },
        };
        self.children |= bit;
        self.kids.push(kid);
    }

    pub(crate) fn len(&self) -> usize {
        self.kids.len()
    }

    /// The one child and its slot, when there is just one.
    pub(crate) fn only(&self) -> Option<(u8, Sub)> {
        let [kid] = self.kids.as_slice() else { return None };
        let nibble = u8::try_from(self.children.trailing_zeros()).unwrap_or(0);
        Some((nibble, kid.as_sub(self.keys.first())))
    }
}

impl Kid {
    /// `key` is the key of a leaf, and `None` for a node.
    fn as_sub(&self, key: Option<&Hash>) -> Sub {
        match (key, &self.node) {
            (Some(&key), _) => Sub::Leaf(Leaf { key, hash: self.hash }),
            (None, Some(node)) => Sub::Node(self.hash, Arc::clone(node)),
            (None, None) => Sub::Stub(self.hash),
        }
    }
}

impl Node {
    pub(crate) fn new(skipped: Nibbles, kids: Kids) -> Self {
        Self::sealed(skipped, kids, |_| None)
    }

    /// As [`Node::new`], where `before` is a node with the same children but in the slots `touched`.
    pub(crate) fn after(before: &Self, touched: u16, skipped: Nibbles, kids: Kids) -> Self {
        Self::sealed(skipped, kids, |index| {
            let quarters = before.quarters.as_deref()?;
            let untouched = touched >> index.saturating_mul(4) & 0xf == 0;
            quarters.get(index).copied().filter(|_| untouched)
        })
    }

    fn sealed(skipped: Nibbles, kids: Kids, known: impl Fn(usize) -> Option<Hash>) -> Self {
        let below = kids.kids.iter().filter_map(|kid| kid.node.as_ref());
        let resident = below.fold(1u32, |sum, node| sum.saturating_add(node.resident));
        let node = Self {
            skipped: (!skipped.is_empty()).then(|| Box::new(skipped)),
            resident,
            children: kids.children,
            leaves: kids.leaves,
            kids: kids.kids.into_boxed_slice(),
            keys: kids.keys.into_boxed_slice(),
            quarters: None,
        };
        node.keeping_quarters(known)
    }

    fn keeping_quarters(mut self, known: impl Fn(usize) -> Option<Hash>) -> Self {
        if self.kids.len() > CHILDREN_WITHOUT_QUARTERS_MAX {
            self.quarters = Some(Box::new(commitment::quarters(&self.slots(), known)));
        }
        self
    }

    /// The nibbles skipped before the branch.
    pub(crate) fn skipped(&self) -> Nibbles {
        self.skipped.as_deref().copied().unwrap_or(Nibbles::EMPTY)
    }

    /// The same branch behind another extension.
    pub(crate) fn with_skipped(&self, skipped: Nibbles) -> Self {
        Self {
            skipped: (!skipped.is_empty()).then(|| Box::new(skipped)),
            ..self.clone()
        }
    }

    /// The same node with other children in memory; `keep` returns the node to keep in place of each node below.
    pub(crate) fn with_memory(&self, mut keep: impl FnMut(&Arc<Node>) -> Option<Arc<Node>>) -> Self {
        let mut node = self.clone();
        let mut resident = 1u32;
        for kid in &mut node.kids {
            kid.node = kid.node.as_ref().and_then(&mut keep);
            resident = resident.saturating_add(kid.node.as_ref().map_or(0, |below| below.resident));
        }
        node.resident = resident;
        node
    }

    pub(crate) const fn resident(&self) -> u32 {
        self.resident
    }

    pub(crate) const fn children(&self) -> u16 {
        self.children
    }

    pub(crate) const fn leaves(&self) -> u16 {
        self.leaves
    }

    /// The children's hashes in slot order.
    pub(crate) fn hashes(&self) -> impl ExactSizeIterator<Item = &Hash> {
        self.kids.iter().map(|kid| &kid.hash)
    }

    /// The leaves' keys in slot order.
    pub(crate) fn keys(&self) -> &[Hash] {
        &self.keys
    }

    /// The content of slot `nibble`.
    pub(crate) fn slot(&self, nibble: u8) -> Sub {
        let bit = 1u16 << (nibble & 15);
        if self.children & bit == 0 {
            return Sub::Empty;
        }
        let below = |bitmap: u16| (bitmap & bit.wrapping_sub(1)).count_ones() as usize;
        let key = if self.leaves & bit == 0 {
            None
        } else {
            self.keys.get(below(self.leaves))
        };
        self.kids
            .get(below(self.children))
            .map_or(Sub::Empty, |kid| kid.as_sub(key))
    }

    /// The children's hashes by slot.
    pub(crate) fn slots(&self) -> Slots {
        let mut slots = [Hash::ZERO; 16];
        let mut kids = self.kids.iter();
        for (nibble, slot) in slots.iter_mut().enumerate() {
            if self.children >> nibble & 1 == 1 {
                *slot = kids.next().map_or(Hash::ZERO, |kid| kid.hash);
            }
        }
        slots
    }

    pub(crate) fn branch_hash(&self) -> Hash {
        match &self.quarters {
            Some(quarters) => commitment::branch_of_quarters(quarters),
            None => commitment::branch(&self.slots()),
        }
    }

    /// The hashes of parts of the branch's binary tree, each given by its first slot and level.
    pub(crate) fn groups(&self, parts: impl Iterator<Item = (u8, u8)>) -> impl Iterator<Item = Hash> {
        let slots = self.slots();
        parts.map(move |(start, level)| commitment::group(&slots, self.quarters.as_deref(), start, level))
    }

    /// The part of a proof beside slot `nibble`.
    pub(crate) fn siblings(&self, nibble: u8) -> [Hash; 4] {
        let slots = self.slots();
        let quarters = self
            .quarters
            .as_deref()
            .copied()
            .unwrap_or_else(|| commitment::quarters(&slots, |_| None));
        commitment::siblings(&slots, &quarters, nibble)
    }

    pub(crate) fn hash(&self) -> Hash {
        commitment::extension(&self.skipped(), &self.branch_hash())
    }
}
