//! Differences between the states of two blocks: what a node needs that has an older state.
//!
//! Any state at a known height is a base: an old snapshot, a stale database, an interrupted download that was
//! completed. The difference names the new content of every row that differs, deletions included.
//!
//! A difference carries no proofs. [`Difference::apply`] updates the base's tries in memory and compares every storage
//! root with its account and the state root with the certified header, before the caller writes anything; so a change
//! that is false, missing or one too many is refused as a whole. Proofs of the changed keys would find the false chunk
//! earlier, at four times the bytes (docs/adr/0014-snapshots.md).

mod apply;
mod fold;

use vibecoin_primitives::limits::{CERTIFICATE_BYTES_MAX, MIB};
use vibecoin_primitives::{
    AccountRow, CodecError, CommitCertificate, Domain, Encoded, Hash, Header, Height, SlotRow, account_key,
    decode, encode, slot_key,
};
use vibecoin_trie::{ReadError, TrieError};
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite, containers};

use crate::trust::{TrustError, TrustedSet};

pub use apply::Applied;
pub use fold::{DifferenceBuilder, FoldError};

/// The format that this program writes and accepts.
pub const DIFFERENCE_FORMAT: u32 = 1;
/// Maximum bytes of the changes of one chunk.
const CHUNK_CHANGES_BYTES_MAX: usize = MIB;
/// Maximum bytes of an encoded chunk.
pub const DIFFERENCE_CHUNK_BYTES_MAX: usize = CHUNK_CHANGES_BYTES_MAX + 8;
/// Maximum number of chunks: a difference is applied in memory as a whole. A larger one is no use, a whole snapshot
/// costs as much.
pub const DIFFERENCE_CHUNKS_MAX: usize = 256;
/// Bytes of the smallest change: a removed account.
const CHANGE_BYTES_MIN: usize = 4 + 32;
const CHUNK_MEMORY_MAX: usize = DIFFERENCE_CHUNK_BYTES_MAX / CHANGE_BYTES_MIN * size_of::<RowChange>();

const _: () = assert!(CHUNK_MEMORY_MAX <= 8 * MIB);

/// The new content of one row.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum RowChange {
    /// An account is this.
    Account(AccountRow),
    /// The account under this key does not exist any more.
    NoAccount(Hash),
    /// A slot of the account under this key is this.
    Slot(Hash, SlotRow),
    /// The account under the first key has no slot under the second any more.
    NoSlot(Hash, Hash),
}

impl RowChange {
    /// Key of the account, and of the slot. An account comes before its slots.
    #[must_use]
    pub fn key(&self) -> (Hash, Option<Hash>) {
        match self {
            Self::Account(row) => (account_key(&row.address), None),
            Self::NoAccount(key) => (*key, None),
            Self::Slot(account, row) => (*account, Some(slot_key(&row.slot))),
            Self::NoSlot(account, key) => (*account, Some(*key)),
        }
    }
}

/// A chunk of a difference: changes in ascending order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct DifferenceChunk {
    /// The changes.
    #[wincode(with = "containers::Vec<RowChange, UseIntLen<u64, CHUNK_MEMORY_MAX>>")]
    pub changes: Vec<RowChange>,
}

impl Encoded for DifferenceChunk {
    const NAME: &'static str = "difference chunk";
    const BYTES_MAX: usize = DIFFERENCE_CHUNK_BYTES_MAX;
}

/// A state that a difference is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Base {
    /// Height of its block.
    pub height: Height,
    /// Its root.
    pub root: Hash,
}

/// Size and hash of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct DifferenceChunkInfo {
    /// Bytes of the encoded chunk, uncompressed.
    pub bytes: u32,
    /// Hash of the encoded chunk, uncompressed.
    pub hash: Hash,
}

/// The chunks between two states.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct DifferenceManifest {
    /// [`DIFFERENCE_FORMAT`].
    pub format: u32,
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// The state that the changes are from.
    pub base: Base,
    /// Header of the block after which the state is the changed one.
    pub header: Header,
    /// The chunks, in order. None when nothing changed.
    pub chunks: Vec<DifferenceChunkInfo>,
}

