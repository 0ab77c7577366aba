//! `rpc_*`: description of the interface.

use jsonrpsee::proc_macros::rpc;
use serde_json::Value;

use crate::error::ApiError;
use crate::views::LimitsView;

#[rpc(client, server)]
pub trait RpcApi {
    /// The names of all methods of this listener, sorted.
    #[method(name = "rpc_getMethods", param_kind = map)]
    async fn get_methods(&self) -> Result<Vec<String>, ApiError>;

    /// The server's bounds.
    #[method(name = "rpc_getLimits", param_kind = map)]
    async fn get_limits(&self) -> Result<LimitsView, ApiError>;

    /// The interface as an OpenRPC document.
    #[method(name = "rpc.discover", param_kind = map)]
    async fn discover(&self) -> Result<Value, ApiError>;
}
