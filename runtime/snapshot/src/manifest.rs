//! The manifest: which chunks make up the state of a block, and the header that commits to that state.

use std::fmt;

use vibecoin_light::minimal_certificate;
use vibecoin_primitives::limits::{CERTIFICATE_BYTES_MAX, MIB};
use vibecoin_primitives::{
    CodecError, CommitCertificate, Domain, Encoded, FaultModel, Hash, Header, ValidatorSet, decode, encode,
};
use vibecoin_trie::Nibbles;
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite, containers};

use crate::chunk::{CHUNK_BYTES_MAX, ROW_BYTES_MIN};
use crate::prefix::{self, KeyPrefix};

/// The format that this program writes and accepts. It includes the sizes by which chunks are cut.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Maximum number of chunks of a snapshot.
pub const CHUNKS_MAX: usize = 1 << 17;
/// Bytes of an encoded [`ChunkInfo`].
const CHUNK_INFO_BYTES: usize = 32 + 32 + 33 + 4 + 4 + 32;
/// Bytes of an encoded manifest in front of the count of chunks: format, genesis hash, header, totals.
const HEAD_BYTES: usize = 4 + 32 + 416 + 8 + 8;
/// Maximum bytes of memory that the list of chunks may request when decoded.
const CHUNK_LIST_MEMORY_MAX: usize = CHUNKS_MAX * size_of::<ChunkInfo>();

const _: () = assert!(CHUNK_LIST_MEMORY_MAX <= 32 * MIB);

/// One chunk: the rows of one trie whose keys begin with one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ChunkInfo {
    /// The trie's owner: [`Hash::ZERO`] for the account trie, else the key of the account whose slots these are.
    pub owner: Hash,
    /// Root of that trie.
    pub root: Hash,
    /// Prefix of the keys.
    pub prefix: KeyPrefix,
    /// Bytes of the encoded chunk, uncompressed.
    pub bytes: u32,
    /// Number of rows: accounts and slots.
    pub rows: u32,
    /// Hash of the encoded chunk, uncompressed.
    pub hash: Hash,
}

impl fmt::Display for ChunkInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner.is_zero() {
            write!(f, "accounts {}", self.prefix)
        } else {
            write!(f, "slots {} of {}", self.prefix, self.owner)
        }
    }
}

/// The chunks of the state at one height.
///
/// ```text
/// offset  bytes     field
///      0      4     format, 1
///      4     32     genesis hash
///     36    416     header
///    452      8     bytes of all chunks
///    460      8     rows of all chunks
///    468      8     count of chunks
///    476    137 each  chunks, ascending by owner, then prefix; the account trie (owner zero) first
///                     owner 32 ‖ root 32 ‖ prefix 33 ‖ bytes 4 ‖ rows 4 ‖ hash 32
/// ```
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Manifest {
    /// [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// Header of the block after which the state is this one.
    pub header: Header,
    /// Bytes of all chunks, uncompressed.
    pub bytes: u64,
    /// Number of rows of all chunks.
    pub rows: u64,
    /// The chunks.
    #[wincode(with = "containers::Vec<ChunkInfo, UseIntLen<u64, CHUNK_LIST_MEMORY_MAX>>")]
    pub chunks: Vec<ChunkInfo>,
}

impl Encoded for Manifest {
    const NAME: &'static str = "snapshot manifest";
    const BYTES_MAX: usize = HEAD_BYTES + 8 + CHUNKS_MAX * CHUNK_INFO_BYTES;
}

/// A manifest and, behind it, the certificate of its block: what a source of snapshots sends first.
///
/// The certificate is outside the snapshot's id, because two nodes may hold different signatures for one block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct SnapshotManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// The certificate, with no more signatures than the quorum needs; `None` exactly at height 0.
    pub certificate: Option<CommitCertificate>,
}

impl Encoded for SnapshotManifest {
    const NAME: &'static str = "certified snapshot manifest";
    const BYTES_MAX: usize = Manifest::BYTES_MAX + 1 + CERTIFICATE_BYTES_MAX;
}

