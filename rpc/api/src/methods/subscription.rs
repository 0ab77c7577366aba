//! `sub_*`: subscriptions, over WebSocket.

use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

use crate::scalars::U64;
use crate::views::{SubscriptionEvent, Topic, TopicParams};

#[rpc(client, server, namespace = "sub")]
pub trait SubscriptionApi {
    /// Follows a topic from `fromHeight` (default: the next block), first existing blocks, then
    /// live ones, without a gap. A reader that is too slow gets a last event `{closed: "lagged",
    /// resumeFrom}`.
    ///
    /// A node that stops sends `{closed: "shutdown", resumeFrom}` and closes the session with 1001.
    ///
    /// Errors: 1001, 1101 (`fromHeight` is above the next block), 1103, -32006 (too many subscriptions on
    /// this connection), -32601 `websocket_only` over HTTP.
    #[subscription(
        name = "subscribe" => "event",
        unsubscribe = "unsubscribe",
        item = SubscriptionEvent,
        param_kind = map
    )]
    async fn follow(
        &self,
        topic: Topic,
        params: Option<TopicParams>,
        #[argument(rename = "fromHeight")] from_height: Option<U64>,
    ) -> SubscriptionResult;
}
