//! Signing ahead and sending at a rate; transfers refused for lack of space are sent again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use vibecoin_rpc_api::views::BatchEntry;
use vibecoin_rpc_api::{ApiError, Code};

use crate::accounts::{self, Accounts, Member};
use crate::node::Node;
use crate::outcome::Outcome;
use crate::plan::OpenLoop;
use crate::settle::deadline;
use crate::submit;
use crate::transfer::{AMOUNT, Signed, Terms};
use crate::watch::Watch;

/// Maximum number of transfers signed ahead, over all nodes; each has about 250 bytes.
const AHEAD_MAX: usize = 400_000;
/// Requests per second and node at low rates: fewer and larger ones would arrive in bursts.
const REQUESTS_PER_S: u64 = 20;
/// Delay before a node that did not answer is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Maximum time for which a sender waits for a block before it checks the deadline.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// Without a transfer in any block for this long, those in flight are abandoned: a node may have been killed
/// with its accepted ones, and those after the gap are never final.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);
/// Polling interval of the fill level of the signed transfers.
const LOW_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Transfers signed in a separate thread, in batches, with a queue per node.
pub(crate) struct Jobs {
    queues: Vec<mpsc::Receiver<Vec<Signed>>>,
    full: Option<tokio::sync::oneshot::Receiver<()>>,
    batch: u64,
}

impl Jobs {
    /// Starts signing.
    pub fn start(open: &OpenLoop, batch_max: u64, nodes: usize, accounts: &Accounts) -> Self {
        let batch = batch_size(open.tps, batch_max, nodes);
        let transfers = match open.tps {
            0 => u64::MAX,
            tps => tps.saturating_mul(open.duration.as_secs()),
        };
        let batches = transfers.div_ceil(batch);
        let size = usize::try_from(batch).unwrap_or(1).max(1);
        let ahead = AHEAD_MAX
            .checked_div(size.saturating_mul(nodes.max(1)))
            .unwrap_or(1)
            .max(1);
        let (senders, queues): (Vec<_>, Vec<_>) = (0..nodes).map(|_| mpsc::channel(ahead)).unzip();
        let (notify, full) = tokio::sync::oneshot::channel();
        let signer = Signer {
            members: accounts::members(accounts.members.len() as u64),
            nonces: accounts.before.iter().map(|seen| seen.nonce).collect(),
            next: (0..nodes).collect(),
            nodes,
            terms: accounts.terms,
        };
        std::thread::spawn(move || signer.work(&senders, batches, size, notify));
        Self {
            queues,
            full: Some(full),
            batch,
        }
    }

    /// Waits until all transfers, or as many as memory allows, are signed.
    pub async fn filled(&mut self) {
        if let Some(full) = self.full.take() {
            let _signed = full.await;
        }
    }
}

/// Transfers per request: at low rates less than the maximum, so that they arrive evenly.
fn batch_size(tps: u64, batch_max: u64, nodes: usize) -> u64 {
    let batch_max = batch_max.max(1);
    if tps == 0 {
        return batch_max;
    }
    let requests = REQUESTS_PER_S.saturating_mul(nodes as u64).max(1);
    tps.div_ceil(requests).clamp(1, batch_max)
}

/// Waits until a queue is nearly empty; returns `false` when its receiver is dropped. Signing during a load
/// would take the nodes' cores, so a load that is short enough does without.
fn low(queue: &mpsc::Sender<Vec<Signed>>) -> bool {
    let room = queue.max_capacity().div_ceil(4).saturating_mul(3);
    while queue.capacity() < room && !queue.is_closed() {
        std::thread::sleep(LOW_LOOK_EVERY);
    }
    !queue.is_closed()
}

struct Signer {
    members: Vec<Member>,
    nonces: Vec<u64>,
    /// By node, the next account to send.
    next: Vec<usize>,
    nodes: usize,
    terms: Terms,
}

