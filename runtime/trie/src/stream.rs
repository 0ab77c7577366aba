//! Roots and records from entries in key order, in one pass and a few kilobytes of memory.

use crate::commitment;
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
    build_sorted(kind, entries, |_, _| Ok(()))
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
    let Some((key, part)) = part_of_sorted(kind, entries, &mut emit)? else {
        return Ok(Hash::ZERO);
    };
    if let Part::Leaf(leaf) = &part {
        emit(Nibbles::EMPTY, NodeRecord::lone(leaf.key))?;
    }
    Ok(part.hang(&key, 0, &mut emit)?.hash())
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
    let mut emit = |_, _| Ok(());
    match part_of_sorted(kind, entries, &mut emit)? {
        Some((key, part)) => Ok(Some(part.hang(&key, depth, &mut emit)?.hash())),
        None => Ok(None),
    }
}

/// Builds the subtrie of all entries up to its highest branch. Returns it with a key that lies in it.
fn part_of_sorted<V, E>(
    kind: TrieKind,
    entries: impl IntoIterator<Item = Result<(Hash, V), E>>,
    emit: &mut impl FnMut(Nibbles, NodeRecord) -> Result<(), E>,
) -> Result<Option<(Hash, Part)>, E>
where
    V: AsRef<[u8]>,
    E: From<NotAscending>,
{
    let mut open: Vec<Open> = Vec::new();
    let mut last: Option<(Hash, Part)> = None;
    for entry in entries {
        let (key, value) = entry?;
        let hash = commitment::leaf(kind, &key, value.as_ref());
        if let Some((before, part)) = last.replace((key, Part::Leaf(Leaf { key, hash }))) {
            if before >= key {
                return Err(NotAscending { before, key }.into());
            }
            let fork = common(&before, &key);
            let part = close_below(&mut open, Some(fork), &before, part, emit)?;
            let sub = part.hang(&before, fork.saturating_add(1), emit)?;
            match open.last_mut() {
                Some(top) if top.depth == fork => top.kids.push(nibble(&before, fork), sub),
                _ => {
                    let mut kids = Kids::with_capacity(16);
                    kids.push(nibble(&before, fork), sub);
                    open.push(Open { depth: fork, kids });
                }
            }
        }
    }
    let Some((key, part)) = last else { return Ok(None) };
    let part = close_below(&mut open, None, &key, part, emit)?;
    Ok(Some((key, part)))
}

/// A branch that more entries may still belong to.
struct Open {
    depth: u8,
    kids: Kids,
}

/// A subtrie that is complete, but whose slot (and so its extension) is not yet known.
enum Part {
    Leaf(Leaf),
    Branch(Open),
}

impl Part {
    /// Puts the part, which lies on the path of `key`, into the slot whose path has `depth` nibbles.
    fn hang<E>(
        self,
        key: &Hash,
        depth: u8,
        emit: &mut impl FnMut(Nibbles, NodeRecord) -> Result<(), E>,
    ) -> Result<Sub, E> {
        let branch = match self {
            Self::Leaf(leaf) => return Ok(Sub::Leaf(leaf)),
            Self::Branch(branch) => branch,
        };
        let node = Node::new(Nibbles::between(key, depth, branch.depth), branch.kids);
        let hash = node.hash();
        emit(Nibbles::of_key(key, depth), NodeRecord::new(Arc::new(node)))?;
        Ok(Sub::Stub(hash))
    }
}

/// Closes the open branches that are deeper than `fork` (all of them for `None`).
fn close_below<E>(
    open: &mut Vec<Open>,
    fork: Option<u8>,
    key: &Hash,
    mut part: Part,
    emit: &mut impl FnMut(Nibbles, NodeRecord) -> Result<(), E>,
) -> Result<Part, E> {
    while let Some(mut top) = open.pop_if(|top| fork.is_none_or(|fork| top.depth > fork)) {
        let sub = part.hang(key, top.depth.saturating_add(1), emit)?;
        top.kids.push(nibble(key, top.depth), sub);
        part = Part::Branch(top);
    }
    Ok(part)
}
