//! Snapshots: the state after one block, in chunks that can be checked one by one with the genesis file alone.
//!
//! Pure: the crate cuts rows into chunks, checks foreign manifests and chunks, and plans from which source to fetch
//! which chunk. Files, sockets, compression and the database are the caller's.
//!
//! ```text
//!   genesis file ─▶ certificate ─▶ header ─▶ state root
//!                                               │ prefix proof in each chunk
//!       ┌───────────┬───────────┬───────────┬───┴───────┐
//!   accounts 0   accounts 1     …       accounts f0     …     owner zero: the account trie
//!                   │ storage root of a large account
//!                   ├─────────┐
//!                slots 0      …                               owner: the account's key
//! ```
//!
//! - Chunks are cut at fixed boundaries of the key space, so two nodes with one state make the same chunks, and the
//!   manifest, whose hash is the snapshot's id, is the same.
//! - A manifest states nothing that is not checked: its header against the trust, its list of chunks against the key
//!   space, its hashes against the chunks, and the chunks against the state root of the header.
//! - A refused chunk is named, and the refusal tells whether the bytes are at fault, which another source may repair,
//!   or the manifest, which none can.
//!
//! ```
//! use vibecoin_snapshot::{Restore, SnapshotManifest, TrustedSet};
//!
//! /// `manifest` and the result of `fetch` are foreign; the trust is from the genesis file.
//! fn restore(
//!     trust: &TrustedSet,
//!     manifest: &[u8],
//!     fetch: impl Fn(u32) -> Vec<u8>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut restore = Restore::begin(trust, SnapshotManifest::from_bytes(manifest)?)?;
//!     let missing: Vec<u32> = restore.missing().map(|(index, _)| index).collect();
//!     for index in missing {
//!         let chunk = restore.verify(index, &fetch(index))?;
//!         // Here the rows are stored: chunk.accounts(), chunk.slots().
//!         restore.record(&chunk);
//!     }
//!     let state = restore.complete()?;
//!     println!("state of height {} with {} rows", state.header.height, state.rows);
//!     Ok(())
//! }
//! ```
//!
//! Reading order: [`manifest`], [`chunk`], [`build`] (and `cut`, the rule by which it cuts), [`trust`], [`verify`],
//! [`join`] (the planner of a download), [`difference`] (from an older state to a newer one).

pub mod build;
pub mod chunk;
pub mod difference;
pub mod join;
pub mod manifest;
pub mod prefix;
pub mod trust;
pub mod verify;

mod cut;

pub use build::{BuildError, Builder, ChunkSizes};
pub use chunk::{AccountEntry, CHUNK_BYTES_MAX, Chunk, ChunkRows, chunk_hash};
pub use difference::{
    Applied, Base, CertifiedDifference, Difference, DifferenceBuilder, DifferenceChunkInfo, DifferenceError,
    DifferenceManifest, FoldError,
};
pub use join::{Ask, JoinConfig, JoinPlanner, JoinStatus, LeaveReason, Left, Micros, SourceId};
pub use manifest::{
    CHUNKS_MAX, ChunkInfo, ListFault, Manifest, ManifestError, SNAPSHOT_FORMAT, SnapshotManifest,
};
pub use prefix::KeyPrefix;
pub use trust::{TrustError, TrustedBlock, TrustedSet};
pub use verify::{
    ChunkContents, ChunkError, ChunkFault, Incomplete, Restore, Restored, SnapshotError, VerifiedChunk,
};
