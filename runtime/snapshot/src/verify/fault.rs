//! Refusals of snapshots and chunks.

use vibecoin_primitives::{CodecError, Hash};
use vibecoin_trie::{NotAscending, PrefixProofError};

use crate::manifest::ManifestError;
use crate::trust::TrustError;

/// Reason why a snapshot was refused before any of its chunks was requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The manifest contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its header does not follow from the trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A chunk that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk {index} ({name}): {fault}")]
pub struct ChunkError {
    /// Its position in the manifest, from zero.
    pub index: u32,
    /// Its trie and prefix.
    pub name: String,
    /// The violation.
    pub fault: Box<ChunkFault>,
}

/// Reason why a chunk was refused.
///
/// The first three are faults of the bytes: another source may have the right ones. All others are faults of the
/// manifest, which names the hash of a chunk that no honest node makes: no source can repair it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkFault {
    /// The manifest has no such chunk.
    #[error("the snapshot has {count} chunks")]
    Unknown {
        /// Number of chunks.
        count: usize,
    },
    /// More or fewer bytes than the manifest states.
    #[error("{got} bytes, the manifest states {expected}")]
    Bytes {
        /// The size in the manifest.
        expected: u32,
        /// The size found.
        got: usize,
    },
    /// Other bytes than the manifest states.
    #[error("hash {got}, the manifest states {expected}")]
    Hash {
        /// The hash in the manifest.
        expected: Hash,
        /// The hash of the bytes.
        got: Hash,
    },
    /// The bytes are not a chunk.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is the chunk of another trie or prefix, or has rows of the other kind.
    #[error("the chunk is about another trie or prefix than the manifest states")]
    OtherPlace,
    /// More or fewer rows than the manifest states.
    #[error("{got} rows, the manifest states {expected}")]
    Rows {
        /// The number in the manifest.
        expected: u32,
        /// The number found.
        got: usize,
    },
    /// A value of a slot that no slot has.
    #[error("the slot with key {key} has a value of {bytes} bytes")]
    Value {
        /// Key of the slot.
        key: Hash,
        /// Bytes of its value.
        bytes: usize,
    },
    /// The rows are not all rows of the prefix under the trie's root.
    #[error(transparent)]
    Proof(#[from] PrefixProofError),
    /// The slots behind an account are not in ascending order.
    #[error("the slots of account {account}: {fault}")]
    InlineOrder {
        /// Key of the account.
        account: Hash,
        /// The violation.
        fault: NotAscending,
    },
    /// The slots of an account are not those of its storage root.
    #[error("the slots of account {account} have root {found}, the account has {expected}")]
    StorageRoot {
        /// Key of the account.
        account: Hash,
        /// Root in the account's row; zero when it has none.
        expected: Hash,
        /// Root of the slots, or the one that the manifest states for their chunks; zero when there are none.
        found: Hash,
    },
    /// An account has slots behind it and in chunks of their own.
    #[error("the slots of account {account} are in this chunk and in others")]
    SlotsTwice {
        /// Key of the account.
        account: Hash,
    },
    /// The manifest has chunks with the slots of an account that does not exist or has none.
    #[error("the manifest has slots of {owner}, which has none")]
    StrayOwner {
        /// Key of the account.
        owner: Hash,
    },
}

impl ChunkFault {
    /// Returns true if the manifest is at fault, so that no source can have a right chunk.
    #[must_use]
    pub const fn is_of_manifest(&self) -> bool {
        !matches!(
            self,
            Self::Unknown { .. } | Self::Bytes { .. } | Self::Hash { .. }
        )
    }
}

/// Chunks are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{missing} of {count} chunks are missing, the first is chunk {first} ({name})")]
pub struct Incomplete {
    /// Number of chunks that are missing.
    pub missing: usize,
    /// Number of chunks of the snapshot.
    pub count: usize,
    /// Position of the first that is missing.
    pub first: u32,
    /// Its trie and prefix.
    pub name: String,
}
