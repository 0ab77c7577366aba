//! Proofs that a key has a value, or has none: the bytes, and the verifier.
//!
//! This module needs only the hash rules ([`crate::commitment`]) and paths: any verifier can check a proof
//! with it from a root, a key and bytes, without a trie.
//!
//! # Format
//!
//! A proof is the path from the root to the end of the key: steps, then exactly one end. A step or end is one
//! tag byte and the fields of that tag.
//!
//! ```text
//! tag           followed by                        meaning
//! 0x01..=0x0f   32 bytes per set bit               branch: bit n is set when the neighbour on level n is
//!                                                  not empty; neighbours from the slots upwards
//! 0x41..=0x7f   nothing                            extension of (tag - 0x40) nibbles, all of them the key's
//! 0x80          nothing                            end: the slot (or the whole trie) is empty
//! 0x81          the rest: value                    end: the key's leaf
//! 0x82          32 bytes key, the rest: value      end: the leaf of another key
//! 0x83          1 byte count, (count + 1) / 2      end: an extension that leaves the key's path
//!               bytes nibbles, 32 bytes child
//! ```
//!
//! Refused before any hashing: more than [`PROOF_BYTES_MAX`] bytes, unknown tags, a neighbour that is zero
//! (it has no bit), a branch without a neighbour (it would have one child), an extension behind an extension
//! or before anything but a branch, a path deeper than a key, and bytes left over. So every proof has one
//! encoding. Tags from 0x84 on are those of other proofs ([`crate::prefix_proof`]); a tag that several formats
//! have means the same in each.

use crate::commitment::{self, TrieKind};
use crate::nibbles::KEY_NIBBLES;
use crate::path::{Absence, END_DIVERGING, END_EMPTY, Flaw, NotExcluded, Path};
use vibecoin_primitives::Hash;

/// Maximum bytes of a value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Maximum bytes of an encoded proof: 64 full branches and the longest end.
pub const PROOF_BYTES_MAX: usize = 64 * (1 + 4 * 32) + 1 + 32 + VALUE_BYTES_MAX;

const END_VALUE: u8 = 0x81;

/// Reason why a proof was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Longer than any proof can be.
    #[error("proof of {got} bytes is over the limit of {PROOF_BYTES_MAX}")]
    TooLarge {
        /// Number of bytes received.
        got: usize,
    },
    /// The bytes are not a proof in its one form.
    #[error("malformed proof at byte {offset}: {detail}")]
    Malformed {
        /// Offset of the offending step or end.
        offset: usize,
        /// The violation.
        detail: &'static str,
    },
    /// The other leaf in the proof is not on the key's path.
    #[error("the leaf of {shown} does not lie on the path of {key}")]
    OffPath {
        /// The requested key.
        key: Hash,
        /// The key in the proof.
        shown: Hash,
    },
    /// The end of the proof does not exclude the key.
    #[error("what is shown does not exclude {key}")]
    NotAbsent {
        /// The requested key.
        key: Hash,
    },
    /// The proof leads to another root.
    #[error("the proof leads to root {found}, expected {expected}")]
    RootMismatch {
        /// The trusted root.
        expected: Hash,
        /// The root that the proof has.
        found: Hash,
    },
}

impl From<Flaw> for ProofError {
    fn from(Flaw { offset, detail }: Flaw) -> Self {
        Self::Malformed { offset, detail }
    }
}

/// The end of the key's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Value(Vec<u8>),
    Absent(Absence),
}

/// A well-formed proof for one key, not yet compared with a root: see [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    path: Path,
    end: End,
}

impl Proof {
    pub(crate) const fn new(path: Path, end: End) -> Self {
        Self { path, end }
    }

    /// Returns the bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.path.encode(&mut out);
        match &self.end {
            End::Value(value) => {
                out.push(END_VALUE);
                out.extend_from_slice(value);
            }
            End::Absent(absence) => absence.encode(&mut out),
        }
        out
    }

    /// Reads foreign bytes as a proof.
    ///
    /// # Errors
    /// [`ProofError::TooLarge`] or [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofError::TooLarge { got: bytes.len() });
        }
        let is_end = |tag| (END_EMPTY..=END_DIVERGING).contains(&tag);
        let (path, end) = Path::decode(bytes, is_end, |tag, depth, input| match tag {
            END_VALUE => input.last_value().map(End::Value),
            _ => Absence::decode(tag, depth, input).map(End::Absent),
        })?;
        Ok(Self { path, end })
    }

    /// The value that the proof claims, `None` when it claims absence. Not to be trusted before [`verify`].
    #[must_use]
    pub fn claimed_value(&self) -> Option<&[u8]> {
        match &self.end {
            End::Value(value) => Some(value),
            End::Absent(_) => None,
        }
    }
}

/// Returns the value of `key` in the trie with `root`, or `None` for proven absence.
///
/// `kind` and `root` must be from a trusted source (a certified header's state root, or the storage root in a
/// proven account), `key` from the caller's own hashing. About four hashes per branch.
///
/// # Errors
/// [`ProofError`]: the proof is about another key, another kind of trie or another root, or is a forgery.
pub fn verify<'p>(
    kind: TrieKind,
    root: &Hash,
    key: &Hash,
    proof: &'p Proof,
) -> Result<Option<&'p [u8]>, ProofError> {
    let (hash, value) = match &proof.end {
        End::Value(value) => (commitment::leaf(kind, key, value), Some(value.as_slice())),
        End::Absent(absence) => {
            let excluded = absence.excludes(key, KEY_NIBBLES, proof.path.depth());
            excluded.map_err(|reason| match reason {
                NotExcluded::OffPath(shown) => ProofError::OffPath { key: *key, shown },
                NotExcluded::Possible => ProofError::NotAbsent { key: *key },
            })?;
            (absence.hash(kind), None)
        }
    };
    let found = proof.path.root(key, hash);
    if found == *root {
        Ok(value)
    } else {
        Err(ProofError::RootMismatch {
            expected: *root,
            found,
        })
    }
}
