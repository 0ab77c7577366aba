//! State of the node: progress, waits and health.

use vibecoin_primitives::Height;

/// Progress of synchronization.
#[derive(Clone, Debug, Default)]
pub struct SyncStatus {
    /// True if it is at the head as far as it knows.
    pub synced: bool,
    /// The stage, for humans: `synced`, `blocks`, `snapshot`, …
    pub stage: String,
    /// The highest height that is known to exist.
    pub target: Height,
    /// Peers that blocks can be fetched from.
    pub peers: u32,
    /// Recent rate, in blocks per 1,000 seconds.
    pub blocks_per_1000_s: u64,
    /// Estimated milliseconds left; `None` when unknown.
    pub eta_ms: Option<u64>,
}

/// Condition that a node waits for before it takes part again, or before it has the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A stable name: `blocks_lost`, `may_have_signed`, `no_network`, `peers`, `quorum`, `blocks`.
    pub reason: &'static str,
    /// The height that ends the wait.
    pub through: Height,
    /// Description for humans.
    pub detail: String,
}

/// State of the node.
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// Name of the node, for humans.
    pub moniker: String,
    /// `validator`, `full` or `dev`.
    pub role: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Connected peers.
    pub peers: u32,
    /// Bytes of the home directory, 0 when unknown.
    pub disk_bytes: u64,
    /// Bytes free on its file system, 0 when unknown.
    pub disk_free_bytes: u64,
    /// Progress of synchronization.
    pub sync: SyncStatus,
    /// Condition that it waits for before it takes part again; `None` when it takes part.
    pub waiting: Option<Waiting>,
}

/// One check of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// A stable name: `database`, `synced`, `head_age`, `shutdown`, …
    pub name: &'static str,
    /// True if the check passes.
    pub ok: bool,
    /// Result of the check, for humans.
    pub detail: String,
}