/// Reason why a manifest was not accepted, before any of its chunks is requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are not a manifest.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// More chunks than a snapshot may have.
    #[error("the manifest names {got} chunks, at most {CHUNKS_MAX} are allowed")]
    TooManyChunks {
        /// The number it names.
        got: u64,
    },
    /// The list of chunks is shorter than its count.
    #[error("the manifest names {promised} chunks, its bytes hold {held}")]
    MissingChunks {
        /// The number it names.
        promised: u64,
        /// Number of chunks that the bytes behind the count could hold.
        held: usize,
    },
    /// A format of another program.
    #[error("the snapshot has format {got}, expected {SNAPSHOT_FORMAT}")]
    Format {
        /// The format found.
        got: u32,
    },
    /// There are no chunks: even an empty state has one.
    #[error("the manifest names no chunks")]
    NoChunks,
    /// An entry of the list breaks a rule.
    #[error("chunk {index}: {fault}")]
    Chunk {
        /// Position in the list, from zero.
        index: usize,
        /// The violation.
        fault: ListFault,
    },
    /// A total differs from the sum over the chunks.
    #[error("the manifest states {stated} {what}, its chunks have {sum}")]
    Total {
        /// `bytes` or `rows`.
        what: &'static str,
        /// The total found.
        stated: u64,
        /// The sum.
        sum: u64,
    },
}

/// Violation of a rule by one entry of the list of chunks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListFault {
    /// The prefix is not in its one form.
    #[error("the prefix is malformed")]
    Prefix,
    /// A size that no chunk has.
    #[error("{got} bytes, allowed are 1 to {CHUNK_BYTES_MAX}")]
    Bytes {
        /// The size found.
        got: u32,
    },
    /// More rows than fit into the bytes.
    #[error("{got} rows do not fit into {bytes} bytes")]
    Rows {
        /// The number of rows found.
        got: u32,
        /// The size of the chunk.
        bytes: u32,
    },
    /// The account trie must come first, the other tries in ascending order.
    #[error("the chunks of {owner} are out of order")]
    Order {
        /// The owner found.
        owner: Hash,
    },
    /// The root of the account trie is the header's state root; the others are not empty, and equal in all
    /// chunks of their trie.
    #[error("the root is {got}, expected {expected}")]
    Root {
        /// The root expected; zero where any but zero is.
        expected: Hash,
        /// The root found.
        got: Hash,
    },
    /// Keys between this chunk and the one before it are in no chunk, or in both.
    #[error("the prefix begins at key {got}, expected {expected}")]
    Gap {
        /// The first key that is not covered yet.
        expected: Hash,
        /// The first key of the chunk.
        got: Hash,
    },
    /// The last chunk of its trie ends before the last key.
    #[error("the keys from {from} on are in no chunk")]
    Short {
        /// The first key that is not covered.
        from: Hash,
    },
    /// The trie is already covered.
    #[error("the chunks before it cover every key")]
    Surplus,
}

impl Manifest {
    /// The snapshot's id.
    #[must_use]
    pub fn id(&self) -> Hash {
        Domain::SnapshotManifest.hash(&encode(self))
    }

    /// Checks the form: what can be known without chunks and without trust.
    ///
    /// The chunks of each trie are disjoint and together cover every key, in ascending order, so that none can be
    /// left out or named twice. One pass over the list.
    ///
    /// # Errors
    /// [`ManifestError`] with the first rule that does not hold.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.format != SNAPSHOT_FORMAT {
            return Err(ManifestError::Format { got: self.format });
        }
        if self.chunks.is_empty() {
            return Err(ManifestError::NoChunks);
        }
        check_count(u64::try_from(self.chunks.len()).unwrap_or(u64::MAX))?;
        let mut open: Option<OpenTrie> = None;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let at = |index| move |fault| ManifestError::Chunk { index, fault };
            let prefix = check_alone(chunk).map_err(at(index))?;
            let trie = match open.filter(|trie| trie.owner == chunk.owner) {
                Some(trie) => trie.next(chunk, &prefix).map_err(at(index))?,
                None => {
                    if let Some(before) = &open {
                        before.check_end().map_err(at(index.saturating_sub(1)))?;
                    }
                    let before = open.map(|trie| trie.owner);
                    OpenTrie::begin(before, &self.header.state_root, chunk, &prefix).map_err(at(index))?
                }
            };
            open = Some(trie);
        }
        if let Some(last) = &open {
            let index = self.chunks.len().saturating_sub(1);
            last.check_end()
                .map_err(|fault| ManifestError::Chunk { index, fault })?;
        }
        check_total("bytes", self.bytes, self.chunks.iter().map(|chunk| chunk.bytes))?;
        check_total("rows", self.rows, self.chunks.iter().map(|chunk| chunk.rows))
    }
}

