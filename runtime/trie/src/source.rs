//! Loading what is not in memory, and checking it against the hash that led to it.

use crate::node::{Node, Sub};
use crate::{Nibbles, NodeReader, ReadError, TrieError, TrieKind, commitment, record};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// Where reads come from and whose trie it is: what every walk carries along.
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

    fn read<T>(&self, path: &Nibbles, answer: Result<T, ReadError>) -> Result<T, TrieError> {
        answer.map_err(|source| TrieError::Read {
            owner: self.owner,
            path: *path,
            source,
        })
    }

    /// Loads the node with `hash` at `path` and checks it.
    pub(crate) fn load(&self, path: &Nibbles, hash: &Hash) -> Result<Arc<Node>, TrieError> {
        self.try_load(path, hash)?
            .ok_or_else(|| self.corrupt(*path, "the node's record is missing"))
    }

    fn try_load(&self, path: &Nibbles, hash: &Hash) -> Result<Option<Arc<Node>>, TrieError> {
        let Some(bytes) = self.read(path, self.reader.node(&self.owner, path))? else {
            return Ok(None);
        };
        let node =
            record::decode(&bytes).map_err(|_| self.corrupt(*path, "the node's record is malformed"))?;
        if node.hash() != *hash {
            return Err(self.corrupt(*path, "the node's record does not match its parent's hash"));
        }
        Ok(Some(Arc::new(node)))
    }

    /// Loads key and value of the leaf with `hash` under `path` and checks them.
    pub(crate) fn leaf(&self, path: &Nibbles, hash: &Hash) -> Result<(Hash, Vec<u8>), TrieError> {
        let (key, value) = self
            .read(path, self.reader.leaf(&self.owner, path))?
            .ok_or_else(|| self.corrupt(*path, "the leaf is missing from the flat state"))?;
        if !path.leads_to(&key) || commitment::leaf(self.kind, &key, &value) != *hash {
            return Err(self.corrupt(*path, "the flat state's leaf does not match its parent's hash"));
        }
        Ok((key, value))
    }

    /// Finds out what a root is of which only the hash is known. Other subtries come back as they are.
    pub(crate) fn resolve_root(&self, root: &Sub) -> Result<Sub, TrieError> {
        let Sub::Unknown(hash) = root else {
            return Ok(root.clone());
        };
        match self.try_load(&Nibbles::EMPTY, hash)? {
            Some(node) => Ok(Sub::Node(*hash, node)),
            // A trie of one entry has no node; the check against the root is in `leaf`.
            None => self.leaf(&Nibbles::EMPTY, hash).map(|_| Sub::Leaf(*hash)),
        }
    }
}
