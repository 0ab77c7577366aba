//! Proofs of many keys at once, present or absent: the bytes, and the verifier.
//!
//! The proof is the part of the trie that the paths of the keys cover. A node that several paths share is sent once,
//! and no hash that follows from another part of the proof is sent. The verifier has the keys and their values;
//! like [`crate::proof`], this module needs only the hash rules and paths.
//!
//! # Format
//!
//! The content of the root's slot, then, behind every branch, the contents of its open slots in ascending order.
//! A slot is *open* if the path of a key leads into it. Integers are little-endian.
//!
//! ```text
//! tag    followed by                                       meaning
//! 0x80   nothing                                           the slot (or the whole trie) is empty
//! 0x83   1 byte count, (count + 1) / 2 bytes nibbles,      an extension that no key follows
//!        32 bytes child
//! 0x85   nothing                                           the leaf of the one key that has a value here
//! 0x86   32 bytes key, 4 bytes length, value               the leaf of a key that is not asked for
//! 0x87   1 byte count, (count + 1) / 2 bytes nibbles       an extension that a key follows; its branch is next
//! 0x88   2 bytes open, 1 byte filled, 32 bytes per set     branch: bit n of open is set when slot n is open;
//!        bit of filled                                     bit n of filled when closed group n is not empty
//! ```
//!
//! The *closed groups* of a branch are the largest parts of its binary tree over 16 slots that have no open slot,
//! from slot 0 upwards. Each stands beside an open slot or above one, so there are up to eight. The hash
//! of a group is a slot's or, for 2, 4 or 8 slots, that of the pair above them.
//!
//! Refused before any hashing: more than [`MULTI_PROOF_BYTES_MAX`] bytes or [`MULTI_PROOF_KEYS_MAX`] contents
//! without a branch, unknown tags, a hash that is zero, a branch with no open slot or one child, an extension before
//! anything but a branch, a path deeper than a key, bits without a group, and bytes left over. Refused beside
//! the keys: an open slot or an extension's branch without a key, a key in a closed slot, and a branch of empty slots
//! alone, which has the hash of an empty slot. So a list of keys has one proof.

use crate::nibbles::{KEY_NIBBLES, packed_len};
use crate::path::{END_DIVERGING, END_EMPTY, Flaw, Input};
use crate::{Nibbles, NotAscending};
use vibecoin_primitives::Hash;

pub use crate::verify_many::verify_many;

/// Maximum keys of a proof.
pub const MULTI_PROOF_KEYS_MAX: usize = 1024;

/// Maximum bytes of an encoded proof. The worst proof of [`MULTI_PROOF_KEYS_MAX`] keys would be larger, but
/// only in a trie whose keys are not hashes or whose values are far longer than those of slots.
pub const MULTI_PROOF_BYTES_MAX: usize = 8 * 1024 * 1024;

// Keys that share nothing below the top, 16 branches each: a path that would take 2^64 hashes to grind; and a
// foreign leaf of 4 KiB, the limit of a slot's value.
const _: () = assert!(MULTI_PROOF_KEYS_MAX * (16 * (4 + 4 * 32) + 37 + 4096) <= MULTI_PROOF_BYTES_MAX);

const LEAF: u8 = 0x85;
const OTHER_LEAF: u8 = 0x86;
const EXTENSION: u8 = 0x87;
const BRANCH: u8 = 0x88;

/// A key and its value, `None` for a key that the trie does not have.
pub type Claim<'v> = (Hash, Option<&'v [u8]>);

