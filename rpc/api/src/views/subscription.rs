//! Subscriptions: topics and events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use vibecoin_primitives::Hash;

use super::{AccountView, ReceiptView, TransactionDetail, TransactionView};
use crate::scalars::{AddressArg, AddressText, Shown, U64};

/// Topic of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// Every block; `data` is a block. `params.transactions` is `none` (default) or `hashes`.
    Blocks,
    /// Every header; `data` is a header.
    Headers,
    /// Changes of one account; `params.address`. `data` is the block, the account before and after.
    Account,
    /// Every transaction, or those that `params.address` sent or receives from; `data` is the transaction
    /// and its receipt.
    Transactions,
}

/// Parameters of topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopicParams {
    /// For `account` (required) and `transactions` (optional).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressArg>,
    /// For `blocks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<TransactionDetail>,
}

/// Contents of `params.result` in `sub_event`.
///
/// Contains either `data` or `closed`: no event follows the latter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionEvent {
    /// Sequence number of the event in this subscription, from zero, without a gap.
    pub seq: U64,
    /// The topic.
    pub topic: Topic,
    /// Height of the event, or the height before which the subscription ended.
    pub height: U64,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Reason of the end: `lagged` (the reader is too slow), `pruned` (the node no longer has the next
    /// block), `shutdown` (the node stops; the session closes with 1001 behind it) or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Subscribe again with this `fromHeight` to miss nothing. With topics that have several events
    /// per block, events of that height may be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<U64>,
}

/// `data` of the topic `account`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountChangeView {
    /// The block that changed it.
    pub height: U64,
    /// The block's hash.
    pub block_hash: Shown<Hash>,
    /// The address.
    pub address: Shown<AddressText>,
    /// The account before; `null` when it did not exist.
    pub before: Option<AccountView>,
    /// The account after.
    pub after: Option<AccountView>,
}

/// `data` of the topic `transactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionEventView {
    /// The transaction with its location.
    pub transaction: TransactionView,
    /// Its receipt.
    pub receipt: ReceiptView,
}
