//! Construction of proofs: one walk from the root to the end of the key.

use crate::commitment;
use crate::nibbles::nibble;
use crate::node::{Node, Sub};
use crate::proof::{End, Proof, Step};
use crate::{Nibbles, NodeReader, Trie, TrieError};
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
        let drift = |detail| TrieError::Drift {
            owner: self.owner,
            key: *key,
            detail,
        };
        let mut steps = Vec::with_capacity(8);
        let mut depth = 0u8;
        let mut sub = source.resolve_root(&self.root)?;
        let end = loop {
            let path = Nibbles::of_key(key, depth);
            let node = match sub {
                Sub::Node(_, node) => node,
                Sub::Stub(hash) | Sub::Unknown(hash) => source.load(&path, &hash)?,
                Sub::Empty => break End::Empty,
                Sub::Leaf(leaf) => match value {
                    Some(value) if commitment::leaf(self.kind, key, value) == leaf.hash => {
                        break End::Value(value.to_vec());
                    }
                    Some(_) => return Err(drift("the value it is said to have is not in the trie")),
                    None => {
                        let value = source.leaf(&path, &leaf)?;
                        if leaf.key == *key {
                            return Err(drift("it is said to be absent, the trie has a value"));
                        }
                        break End::OtherLeaf { key: leaf.key, value };
                    }
                },
            };
            let skipped = node.skipped();
            if skipped.common_with(key, depth) < skipped.len() {
                break End::Diverging {
                    skipped,
                    child: node.branch_hash(),
                };
            }
            depth = depth.saturating_add(skipped.len());
            if depth > 63 {
                return Err(source.corrupt(path, "a branch lies deeper than keys are long"));
            }
            sub = step(&node, nibble(key, depth), &mut steps);
            depth = depth.saturating_add(1);
        };
        if value.is_some() && !matches!(end, End::Value(_)) {
            return Err(drift("it is said to have a value, the trie has none"));
        }
        Ok(Proof::new(steps, end))
    }
}

/// Goes through `node` to its slot `nibble`.
fn step(node: &Node, nibble: u8, steps: &mut Vec<Step>) -> Sub {
    let skipped = node.skipped();
    if !skipped.is_empty() {
        steps.push(Step::Extension(skipped.len()));
    }
    steps.push(Step::Branch(node.siblings(nibble)));
    node.slot(nibble)
}
