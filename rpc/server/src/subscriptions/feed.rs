//! One subscription: reads in turns, sends with a bound, and reports the reason of its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::server::SubscriptionSink;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use vibecoin_primitives::{
    Account, AccountRow, Address, Height, Operation, StateKey, Transaction, account_key, decode,
};
use vibecoin_rpc_api::views::{
    AccountChangeView, AccountView, BlockOptions, HeaderView, ReceiptView, SubscriptionEvent,
    TransactionEventView,
};
use vibecoin_rpc_api::{AddressText, ApiError, Code, Shown, U64};
use vibecoin_rpc_backend::{Backend, CommittedBlock};

use super::Source;
use crate::errors::Coded as _;
use crate::methods::Rpc;
use crate::methods::chain::transaction_view;
use crate::rate::Exhausted;
use crate::seats::Seat;

/// Bounds of one turn: blocks, bytes of events, and time. The last block may go beyond them.
const TURN_BLOCKS_MAX: u64 = 256;
const TURN_BYTES_MAX: usize = 64 * 1024;
const TURN_TIME_MAX: Duration = Duration::from_millis(5);
/// A subscription that is further behind than this reads history.
const LIVE_BLOCKS: u64 = 2;
/// Blocks of history that cost one unit of the caller's budget.
const BLOCKS_PER_COST: u64 = 16;
/// Maximum time that the last event of a subscription waits for its reader.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(60);

/// Reasons why a subscription ends.
enum End {
    /// The reader has disconnected or unsubscribed: no event is sent.
    Gone,
    /// The reader is too slow.
    Lagged,
    /// The node no longer has the next block.
    Pruned,
    /// The server stops.
    Stopping,
    /// The node failed.
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        match error.class() {
            Some(Code::Pruned) => Self::Pruned,
            Some(Code::ShuttingDown) => Self::Stopping,
            _ => Self::Failed(error),
        }
    }
}

/// One subscription.
pub(super) struct Feed<B> {
    reader: Reader<B>,
    sink: SubscriptionSink,
    /// The first height that was not sent to the reader in full.
    next: Height,
    seq: u64,
    /// Blocks of history that were read and not yet paid for.
    unpaid: u64,
}

impl<B: Backend> Feed<B> {
    pub(super) const fn new(rpc: Rpc<B>, source: Source, sink: SubscriptionSink, next: Height) -> Self {
        Self {
            reader: Reader { rpc, source },
            sink,
            next,
            seq: 0,
            unpaid: 0,
        }
    }

    pub(super) async fn run(mut self) {
        // A connection without a seat is being closed.
        let Some(seat) = self.reader.rpc.rules.seats.of(self.sink.connection_id().0) else {
            return;
        };
        let _in_use = seat.in_use();
        let stopped = self.reader.rpc.rules.stop.clone().shutdown();
        let end = tokio::select! {
            end = self.follow(&seat) => match end {
                Ok(never) => match never {},
                Err(end) => end,
            },
            () = stopped => End::Stopping,
        };
        let closed = match end {
            End::Gone => return,
            End::Lagged => "lagged",
            End::Pruned => "pruned",
            End::Stopping => "shutdown",
            End::Failed(error) => {
                tracing::debug!(target: "rpc", %error, "a subscription ends");
                "error"
            }
        };
        let farewell = SubscriptionEvent {
            seq: U64(self.seq),
            topic: self.reader.source.topic(),
            height: self.next.into(),
            data: None,
            closed: Some(closed.to_owned()),
            resume_from: Some(self.next.into()),
        };
        if let Ok(message) = to_raw_value(&farewell) {
            // A reader that never reads again is cut off by its seat.
            let _ = self.sink.send_timeout(message, FAREWELL_TIMEOUT).await;
        }
    }

    async fn follow(&mut self, seat: &Arc<Seat>) -> Result<std::convert::Infallible, End> {
        let mut heads = self.reader.rpc.backend.head_watch();
        let mut was_live = false;
        loop {
            let head = *heads.borrow_and_update();
            while self.next <= head {
                let behind = heads.borrow().0.saturating_sub(self.next.0);
                if was_live && behind > self.reader.rpc.rules.config.lag_blocks_max {
                    return Err(End::Lagged);
                }
                self.turn(seat, head).await?;
            }
            was_live = true;
            tokio::select! {
                () = self.sink.closed() => return Err(End::Gone),
                changed = heads.changed() => changed.map_err(|_| End::Stopping)?,
            }
        }
    }