/// A manifest of a difference and, behind it, the certificate of its block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct CertifiedDifference {
    /// The manifest.
    pub manifest: DifferenceManifest,
    /// The certificate, with no more signatures than the quorum needs; `None` exactly at height 0.
    pub certificate: Option<CommitCertificate>,
}

impl Encoded for CertifiedDifference {
    const NAME: &'static str = "certified difference manifest";
    const BYTES_MAX: usize = 4 + 32 + 40 + 416 + 8 + DIFFERENCE_CHUNKS_MAX * 36 + 1 + CERTIFICATE_BYTES_MAX;
}

/// Reason why a difference was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DifferenceError {
    /// The bytes are not a manifest or a chunk.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A format of another program.
    #[error("the difference has format {got}, expected {DIFFERENCE_FORMAT}")]
    Format {
        /// The format found.
        got: u32,
    },
    /// More chunks, or larger ones, than a difference may have.
    #[error(
        "chunk {index} of {count} has {bytes} bytes, allowed are {DIFFERENCE_CHUNKS_MAX} chunks of {DIFFERENCE_CHUNK_BYTES_MAX}"
    )]
    Size {
        /// Position of the chunk, from zero.
        index: usize,
        /// Number of chunks.
        count: usize,
        /// Its size in the manifest.
        bytes: u32,
    },
    /// The header does not follow from the trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It is from another state than the one at hand.
    #[error("the difference is from height {}, root {}, at hand is height {}, root {}", .got.height, .got.root, .expected.height, .expected.root)]
    OtherBase {
        /// The state at hand.
        expected: Base,
        /// The state that the difference is from.
        got: Base,
    },
    /// It does not lead forward.
    #[error("the difference leads from height {from} to height {to}")]
    NotForward {
        /// Height of the base.
        from: Height,
        /// Height of the header.
        to: Height,
    },
    /// The manifest has no such chunk.
    #[error("chunk {index}: the difference has {count} chunks")]
    Unknown {
        /// Position of the chunk, from zero.
        index: usize,
        /// Number of chunks.
        count: usize,
    },
    /// Other bytes than the manifest states; another source may have the right ones.
    #[error("chunk {index}: {got_bytes} bytes with hash {got}, the manifest states {expected}")]
    Hash {
        /// Position of the chunk, from zero.
        index: usize,
        /// The hash in the manifest.
        expected: Hash,
        /// The hash of the bytes.
        got: Hash,
        /// The number of bytes.
        got_bytes: usize,
    },
    /// A chunk is missing.
    #[error("chunk {index} is missing")]
    Missing {
        /// Position of the first that is missing, from zero.
        index: usize,
    },
    /// The changes are not strictly ascending from above zero, which is the key of no account.
    #[error("the change of account {account} is not above the one before it")]
    Order {
        /// Key of the account.
        account: Hash,
    },
    /// A value that no slot has.
    #[error("a slot of account {account} has a value of {bytes} bytes")]
    Value {
        /// Key of the account.
        account: Hash,
        /// Bytes of the value.
        bytes: usize,
    },
    /// The slots of an account do not lead to the storage root that its row states.
    #[error("the changed slots of account {account} have root {found}, the account has {expected}")]
    StorageRoot {
        /// Key of the account.
        account: Hash,
        /// Root in the account's row; zero when it has none.
        expected: Hash,
        /// Root after the changes.
        found: Hash,
    },
    /// The changes do not lead to the certified state.
    #[error("the changed state has root {found}, the header has {expected}")]
    Root {
        /// The certified root.
        expected: Hash,
        /// Root after the changes.
        found: Hash,
    },
    /// The base contradicts itself, or its trie cannot be read.
    #[error(transparent)]
    Base(#[from] TrieError),
    /// A row of the base cannot be read.
    #[error("cannot read {key} of owner {owner}")]
    Read {
        /// The owner: zero for accounts.
        owner: Hash,
        /// The key.
        key: Hash,
        /// The reader's error.
        #[source]
        error: ReadError,
    },
}

