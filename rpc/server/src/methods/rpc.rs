//! `rpc_*`.

use jsonrpsee::core::async_trait;
use serde_json::Value;
use vibecoin_rpc_api::limits::{JSON_DEPTH_MAX, SUBMIT_BATCH_MAX};
use vibecoin_rpc_api::methods::RpcApiServer;
use vibecoin_rpc_api::views::LimitsView;
use vibecoin_rpc_api::{ApiError, registry};
use vibecoin_rpc_backend::Backend;

use super::{Rpc, small};

#[async_trait]
impl<B: Backend> RpcApiServer for Rpc<B> {
    async fn get_methods(&self) -> Result<Vec<String>, ApiError> {
        let served = registry::METHODS
            .iter()
            .filter(|method| self.rules.serves(method.name));
        Ok(served.map(|method| method.name.to_owned()).collect())
    }

    async fn get_limits(&self) -> Result<LimitsView, ApiError> {
        let config = &self.rules.config;
        Ok(LimitsView {
            request_bytes_max: config.request_bytes_max,
            response_bytes_max: config.response_bytes_max,
            batch_entries_max: config.batch_entries_max,
            json_depth_max: small(JSON_DEPTH_MAX),
            connections_max: config.connections_max,
            subscriptions_per_connection_max: config.subscriptions_per_connection_max,
            submit_batch_max: small(SUBMIT_BATCH_MAX),
            timeout_ms: u32::try_from(config.call_timeout.as_millis()).unwrap_or(u32::MAX),
            rate_per_second: config.rate.map(|rate| rate.per_second),
            rate_burst: config.rate.map(|rate| rate.burst),
        })
    }

    async fn discover(&self) -> Result<Value, ApiError> {
        Ok(registry::openrpc(|name| self.rules.serves(name)))
    }
}