impl Signer {
    fn work(
        mut self,
        queues: &[mpsc::Sender<Vec<Signed>>],
        batches: u64,
        size: usize,
        full: tokio::sync::oneshot::Sender<()>,
    ) {
        let mut full = Some(full);
        for number in 0..batches {
            let node = usize::try_from(number)
                .unwrap_or(0)
                .checked_rem(self.nodes)
                .unwrap_or(0);
            let Some(queue) = queues.get(node) else { break };
            let batch: Vec<Signed> = (0..size).filter_map(|_| self.transfer(node)).collect();
            match queue.try_send(batch) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => break,
                Err(mpsc::error::TrySendError::Full(batch)) => {
                    if let Some(full) = full.take() {
                        let _gone = full.send(());
                    }
                    if !low(queue) || queue.blocking_send(batch).is_err() {
                        break;
                    }
                }
            }
        }
        if let Some(full) = full.take() {
            let _gone = full.send(());
        }
    }

    /// The next transfer of a node's accounts; accounts are assigned round-robin, every n-th to one node.
    fn transfer(&mut self, node: usize) -> Option<Signed> {
        let slot = self.next.get_mut(node)?;
        let account = *slot;
        let following = account.saturating_add(self.nodes);
        *slot = if following < self.members.len() {
            following
        } else {
            node
        };
        let to = account.saturating_add(1).checked_rem(self.members.len())?;
        let (sender, to) = (self.members.get(account)?, self.members.get(to)?);
        let nonce = self.nonces.get_mut(account)?;
        let signed = self.terms.sign(account, &sender.key, *nonce, to.address, AMOUNT);
        *nonce = nonce.saturating_add(1);
        Some(signed)
    }
}

/// Sends every queue to its node until the deadline.
pub(crate) async fn all(open: &OpenLoop, nodes: &[Node], jobs: Jobs, watch: &Watch) -> Outcome {
    let outcome = RefCell::new(Outcome::default());
    let end = deadline(open.duration);
    let pace = match open.tps {
        0 => None,
        tps => {
            let per_batch = jobs
                .batch
                .saturating_mul(nodes.len() as u64)
                .saturating_mul(1_000_000_000);
            per_batch
                .checked_div(tps)
                .map(|nanos| Duration::from_nanos(nanos.max(1)))
        }
    };
    let in_flight_max = match open.in_flight_max {
        0 => u64::MAX,
        max => max,
    };
    let senders = jobs.queues.into_iter().enumerate().map(|(node, queue)| Sender {
        node,
        in_flight_max,
        nodes,
        outcome: &outcome,
        watch,
        end,
        pace,
        queue,
    });
    join_all(senders.map(Sender::run)).await;
    outcome.into_inner()
}

struct Sender<'a> {
    node: usize,
    in_flight_max: u64,
    nodes: &'a [Node],
    outcome: &'a RefCell<Outcome>,
    watch: &'a Watch,
    end: Instant,
    pace: Option<Duration>,
    queue: mpsc::Receiver<Vec<Signed>>,
}

