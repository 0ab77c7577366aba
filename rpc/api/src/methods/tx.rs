//! `tx_*`: sending and following transactions.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::limits::{STATUSES_MAX, SUBMIT_BATCH_MAX};
use crate::list::AtMost;
use crate::scalars::{BytesArg, HashArg};
use crate::views::{
    AtOptions, BatchEntry, DecodedTransaction, EncodedTransaction, FeeEstimate, ReceiptView, SimulationView,
    StatusView, SubmitOptions, Submitted, TransactionView, UnsignedTransaction, WaitOptions,
};

#[rpc(client, server, namespace = "tx")]
pub trait TxApi {
    /// Sends a transaction: the only method that writes. Sending the same bytes again is not an
    /// error.
    ///
    /// With `wait` = `final` it answers when a block includes the transaction; when the time is up first
    /// it answers 1403 with `hash`, and the transaction proceeds.
    ///
    /// Errors: 1000, 1202, 1301 to 1313, 1403.
    #[method(name = "submit", param_kind = map)]
    async fn submit(&self, raw: BytesArg, options: Option<SubmitOptions>) -> Result<Submitted, ApiError>;

    /// Sends up to 100 transactions: offers all, then waits once for all. One entry each, in order;
    /// entries that are still waiting when the time is up report that in `status`.
    ///
    /// Errors: 1202, 1402; those of single transactions are in the entries.
    #[method(name = "submitBatch", param_kind = map)]
    async fn submit_batch(
        &self,
        raws: AtMost<BytesArg, SUBMIT_BATCH_MAX>,
        options: Option<SubmitOptions>,
    ) -> Result<Vec<BatchEntry>, ApiError>;

    /// A transaction, included or waiting, or `null`.
    ///
    /// Errors: 1000.
    #[method(name = "get", param_kind = map)]
    async fn get(&self, hash: HashArg) -> Result<Option<TransactionView>, ApiError>;

    /// Status of a transaction.
    ///
    /// Errors: 1000.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self, hash: HashArg) -> Result<StatusView, ApiError>;

    /// Status of up to 256 transactions, in order.
    ///
    /// Errors: 1000, 1402.
    #[method(name = "getStatuses", param_kind = map)]
    async fn get_statuses(&self, hashes: AtMost<HashArg, STATUSES_MAX>) -> Result<Vec<StatusView>, ApiError>;

    /// Outcome of a transaction, or `null` when no block includes it.
    ///
    /// Errors: 1000.
    #[method(name = "getReceipt", param_kind = map)]
    async fn get_receipt(&self, hash: HashArg) -> Result<Option<ReceiptView>, ApiError>;

    /// Waits until a transaction is settled.
    ///
    /// Errors: 1000, 1403 with `hash` and `status`.
    #[method(name = "wait", param_kind = map)]
    async fn wait(&self, hash: HashArg, options: Option<WaitOptions>) -> Result<Submitted, ApiError>;

    /// The bytes to sign.
    ///
    /// Errors: 1000, 1001.
    #[method(name = "encode", param_kind = map)]
    async fn encode(&self, unsigned: UnsignedTransaction) -> Result<EncodedTransaction, ApiError>;

    /// A raw transaction in readable form, with its signature checked.
    ///
    /// Errors: 1000, 1307.
    #[method(name = "decode", param_kind = map)]
    async fn decode(&self, raw: BytesArg) -> Result<DecodedTransaction, ApiError>;

    /// Expected result of a raw transaction if it were executed next.
    ///
    /// Errors: 1000, 1203, 1301 to 1313.
    #[method(name = "simulate", param_kind = map)]
    async fn simulate(&self, raw: BytesArg, options: Option<AtOptions>) -> Result<SimulationView, ApiError>;

    /// Minimum fee of a transaction with these operations, base units.
    ///
    /// Errors: 1000, 1001.
    #[method(name = "estimateFee", param_kind = map)]
    async fn estimate_fee(&self, unsigned: UnsignedTransaction) -> Result<FeeEstimate, ApiError>;
}
