//! Transactions in the pool.

use serde::{Deserialize, Serialize};

use super::TransactionView;
use crate::scalars::{AddressArg, CursorArg, U64};

/// Contents and limits of the pool: `mempool_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MempoolStatusView {
    /// Number of transactions.
    pub count: U64,
    /// Bytes of memory that they take on this node.
    pub bytes: U64,
    /// Transactions that are next in line for their senders.
    pub pending: U64,
    /// Transactions behind a gap of nonces.
    pub queued: U64,
    /// Arrival time of the oldest, milliseconds since 1970; absent when the pool is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<U64>,
    /// Minimum fee of a small transaction that would be accepted now, base units.
    pub min_fee: U64,
    /// Bound on `count`.
    pub count_max: U64,
    /// Bound on `bytes`.
    pub bytes_max: U64,
    /// Bound on the transactions of one sender.
    pub per_sender_max: U64,
}

/// One transaction in the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntryView {
    /// The transaction.
    #[serde(flatten)]
    pub transaction: TransactionView,
    /// True if it is behind a gap of nonces.
    pub queued: bool,
}

/// Transactions of one account in the pool, ascending by nonce: `mempool_getAccount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolAccountView {
    /// Transactions next in line.
    pub pending: Vec<MempoolEntryView>,
    /// Transactions behind a gap.
    pub queued: Vec<MempoolEntryView>,
}

/// Options of `mempool_list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MempoolListOptions {
    /// Restricts the list to this sender.
    pub sender: Option<AddressArg>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Cursor of the previous page.
    pub cursor: Option<CursorArg>,
}
