//! Loading of nodes that are not in memory, with a check against the hash that led to them.

use crate::node::{Leaf, Node, Sub};
use crate::record::{self, Content};
use crate::{Nibbles, NodeReader, ReadError, TrieError, TrieKind, commitment};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// The reader and the trie's identity, which every walk needs.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) kind: TrieKind,
    pub(crate) owner: Hash,
    pub(crate) reader: &'a dyn NodeReader,
}

impl Source<'_> {
    pub(crate) const fn corrupt(&self, path: Nibbles, detail: &'static str) -> TrieError {
        TrieError::Corrupt {
            owner: self.owner,
            path,
            detail,
        }
    }

    pub(crate) const fn drift(&self, key: &Hash, detail: &'static str) -> TrieError {
        TrieError::Drift {
            owner: self.owner,
            key: *key,
            detail,
        }
    }

    fn read<T>(&self, path: &Nibbles, answer: Result<T, ReadError>) -> Result<T, TrieError> {
        answer.map_err(|source| TrieError::Read {
            owner: self.owner,
            path: *path,
            source,
        })
    }

    /// Loads the node with `hash` at `path` and checks it.
    pub(crate) fn load(&self, path: &Nibbles, hash: &Hash) -> Result<Arc<Node>, TrieError> {
        match self.record(path)? {
            Content::Node(node) if node.hash() == *hash => Ok(node),
            _ => Err(self.corrupt(*path, "the node's record does not match its parent's hash")),
        }
    }

    fn record(&self, path: &Nibbles) -> Result<Content, TrieError> {
        let bytes = self
            .read(path, self.reader.node(&self.owner, path))?
            .ok_or_else(|| self.corrupt(*path, "the node's record is missing"))?;
        record::decode(&bytes).map_err(|_| self.corrupt(*path, "the node's record is malformed"))
    }

    /// Loads the value of a leaf under `path` and checks it, and so the leaf's key.
    pub(crate) fn leaf(&self, path: &Nibbles, leaf: &Leaf) -> Result<Vec<u8>, TrieError> {
        let value = self
            .read(path, self.reader.leaf(&self.owner, &leaf.key))?
            .ok_or_else(|| self.corrupt(*path, "the leaf is missing from the flat state"))?;
        if !path.leads_to(&leaf.key) || commitment::leaf(self.kind, &leaf.key, &value) != leaf.hash {
            return Err(self.corrupt(*path, "the flat state's leaf does not match its parent's hash"));
        }
        Ok(value)
    }

    /// Determines the kind of a root of which only the hash is known. Other subtries are returned unchanged.
    pub(crate) fn resolve_root(&self, root: &Sub) -> Result<Sub, TrieError> {
        let &Sub::Unknown(hash) = root else {
            return Ok(root.clone());
        };
        let path = Nibbles::EMPTY;
        match self.record(&path)? {
            Content::Node(node) if node.hash() == hash => Ok(Sub::Node(hash, node)),
            Content::Node(_) => Err(self.corrupt(path, "the root's record does not match the root")),
            // Only the record shows that the trie has one entry, so the leaf is read and checked.
            Content::Lone(key) => {
                let leaf = Leaf { key: *key, hash };
                self.leaf(&path, &leaf).map(|_| Sub::Leaf(leaf))
            }
        }
    }
}
