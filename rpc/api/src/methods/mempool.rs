//! `mempool_*`: what waits on this node.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::scalars::AddressArg;
use crate::views::{MempoolAccountView, MempoolEntryView, MempoolListOptions, MempoolStatusView, Page};

#[rpc(client, server, namespace = "mempool")]
pub trait MempoolApi {
    /// The pool in figures.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<MempoolStatusView, ApiError>;

    /// What waits, ascending by hash, page by page. The pool moves on between pages.
    ///
    /// Errors: 1001, 1003.
    #[method(name = "list", param_kind = map)]
    async fn list(&self, options: Option<MempoolListOptions>) -> Result<Page<MempoolEntryView>, ApiError>;

    /// What waits for one account, ascending by nonce.
    ///
    /// Errors: 1001.
    #[method(name = "getAccount", param_kind = map)]
    async fn get_account(&self, address: AddressArg) -> Result<MempoolAccountView, ApiError>;
}
