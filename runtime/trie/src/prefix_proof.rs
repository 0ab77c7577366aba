//! Proofs that some entries are all entries of a trie whose keys begin with a prefix: the bytes, and the verifier.
//!
//! The proof is the path to the subtrie of the prefix. The verifier computes the hash of the subtrie from the
//! entries themselves, in one pass, and compares the root above it: an entry that is omitted, added, moved or
//! changed gives another root. Like [`crate::proof`], this module needs only the hash rules and paths.
//!
//! ```
//! # use vibecoin_primitives::Hash;
//! # use vibecoin_trie::{Change, Nibbles, PrefixProof, Sequential, Trie, TrieKind, model::MemoryState, verify_prefix};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut state = MemoryState::default();
//! let [near, far] = [Hash([0x12; 32]), Hash([0x13; 32])];
//! # let changes = [near, far].map(|key| Change { key, old: None, new: Some(b"coins") });
//! # let (trie, writes) = Trie::accounts(Hash::ZERO).update(&changes, &state, &Sequential)?;
//! # state.apply(&writes, &changes);
//! // The trie has a key that begins with 12, and one with 13.
//! let prefix = Nibbles::of_key(&near, 2);
//! let sent = trie.prove_prefix(&prefix, &state)?.encode();
//!
//! let proof = PrefixProof::decode(&sent)?;
//! let check = |entries: &[(Hash, &[u8])]| {
//!     verify_prefix(TrieKind::Account, &trie.root(), &prefix, &proof, entries.iter().copied())
//! };
//! check(&[(near, b"coins")])?;
//! assert!(check(&[]).is_err());
//! assert!(check(&[(near, b"more coins")]).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Format
//!
//! Steps as in [`crate::proof`], whose nibbles are those of the prefix, then exactly one end.
//!
//! ```text
//! tag           followed by                        meaning
//! 0x01..=0x0f   32 bytes per set bit               branch, as in a proof of a key
//! 0x41..=0x7f   nothing                            extension of (tag - 0x40) nibbles of the prefix
//! 0x80          nothing                            end: the slot (or the whole trie) is empty
//! 0x82          32 bytes key, the rest: value      end: a leaf whose key does not begin with the prefix
//! 0x83          1 byte count, (count + 1) / 2      end: an extension that leaves the prefix
//!               bytes nibbles, 32 bytes child
//! 0x84          nothing                            end: the slot holds the entries and nothing else
//! ```
//!
//! The path ends at the first slot below which every key begins with the prefix, or none. That slot can be higher
//! than the prefix is long: a single leaf hangs as high as no other key shares its path, and an extension may cross
//! the end of the prefix. Neither is part of the proof; both follow from the entries. So an extension
//! is in the proof only before a branch on the path.
//!
//! Refused before any hashing: more than [`PREFIX_PROOF_BYTES_MAX`] bytes and all that is refused in a proof of a
//! key; also entries out of order or without the prefix, no entries before the end 0x84, and any behind another
//! end. So every prefix has one proof.

use crate::commitment::TrieKind;
use crate::path::{Absence, END_DIVERGING, END_EMPTY, END_OTHER_LEAF, Flaw, NotExcluded, Path};
use crate::{Nibbles, NotAscending, PROOF_BYTES_MAX, stream};
use vibecoin_primitives::Hash;

/// Maximum bytes of an encoded prefix proof: as of a proof of a key, which can have the same path and end.
pub const PREFIX_PROOF_BYTES_MAX: usize = PROOF_BYTES_MAX;

const END_ENTRIES: u8 = 0x84;

/// Reason why entries or the proof of a prefix were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixProofError {
    /// Longer than any proof can be.
    #[error("prefix proof of {got} bytes is over the limit of {PREFIX_PROOF_BYTES_MAX}")]
    TooLarge {
        /// Number of bytes received.
        got: usize,
    },
    /// The bytes are not a proof in its one form.
    #[error("malformed prefix proof at byte {offset}: {detail}")]
    Malformed {
        /// Offset of the offending step or end.
        offset: usize,
        /// The violation.
        detail: &'static str,
    },
    /// The proof is about a longer prefix.
    #[error("the proof's path of {depth} nibbles is longer than the prefix {prefix}")]
    TooDeep {
        /// The requested prefix.
        prefix: Nibbles,
        /// Nibbles of the path.
        depth: u8,
    },
    /// The other leaf in the proof is not on the prefix's path.
    #[error("the leaf of {shown} does not lie on the path of prefix {prefix}")]
    OffPath {
        /// The requested prefix.
        prefix: Nibbles,
        /// The key in the proof.
        shown: Hash,
    },
    /// The end of the proof does not exclude keys with the prefix.
    #[error("what is shown does not exclude keys that begin with {prefix}")]
    NotAbsent {
        /// The requested prefix.
        prefix: Nibbles,
    },
    /// The proof says that no key has the prefix, but there is an entry.
    #[error("there is an entry {key}, the proof excludes all that begin with {prefix}")]
    UnexpectedEntry {
        /// The requested prefix.
        prefix: Nibbles,
        /// The key of the first entry.
        key: Hash,
    },
    /// The proof says that keys have the prefix, but there are no entries.
    #[error("there is no entry, the proof says that some begin with {prefix}")]
    NoEntry {
        /// The requested prefix.
        prefix: Nibbles,
    },
    /// The key of an entry does not begin with the prefix.
    #[error("entry {key} does not begin with {prefix}")]
    OffPrefix {
        /// The requested prefix.
        prefix: Nibbles,
        /// The key of the entry.
        key: Hash,
    },
    /// The entries are not in strictly ascending order.
    #[error(transparent)]
    NotAscending(#[from] NotAscending),
    /// The entries and the proof lead to another root.
    #[error("the entries and the proof lead to root {found}, expected {expected}")]
    RootMismatch {
        /// The trusted root.
        expected: Hash,
        /// The root that the entries and the proof have.
        found: Hash,
    },
}

