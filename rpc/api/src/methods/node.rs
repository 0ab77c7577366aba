//! `node_*`: status, health and version of the node.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::views::{HealthView, NodeStatusView, NodeVersionView, SyncStatusView};

#[rpc(client, server, namespace = "node")]
pub trait NodeApi {
    /// Everything that `vibecoin status` prints.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<NodeStatusView, ApiError>;

    /// Readiness, check by check.
    #[method(name = "getHealth", param_kind = map)]
    async fn get_health(&self) -> Result<HealthView, ApiError>;

    /// Build of the program.
    #[method(name = "getVersion", param_kind = map)]
    async fn get_version(&self) -> Result<NodeVersionView, ApiError>;

    /// Progress of synchronization.
    #[method(name = "getSyncStatus", param_kind = map)]
    async fn get_sync_status(&self) -> Result<SyncStatusView, ApiError>;
}
