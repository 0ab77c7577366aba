//! The node itself.

use serde::{Deserialize, Serialize};

use super::{HeadView, MempoolStatusView};
use crate::scalars::U64;

/// Everything `status` prints, in one call: `node_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatusView {
    /// Name of the node, for people; empty when it has none.
    #[serde(default)]
    pub moniker: String,
    /// Version of the program.
    pub version: String,
    /// Name of the chain.
    pub chain_id: String,
    /// `validator`, `full` or `dev`.
    pub role: String,
    /// The newest block.
    pub head: HeadView,
    /// The oldest height whose block it has.
    pub earliest: U64,
    /// Catching up.
    pub sync: SyncStatusView,
    /// Connected peers.
    pub peers: u32,
    /// The pool.
    pub mempool: MempoolStatusView,
    /// Bytes of the home directory; 0 when not known.
    pub disk_bytes: U64,
    /// Bytes free on its file system; 0 when not known.
    pub disk_free_bytes: U64,
    /// Milliseconds since the start.
    pub uptime_ms: U64,
    /// Whether `/readyz` says 200.
    pub ready: bool,
    /// What the node waits for before it takes part again; absent when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
}

/// What a node waits for before it takes part again, or before it has the next block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// A stable name. `blocks_lost`: the database lost blocks at its end, which come from peers;
    /// `may_have_signed`: the validator's key may have signed without a record, and is silent;
    /// `quorum`: too few validators are connected to decide a block; `peers`: no peer is connected; `blocks`: the
    /// connected peers give no new block; `no_network`: the configuration has no way to other nodes.
    pub reason: String,
    /// The height that ends it.
    pub through: U64,
    /// The same for people.
    pub detail: String,
}

/// Catching up: `node_getSyncStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatusView {
    /// `synced` or `syncing`.
    pub state: String,
    /// The stage, for people.
    pub stage: String,
    /// The node's height.
    pub current: U64,
    /// The height that is known to exist.
    pub target: U64,
    /// Peers that blocks can be fetched from.
    #[serde(default)]
    pub peers: u32,
    /// Blocks per 1,000 seconds, over the last while.
    #[serde(default)]
    pub blocks_per_1000_s: U64,
    /// Milliseconds left, when they can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<U64>,
}

/// Readiness: `node_getHealth`, and the body of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether every check holds.
    pub ready: bool,
    /// Whether the main loop turns.
    pub live: bool,
    /// The checks.
    pub checks: Vec<HealthCheckView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckView {
    /// A stable name.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// The program: `node_getVersion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeVersionView {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from; empty when unknown.
    pub git: String,
    /// Compiler; empty when unknown.
    pub rustc: String,
    /// Features it was built with.
    pub features: Vec<String>,
    /// Version of blocks.
    pub protocol_version: u16,
    /// Version of this interface.
    pub api_version: String,
}

/// The server's bounds: `rpc_getLimits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// Most bytes of a request.
    pub request_bytes_max: u32,
    /// Most bytes of an answer.
    pub response_bytes_max: u32,
    /// Most entries of a JSON-RPC batch.
    pub batch_entries_max: u32,
    /// Deepest nesting of JSON.
    pub json_depth_max: u32,
    /// Most connections.
    pub connections_max: u32,
    /// Most subscriptions of a connection.
    pub subscriptions_per_connection_max: u32,
    /// Most transactions of `tx_submitBatch`.
    pub submit_batch_max: u32,
    /// Longest time of a call that does not wait, milliseconds.
    pub timeout_ms: u32,
    /// Cost units per second and address; absent when there is no limit for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Cost units that may be saved up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst: Option<u32>,
}
