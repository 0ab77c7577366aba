//! `net_*` of both listeners.

use std::sync::Arc;

use jsonrpsee::core::async_trait;
use vibecoin_rpc_api::methods::{NetAdminApiServer, NetApiServer};
use vibecoin_rpc_api::views::{BanView, NetInfoView, PeerView, PeersOptions};
use vibecoin_rpc_api::{ApiError, Code, Shown, U64};
use vibecoin_rpc_backend::{Backend, BackendError, Peer, PeersView};

use super::{Rpc, page_size, small};
use crate::errors::Coded as _;

/// The reason of a ban when the operator names none.
const BAN_REASON: &str = "by the operator";
/// Maximum number of characters of a reason; more is cut off.
const REASON_CHARS_MAX: usize = 200;

impl<B: Backend> Rpc<B> {
    fn network(&self) -> Result<Arc<dyn PeersView>, ApiError> {
        self.backend.network().ok_or_else(|| {
            BackendError::Disabled {
                feature: "the network",
            }
            .coded()
        })
    }
}

#[async_trait]
impl<B: Backend> NetApiServer for Rpc<B> {
    async fn get_info(&self) -> Result<NetInfoView, ApiError> {
        let network = self.network()?;
        let info = network.info();
        Ok(NetInfoView {
            peer_id: info.peer_id,
            listen: info.listen,
            external: info.external,
            protocols: info.protocols,
            peers: small(network.peers().len()),
        })
    }

    async fn get_peers(&self, options: Option<PeersOptions>) -> Result<Vec<PeerView>, ApiError> {
        let limit = page_size(options.unwrap_or_default().limit)?;
        let peers = self.network()?.peers();
        Ok(peers.into_iter().take(limit).map(peer_view).collect())
    }
}

fn peer_view(peer: Peer) -> PeerView {
    let score = i32::try_from(peer.score);
    PeerView {
        id: peer.id,
        address: peer.address,
        direction: if peer.inbound { "inbound" } else { "outbound" }.to_owned(),
        client_version: peer.agent,
        validator: peer.validator.map(Shown),
        height: peer.head.into(),
        score: score.unwrap_or(if peer.score < 0 { i32::MIN } else { i32::MAX }),
        rtt_ms: peer.rtt_ms.map(U64),
        bytes_in: U64(peer.bytes_in),
        bytes_out: U64(peer.bytes_out),
        connected_ms: U64(peer.connected_ms),
    }
}

fn refused(why: String) -> ApiError {
    ApiError::new(Code::AdminRefused, why)
}

#[async_trait]
impl<B: Backend> NetAdminApiServer for Rpc<B> {
    async fn add_peer(&self, address: String) -> Result<bool, ApiError> {
        self.network()?.add(&address).map_err(refused)?;
        Ok(true)
    }

    async fn remove_peer(&self, id: String) -> Result<bool, ApiError> {
        self.network()?.remove(&id).map_err(refused)?;
        Ok(true)
    }

    async fn ban_peer(
        &self,
        id: String,
        reason: Option<String>,
        seconds: Option<U64>,
    ) -> Result<bool, ApiError> {
        let reason = reason.unwrap_or_else(|| BAN_REASON.to_owned());
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        self.network()?
            .ban(&id, &reason, seconds.map(|seconds| seconds.0))
            .map_err(refused)?;
        Ok(true)
    }

    async fn unban_peer(&self, id: String) -> Result<bool, ApiError> {
        self.network()?.unban(&id).map_err(refused)?;
        Ok(true)
    }

    async fn get_bans(&self) -> Result<Vec<BanView>, ApiError> {
        let bans = self.network()?.bans();
        Ok(bans
            .into_iter()
            .map(|ban| BanView {
                id: ban.id,
                reason: ban.reason,
                seconds_left: ban.seconds_left.map(U64),
            })
            .collect())
    }
}
