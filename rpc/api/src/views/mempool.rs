//! Transactions that wait.

use serde::{Deserialize, Serialize};

use super::TransactionView;
use crate::scalars::{AddressArg, CursorArg, U64};

/// The pool in figures: `mempool_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MempoolStatusView {
    /// Transactions.
    pub count: U64,
    /// Bytes of memory that they take on this node.
    pub bytes: U64,
    /// Next in line for their senders.
    pub pending: U64,
    /// Behind a gap of nonces.
    pub queued: U64,
    /// When the oldest came in, milliseconds since 1970; absent when the pool is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<U64>,
    /// Least fee of a small transaction that would get in now, base units.
    pub min_fee: U64,
    /// Bound on `count`.
    pub count_max: U64,
    /// Bound on `bytes`.
    pub bytes_max: U64,
    /// Bound on the transactions of one sender.
    pub per_sender_max: U64,
}

/// One transaction that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntryView {
    /// The transaction.
    #[serde(flatten)]
    pub transaction: TransactionView,
    /// Whether it is behind a gap of nonces.
    pub queued: bool,
}

/// What waits for one account, ascending by nonce: `mempool_getAccount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolAccountView {
    /// Next in line.
    pub pending: Vec<MempoolEntryView>,
    /// Behind a gap.
    pub queued: Vec<MempoolEntryView>,
}

/// Options of `mempool_list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MempoolListOptions {
    /// Only of this sender.
    pub sender: Option<AddressArg>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// From the page before.
    pub cursor: Option<CursorArg>,
}