impl From<Flaw> for PrefixProofError {
    fn from(Flaw { offset, detail }: Flaw) -> Self {
        Self::Malformed { offset, detail }
    }
}

/// The end of the prefix's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The slot holds all entries with the prefix, at least one, and no others.
    Entries,
    Absent(Absence),
}

/// A well-formed proof for one prefix, not yet compared with entries and a root: see [`verify_prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixProof {
    path: Path,
    end: End,
}

impl PrefixProof {
    pub(crate) const fn new(path: Path, end: End) -> Self {
        Self { path, end }
    }

    /// Returns the bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.path.encode(&mut out);
        match &self.end {
            End::Entries => out.push(END_ENTRIES),
            End::Absent(absence) => absence.encode(&mut out),
        }
        out
    }

    /// Reads foreign bytes as a proof.
    ///
    /// # Errors
    /// [`PrefixProofError::TooLarge`] or [`PrefixProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PrefixProofError> {
        if bytes.len() > PREFIX_PROOF_BYTES_MAX {
            return Err(PrefixProofError::TooLarge { got: bytes.len() });
        }
        let is_end = |tag| matches!(tag, END_EMPTY | END_OTHER_LEAF | END_DIVERGING | END_ENTRIES);
        let (path, end) = Path::decode(bytes, is_end, |tag, depth, input| match tag {
            END_ENTRIES => Ok(End::Entries),
            _ => Absence::decode(tag, depth, input).map(End::Absent),
        })?;
        Ok(Self { path, end })
    }

    /// Returns true if the proof claims that at least one key has the prefix. Not to be trusted before
    /// [`verify_prefix`].
    #[must_use]
    pub const fn claims_entries(&self) -> bool {
        matches!(self.end, End::Entries)
    }
}

/// Accepts `entries`, strictly ascending, if they are all entries of the trie with `root` whose keys begin with
/// `prefix`.
///
/// `kind` and `root` must be from a trusted source, as for [`crate::verify`]; `prefix` from the caller. The empty prefix
/// is that of every key, so its entries are the whole trie. Values are not limited in length, because the trie
/// has none over [`crate::VALUE_BYTES_MAX`]; the caller limits the number of entries that it reads.
///
/// One pass and a few kilobytes of memory: about one hash per entry and one per pair of children, then about four
/// per branch of the path. An entry out of place ends the pass at once; an omitted, added or changed one shows
/// only in the root, so nothing is to be trusted before the function returns.
///
/// # Errors
/// [`PrefixProofError`]: the entries are not exactly these, or the proof is about another prefix, another kind of trie
/// or another root, or is a forgery.
pub fn verify_prefix<'a>(
    kind: TrieKind,
    root: &Hash,
    prefix: &Nibbles,
    proof: &PrefixProof,
    entries: impl IntoIterator<Item = (Hash, &'a [u8])>,
) -> Result<(), PrefixProofError> {
    let prefix = *prefix;
    let depth = proof.path.depth();
    if depth > prefix.len() {
        return Err(PrefixProofError::TooDeep { prefix, depth });
    }
    let target = prefix.first_key();
    let hash = match &proof.end {
        End::Entries => {
            let entries = entries.into_iter().map(|(key, value)| {
                if prefix.leads_to(&key) {
                    Ok((key, value))
                } else {
                    Err(PrefixProofError::OffPrefix { prefix, key })
                }
            });
            stream::hash_of_sorted(kind, depth, entries)?.ok_or(PrefixProofError::NoEntry { prefix })?
        }
        End::Absent(absence) => {
            if let Some((key, _)) = entries.into_iter().next() {
                return Err(PrefixProofError::UnexpectedEntry { prefix, key });
            }
            let excluded = absence.excludes(&target, prefix.len(), depth);
            excluded.map_err(|reason| match reason {
                NotExcluded::OffPath(shown) => PrefixProofError::OffPath { prefix, shown },
                NotExcluded::Possible => PrefixProofError::NotAbsent { prefix },
            })?;
            absence.hash(kind)
        }
    };
    let found = proof.path.root(&target, hash);
    if found == *root {
        Ok(())
    } else {
        Err(PrefixProofError::RootMismatch {
            expected: *root,
            found,
        })
    }
}
