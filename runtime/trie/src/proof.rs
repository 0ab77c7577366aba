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
//! encoding. Tags from 0x84 on are free for range proofs.

use crate::commitment::{self, TrieKind};
use crate::nibbles::{KEY_NIBBLES, Nibbles, common, nibble, packed_len};
use vibecoin_primitives::Hash;

/// Maximum bytes of a value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Maximum bytes of an encoded proof: 64 full branches and the longest end.
pub const PROOF_BYTES_MAX: usize = 64 * (1 + 4 * 32) + 1 + 32 + VALUE_BYTES_MAX;

const EXTENSION: u8 = 0x40;
const END_EMPTY: u8 = 0x80;
const END_VALUE: u8 = 0x81;
const END_OTHER_LEAF: u8 = 0x82;
const END_DIVERGING: u8 = 0x83;

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

/// A node on the key's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This many of the key's nibbles are skipped.
    Extension(u8),
    /// The neighbours of the key's slot, from the slots upwards; zero where there is none.
    Branch([Hash; 4]),
}

/// The end of the key's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Empty,
    Value(Vec<u8>),
    OtherLeaf { key: Hash, value: Vec<u8> },
    Diverging { skipped: Nibbles, child: Hash },
}

/// A well-formed proof for one key, not yet compared with a root: see [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    steps: Vec<Step>,
    end: End,
}

impl Proof {
    pub(crate) const fn new(steps: Vec<Step>, end: End) -> Self {
        Self { steps, end }
    }