    /// Reads some blocks and sends everything about them.
    async fn turn(&mut self, seat: &Arc<Seat>, head: Height) -> Result<(), End> {
        let is_history = head.0.saturating_sub(self.next.0) > LIVE_BLOCKS;
        let sink = self.sink.clone();
        let turn = async {
            // Kept until all is sent: one read turn of a connection is in memory at a time.
            let _turn = seat.history.lock().await;
            self.has_room(seat).await?;
            if is_history {
                self.pay(seat).await;
            }
            let reader = self.reader.clone();
            let (next, seq) = (self.next, self.seq);
            let readers = self.reader.rpc.readers.clone();
            let read = readers
                .run(is_history, move || Ok(reader.read(next, head, seq)))
                .await?;
            if is_history {
                self.unpaid = self.unpaid.saturating_add(read.next.0.saturating_sub(next.0));
            }
            self.send(seat, read).await
        };
        tokio::select! {
            () = sink.closed() => Err(End::Gone),
            done = turn => done,
        }
    }

    /// Waits until the reader has taken the larger part of what was sent.
    async fn has_room(&self, seat: &Seat) -> Result<(), End> {
        let config = &self.reader.rpc.rules.config;
        let room = seat.room(config.websocket_held_bytes_max / 2);
        tokio::time::timeout(config.stall_timeout, room)
            .await
            .map_err(|_| End::Lagged)
    }

    /// Pays for the history that was read, and waits while the budget is used up.
    async fn pay(&mut self, seat: &Seat) {
        let cost = u32::try_from(self.unpaid / BLOCKS_PER_COST).unwrap_or(u32::MAX);
        self.unpaid %= BLOCKS_PER_COST;
        let Some(limiter) = self.reader.rpc.rules.limits(seat.peer) else {
            return;
        };
        while let Err(Exhausted(wait)) = limiter.take(seat.peer, cost, Instant::now()) {
            tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
        }
    }

