//! `net_*`: this node on the network.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::views::{NetInfoView, PeerView, PeersOptions};

#[rpc(client, server, namespace = "net")]
pub trait NetApi {
    /// This node's identity and addresses on the network.
    ///
    /// Errors: 1203 (no network).
    #[method(name = "getInfo", param_kind = map)]
    async fn get_info(&self) -> Result<NetInfoView, ApiError>;

    /// Connected peers, the oldest connection first.
    ///
    /// Errors: 1203 (no network).
    #[method(name = "getPeers", param_kind = map)]
    async fn get_peers(&self, options: Option<PeersOptions>) -> Result<Vec<PeerView>, ApiError>;
}
