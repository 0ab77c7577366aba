//! Errors of updates and proofs.

use crate::{Nibbles, ReadError};
use vibecoin_primitives::Hash;

/// Error of a trie operation. An operation that fails changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrieError {
    /// The caller broke the order: keys must be strictly ascending.
    #[error("key {index} is not above the key before it")]
    NotAscending {
        /// Position of the offending change or claim, from zero.
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
        /// Number of bytes received.
        got: usize,
    },
    /// There are no keys to prove, or too many for one proof.
    #[error("{got} keys to prove, expected 1 to {}", crate::MULTI_PROOF_KEYS_MAX)]
    KeyCount {
        /// Number of keys received.
        got: usize,
    },
    /// The proof of these keys is too long; each of two halves may have one.
    #[error("proof of {got} bytes is over the limit of {}", crate::MULTI_PROOF_BYTES_MAX)]
    ProofTooLarge {
        /// Bytes that the proof would have.
        got: usize,
    },
    /// The old value that the caller named is not the one under the trie's root: the flat state (or the
    /// caller's view of it) and the trie differ.
    #[error("the value given for {key} of owner {owner} is not the one in the trie: {detail}")]
    Drift {
        /// The trie's owner.
        owner: Hash,
        /// The key.
        key: Hash,
        /// The difference.
        detail: &'static str,
    },
    /// A stored record or leaf is missing, malformed, or does not match the hash in its parent.
    #[error("trie of owner {owner} is corrupt at path {path}: {detail}")]
    Corrupt {
        /// The trie's owner.
        owner: Hash,
        /// The path of the record.
        path: Nibbles,
        /// The fault of the record.
        detail: &'static str,
    },
    /// The reader failed.
    #[error("cannot read trie of owner {owner} at path {path}")]
    Read {
        /// The trie's owner.
        owner: Hash,
        /// The path that was read.
        path: Nibbles,
        /// The reader's error.
        source: ReadError,
    },
}
