//! Construction of proofs: one walk from the root to the end of a key or a prefix.

use crate::commitment;
use crate::nibbles::{KEY_NIBBLES, nibble};
use crate::node::{Leaf, Node, Sub};
use crate::path::{Absence, Path};
use crate::prefix_proof::{self, PrefixProof};
use crate::proof::{self, Proof};
use crate::source::Source;
use crate::{Nibbles, NodeReader, Trie, TrieError};
use std::sync::Arc;
use vibecoin_primitives::Hash;

impl Trie {
    /// Returns the proof that `key` has `value` (from the flat state), or that it has none.
    ///
    /// `reader` has the state of this trie. Nodes that are not in memory are loaded and checked, but not
    /// kept. The proof is checked against the trie during its construction.
    ///
    /// # Errors
    /// [`TrieError::Drift`] when `value` differs from the trie, [`TrieError::Corrupt`] and
    /// [`TrieError::Read`] when a node cannot be loaded.
    pub fn prove(
        &self,
        key: &Hash,
        value: Option<&[u8]>,
        reader: &dyn NodeReader,
    ) -> Result<Proof, TrieError> {
        let source = self.source(reader);
        let drift = |detail| source.drift(key, detail);
        let (path, stop) = self.descend(&source, key, KEY_NIBBLES)?;
        let end = match (stop, value) {
            (Stop::Leaf(leaf), Some(value)) => {
                if commitment::leaf(self.kind, key, value) != leaf.hash {
                    return Err(drift("the value it is said to have is not in the trie"));
                }
                proof::End::Value(value.to_vec())
            }
            (_, Some(_)) => return Err(drift("it is said to have a value, the trie has none")),
            (Stop::Empty, None) => proof::End::Absent(Absence::Empty),
            (Stop::Leaf(leaf), None) => {
                let value = source.leaf(&Nibbles::of_key(key, path.depth()), &leaf)?;
                if leaf.key == *key {
                    return Err(drift("it is said to be absent, the trie has a value"));
                }
                proof::End::Absent(Absence::OtherLeaf { key: leaf.key, value })
            }
            (Stop::Diverging(node), None) => proof::End::Absent(diverging(&node)),
            (Stop::Below, None) => return Err(too_deep(&source, key, path.depth())),
        };
        Ok(Proof::new(path, end))
    }

    /// Returns the path to the subtrie of all keys that begin with `prefix`: with all of its entries, which the
    /// proof does not contain, it is the proof that these are the only ones.
    ///
    /// `reader` has the state of this trie. Only the path is read, never the entries, so the cost does not
    /// depend on their number.
    ///
    /// # Errors
    /// [`TrieError::Corrupt`] and [`TrieError::Read`] when a node cannot be loaded.
    pub fn prove_prefix(&self, prefix: &Nibbles, reader: &dyn NodeReader) -> Result<PrefixProof, TrieError> {
        let source = self.source(reader);
        let target = prefix.first_key();
        let (path, stop) = self.descend(&source, &target, prefix.len())?;
        let end = match stop {
            Stop::Empty => prefix_proof::End::Absent(Absence::Empty),
            Stop::Below => prefix_proof::End::Entries,
            Stop::Leaf(leaf) => {
                // Only the value shows that this is the leaf's key.
                let value = source.leaf(&Nibbles::of_key(&target, path.depth()), &leaf)?;
                if prefix.leads_to(&leaf.key) {
                    prefix_proof::End::Entries
                } else {
                    prefix_proof::End::Absent(Absence::OtherLeaf { key: leaf.key, value })
                }
            }
            Stop::Diverging(node) => prefix_proof::End::Absent(diverging(&node)),
        };
        Ok(PrefixProof::new(path, end))
    }

    /// Goes from the root towards the first `len` nibbles of `target`, as far as the trie shares them.
    fn descend(&self, source: &Source<'_>, target: &Hash, len: u8) -> Result<(Path, Stop), TrieError> {
        let mut path = Path::default();
        let mut sub = source.resolve_root(&self.root)?;
        loop {
            let depth = path.depth();
            let node = match sub {
                Sub::Node(_, node) => node,
                Sub::Stub(hash) | Sub::Unknown(hash) => {
                    source.load(&Nibbles::of_key(target, depth), &hash)?
                }
                Sub::Empty => return Ok((path, Stop::Empty)),
                Sub::Leaf(leaf) => return Ok((path, Stop::Leaf(leaf))),
            };
            let skipped = node.skipped();
            let branch_depth = depth.saturating_add(skipped.len());
            if branch_depth >= KEY_NIBBLES {
                return Err(too_deep(source, target, depth));
            }
            let shared = skipped.common_with(target, depth);
            if shared >= len.saturating_sub(depth) {
                return Ok((path, Stop::Below));
            }
            if shared < skipped.len() {
                return Ok((path, Stop::Diverging(node)));
            }
            let slot = nibble(target, branch_depth);
            path.push(skipped.len(), node.siblings(slot));
            sub = node.slot(slot);
        }
    }
}

/// The content of the slot where a walk ends.
enum Stop {
    Empty,
    /// A leaf, whose key may be any below the slot.
    Leaf(Leaf),
    /// A node whose extension leaves the target.
    Diverging(Arc<Node>),
    /// A node, all keys of which begin with the target.
    Below,
}

fn diverging(node: &Node) -> Absence {
    Absence::Diverging {
        skipped: node.skipped(),
        child: node.branch_hash(),
    }
}

pub(crate) fn too_deep(source: &Source<'_>, key: &Hash, depth: u8) -> TrieError {
    source.corrupt(
        Nibbles::of_key(key, depth),
        "a branch lies deeper than keys are long",
    )
}
