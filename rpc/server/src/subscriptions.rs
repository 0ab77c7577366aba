//! `sub_*`: what is there, then live, without a gap.
//!
//! A subscription keeps no queue of its own. It reads block after block from the backend, first those
//! that exist, then each one when the head says that it is there; so the way from backfill to live has
//! no seam, and a slow reader costs a position, not memory. What is on its way to the reader is bounded
//! by the connection's message buffer (`Config::message_buffer`, `Config::small_message_bytes`).
//!
//! A reader that does not take anything for `Config::stall_timeout`, or falls `Config::lag_blocks_max`
//! blocks behind after it had once caught up, gets a last event with `closed: "lagged"` and the height to
//! resume from.

use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::{SubscriptionResult, async_trait};
use jsonrpsee::server::{PendingSubscriptionSink, SubscriptionSink};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use vibecoin_primitives::{Account, AccountRow, Address, Height, StateKey, account_key, decode};
use vibecoin_rpc_api::methods::SubscriptionApiServer;
use vibecoin_rpc_api::views::{
    AccountChangeView, AccountView, BlockOptions, HeaderView, ReceiptView, SubscriptionEvent, Topic,
    TopicParams, TransactionDetail, TransactionEventView,
};
use vibecoin_rpc_api::{AddressText, ApiError, Code, Shown, U64};

use crate::backend::{Backend, BackendError, CommittedBlock};
use crate::methods::Rpc;

/// How often a large message looks whether the smaller ones before it have gone.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// How long the last event of a subscription may wait for its reader.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(60);

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
        Feed {
            rpc: self.clone(),
            source,
            sink,
            next,
            seq: 0,
        }
        .run()
        .await;
        Ok(())
    }
}

impl<B: Backend> Rpc<B> {
    /// Where a subscription starts: as asked, or with the next block.
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
            .into());
        }
        Ok(from)
    }
}

/// What a subscription tells of each block.
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
                Err(ApiError::invalid_params("detail_not_available", message))
            }
            (Topic::Blocks, None, detail) => Ok(Self::Blocks(detail.unwrap_or(TransactionDetail::None))),
            (Topic::Headers, None, None) => Ok(Self::Headers),
            (Topic::Account, Some(address), None) => Ok(Self::Account(address)),
            (Topic::Account, None, None) => Err(ApiError::invalid_params(
                "missing_parameter",
                "the topic `account` needs `params.address`",
            )),
            (Topic::Transactions, sender, None) => Ok(Self::Transactions(sender)),
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

/// Why a subscription ends.
enum End {
    /// The reader is gone or has unsubscribed: nobody is left to tell.
    Gone,
    /// The reader is too slow.
    Lagged,
    /// The node no longer has the next block.
    Pruned,
    /// The node failed, or is stopping.
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        if error.class() == Some(Code::Pruned) {
            Self::Pruned
        } else {
            Self::Failed(error)
        }
    }
}

/// One subscription.
struct Feed<B> {
    rpc: Rpc<B>,
    source: Source,
    sink: SubscriptionSink,
    /// The first height that the reader has not been told of in full.
    next: Height,
    seq: u64,
}

