//! `poh_*`: the Proof of History.

use jsonrpsee::proc_macros::rpc;

use crate::block_ref::BlockRef;
use crate::error::ApiError;
use crate::scalars::HashArg;
use crate::views::{
    EntriesOptions, Page, PohEntryView, PohParamsView, PohStatusView, PohVerdict, TransactionOrderView,
};

#[rpc(client, server, namespace = "poh")]
pub trait PohApi {
    /// Progress of the proposer's clock.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<PohStatusView, ApiError>;

    /// Timing parameters of the chain.
    #[method(name = "getParams", param_kind = map)]
    async fn get_params(&self) -> Result<PohParamsView, ApiError>;

    /// The ticks of a block, page by page; `null` when there is no such block.
    ///
    /// Errors: 1002, 1003, 1103.
    #[method(name = "getEntries", param_kind = map)]
    async fn get_entries(
        &self,
        block: Option<BlockRef>,
        options: Option<EntriesOptions>,
    ) -> Result<Option<Page<PohEntryView>>, ApiError>;

    /// Recomputes the ticks of a block, or of all blocks up to `to`, no more than 100. Expensive.
    ///
    /// Errors: 1002, 1101, 1102, 1103, 1402, -32602 `empty_range`.
    #[method(name = "verify", param_kind = map)]
    async fn verify(&self, block: Option<BlockRef>, to: Option<BlockRef>) -> Result<PohVerdict, ApiError>;

    /// Position of a transaction in the order; `null` when no block includes it.
    ///
    /// Errors: 1000, 1103.
    #[method(name = "getTransactionOrder", param_kind = map)]
    async fn get_transaction_order(&self, hash: HashArg) -> Result<Option<TransactionOrderView>, ApiError>;
}
