//! `chain_*`: blocks and the chain as a whole.

use jsonrpsee::proc_macros::rpc;

use crate::block_ref::BlockRef;
use crate::error::ApiError;
use crate::views::{
    AtOptions, BlockOptions, BlockRangeOptions, BlockView, CertificateView, ChainInfo, Ctx, FeeSuggestion,
    HeadView, HeaderView, Page, ReceiptView, StatsOptions, StatsView, SupplyView,
};

#[rpc(client, server, namespace = "chain")]
pub trait ChainApi {
    /// Identity of the chain, its rules, and its head. Constant time.
    #[method(name = "getInfo", param_kind = map)]
    async fn get_info(&self) -> Result<ChainInfo, ApiError>;

    /// Summary of the newest block. Constant time.
    #[method(name = "getHead", param_kind = map)]
    async fn get_head(&self) -> Result<HeadView, ApiError>;

    /// A block, or `null`. Default `latest`.
    ///
    /// Errors: 1002, 1103.
    #[method(name = "getBlock", param_kind = map)]
    async fn get_block(
        &self,
        block: Option<BlockRef>,
        options: Option<BlockOptions>,
    ) -> Result<Option<BlockView>, ApiError>;

    /// A header, or `null`. Default `latest`.
    ///
    /// Errors: 1002, 1103.
    #[method(name = "getHeader", param_kind = map)]
    async fn get_header(&self, block: Option<BlockRef>) -> Result<Option<HeaderView>, ApiError>;

    /// A range of blocks, page by page. The first page fixes `to`, so that pages fit together. A range that
    /// is not available as a whole is refused.
    ///
    /// Errors: 1002, 1003, 1101, 1102, 1103, -32602 `empty_range`.
    #[method(name = "getBlocks", param_kind = map)]
    async fn get_blocks(&self, options: Option<BlockRangeOptions>) -> Result<Page<BlockView>, ApiError>;

    /// Proof of a block's finality; `null` for genesis and for blocks that do not exist.
    ///
    /// Errors: 1002, 1103.
    #[method(name = "getCertificate", param_kind = map)]
    async fn get_certificate(&self, block: Option<BlockRef>) -> Result<Option<CertificateView>, ApiError>;

    /// The receipts of a block in transaction order, or `null`.
    ///
    /// Errors: 1002, 1103.
    #[method(name = "getReceipts", param_kind = map)]
    async fn get_receipts(&self, block: Option<BlockRef>) -> Result<Option<Vec<ReceiptView>>, ApiError>;

    /// Supply of the currency, base units.
    ///
    /// Errors: 1002, 1101, 1103.
    #[method(name = "getSupply", param_kind = map)]
    async fn get_supply(&self, options: Option<AtOptions>) -> Result<Ctx<SupplyView>, ApiError>;

    /// Fees that are accepted now, base units.
    #[method(name = "getFeeSuggestion", param_kind = map)]
    async fn get_fee_suggestion(&self) -> Result<FeeSuggestion, ApiError>;

    /// Statistics over the newest blocks.
    #[method(name = "getStats", param_kind = map)]
    async fn get_stats(&self, options: Option<StatsOptions>) -> Result<StatsView, ApiError>;
}
