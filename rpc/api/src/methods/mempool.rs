//! `mempool_*`: transactions in the pool of this node.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::scalars::AddressArg;
use crate::views::{MempoolAccountView, MempoolEntryView, MempoolListOptions, MempoolStatusView, Page};

#[rpc(client, server, namespace = "mempool")]
pub trait MempoolApi {
    /// Contents and limits of the pool.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<MempoolStatusView, ApiError>;

    /// Transactions in the pool, ascending by hash, page by page. The pool changes between pages.
    ///
    /// Errors: 1001, 1003.
    #[method(name = "list", param_kind = map)]
    async fn list(&self, options: Option<MempoolListOptions>) -> Result<Page<MempoolEntryView>, ApiError>;

    /// Transactions of one account in the pool, ascending by nonce.
    ///
    /// Errors: 1001.
    #[method(name = "getAccount", param_kind = map)]
    async fn get_account(&self, address: AddressArg) -> Result<MempoolAccountView, ApiError>;
}