impl SnapshotManifest {
    /// Puts a certificate beside a manifest, cut to the signatures that the quorum needs.
    #[must_use]
    pub fn new(
        manifest: Manifest,
        certificate: Option<CommitCertificate>,
        fault_model: FaultModel,
        set: &ValidatorSet,
    ) -> Self {
        let certificate = certificate.map(|full| minimal_certificate(full, fault_model, set));
        Self {
            manifest,
            certificate,
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads foreign bytes and checks the manifest's form. The count of chunks is compared with the bytes that are
    /// there before anything is allocated for them.
    ///
    /// # Errors
    /// [`ManifestError`] with the first rule that does not hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if let Some(count) = bytes.get(HEAD_BYTES..).and_then(<[u8]>::first_chunk) {
            let promised = u64::from_le_bytes(*count);
            check_count(promised)?;
            let behind = bytes.len().saturating_sub(HEAD_BYTES).saturating_sub(8);
            let held = behind.checked_div(CHUNK_INFO_BYTES).unwrap_or(0);
            if usize::try_from(promised).is_ok_and(|promised| promised > held) {
                return Err(ManifestError::MissingChunks { promised, held });
            }
        }
        let read: Self = decode(bytes)?;
        read.manifest.check()?;
        Ok(read)
    }
}

fn check_count(got: u64) -> Result<(), ManifestError> {
    if usize::try_from(got).is_ok_and(|got| got <= CHUNKS_MAX) {
        return Ok(());
    }
    Err(ManifestError::TooManyChunks { got })
}

fn check_total(
    what: &'static str,
    stated: u64,
    parts: impl Iterator<Item = u32>,
) -> Result<(), ManifestError> {
    // At most 2^17 times 2^32: no sum overflows.
    let sum = parts.fold(0u64, |sum, part| sum.saturating_add(u64::from(part)));
    if sum == stated {
        return Ok(());
    }
    Err(ManifestError::Total { what, stated, sum })
}

/// The rules for a chunk by itself. Returns its prefix.
fn check_alone(chunk: &ChunkInfo) -> Result<Nibbles, ListFault> {
    let prefix = chunk.prefix.nibbles().ok_or(ListFault::Prefix)?;
    let (bytes, rows) = (u64::from(chunk.bytes), u64::from(chunk.rows));
    if bytes == 0 || usize::try_from(bytes).is_ok_and(|bytes| bytes > CHUNK_BYTES_MAX) {
        return Err(ListFault::Bytes { got: chunk.bytes });
    }
    if rows.saturating_mul(ROW_BYTES_MIN) > bytes {
        return Err(ListFault::Rows {
            got: chunk.rows,
            bytes: chunk.bytes,
        });
    }
    Ok(prefix)
}

/// The trie whose chunks are being read.
#[derive(Clone, Copy)]
struct OpenTrie {
    owner: Hash,
    root: Hash,
    /// First key that no chunk covers yet; `None` when all are covered.
    uncovered: Option<Hash>,
}

impl OpenTrie {
    fn begin(
        before: Option<Hash>,
        state_root: &Hash,
        chunk: &ChunkInfo,
        prefix: &Nibbles,
    ) -> Result<Self, ListFault> {
        let in_order = match before {
            None => chunk.owner.is_zero(),
            Some(before) => before < chunk.owner,
        };
        if !in_order {
            return Err(ListFault::Order { owner: chunk.owner });
        }
        let is_root = if chunk.owner.is_zero() {
            chunk.root == *state_root
        } else {
            !chunk.root.is_zero()
        };
        if !is_root {
            let expected = if chunk.owner.is_zero() {
                *state_root
            } else {
                Hash::ZERO
            };
            return Err(ListFault::Root {
                expected,
                got: chunk.root,
            });
        }
        let empty = Self {
            owner: chunk.owner,
            root: chunk.root,
            uncovered: Some(Hash::ZERO),
        };
        empty.next(chunk, prefix)
    }

    fn next(self, chunk: &ChunkInfo, prefix: &Nibbles) -> Result<Self, ListFault> {
        if chunk.root != self.root {
            return Err(ListFault::Root {
                expected: self.root,
                got: chunk.root,
            });
        }
        let expected = self.uncovered.ok_or(ListFault::Surplus)?;
        let got = prefix::first_key(prefix);
        if got != expected {
            return Err(ListFault::Gap { expected, got });
        }
        let uncovered = prefix::next(prefix).map(|next| prefix::first_key(&next));
        Ok(Self { uncovered, ..self })
    }

    fn check_end(&self) -> Result<(), ListFault> {
        self.uncovered
            .map_or(Ok(()), |from| Err(ListFault::Short { from }))
    }
}

#[cfg(test)]
mod tests;
