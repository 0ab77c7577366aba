//! `node_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::BLOCK_VERSION;
use vibecoin_rpc_api::methods::NodeApiServer;
use vibecoin_rpc_api::views::{HealthView, NodeStatusView, NodeVersionView, SyncStatusView, WaitingView};
use vibecoin_rpc_api::{API_VERSION, ApiError, U64};
use vibecoin_rpc_backend::{Backend, SyncStatus};

use super::Rpc;
use crate::pages;

impl<B: Backend> Rpc<B> {
    fn sync_view(&self, sync: SyncStatus) -> SyncStatusView {
        SyncStatusView {
            state: if sync.synced {
                "synced".to_owned()
            } else {
                "syncing".to_owned()
            },
            stage: sync.stage,
            current: self.backend.head().header.height.into(),
            target: sync.target.into(),
            peers: sync.peers,
            blocks_per_1000_s: U64(sync.blocks_per_1000_s),
            eta_ms: sync.eta_ms.map(U64),
        }
    }
}

#[async_trait]
impl<B: Backend> NodeApiServer for Rpc<B> {
    async fn get_status(&self) -> Result<NodeStatusView, ApiError> {
        let (facts, status) = (self.backend.facts(), self.backend.node_status());
        Ok(NodeStatusView {
            moniker: status.moniker,
            version: facts.build.version.clone(),
            chain_id: facts.chain_id.clone(),
            role: status.role,
            head: self.head_view(),
            earliest: self.backend.earliest().into(),
            sync: self.sync_view(status.sync),
            peers: status.peers,
            mempool: self.pool_view(),
            disk_bytes: U64(status.disk_bytes),
            disk_free_bytes: U64(status.disk_free_bytes),
            uptime_ms: U64(status.uptime_ms),
            ready: self.backend.health().iter().all(|check| check.ok),
            waiting: status.waiting.map(|waiting| WaitingView {
                reason: waiting.reason.to_owned(),
                through: waiting.through.into(),
                detail: waiting.detail,
            }),
        })
    }

    async fn get_health(&self) -> Result<HealthView, ApiError> {
        Ok(pages::health_view(self.backend.as_ref()))
    }

    async fn get_version(&self) -> Result<NodeVersionView, ApiError> {
        let build = self.backend.facts().build.clone();
        Ok(NodeVersionView {
            version: build.version,
            git: build.git,
            rustc: build.rustc,
            features: build.features,
            protocol_version: BLOCK_VERSION,
            api_version: API_VERSION.to_owned(),
        })
    }

    async fn get_sync_status(&self) -> Result<SyncStatusView, ApiError> {
        Ok(self.sync_view(self.backend.node_status().sync))
    }
}