/// Reason why a proof of many keys was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultiProofError {
    /// Longer than any proof can be.
    #[error("multi-key proof of {got} bytes is over the limit of {MULTI_PROOF_BYTES_MAX}")]
    TooLarge {
        /// Number of bytes received.
        got: usize,
    },
    /// The bytes are not a proof in its one form.
    #[error("malformed multi-key proof at byte {offset}: {detail}")]
    Malformed {
        /// Offset of the offending part.
        offset: usize,
        /// The violation.
        detail: &'static str,
    },
    /// There are no keys, or too many.
    #[error("{got} keys to verify, expected 1 to {MULTI_PROOF_KEYS_MAX}")]
    KeyCount {
        /// Number of keys received.
        got: usize,
    },
    /// The keys are not in strictly ascending order.
    #[error(transparent)]
    NotAscending(#[from] NotAscending),
    /// The proof's shape is not that of these keys.
    #[error("the proof does not have the shape of these keys at path {path}: {detail}")]
    WrongShape {
        /// The path of the slot or branch.
        path: Nibbles,
        /// The difference.
        detail: &'static str,
    },
    /// The other leaf in the proof cannot lie in its slot.
    #[error("the leaf of {shown} does not lie on the path {path}")]
    OffPath {
        /// The path of the slot.
        path: Nibbles,
        /// The key in the proof.
        shown: Hash,
    },
    /// A key is said to have a value, and the proof excludes it.
    #[error("{key} is said to have a value, the proof excludes it")]
    NotPresent {
        /// The key.
        key: Hash,
    },
    /// A key is said to have no value, and the proof does not exclude it.
    #[error("{key} is said to be absent, the proof does not exclude it")]
    NotAbsent {
        /// The key.
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

impl From<Flaw> for MultiProofError {
    fn from(Flaw { offset, detail }: Flaw) -> Self {
        Self::Malformed { offset, detail }
    }
}

/// The content of an open slot. A branch follows an extension; the open slots of a branch follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Empty,
    Leaf,
    OtherLeaf {
        key: Hash,
        value: Vec<u8>,
    },
    Diverging {
        skipped: Nibbles,
        child: Hash,
    },
    Extension(Nibbles),
    /// The hashes of the filled groups are the next ones in the proof's list.
    Branch {
        open: u16,
        filled: u8,
    },
}

/// A well-formed proof for some keys, not yet compared with them and a root: see [`verify_many`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiProof {
    parts: Vec<Part>,
    /// Of the filled groups of all branches, in the order of the branches.
    hashes: Vec<Hash>,
}

impl MultiProof {
    pub(crate) const fn new(parts: Vec<Part>, hashes: Vec<Hash>) -> Self {
        Self { parts, hashes }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Length of the result of [`MultiProof::encode`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let hashes = self.hashes.len().saturating_mul(32);
        self.parts.iter().fold(hashes, |sum, part| {
            sum.saturating_add(match part {
                Part::Empty | Part::Leaf => 1,
                Part::OtherLeaf { value, .. } => value.len().saturating_add(1 + 32 + 4),
                Part::Diverging { skipped, .. } => packed_len(skipped.len()).saturating_add(2 + 32),
                Part::Extension(skipped) => packed_len(skipped.len()).saturating_add(2),
                Part::Branch { .. } => 4,
            })
        })
    }

    /// Returns the bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        let mut hashes = self.hashes.iter();
        for part in &self.parts {
            match part {
                Part::Empty => out.push(END_EMPTY),
                Part::Leaf => out.push(LEAF),
                Part::OtherLeaf { key, value } => {
                    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                    out.push(OTHER_LEAF);
                    out.extend_from_slice(&key.0);
                    out.extend_from_slice(&len.to_le_bytes());
                    out.extend_from_slice(value);
                }
                Part::Diverging { skipped, child } => {
                    out.extend_from_slice(&[END_DIVERGING, skipped.len()]);
                    out.extend_from_slice(skipped.packed());
                    out.extend_from_slice(&child.0);
                }
                Part::Extension(skipped) => {
                    out.extend_from_slice(&[EXTENSION, skipped.len()]);
                    out.extend_from_slice(skipped.packed());
                }
                Part::Branch { open, filled } => {
                    out.push(BRANCH);
                    out.extend_from_slice(&open.to_le_bytes());
                    out.push(*filled);
                    for hash in hashes.by_ref().take(filled.count_ones() as usize) {
                        out.extend_from_slice(&hash.0);
                    }
                }
            }
        }
        out
    }

    /// Reads foreign bytes as a proof. Memory is in proportion to the bytes.
    ///
    /// # Errors
    /// [`MultiProofError::TooLarge`] or [`MultiProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MultiProofError> {
        if bytes.len() > MULTI_PROOF_BYTES_MAX {
            return Err(MultiProofError::TooLarge { got: bytes.len() });
        }
        let mut decoder = Decoder {
            input: Input::new(bytes),
            parts: Vec::new(),
            hashes: Vec::new(),
            slots: 1,
        };
        // Open slots that are not yet read, by depth; a branch at most 63 nibbles deep adds an entry.
        let mut unread = vec![(0u8, 1u32)];
        while let Some((depth, count)) = unread.last_mut() {
            let Some(left) = count.checked_sub(1) else {
                unread.pop();
                continue;
            };
            *count = left;
            let depth = *depth;
            let offset = decoder.input.offset();
            let branch = decoder.slot(depth).map_err(|detail| Flaw { offset, detail })?;
            unread.extend(branch);
        }
        let offset = decoder.input.offset();
        let finished = decoder.input.finish();
        finished.map_err(|detail| Flaw { offset, detail })?;
        Ok(Self::new(decoder.parts, decoder.hashes))
    }
}

