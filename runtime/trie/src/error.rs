//! Why an update or a proof could not be made.

use crate::{Nibbles, ReadError};
use vibecoin_primitives::Hash;

/// Why the trie refused. Nothing is changed by an operation that fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrieError {
    /// The caller broke the order: keys must be strictly ascending.
    #[error("change {index} is not above the change before it")]
    NotAscending {
        /// Position of the offending change, from zero.
        index: usize,
    },
    /// A value is longer than a proof can carry.
    #[error(
        "value of {got} bytes at {key} is over the limit of {}",
        crate::VALUE_BYTES_MAX
    )]
    ValueTooLarge {
        /// The key.
        key: Hash,
        /// Bytes given.
        got: usize,
    },
    /// The old value that the caller named is not the one under the trie's root: the flat state (or
    /// the caller's view of it) and the trie have drifted apart.
    #[error("the value given for {key} of owner {owner} is not the one in the trie: {detail}")]
    Drift {
        /// Whose trie.
        owner: Hash,
        /// The key.
        key: Hash,
        /// What was expected and found.
        detail: &'static str,
    },
    /// A stored record or leaf is missing, malformed, or does not hash to what its parent says.
    #[error("trie of owner {owner} is corrupt at path {path}: {detail}")]
    Corrupt {
        /// Whose trie.
        owner: Hash,
        /// Where.
        path: Nibbles,
        /// What is wrong there.
        detail: &'static str,
    },
    /// The reader could not answer.
    #[error("cannot read trie of owner {owner} at path {path}")]
    Read {
        /// Whose trie.
        owner: Hash,
        /// Where.
        path: Nibbles,
        /// What the reader said.
        source: ReadError,
    },
}
