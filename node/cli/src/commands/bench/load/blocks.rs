//! The head of the chain, followed while a load runs.

use std::time::{Duration, Instant};

use jsonrpsee::core::client::Subscription;
use jsonrpsee::http_client::HttpClient;
use jsonrpsee::ws_client::WsClient;
use tokio::sync::watch;
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::methods::{ChainApiClient as _, SubscriptionApiClient as _};
use vibecoin_rpc_api::views::{BlockView, SubscriptionEvent, Topic};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Maximum time without a block while transfers are pending.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One block, at the time of its notification.
#[derive(Clone, Copy)]
struct Heard {
    height: u64,
    time_ms: u64,
    transfers: u64,
    at: Instant,
}

/// The blocks since the start of a load.
pub struct Blocks {
    heard: Vec<Heard>,
    transfers: u64,
    events: Option<Subscription<SubscriptionEvent>>,
    /// Notifies submitters that the pool may have space again.
    pulse: watch::Sender<u64>,
    _client: WsClient,
}

/// Figures over the blocks that had transfers.
pub struct Stats {
    pub blocks: usize,
    pub time_p50_ms: u64,
    pub time_p99_ms: u64,
    pub time_max_ms: u64,
    pub fill_mean: f64,
    pub fill_max: u64,
    pub fill_mean_percent: f64,
    pub fill_max_percent: f64,
}

impl Blocks {
    /// Follows from the next block on.
    pub async fn follow(context: &Context, http: &HttpClient) -> Result<Self, CliError> {
        let client = context.websocket().await?;
        let next = http.get_head().await?.height.0.saturating_add(1);
        let events = client.follow(Topic::Blocks, None, Some(U64(next))).await?;
        Ok(Self {
            heard: Vec::new(),
            transfers: 0,
            events: Some(events),
            pulse: watch::Sender::new(0),
            _client: client,
        })
    }

    /// A receiver that is notified of new blocks while [`Blocks::next`] is being called.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    /// Waits for the next block.
    pub async fn next(&mut self) -> Result<(), CliError> {
        let gone = || CliError::new(Exit::CannotConnect, "the node went away");
        let events = self.events.as_mut().ok_or_else(gone)?;
        let event = tokio::time::timeout(SILENCE_MAX, events.next())
            .await
            .map_err(|_| {
                let seconds = SILENCE_MAX.as_secs();
                CliError::new(
                    Exit::Timeout,
                    format!("no block for {seconds} s although transfers wait"),
                )
            })?
            .ok_or_else(gone)?
            .map_err(|error| {
                CliError::new(Exit::Failure, format!("the node's event cannot be read: {error}"))
            })?;
        let at = Instant::now();
        if let Some(reason) = event.closed {
            return Err(CliError::new(
                Exit::Failure,
                format!("the node closed the subscription: {reason}"),
            ));
        }
        let data = event.data.as_ref().map(|data| data.get()).unwrap_or_default();
        let block: BlockView = serde_json::from_str(data).map_err(|error| {
            CliError::new(Exit::Failure, format!("the node's block cannot be read: {error}"))
        })?;
        let transfers = u64::from(block.tx_count);
        self.transfers = self.transfers.saturating_add(transfers);
        let header = &block.header;
        self.heard.push(Heard {
            height: header.height.0,
            time_ms: header.timestamp_ms.0,
            transfers,
            at,
        });
        self.pulse.send_replace(header.height.0);
        Ok(())
    }

    /// Waits until blocks with this many transfers were received.
    pub async fn wait_for(&mut self, transfers: u64) -> Result<(), CliError> {
        while self.transfers < transfers {
            self.next().await?;
        }
        Ok(())
    }

    /// Time of the notification of the last block with transfers.
    pub fn last_with_transfers(&self) -> Instant {
        self.heard
            .iter()
            .rev()
            .find(|block| block.transfers > 0)
            .map_or_else(Instant::now, |block| block.at)
    }

    /// Figures over the blocks so far.
    pub fn stats(&self, transfers_max: u32) -> Stats {
        let full: Vec<&Heard> = self.heard.iter().filter(|block| block.transfers > 0).collect();
        // Times between consecutive heights only: a pause without transfers is not a block time.
        let mut times: Vec<u64> = full
            .iter()
            .zip(full.iter().skip(1))
            .filter(|(one, next)| one.height.checked_add(1) == Some(next.height))
            .map(|(one, next)| next.time_ms.saturating_sub(one.time_ms))
            .collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let index = times
                .len()
                .saturating_mul(percent)
                .div_ceil(100)
                .saturating_sub(1);
            times.get(index).copied().unwrap_or(0)
        };
        let sum: u64 = full.iter().map(|block| block.transfers).sum();
        let mean = sum as f64 / full.len().max(1) as f64;
        let max = full.iter().map(|block| block.transfers).max().unwrap_or(0);
        let percent = |transfers: f64| transfers * 100.0 / f64::from(transfers_max.max(1));
        Stats {
            blocks: full.len(),
            time_p50_ms: at(50),
            time_p99_ms: at(99),
            time_max_ms: at(100),
            fill_mean: mean,
            fill_max: max,
            fill_mean_percent: percent(mean),
            fill_max_percent: percent(max as f64),
        }
    }
}