struct Decoder<'a> {
    input: Input<'a>,
    parts: Vec<Part>,
    hashes: Vec<Hash>,
    /// Open slots read or announced that are not those of branches.
    slots: usize,
}

impl Decoder<'_> {
    /// Reads the content of a slot whose path has `depth` nibbles. Returns the depth and number of the open slots
    /// if it is a branch.
    fn slot(&mut self, depth: u8) -> Result<Option<(u8, u32)>, &'static str> {
        let mut branch_depth = depth;
        let mut tag = self.tag()?;
        if tag == EXTENSION {
            let [count] = self.input.take().ok_or("an extension is cut short")?;
            let skipped = self.input.skipped(count, depth)?;
            branch_depth = depth.saturating_add(count);
            self.parts.push(Part::Extension(skipped));
            tag = self.tag()?;
            if tag != BRANCH {
                return Err("an extension does not lead to a branch");
            }
        }
        if tag == BRANCH {
            return self.branch(branch_depth).map(Some);
        }
        let part = match tag {
            END_EMPTY => Part::Empty,
            LEAF => Part::Leaf,
            OTHER_LEAF => {
                let key = self.input.key()?;
                let len = self.input.take().ok_or("a value is cut short")?;
                let len = usize::try_from(u32::from_le_bytes(len)).map_err(|_| "the value is too long")?;
                Part::OtherLeaf {
                    key,
                    value: self.input.value(len)?,
                }
            }
            END_DIVERGING => {
                let [count] = self.input.take().ok_or("an extension is cut short")?;
                Part::Diverging {
                    skipped: self.input.skipped(count, depth)?,
                    child: self.input.hash()?,
                }
            }
            _ => return Err("unknown tag"),
        };
        self.parts.push(part);
        Ok(None)
    }

    fn tag(&mut self) -> Result<u8, &'static str> {
        let [tag] = self.input.take().ok_or("the content of a slot is missing")?;
        Ok(tag)
    }

    fn branch(&mut self, depth: u8) -> Result<(u8, u32), &'static str> {
        if depth >= KEY_NIBBLES {
            return Err("the path is longer than a key");
        }
        let [low, high, filled] = self.input.take().ok_or("a branch is cut short")?;
        let open = u16::from_le_bytes([low, high]);
        let groups = Pieces::of(open).filter(|piece| !piece.open).count();
        if open == 0 {
            return Err("a branch has no open slot");
        }
        if u32::from(filled) >> groups != 0 {
            return Err("a bit is set that has no group");
        }
        if open.count_ones().saturating_add(filled.count_ones()) < 2 {
            return Err("a branch has one child");
        }
        // One slot becomes several.
        let more = open.count_ones() as usize;
        self.slots = self.slots.saturating_add(more).saturating_sub(1);
        if self.slots > MULTI_PROOF_KEYS_MAX {
            return Err("there are more open slots than keys can be");
        }
        for _ in 0..filled.count_ones() {
            self.hashes.push(self.input.hash()?);
        }
        self.parts.push(Part::Branch { open, filled });
        Ok((depth.saturating_add(1), open.count_ones()))
    }
}

/// A part of a branch's binary tree: an open slot or a closed group.
pub(crate) struct Piece {
    /// The first slot.
    pub(crate) start: u8,
    /// It covers 2 to the power of this many slots.
    pub(crate) level: u8,
    pub(crate) open: bool,
}

/// The sizes of a group, the largest first: the level of its hash, and its slots if it starts at slot 0.
const GROUPS: [(u8, u32); 5] = [(4, 0xffff), (3, 0xff), (2, 0xf), (1, 0x3), (0, 0x1)];

/// The pieces of a branch with these open slots, from slot 0 upwards. One closed group of 16 slots if there are none.
pub(crate) struct Pieces {
    open: u16,
    start: u8,
}

impl Pieces {
    pub(crate) const fn of(open: u16) -> Self {
        Self { open, start: 0 }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.start;
        if start >= 16 {
            return None;
        }
        let closed = GROUPS.iter().find(|(level, slots)| {
            start.trailing_zeros() >= u32::from(*level) && u32::from(self.open) & (slots << start) == 0
        });
        let open = closed.is_none();
        let level = closed.map_or(0, |(level, _)| *level);
        self.start = start.saturating_add(1 << level);
        Some(Piece { start, level, open })
    }
}