impl Sender<'_> {
    async fn run(mut self) {
        let mut ticks = self.pace.map(|pace| {
            let mut ticks = tokio::time::interval(pace);
            // The rate is kept: late ticks are caught up.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks
        });
        while Instant::now() < self.end {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let Some(batch) = self.queue.recv().await else {
                break;
            };
            self.room().await;
            self.batch(batch).await;
        }
    }

    /// Waits until fewer than the maximum are in flight, or until the deadline.
    async fn room(&self) {
        let (mut included, mut since) = (self.watch.included(), Instant::now());
        while self.outcome.borrow().in_flight(included) >= self.in_flight_max && Instant::now() < self.end {
            let _late = tokio::time::timeout(ROOM_WITHIN, self.watch.next_block()).await;
            let now_included = self.watch.included();
            if now_included != included {
                (included, since) = (now_included, Instant::now());
            } else if since.elapsed() >= GIVEN_UP_AFTER {
                self.outcome.borrow_mut().give_up(included);
            }
        }
    }

    /// Sends a batch, and again those refused for lack of space, until the deadline.
    async fn batch(&self, batch: Vec<Signed>) {
        let mut waiting = VecDeque::from(batch);
        let mut target = self.node;
        let mut sampled = false;
        while !waiting.is_empty() {
            let Some(node) = self.nodes.get(target) else {
                return;
            };
            let sent = Instant::now();
            let Ok(entries) = submit::batch(&node.client, &waiting).await else {
                // It may have been accepted, or not: the next node receives the same batch, and reports known
                // ones.
                self.outcome.borrow_mut().no_answer();
                if Instant::now() >= self.end {
                    return;
                }
                target = target
                    .saturating_add(1)
                    .checked_rem(self.nodes.len())
                    .unwrap_or(0);
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            };
            let mut again = VecDeque::new();
            {
                let mut outcome = self.outcome.borrow_mut();
                for (transfer, entry) in waiting.into_iter().zip(entries) {
                    match entry {
                        BatchEntry::Taken(_) => {
                            outcome.take(transfer.account);
                            if !sampled {
                                sampled = true;
                                self.watch.sample(target, transfer.hash, sent);
                            }
                        }
                        // Sent before, when the answer was lost.
                        BatchEntry::Refused { error } if is_there(&error) => outcome.take(transfer.account),
                        BatchEntry::Refused { error } if error.data.retryable => {
                            outcome.retry(error.data.reason);
                            again.push_back(transfer);
                        }
                        BatchEntry::Refused { error } => outcome.reject(error.data.reason),
                    }
                }
            }
            waiting = again;
            if !waiting.is_empty() {
                if Instant::now() >= self.end {
                    return;
                }
                // A block frees space.
                let _late = tokio::time::timeout(ROOM_WITHIN, self.watch.next_block()).await;
            }
        }
    }
}

/// Returns true if a refusal states that the transfer is in the pool or in a block already.
fn is_there(error: &ApiError) -> bool {
    [Code::AlreadyKnown, Code::NonceTooLow]
        .iter()
        .any(|code| error.code == code.number())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{Amount, Hash, Height};

    use super::*;

    #[test]
    fn low_rates_come_in_small_requests_and_high_ones_in_full_ones() {
        assert_eq!(batch_size(10, 100, 5), 1);
        assert_eq!(batch_size(500, 100, 5), 5);
        assert_eq!(batch_size(9_300, 100, 5), 93);
        assert_eq!(batch_size(100_000, 100, 5), 100);
        assert_eq!(batch_size(0, 100, 5), 100);
    }

    #[test]
    fn nothing_is_signed_until_little_is_left() {
        let one = || {
            vec![Signed {
                account: 0,
                hash: Hash::ZERO,
                raw: Vec::new(),
            }]
        };
        let (queue, mut taker) = mpsc::channel(8);
        (0..8).for_each(|_| queue.try_send(one()).unwrap());
        let waits = std::thread::spawn({
            let queue = queue.clone();
            move || low(&queue).then(|| queue.capacity())
        });
        for _ in 0..6 {
            assert!(taker.try_recv().is_ok());
        }
        assert_eq!(waits.join().unwrap(), Some(6), "two of eight are left");
        drop(taker);
        assert!(!low(&queue), "nobody takes any more");
    }

    #[test]
    fn every_node_gets_the_nonces_of_its_accounts_in_order() {
        let members = accounts::members(5);
        let mut signer = Signer {
            nonces: vec![7; members.len()],
            members,
            next: (0..2).collect(),
            nodes: 2,
            terms: Terms {
                genesis: Hash::ZERO,
                fee: Amount(1),
                valid_until: Height(9),
            },
        };
        let mut sent = |node: usize, count: usize| {
            let accounts: Vec<usize> = (0..count)
                .filter_map(|_| signer.transfer(node))
                .map(|one| one.account)
                .collect();
            accounts
        };
        assert_eq!(sent(0, 4), [0, 2, 4, 0]);
        assert_eq!(sent(1, 3), [1, 3, 1]);
        assert_eq!(signer.nonces, [9, 9, 8, 8, 8]);
    }
}
