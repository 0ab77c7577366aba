//! Interface between the server and the maker of snapshots, which the engine implements.

use std::path::PathBuf;

use vibecoin_primitives::{Hash, Height};

/// Makes snapshots on a thread of its own. Every method returns at once.
pub trait SnapshotMaker: Send + Sync + 'static {
    /// Begins a snapshot of the newest block, below `folder` or the node's own. Returns the begun job.
    ///
    /// # Errors
    /// A message if one is being made, or the chain has no block yet.
    fn begin(&self, folder: Option<PathBuf>) -> Result<SnapshotJob, String>;

    /// The newest job.
    fn job(&self) -> Option<SnapshotJob>;
}

/// The making of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotJob {
    /// Height of its block.
    pub height: Height,
    /// Share that is done, out of `all`.
    pub done: u64,
    /// The whole.
    pub all: u64,
    /// Bytes of the chunks that are done, uncompressed.
    pub bytes: u64,
    /// The snapshot, or the reason why there is none; `None` while it is being made.
    pub outcome: Option<Result<SnapshotFacts, String>>,
}

/// A snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Its id.
    pub id: Hash,
    /// Height of its block.
    pub height: Height,
    /// Hash of the block.
    pub hash: Hash,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// Number of chunks.
    pub chunks: usize,
    /// Bytes of the chunks, uncompressed.
    pub bytes: u64,
    /// Its folder.
    pub path: PathBuf,
}
