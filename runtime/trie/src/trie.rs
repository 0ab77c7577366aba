//! The trie as a value: cheap to clone, never changed in place, with any part of it in memory.

use crate::node::{Node, Sub};
use crate::source::Source;
use crate::{NodeReader, TrieKind};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// One trie at one state.
///
/// Cloning copies a pointer. [`Trie::update`] returns a new trie that shares all unchanged nodes, so several
/// candidates for the next block exist side by side and cost only their differences. Nodes that are not in
/// memory are stubs: hashes, loaded and checked when needed.
#[derive(Clone, Debug)]
pub struct Trie {
    pub(crate) kind: TrieKind,
    pub(crate) owner: Hash,
    pub(crate) root: Sub,
}

impl Trie {
    /// The account trie with this root, nothing in memory. [`Hash::ZERO`] is the empty trie.
    #[must_use]
    pub fn accounts(root: Hash) -> Self {
        Self::open(TrieKind::Account, Hash::ZERO, root)
    }

    /// The storage trie of the account whose hashed key is `owner`, nothing in memory.
    #[must_use]
    pub fn storage(owner: Hash, root: Hash) -> Self {
        Self::open(TrieKind::Storage, owner, root)
    }

    fn open(kind: TrieKind, owner: Hash, root: Hash) -> Self {
        Self {
            kind,
            owner,
            root: if root.is_zero() {
                Sub::Empty
            } else {
                Sub::Unknown(root)
            },
        }
    }

    /// The root hash: [`Hash::ZERO`] when the trie is empty.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root.hash()
    }

    /// Returns true if the trie is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.root, Sub::Empty)
    }

    /// The kind of this trie.
    #[must_use]
    pub const fn kind(&self) -> TrieKind {
        self.kind
    }

    /// The owner of this trie: [`Hash::ZERO`] for the account trie, else the hashed account key.
    #[must_use]
    pub const fn owner(&self) -> Hash {
        self.owner
    }

    /// Number of nodes in memory. Constant time. A node takes about 106 bytes, 40 for each child and 32 more for
    /// each leaf among them, a well-filled one 130 more; with hashed keys that is about 400 bytes on average.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.root.resident() as usize
    }

    /// Returns the trie with only the uppermost `levels` of nodes in memory.
    ///
    /// Costs time in proportion to the nodes kept. Memory is freed when the last trie and the last
    /// [`crate::NodeRecord`] that share the dropped nodes are dropped.
    #[must_use]
    pub fn prune(&self, levels: u8) -> Self {
        self.with_memory(|node| keep_levels(node, levels))
    }

    /// Returns the trie with up to `nodes_max` nodes in memory, upper levels before lower ones and
    /// neighbouring subtries alike. A trie within the bound is returned unchanged, at no cost.
    #[must_use]
    pub fn shrink(&self, nodes_max: usize) -> Self {
        let budget = u32::try_from(nodes_max).unwrap_or(u32::MAX);
        self.with_memory(|node| keep_share(node, budget))
    }

    fn with_memory(&self, keep: impl Fn(&Arc<Node>) -> Option<Arc<Node>>) -> Self {
        let root = match &self.root {
            Sub::Node(hash, node) => keep(node).map_or(Sub::Stub(*hash), |node| Sub::Node(*hash, node)),
            other => other.clone(),
        };
        Self { root, ..self.clone() }
    }

    pub(crate) fn source<'a>(&self, reader: &'a dyn NodeReader) -> Source<'a> {
        Source {
            kind: self.kind,
            owner: self.owner,
            reader,
        }
    }
}

fn keep_levels(node: &Arc<Node>, levels: u8) -> Option<Arc<Node>> {
    let below = levels.checked_sub(1)?;
    Some(Arc::new(node.with_memory(|kid| keep_levels(kid, below))))
}

/// Keeps up to `budget` nodes of a subtrie: its top, and of each child's subtrie a part in proportion.
fn keep_share(node: &Arc<Node>, budget: u32) -> Option<Arc<Node>> {
    if node.resident() <= budget {
        return Some(Arc::clone(node));
    }
    let (left, below) = (
        u64::from(budget.checked_sub(1)?),
        u64::from(node.resident()).saturating_sub(1),
    );
    // Shares are differences of a running total, so the rounding error of one child is passed to the next and
    // the shares sum to the budget.
    let (mut seen, mut given) = (0u64, 0u64);
    Some(Arc::new(node.with_memory(|kid| {
        seen = seen.saturating_add(u64::from(kid.resident()));
        let total = left.saturating_mul(seen).checked_div(below).unwrap_or(0);
        let share = total.saturating_sub(given);
        given = total;
        keep_share(kid, u32::try_from(share).unwrap_or(u32::MAX))
    })))
}