    /// Returns the bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        for step in &self.steps {
            match step {
                Step::Extension(count) => out.push(EXTENSION | count),
                Step::Branch(siblings) => {
                    let bits = (0u8..).zip(siblings).filter(|(_, sibling)| !sibling.is_zero());
                    out.push(bits.fold(0, |mask, (level, _)| mask | 1 << level));
                    for sibling in siblings.iter().filter(|sibling| !sibling.is_zero()) {
                        out.extend_from_slice(&sibling.0);
                    }
                }
            }
        }
        match &self.end {
            End::Empty => out.push(END_EMPTY),
            End::Value(value) => {
                out.push(END_VALUE);
                out.extend_from_slice(value);
            }
            End::OtherLeaf { key, value } => {
                out.push(END_OTHER_LEAF);
                out.extend_from_slice(&key.0);
                out.extend_from_slice(value);
            }
            End::Diverging { skipped, child } => {
                out.extend_from_slice(&[END_DIVERGING, skipped.len()]);
                out.extend_from_slice(skipped.packed());
                out.extend_from_slice(&child.0);
            }
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
        let mut input = Input { bytes, offset: 0 };
        let mut steps = Vec::with_capacity(8);
        let mut depth = 0u8;
        let mut after_extension = false;
        loop {
            let start = input.offset;
            let fail = |detail| ProofError::Malformed {
                offset: start,
                detail,
            };
            let [tag] = input.take().ok_or(fail("the end is missing"))?;
            let longer = match tag {
                0x01..=0x0f => 1,
                0x41..=0x7f if after_extension => return Err(fail("an extension follows an extension")),
                0x41..=0x7f => tag & !EXTENSION,
                END_EMPTY..=END_DIVERGING if after_extension => {
                    return Err(fail("an extension does not lead to a branch"));
                }
                END_EMPTY..=END_DIVERGING => {
                    let end = input.end(tag, depth).map_err(fail)?;
                    return Ok(Self { steps, end });
                }
                _ => return Err(fail("unknown tag")),
            };
            after_extension = tag & EXTENSION != 0;
            depth = depth.saturating_add(longer);
            // Behind an extension there is still a branch, which takes a nibble too.
            if depth > KEY_NIBBLES.saturating_sub(u8::from(after_extension)) {
                return Err(fail("the path is longer than a key"));
            }
            steps.push(if after_extension {
                Step::Extension(longer)
            } else {
                Step::Branch(input.siblings(tag).map_err(fail)?)
            });
        }
    }

    /// The value that the proof claims, `None` when it claims absence. Not to be trusted before [`verify`].
    #[must_use]
    pub fn claimed_value(&self) -> Option<&[u8]> {
        match &self.end {
            End::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Nibbles of the key that the steps cover; up to 64, since `decode` and `prove` count them.
    fn depth(&self) -> u8 {
        self.steps
            .iter()
            .fold(0u8, |depth, step| depth.saturating_add(step.nibbles()))
    }
}

impl Step {
    const fn nibbles(&self) -> u8 {
        match self {
            Self::Extension(count) => *count,
            Self::Branch(_) => 1,
        }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        self.offset = self.offset.saturating_add(N);
        Some(*head)
    }

    fn hash(&mut self) -> Result<Hash, &'static str> {
        let hash = Hash(self.take().ok_or("a hash is cut short")?);
        if hash.is_zero() {
            Err("a hash is zero where one is needed")
        } else {
            Ok(hash)
        }
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    fn siblings(&mut self, mask: u8) -> Result<[Hash; 4], &'static str> {
        let mut siblings = [Hash::ZERO; 4];
        for (level, sibling) in siblings.iter_mut().enumerate() {
            if mask >> level & 1 == 1 {
                *sibling = self.hash()?;
            }
        }
        Ok(siblings)
    }

    fn value(&mut self) -> Result<Vec<u8>, &'static str> {
        let value = self.rest();
        if value.len() > VALUE_BYTES_MAX {
            Err("the value is too long")
        } else {
            Ok(value.to_vec())
        }
    }

    fn end(&mut self, tag: u8, depth: u8) -> Result<End, &'static str> {
        let end = match tag {
            END_VALUE => End::Value(self.value()?),
            END_OTHER_LEAF => End::OtherLeaf {
                key: Hash(self.take().ok_or("a key is cut short")?),
                value: self.value()?,
            },
            END_DIVERGING => self.diverging(depth)?,
            _ => End::Empty,
        };
        if self.bytes.is_empty() {
            Ok(end)
        } else {
            Err("bytes are left over")
        }
    }

    fn diverging(&mut self, depth: u8) -> Result<End, &'static str> {
        let [count] = self.take().ok_or("an extension is cut short")?;
        if count == 0 {
            return Err("an extension is empty");
        }
        if count > 63u8.saturating_sub(depth) {
            return Err("the path is longer than a key");
        }
        let (packed, rest) = self
            .bytes
            .split_at_checked(packed_len(count))
            .ok_or("an extension is cut short")?;
        let skipped =
            Nibbles::unpack(count, packed).ok_or("an extension has a spare half byte that is set")?;
        self.bytes = rest;
        Ok(End::Diverging {
            skipped,
            child: self.hash()?,
        })
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
    let mut depth = proof.depth();
    let (mut hash, value) = match &proof.end {
        End::Empty => (Hash::ZERO, None),
        End::Value(value) => (commitment::leaf(kind, key, value), Some(value.as_slice())),
        End::OtherLeaf { key: shown, value } => {
            if shown == key {
                return Err(ProofError::NotAbsent { key: *key });
            }
            if common(shown, key) < depth {
                return Err(ProofError::OffPath {
                    key: *key,
                    shown: *shown,
                });
            }
            (commitment::leaf(kind, shown, value), None)
        }
        End::Diverging { skipped, child } => {
            if skipped.common_with(key, depth) == skipped.len() {
                return Err(ProofError::NotAbsent { key: *key });
            }
            (commitment::extension(skipped, child), None)
        }
    };
    for step in proof.steps.iter().rev() {
        let below = depth;
        depth = depth.saturating_sub(step.nibbles());
        hash = match step {
            Step::Extension(_) => commitment::extension(&Nibbles::between(key, depth, below), &hash),
            Step::Branch(siblings) => climb(nibble(key, depth), hash, siblings),
        };
    }
    if hash == *root {
        Ok(value)
    } else {
        Err(ProofError::RootMismatch {
            expected: *root,
            found: hash,
        })
    }
}

/// From a slot to the branch: exactly four pairs.
fn climb(slot: u8, hash: Hash, siblings: &[Hash; 4]) -> Hash {
    (0u8..).zip(siblings).fold(hash, |hash, (level, sibling)| {
        if slot >> level & 1 == 0 {
            commitment::pair(level, &hash, sibling)
        } else {
            commitment::pair(level, sibling, &hash)
        }
    })
}
