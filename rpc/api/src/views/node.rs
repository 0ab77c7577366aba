//! Status, health, version and limits of the node.

use serde::{Deserialize, Serialize};

use super::{HeadView, MempoolStatusView};
use crate::scalars::U64;

/// Everything that `status` prints, in one call: `node_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatusView {
    /// Name of the node, for humans; empty when it has none.
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
    /// Progress of synchronization.
    pub sync: SyncStatusView,
    /// Connected peers.
    pub peers: u32,
    /// The pool.
    pub mempool: MempoolStatusView,
    /// Bytes of the home directory; 0 when unknown.
    pub disk_bytes: U64,
    /// Bytes free on its file system; 0 when unknown.
    pub disk_free_bytes: U64,
    /// Milliseconds since the start.
    pub uptime_ms: U64,
    /// True if `/readyz` answers 200.
    pub ready: bool,
    /// Condition that the node waits for before it takes part again; absent when it takes part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
}

/// Condition that a node waits for before it takes part again, or before it has the next block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// A stable name. `blocks_lost`: the database lost blocks at its end, which are fetched from peers;
    /// `may_have_signed`: the validator's key may have signed without a record, and is silent; `quorum`: too
    /// few validators are connected to decide a block; `peers`: no peer is connected; `blocks`: the connected
    /// peers provide no new block; `no_network`: the configuration has no way to other nodes.
    pub reason: String,
    /// The height that ends it.
    pub through: U64,
    /// Description for humans.
    pub detail: String,
}

/// Progress of synchronization: `node_getSyncStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatusView {
    /// `synced` or `syncing`.
    pub state: String,
    /// The stage, for humans.
    pub stage: String,
    /// The node's height.
    pub current: U64,
    /// The highest height that is known to exist.
    pub target: U64,
    /// Peers that blocks can be fetched from.
    #[serde(default)]
    pub peers: u32,
    /// Recent rate, in blocks per 1,000 seconds.
    #[serde(default)]
    pub blocks_per_1000_s: U64,
    /// Estimated milliseconds left; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<U64>,
}

/// Readiness: `node_getHealth`, and the body of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// True if every check passes.
    pub ready: bool,
    /// True if the main loop makes progress.
    pub live: bool,
    /// The checks.
    pub checks: Vec<HealthCheckView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckView {
    /// A stable name.
    pub name: String,
    /// True if it passes.
    pub ok: bool,
    /// Result of the check.
    pub detail: String,
}

/// Build of the program: `node_getVersion`.
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
    /// Maximum bytes of a request.
    pub request_bytes_max: u32,
    /// Maximum bytes of an answer.
    pub response_bytes_max: u32,
    /// Maximum number of entries of a JSON-RPC batch.
    pub batch_entries_max: u32,
    /// Maximum nesting of JSON.
    pub json_depth_max: u32,
    /// Maximum number of connections.
    pub connections_max: u32,
    /// Maximum number of subscriptions of a connection.
    pub subscriptions_per_connection_max: u32,
    /// Maximum number of transactions of `tx_submitBatch`.
    pub submit_batch_max: u32,
    /// Maximum time of a call that does not wait, milliseconds.
    pub timeout_ms: u32,
    /// Cost units per second and address; absent when the caller is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Maximum cost units that accumulate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst: Option<u32>,
}
