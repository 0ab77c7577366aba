//! Snapshots that the node makes.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::Hash;

use crate::scalars::{Shown, U64};

/// A snapshot on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// Its id: the hash of the manifest.
    pub id: Shown<Hash>,
    /// Height of its block.
    pub height: U64,
    /// Hash of the block.
    pub hash: Shown<Hash>,
    /// Root of the state after the block.
    pub state_root: Shown<Hash>,
    /// Number of chunks.
    pub chunks: u32,
    /// Bytes of the chunks, uncompressed.
    pub bytes: U64,
    /// Its folder.
    pub path: String,
}

/// State of the making of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotJobState {
    /// It is being made.
    Running,
    /// It is complete.
    Done,
    /// It was not made.
    Failed,
}

/// The making of a snapshot: `snapshot_create`, `snapshot_getJob`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotJobView {
    /// Height of its block.
    pub height: U64,
    /// Its state.
    pub state: SnapshotJobState,
    /// Share that is done, out of `all`.
    pub done: U64,
    /// The whole.
    pub all: U64,
    /// Bytes of the chunks that are done, uncompressed.
    pub bytes: U64,
    /// The snapshot, when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotView>,
    /// The reason, when it was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
