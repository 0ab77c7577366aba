//! `net_*` on the admin listener: connections and bans; `snapshot_*`: making snapshots. Callers present the token of
//! the home.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::scalars::U64;
use crate::views::{BanView, SnapshotJobView};

#[rpc(client, server, namespace = "net")]
pub trait NetAdminApi {
    /// Connects to a peer and stays connected; `address` is a multiaddress that ends in `/p2p/ID`.
    ///
    /// Errors: 1203 (no network), 1701.
    #[method(name = "addPeer", param_kind = map)]
    async fn add_peer(&self, address: String) -> Result<bool, ApiError>;

    /// Drops the connection and does not dial again.
    ///
    /// Errors: 1203 (no network), 1701.
    #[method(name = "removePeer", param_kind = map)]
    async fn remove_peer(&self, id: String) -> Result<bool, ApiError>;

    /// Drops a peer and refuses it: for `seconds`, or until `net_unbanPeer`.
    ///
    /// Errors: 1203 (no network), 1701.
    #[method(name = "banPeer", param_kind = map)]
    async fn ban_peer(
        &self,
        id: String,
        reason: Option<String>,
        seconds: Option<U64>,
    ) -> Result<bool, ApiError>;

    /// Lifts the ban of a peer.
    ///
    /// Errors: 1203 (no network), 1701.
    #[method(name = "unbanPeer", param_kind = map)]
    async fn unban_peer(&self, id: String) -> Result<bool, ApiError>;

    /// The banned peers.
    ///
    /// Errors: 1203 (no network).
    #[method(name = "getBans", param_kind = map)]
    async fn get_bans(&self) -> Result<Vec<BanView>, ApiError>;
}

#[rpc(client, server, namespace = "snapshot")]
pub trait SnapshotAdminApi {
    /// Begins a snapshot of the newest block; `dir` is an absolute path, in which it gets its own folder. Without it:
    /// `snapshots` in the node's home.
    ///
    /// Errors: 1203 (no snapshots), 1701 (one is being made, no block yet).
    #[method(name = "create", param_kind = map)]
    async fn create(&self, dir: Option<String>) -> Result<SnapshotJobView, ApiError>;

    /// The newest job; null when the node has begun none since its start.
    ///
    /// Errors: 1203 (no snapshots).
    #[method(name = "getJob", param_kind = map)]
    async fn get_job(&self) -> Result<Option<SnapshotJobView>, ApiError>;
}
