//! `sub_*`: existing blocks, then live ones, without a gap.
//!
//! A subscription keeps no queue. It reads blocks from the backend, first those that exist, then each one
//! when the head announces it; so the transition from backfill to live has no gap, and a slow reader
//! costs a position, not memory. Blocks are read in short turns off the threads that serve calls
//! ([`crate::work::Readers`], `feed`), one turn per connection at a time; history is paid for from the
//! caller's budget. Bytes on their way to the reader count for its connection
//! (`Config::websocket_held_bytes_max`).
//!
//! A reader that does not take anything for `Config::stall_timeout`, or falls `Config::lag_blocks_max`
//! blocks behind after it had once caught up, gets a last event with `closed: "lagged"` and the height to
//! resume from. When the server stops, every subscription gets one with `closed: "shutdown"`.

mod feed;

use jsonrpsee::core::{SubscriptionResult, async_trait};
use jsonrpsee::server::PendingSubscriptionSink;
use vibecoin_primitives::{Address, Height};
use vibecoin_rpc_api::methods::SubscriptionApiServer;
use vibecoin_rpc_api::views::{Topic, TopicParams, TransactionDetail};
use vibecoin_rpc_api::{ApiError, U64};
use vibecoin_rpc_backend::{Backend, BackendError};

use crate::errors::Coded as _;
use crate::methods::Rpc;
use feed::Feed;

#[async_trait]
impl<B: Backend> SubscriptionApiServer for Rpc<B> {
    async fn follow(
        &self,
        pending: PendingSubscriptionSink,
        topic: Topic,
        params: Option<TopicParams>,
        from_height: Option<U64>,
    ) -> SubscriptionResult {
        let prepared = Source::new(self, topic, params.unwrap_or_default())
            .and_then(|source| Ok((source, self.first_height(from_height)?)));
        let (source, next) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                pending.reject(error).await;
                return Ok(());
            }
        };
        let sink = pending.accept().await?;
        Feed::new(self.clone(), source, sink, next).run().await;
        Ok(())
    }
}

impl<B: Backend> Rpc<B> {
    /// Start of a subscription: the requested height, or the next block.
    fn first_height(&self, from: Option<U64>) -> Result<Height, ApiError> {
        let head = self.backend.head().header.height;
        let Some(from) = from.map(Height::from) else {
            return Ok(head.saturating_add(1));
        };
        let earliest = self.backend.earliest();
        if from < earliest {
            return Err(BackendError::Pruned {
                height: from,
                earliest,
            }
            .coded());
        }
        // The next block can be waited for; heights beyond it may be years away.
        if from > head.saturating_add(1) {
            return Err(BackendError::Future { height: from, head }.coded());
        }
        Ok(from)
    }
}

/// Contents of a subscription's events.
#[derive(Clone, Copy)]
enum Source {
    Blocks(TransactionDetail),
    Headers,
    Account(Address),
    Transactions(Option<Address>),
}

impl Source {
    fn new<B: Backend>(rpc: &Rpc<B>, topic: Topic, params: TopicParams) -> Result<Self, ApiError> {
        let refuse = |name: &str| {
            let message = format!("this topic has no parameter `{name}`");
            Err(ApiError::invalid_params("unknown_parameter", message).with("parameter", name))
        };
        let address = params.address.map(|address| rpc.address(address)).transpose()?;
        match (topic, address, params.transactions) {
            (Topic::Blocks, None, Some(TransactionDetail::Full)) => {
                let message =
                    "subscriptions give `none` or `hashes`; the topic `transactions` gives the rest";
                Err(ApiError::invalid_params("detail_not_available", message)
                    .with("parameter", "transactions"))
            }
            (Topic::Blocks, None, detail) => Ok(Self::Blocks(detail.unwrap_or(TransactionDetail::None))),
            (Topic::Headers, None, None) => Ok(Self::Headers),
            (Topic::Account, Some(address), None) => Ok(Self::Account(address)),
            (Topic::Account, None, None) => Err(ApiError::invalid_params(
                "missing_parameter",
                "the topic `account` needs `params.address`",
            )
            .with("parameter", "address")),
            (Topic::Transactions, party, None) => Ok(Self::Transactions(party)),
            (Topic::Blocks | Topic::Headers, Some(_), _) => refuse("address"),
            (_, _, Some(_)) => refuse("transactions"),
        }
    }

    const fn topic(&self) -> Topic {
        match self {
            Self::Blocks(_) => Topic::Blocks,
            Self::Headers => Topic::Headers,
            Self::Account(_) => Topic::Account,
            Self::Transactions(_) => Topic::Transactions,
        }
    }
}
