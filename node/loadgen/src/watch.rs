//! Blocks as announced by each node, and the times at which sampled transfers became final.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jsonrpsee::core::client::Error as ClientError;
use tokio::sync::watch;
use vibecoin_primitives::Hash;
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::limits::STATUSES_MAX;
use vibecoin_rpc_api::methods::{SubscriptionApiClient as _, TxApiClient as _};
use vibecoin_rpc_api::views::{Topic, TransactionState};

use crate::announced::Announced;
use crate::node::Node;

/// Delay before a disconnected node is followed again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Maximum number of samples; at 100 transfers per request that is a load of 100 million.
const SAMPLES_MAX: usize = 1_000_000;
/// Number of queries for the last samples before they are abandoned.
const ROUNDS_LAST: usize = 20;

struct Sample {
    hash: Hash,
    sent: Instant,
}

#[derive(Default)]
struct Inner {
    /// By node and height.
    announced: Vec<BTreeMap<u64, Announced>>,
    /// By the node that must announce it.
    open: Vec<Vec<Sample>>,
    latencies: Vec<Duration>,
    samples: usize,
    /// Number of transactions in all announced blocks.
    included: u64,
    /// The first block that counts.
    first: u64,
}

impl Inner {
    fn record(&mut self, number: usize, height: u64, block: Announced) {
        if self.announced.iter().all(|blocks| !blocks.contains_key(&height)) {
            self.included = self.included.saturating_add(block.transactions);
        }
        if let Some(blocks) = self.announced.get_mut(number) {
            blocks.entry(height).or_insert(block);
        }
    }
}

/// Announcements of all nodes since the start of a load.
pub(crate) struct Watch {
    inner: RefCell<Inner>,
    pulse: watch::Sender<u64>,
}

impl Watch {
    /// Empty; blocks count from height `first` on.
    pub fn new(nodes: usize, first: u64) -> Self {
        let inner = Inner {
            first,
            announced: (0..nodes).map(|_| BTreeMap::new()).collect(),
            open: (0..nodes).map(|_| Vec::new()).collect(),
            ..Inner::default()
        };
        Self {
            inner: RefCell::new(inner),
            pulse: watch::Sender::new(0),
        }
    }

    /// Follows all nodes, without an end; a disconnected node is followed again when it is back.
    pub async fn observe(&self, nodes: &[Node]) {
        let numbered = nodes.iter().enumerate();
        let following = join_all(
            numbered
                .clone()
                .map(|(number, node)| self.keep_following(node, number)),
        );
        let resolving = join_all(numbered.map(|(number, node)| self.keep_resolving(node, number)));
        futures_util::future::join(following, resolving).await;
    }

    async fn keep_following(&self, node: &Node, number: usize) {
        loop {
            let _gone = self.follow(node, number).await;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn keep_resolving(&self, node: &Node, number: usize) {
        loop {
            tokio::time::sleep(AGAIN_AFTER).await;
            self.resolve(node, number).await;
        }
    }

    async fn follow(&self, node: &Node, number: usize) -> Result<(), ClientError> {
        let client = node.endpoint.websocket().await?;
        // After an interruption, continue from the last block: none may be missing from the count.
        let from = {
            let inner = self.inner.borrow();
            let last = inner
                .announced
                .get(number)
                .and_then(|blocks| blocks.keys().next_back());
            last.copied().unwrap_or(inner.first)
        };
        let mut events = client.follow(Topic::Blocks, None, Some(U64(from))).await?;
        while let Some(Ok(event)) = events.next().await {
            let Ok((height, block)) = Announced::read(&event, Instant::now()) else {
                break;
            };
            self.inner.borrow_mut().record(number, height, block);
            self.pulse.send_if_modified(|highest| {
                let newer = height > *highest;
                *highest = (*highest).max(height);
                newer
            });
        }
        Ok(())
    }

    /// Number of transactions in all announced blocks.
    pub fn included(&self) -> u64 {
        self.inner.borrow().included
    }

    /// Waits until any node announces a new block.
    pub async fn next_block(&self) {
        let _closed = self.pulse.subscribe().changed().await;
    }

    /// Records a transfer that was sent to `node`; the next node must announce that it is final.
    pub fn sample(&self, node: usize, hash: Hash, sent: Instant) {
        let mut inner = self.inner.borrow_mut();
        if inner.samples >= SAMPLES_MAX {
            return;
        }
        inner.samples = inner.samples.saturating_add(1);
        let observer = node.saturating_add(1).checked_rem(inner.open.len()).unwrap_or(0);
        if let Some(open) = inner.open.get_mut(observer) {
            open.push(Sample { hash, sent });
        }
    }

    /// Queries a node for its samples in blocks. Their times are those of the announcements of the blocks.
    async fn resolve(&self, node: &Node, number: usize) {
        let batch: Vec<Hash> = match self.inner.borrow().open.get(number) {
            Some(open) => open.iter().take(STATUSES_MAX).map(|sample| sample.hash).collect(),
            None => return,
        };
        if batch.is_empty() {
            return;
        }
        let hashes = batch.iter().map(|hash| (*hash).into()).collect();
        let Ok(statuses) = node.query.get_statuses(hashes).await else {
            return;
        };
        let mut inner = self.inner.borrow_mut();
        let Inner {
            announced,
            open,
            latencies,
            ..
        } = &mut *inner;
        let (Some(blocks), Some(open)) = (announced.get(number), open.get_mut(number)) else {
            return;
        };
        // Samples are removed only here, so the first ones are still those that were queried.
        let asked: Vec<Sample> = open.drain(..batch.len().min(open.len())).collect();
        let mut later = Vec::new();
        for (sample, status) in asked.into_iter().zip(&statuses) {
            let height = status
                .height
                .filter(|_| status.status == TransactionState::Included);
            match height.and_then(|height| blocks.get(&height.0)) {
                Some(block) => latencies.push(block.at.saturating_duration_since(sample.sent)),
                None => later.push(sample),
            }
        }
        // To the end: one that is never included must not delay the others.
        open.extend(later);
    }

    /// Queries the remaining samples, after the last transfer became final.
    pub async fn settle_samples(&self, nodes: &[Node]) {
        for _ in 0..ROUNDS_LAST {
            if self.samples_left() == 0 {
                return;
            }
            for (number, node) in nodes.iter().enumerate() {
                self.resolve(node, number).await;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Number of samples not announced as final.
    pub fn samples_left(&self) -> usize {
        self.inner.borrow().open.iter().map(Vec::len).sum()
    }

    /// The times of all samples, ascending.
    pub fn latencies(&self) -> Vec<Duration> {
        let mut latencies = self.inner.borrow().latencies.clone();
        latencies.sort_unstable();
        latencies
    }

    /// Every block, by height, as first announced by any node.
    pub fn blocks(&self) -> BTreeMap<u64, Announced> {
        let mut blocks: BTreeMap<u64, Announced> = BTreeMap::new();
        for (height, block) in self.inner.borrow().announced.iter().flatten() {
            let first = blocks.entry(*height).or_insert(*block);
            if block.at < first.at {
                *first = *block;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_once_whoever_tells_of_it() {
        let block = |transactions| Announced {
            at: Instant::now(),
            time_ms: 0,
            transactions,
            round: 0,
        };
        let watch = Watch::new(2, 7);
        for (node, height, transactions) in [(0, 7, 10), (1, 7, 10), (1, 8, 5), (0, 8, 5), (0, 8, 5)] {
            let block = block(transactions);
            watch.inner.borrow_mut().record(node, height, block);
        }
        assert_eq!(watch.included(), 15);
    }
}