/// The hash of an encoded, uncompressed chunk of a difference.
#[must_use]
pub fn difference_chunk_hash(bytes: &[u8]) -> Hash {
    Domain::DifferenceChunk.hash(bytes)
}

impl DifferenceManifest {
    /// The difference's id.
    #[must_use]
    pub fn id(&self) -> Hash {
        Domain::DifferenceManifest.hash(&encode(self))
    }

    fn check(&self) -> Result<(), DifferenceError> {
        if self.format != DIFFERENCE_FORMAT {
            return Err(DifferenceError::Format { got: self.format });
        }
        let count = self.chunks.len();
        let is_wrong = |index: usize, bytes: u32| {
            let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= DIFFERENCE_CHUNK_BYTES_MAX);
            index >= DIFFERENCE_CHUNKS_MAX || bytes == 0 || !fits
        };
        let wrong = self
            .chunks
            .iter()
            .enumerate()
            .find(|(index, chunk)| is_wrong(*index, chunk.bytes));
        if let Some((index, DifferenceChunkInfo { bytes, .. })) = wrong {
            let bytes = *bytes;
            return Err(DifferenceError::Size { index, count, bytes });
        }
        if self.header.height <= self.base.height {
            return Err(DifferenceError::NotForward {
                from: self.base.height,
                to: self.header.height,
            });
        }
        Ok(())
    }
}

/// A difference from the state at hand to a certified one; takes its chunks in any order.
#[derive(Clone, Debug)]
pub struct Difference {
    manifest: DifferenceManifest,
    block: Hash,
    /// Decoded chunks, by position.
    chunks: Vec<Option<DifferenceChunk>>,
}

impl Difference {
    /// Reads a manifest and checks it against the trust and the state at hand.
    ///
    /// # Errors
    /// [`DifferenceError`] with the first rule that does not hold.
    pub fn begin(trust: &TrustedSet, base: Base, bytes: &[u8]) -> Result<Self, DifferenceError> {
        let CertifiedDifference {
            manifest,
            certificate,
        } = decode(bytes)?;
        manifest.check()?;
        if manifest.base != base {
            return Err(DifferenceError::OtherBase {
                expected: base,
                got: manifest.base,
            });
        }
        let block = trust.check_block(&manifest.genesis, &manifest.header, certificate.as_ref())?;
        Ok(Self {
            chunks: vec![None; manifest.chunks.len()],
            manifest,
            block,
        })
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &DifferenceManifest {
        &self.manifest
    }

    /// Hash of the certified block.
    #[must_use]
    pub const fn block(&self) -> &Hash {
        &self.block
    }

    /// The chunks that are missing, ascending.
    pub fn missing(&self) -> impl Iterator<Item = (usize, &DifferenceChunkInfo)> {
        let chunks = self.chunks.iter().zip(&self.manifest.chunks).enumerate();
        chunks.filter_map(|(index, (chunk, info))| chunk.is_none().then_some((index, info)))
    }

    /// Takes the bytes of a chunk.
    ///
    /// # Errors
    /// [`DifferenceError`]: not the bytes that the manifest states, or malformed. Nothing is taken then.
    pub fn take(&mut self, index: usize, bytes: &[u8]) -> Result<(), DifferenceError> {
        let count = self.manifest.chunks.len();
        let (Some(info), Some(place)) = (self.manifest.chunks.get(index), self.chunks.get_mut(index)) else {
            return Err(DifferenceError::Unknown { index, count });
        };
        let got = difference_chunk_hash(bytes);
        if got != info.hash || usize::try_from(info.bytes) != Ok(bytes.len()) {
            return Err(DifferenceError::Hash {
                index,
                expected: info.hash,
                got,
                got_bytes: bytes.len(),
            });
        }
        *place = Some(decode(bytes)?);
        Ok(())
    }
}
