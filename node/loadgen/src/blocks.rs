//! The head of the chain, followed while a closed loop runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jsonrpsee::core::client::Subscription;
use jsonrpsee::ws_client::WsClient;
use tokio::sync::watch;
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::methods::{ChainApiClient as _, SubscriptionApiClient as _};
use vibecoin_rpc_api::views::{SubscriptionEvent, Topic};

use crate::announced::{Announced, last_with_transactions};
use crate::error::LoadError;
use crate::node::Node;

/// Maximum time without a block while transfers are pending.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The blocks since the start of a load.
pub(crate) struct Blocks {
    announced: BTreeMap<u64, Announced>,
    transactions: u64,
    events: Subscription<SubscriptionEvent>,
    /// Notifies submitters that the pool may have space again.
    pulse: watch::Sender<u64>,
    _client: WsClient,
}

impl Blocks {
    /// Follows a node from its next block on.
    pub async fn follow(node: &Node) -> Result<Self, LoadError> {
        let client = node.endpoint.websocket().await?;
        let next = node.client.get_head().await?.height.0.saturating_add(1);
        let events = client.follow(Topic::Blocks, None, Some(U64(next))).await?;
        Ok(Self {
            announced: BTreeMap::new(),
            transactions: 0,
            events,
            pulse: watch::Sender::new(0),
            _client: client,
        })
    }

    /// A receiver that is notified of new blocks while [`Blocks::next`] is being called.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    /// Waits for the next block.
    pub async fn next(&mut self) -> Result<(), LoadError> {
        let event = tokio::time::timeout(SILENCE_MAX, self.events.next())
            .await
            .map_err(|_| LoadError::Silent {
                seconds: SILENCE_MAX.as_secs(),
            })?
            .ok_or(LoadError::Disconnected)?
            .map_err(LoadError::BadEvent)?;
        let (height, block) = Announced::read(&event, Instant::now())?;
        self.transactions = self.transactions.saturating_add(block.transactions);
        self.announced.insert(height, block);
        self.pulse.send_replace(height);
        Ok(())
    }

    /// Waits until blocks with this many transactions were received.
    pub async fn wait_for(&mut self, transactions: u64) -> Result<(), LoadError> {
        while self.transactions < transactions {
            self.next().await?;
        }
        Ok(())
    }

    /// Time of the notification of the last block with transactions.
    pub fn last_with_transactions(&self) -> Instant {
        last_with_transactions(&self.announced).unwrap_or_else(Instant::now)
    }

    /// Every block so far, by height.
    pub const fn announced(&self) -> &BTreeMap<u64, Announced> {
        &self.announced
    }
}