impl<B: Backend> Feed<B> {
    async fn run(mut self) {
        let end = match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let closed = match end {
            End::Gone => return,
            End::Lagged => "lagged",
            End::Pruned => "pruned",
            End::Failed(error) => {
                tracing::debug!(target: "rpc", %error, "a subscription ends");
                "error"
            }
        };
        let farewell = SubscriptionEvent {
            seq: U64(self.seq),
            topic: self.source.topic(),
            height: self.next.into(),
            data: None,
            closed: Some(closed.to_owned()),
            resume_from: Some(self.next.into()),
        };
        if let Ok(message) = to_raw_value(&farewell) {
            // A reader that never reads again is cut off by the ping.
            let _ = self.sink.send_timeout(message, FAREWELL_TIMEOUT).await;
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        let mut heads = self.rpc.backend.head_watch();
        let mut was_live = false;
        loop {
            let head = *heads.borrow_and_update();
            while self.next <= head {
                let behind = heads.borrow().0.saturating_sub(self.next.0);
                if was_live && behind > self.rpc.rules.config.lag_blocks_max {
                    return Err(End::Lagged);
                }
                self.tell(self.next).await?;
                self.next = self.next.saturating_add(1);
            }
            was_live = true;
            tokio::select! {
                () = self.sink.closed() => return Err(End::Gone),
                changed = heads.changed() => changed.map_err(|_| {
                    End::Failed(ApiError::new(Code::ShuttingDown, "the node is shutting down"))
                })?,
            }
        }
    }

    /// Sends everything about one block.
    async fn tell(&mut self, height: Height) -> Result<(), End> {
        match &self.source {
            Source::Headers => {
                let header = self.rpc.backend.header(height).map_err(ApiError::from)?;
                let (header, hash) = header.ok_or_else(|| lost(height))?;
                self.send(height, &HeaderView::new(&header, hash)).await
            }
            Source::Blocks(detail) => {
                let options = BlockOptions {
                    transactions: *detail,
                    ..BlockOptions::default()
                };
                let block = self.block(height)?;
                self.send(height, &self.rpc.block_view(&block, &options)).await
            }
            Source::Account(address) => match self.account_change(height, *address)? {
                Some(change) => self.send(height, &change).await,
                None => Ok(()),
            },
            Source::Transactions(sender) => {
                let sender = *sender;
                let block = self.block(height)?;
                for event in self.transactions(&block, sender) {
                    self.send(height, &event).await?;
                }
                Ok(())
            }
        }
    }

    fn block(&self, height: Height) -> Result<Arc<CommittedBlock>, End> {
        let block = self.rpc.backend.block(height).map_err(ApiError::from)?;
        Ok(block.ok_or_else(|| lost(height))?)
    }

    fn transactions(&self, block: &CommittedBlock, sender: Option<Address>) -> Vec<TransactionEventView> {
        let wanted = |address: &Address| sender.is_none_or(|sender| sender == *address);
        let views = self
            .rpc
            .transaction_views(block)
            .into_iter()
            .zip(&block.receipts.0)
            .zip(0u32..);
        views
            .filter(|((view, _), _)| wanted(&view.sender.0.address))
            .map(|((transaction, receipt), index)| TransactionEventView {
                transaction,
                receipt: ReceiptView::new(receipt, block.header.height, index),
            })
            .collect()
    }

    /// What the block did to one account, from its diff.
    fn account_change(&self, height: Height, address: Address) -> Result<Option<AccountChangeView>, End> {
        let diff = self.rpc.backend.diff(height).map_err(ApiError::from)?;
        let diff = match diff {
            Some(diff) => diff,
            // Genesis is no change of an earlier state; a store keeps no diff of it.
            None if height == Height::ZERO => return Ok(None),
            None => return Err(lost(height).into()),
        };
        let key = StateKey::Account(account_key(&address));
        let Ok(at) = diff.entries.binary_search_by_key(&key, |entry| entry.key) else {
            return Ok(None);
        };
        let Some(entry) = diff.entries.get(at) else {
            return Ok(None);
        };
        let header = self.rpc.backend.header(height).map_err(ApiError::from)?;
        let (_, hash) = header.ok_or_else(|| lost(height))?;
        let view = |row: &Option<Vec<u8>>| -> Result<Option<AccountView>, ApiError> {
            let account = row.as_deref().map(row_account).transpose()?;
            Ok(account.map(|account| AccountView::new(address, &account, self.rpc.prefix())))
        };
        Ok(Some(AccountChangeView {
            height: height.into(),
            block_hash: Shown(hash),
            address: Shown(AddressText::new(address, self.rpc.prefix())),
            before: view(&entry.old)?,
            after: view(&entry.new)?,
        }))
    }

    async fn send<T: Serialize>(&mut self, height: Height, data: &T) -> Result<(), End> {
        let failed = |error: serde_json::Error| End::Failed(ApiError::internal(error.to_string()));
        let event = SubscriptionEvent {
            seq: U64(self.seq),
            topic: self.source.topic(),
            height: height.into(),
            data: Some(to_raw_value(data).map_err(failed)?),
            closed: None,
            resume_from: None,
        };
        let message: Box<RawValue> = to_raw_value(&event).map_err(failed)?;
        let config = &self.rpc.rules.config;
        let sending = async {
            if message.get().len() > config.small_message_bytes {
                while self.sink.capacity() < self.sink.max_capacity() && !self.sink.is_closed() {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
            }
            tokio::select! {
                () = self.sink.closed() => Err(End::Gone),
                sent = self.sink.send(message) => sent.map_err(|_| End::Gone),
            }
        };
        match tokio::time::timeout(config.stall_timeout, sending).await {
            Ok(sent) => sent?,
            Err(_) => return Err(End::Lagged),
        }
        self.seq = self.seq.saturating_add(1);
        Ok(())
    }
}

fn row_account(row: &[u8]) -> Result<Account, ApiError> {
    decode::<AccountRow>(row)
        .map(|row| row.account)
        .map_err(|error| ApiError::internal(error.to_string()))
}

fn lost(height: Height) -> ApiError {
    ApiError::internal(format!("block {height} was announced and cannot be read"))
}
