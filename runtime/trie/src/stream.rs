//! Roots and records from entries in key order, in one pass and a few kilobytes of memory.

use crate::commitment::{self, Slots};
use crate::nibbles::{common, nibble};
use crate::node::{Kids, Leaf, Node, Sub};
use crate::{Nibbles, NodeRecord, TrieKind};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// The entries of a stream are not in strictly ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key {key} does not come after {before}")]
pub struct NotAscending {
    /// The previous key.
    pub before: Hash,
    /// The key that should have been higher.
    pub key: Hash,
}

/// Returns the root of the trie that holds exactly `entries`, in strictly ascending key order.
///
/// For checking a database: no node is read or kept, except up to one open branch per nibble of depth.
///
/// # Errors
/// The first error among the entries, or [`NotAscending`].
pub fn root_of_sorted<V, E>(
    kind: TrieKind,
    entries: impl IntoIterator<Item = Result<(Hash, V), E>>,
) -> Result<Hash, E>
where
    V: AsRef<[u8]>,
    E: From<NotAscending>,
{
    Ok(hash_of_sorted(kind, 0, entries)?.unwrap_or(Hash::ZERO))
}

/// Like [`root_of_sorted`], and passes every record of the trie to `emit`, a node after all nodes below it.
///
/// For rebuilding the stored nodes of a trie from the flat state.
///
/// # Errors
/// As [`root_of_sorted`], and the first error of `emit`.
pub fn build_sorted<V, E>(
    kind: TrieKind,
    entries: impl IntoIterator<Item = Result<(Hash, V), E>>,
    mut emit: impl FnMut(Nibbles, NodeRecord) -> Result<(), E>,
) -> Result<Hash, E>
where
    V: AsRef<[u8]>,
    E: From<NotAscending>,
{
    let mut close = |path, skipped, kids: Kids| {
        let node = Node::new(skipped, kids);
        let hash = node.hash();
        emit(path, NodeRecord::new(Arc::new(node)))?;
        Ok(hash)
    };
    let Some((key, part)) = part_of_sorted(kind, entries, &mut close)? else {
        return Ok(Hash::ZERO);
    };
    let root = part.hang(&key, 0, &mut close)?;
    if let Sub::Leaf(leaf) = &root {
        emit(Nibbles::EMPTY, NodeRecord::lone(leaf.key))?;
    }
    Ok(root.hash())
}

/// Returns the hash in a slot whose path has `depth` nibbles and that holds exactly `entries`, `None` if there
/// are none. All keys must share the nibbles of the path.
pub(crate) fn hash_of_sorted<V, E>(
    kind: TrieKind,
    depth: u8,
    entries: impl IntoIterator<Item = Result<(Hash, V), E>>,
) -> Result<Option<Hash>, E>
where
    V: AsRef<[u8]>,
    E: From<NotAscending>,
{
    let mut close =
        |_, skipped, slots: Slots| Ok(commitment::extension(&skipped, &commitment::branch(&slots)));
    match part_of_sorted(kind, entries, &mut close)? {
        Some((key, part)) => Ok(Some(part.hang(&key, depth, &mut close)?.hash())),
        None => Ok(None),
    }
}

/// The children of a branch, collected in slot order: whole nodes, or hashes alone.
trait Children {
    fn none() -> Self;
    fn add(&mut self, nibble: u8, sub: Sub);
}

impl Children for Kids {
    fn none() -> Self {
        Self::with_capacity(16)
    }

    fn add(&mut self, nibble: u8, sub: Sub) {
        self.push(nibble, sub);
    }
}

impl Children for Slots {
    fn none() -> Self {
        [Hash::ZERO; 16]
    }

    fn add(&mut self, nibble: u8, sub: Sub) {
        if let Some(slot) = self.get_mut(usize::from(nibble)) {
            *slot = sub.hash();
        }
    }
}

/// Builds the subtrie of all entries up to its highest branch. Returns it with a key that lies in it.
///
/// `close` receives the path, the extension and the children of each node, and returns its hash.
fn part_of_sorted<V, E, C: Children>(
    kind: TrieKind,
    entries: impl IntoIterator<Item = Result<(Hash, V), E>>,
    close: &mut impl FnMut(Nibbles, Nibbles, C) -> Result<Hash, E>,
) -> Result<Option<(Hash, Part<C>)>, E>
where
    V: AsRef<[u8]>,
    E: From<NotAscending>,
{
    let mut open: Vec<Open<C>> = Vec::new();
    let mut last: Option<(Hash, Leaf)> = None;
    for entry in entries {
        let (key, value) = entry?;
        let hash = commitment::leaf(kind, &key, value.as_ref());
        if let Some((before, leaf)) = last.replace((key, Leaf { key, hash })) {
            if before >= key {
                return Err(NotAscending { before, key }.into());
            }
            let fork = common(&before, &key);
            let part = close_below(&mut open, Some(fork), &before, Part::Leaf(leaf), close)?;
            let sub = part.hang(&before, fork.saturating_add(1), close)?;
            match open.last_mut() {
                Some(top) if top.depth == fork => top.children.add(nibble(&before, fork), sub),
                _ => {
                    let mut children = C::none();
                    children.add(nibble(&before, fork), sub);
                    open.push(Open {
                        depth: fork,
                        children,
                    });
                }
            }
        }
    }
    let Some((key, leaf)) = last else { return Ok(None) };
    let part = close_below(&mut open, None, &key, Part::Leaf(leaf), close)?;
    Ok(Some((key, part)))
}

/// A branch that more entries may still belong to.
struct Open<C> {
    depth: u8,
    children: C,
}

/// A subtrie that is complete, but whose slot (and so its extension) is not yet known.
enum Part<C> {
    Leaf(Leaf),
    Branch(Open<C>),
}

impl<C> Part<C> {
    /// Puts the part, which lies on the path of `key`, into the slot whose path has `depth` nibbles.
    fn hang<E>(
        self,
        key: &Hash,
        depth: u8,
        close: &mut impl FnMut(Nibbles, Nibbles, C) -> Result<Hash, E>,
    ) -> Result<Sub, E> {
        let branch = match self {
            Self::Leaf(leaf) => return Ok(Sub::Leaf(leaf)),
            Self::Branch(branch) => branch,
        };
        let skipped = Nibbles::between(key, depth, branch.depth);
        let hash = close(Nibbles::of_key(key, depth), skipped, branch.children)?;
        Ok(Sub::Stub(hash))
    }
}

/// Closes the open branches that are deeper than `fork` (all of them for `None`).
fn close_below<E, C: Children>(
    open: &mut Vec<Open<C>>,
    fork: Option<u8>,
    key: &Hash,
    mut part: Part<C>,
    close: &mut impl FnMut(Nibbles, Nibbles, C) -> Result<Hash, E>,
) -> Result<Part<C>, E> {
    while let Some(mut top) = open.pop_if(|top| fork.is_none_or(|fork| top.depth > fork)) {
        let sub = part.hang(key, top.depth.saturating_add(1), close)?;
        top.children.add(nibble(key, top.depth), sub);
        part = Part::Branch(top);
    }
    Ok(part)
}