    async fn send(&mut self, seat: &Arc<Seat>, read: ReadBlocks) -> Result<(), End> {
        let bytes = read.events.iter().map(|(_, event)| event.get().len()).sum();
        let seats = Arc::clone(&self.reader.rpc.rules.seats);
        let mut queued = seats.queue(seat, bytes);
        let stall_timeout = self.reader.rpc.rules.config.stall_timeout;
        for (height, event) in read.events {
            self.next = height;
            let bytes = event.get().len();
            let sent = tokio::time::timeout(stall_timeout, self.sink.send(event)).await;
            sent.map_err(|_| End::Lagged)?.map_err(|_| End::Gone)?;
            queued.pass_on(bytes);
            self.seq = self.seq.saturating_add(1);
        }
        self.next = read.next;
        read.end.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Result of one turn.
struct ReadBlocks {
    /// Events, each with the height that it belongs to.
    events: Vec<(Height, Box<RawValue>)>,
    /// The first height that was not read.
    next: Height,
    /// Reason of an early end.
    end: Option<ApiError>,
}

/// Makes the events of a subscription from blocks.
struct Reader<B> {
    rpc: Rpc<B>,
    source: Source,
}

impl<B> Clone for Reader<B> {
    fn clone(&self) -> Self {
        Self {
            rpc: self.rpc.clone(),
            source: self.source,
        }
    }
}

impl<B: Backend> Reader<B> {
    /// Reads from `next` on, up to `head`, for one turn.
    fn read(&self, next: Height, head: Height, seq: u64) -> ReadBlocks {
        let mut read = ReadBlocks {
            events: Vec::new(),
            next,
            end: None,
        };
        let (begun, mut bytes, mut seq) = (Instant::now(), 0usize, seq);
        for height in (next.0..=head.0).take(usize::try_from(TURN_BLOCKS_MAX).unwrap_or(usize::MAX)) {
            let height = Height(height);
            match self.events(height, &mut seq) {
                Ok(events) => {
                    let sizes = events.iter().map(|event| event.get().len());
                    bytes = sizes.fold(bytes, usize::saturating_add);
                    read.events
                        .extend(events.into_iter().map(|event| (height, event)));
                }
                Err(error) => {
                    read.end = Some(error);
                    break;
                }
            }
            read.next = height.saturating_add(1);
            if bytes >= TURN_BYTES_MAX || begun.elapsed() >= TURN_TIME_MAX {
                break;
            }
        }
        read
    }

    /// Everything about one block.
    fn events(&self, height: Height, seq: &mut u64) -> Result<Vec<Box<RawValue>>, ApiError> {
        match &self.source {
            Source::Headers => {
                let header = self.rpc.backend.header(height).coded()?;
                let (header, hash) = header.ok_or_else(|| lost(height))?;
                Ok(vec![self.event(height, seq, &HeaderView::new(&header, hash))?])
            }
            Source::Blocks(detail) => {
                let options = BlockOptions {
                    transactions: *detail,
                    ..BlockOptions::default()
                };
                let block = self.block(height)?;
                Ok(vec![self.event(
                    height,
                    seq,
                    &self.rpc.block_view(&block, &options),
                )?])
            }
            Source::Account(address) => {
                let change = self.account_change(height, *address)?;
                change
                    .iter()
                    .map(|change| self.event(height, seq, change))
                    .collect()
            }
            Source::Transactions(party) => {
                let block = self.block(height)?;
                let events = self.transactions(&block, *party);
                events
                    .iter()
                    .map(|event| self.event(height, seq, event))
                    .collect()
            }
        }
    }

    fn event<T: Serialize>(
        &self,
        height: Height,
        seq: &mut u64,
        data: &T,
    ) -> Result<Box<RawValue>, ApiError> {
        let failed = |error: serde_json::Error| ApiError::internal(error.to_string());
        let event = SubscriptionEvent {
            seq: U64(*seq),
            topic: self.source.topic(),
            height: height.into(),
            data: Some(to_raw_value(data).map_err(failed)?),
            closed: None,
            resume_from: None,
        };
        *seq = seq.saturating_add(1);
        to_raw_value(&event).map_err(failed)
    }

    fn block(&self, height: Height) -> Result<Arc<CommittedBlock>, ApiError> {
        let block = self.rpc.backend.block(height).coded()?;
        block.ok_or_else(|| lost(height))
    }

    /// The transactions of a block; with a party, those that it sent and those that pay it.
    fn transactions(&self, block: &CommittedBlock, party: Option<Address>) -> Vec<TransactionEventView> {
        let concerns = |transaction: &Transaction| {
            party.is_none_or(|party| {
                let body = transaction.body();
                let pays = |operation: &Operation| {
                    matches!(operation, Operation::Transfer { to, .. } if *to == party)
                };
                Address(body.sender.0) == party || body.operations.iter().any(pays)
            })
        };
        let prefix = self.rpc.prefix();
        let all = block.body.transactions().zip(&block.receipts.0).zip(0u32..);
        // Few of a block concern one party: views are built for these alone.
        all.filter(|((transaction, _), _)| concerns(transaction))
            .map(|((transaction, receipt), index)| TransactionEventView {
                transaction: transaction_view(block, transaction, receipt.v1().transaction, index, prefix),
                receipt: ReceiptView::new(receipt, block.header.height, index),
            })
            .collect()
    }

    /// The change of one account by the block, from its diff.
    fn account_change(
        &self,
        height: Height,
        address: Address,
    ) -> Result<Option<AccountChangeView>, ApiError> {
        let diff = self.rpc.backend.diff(height).coded()?;
        let diff = match diff {
            Some(diff) => diff,
            // Genesis does not change an earlier state; a store keeps no diff of it.
            None if height == Height::ZERO => return Ok(None),
            None => return Err(lost(height)),
        };
        let key = StateKey::Account(account_key(&address));
        let Ok(at) = diff.entries.binary_search_by_key(&key, |entry| entry.key) else {
            return Ok(None);
        };
        let Some(entry) = diff.entries.get(at) else {
            return Ok(None);
        };
        let header = self.rpc.backend.header(height).coded()?;
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
}

fn row_account(row: &[u8]) -> Result<Account, ApiError> {
    decode::<AccountRow>(row)
        .map(|row| row.account)
        .map_err(|error| ApiError::internal(error.to_string()))
}

fn lost(height: Height) -> ApiError {
    ApiError::internal(format!("block {height} was announced and cannot be read"))
}
