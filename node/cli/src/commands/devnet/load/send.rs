//! Signing ahead and sending at a rate; transfers refused for lack of space are sent again.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use vibecoin_client::sign;
use vibecoin_primitives::{Amount, Hash, Height, Nonce, Operation, TransactionBody};
use vibecoin_rpc_api::methods::TxApiClient as _;
use vibecoin_rpc_api::views::{BatchEntry, SubmitOptions, Wait};
use vibecoin_rpc_api::{ApiError, Code};

use super::LoadArgs;
use super::watch::Watch;
use crate::chain::Chain;
use crate::commands::bench::load::AMOUNT;
use crate::commands::bench::load::accounts::{self, Seen};
use crate::context::Context;
use crate::error::CliError;

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

/// A signed transfer.
pub struct Signed {
    account: usize,
    hash: Hash,
    raw: Vec<u8>,
}

/// Outcome of the submissions.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Accepted by a pool.
    pub taken: u64,
    /// Number of accepted transfers, by account.
    pub sent: BTreeMap<usize, u64>,
    /// Refused permanently, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Refused for lack of space and sent again, by reason.
    pub retried: BTreeMap<String, u64>,
    /// Requests without an answer; they were repeated, to a different node.
    pub unanswered: u64,
    /// Accepted, and abandoned: no block included any while they were the only ones in flight.
    pub given_up: u64,
}

impl Outcome {
    /// Number of accepted transfers of an account.
    pub fn sent_by(&self, account: usize) -> u64 {
        self.sent.get(&account).copied().unwrap_or(0)
    }

    fn no_answer(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Number in flight, when `included` are in blocks.
    fn in_flight(&self, included: u64) -> u64 {
        self.taken.saturating_sub(included).saturating_sub(self.given_up)
    }

    fn give_up(&mut self, included: u64) {
        self.given_up = self.taken.saturating_sub(included);
    }

    fn take(&mut self, account: usize) {
        self.taken = self.taken.saturating_add(1);
        count(&mut self.sent, account);
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let sum = counts.entry(key).or_default();
    *sum = sum.saturating_add(1);
}

/// Transfers signed in a separate thread, in batches, with a queue per node.
pub struct Jobs {
    queues: Vec<mpsc::Receiver<Vec<Signed>>>,
    full: Option<tokio::sync::oneshot::Receiver<()>>,
    batch: u64,
}

impl Jobs {
    /// Starts signing.
    pub fn start(args: &LoadArgs, chain: &Chain, nodes: usize, before: &[Seen], fee: Amount) -> Self {
        let batch = batch_size(args, nodes);
        let transfers = match args.tps {
            0 => u64::MAX,
            tps => tps.saturating_mul(args.secs),
        };
        let batches = transfers.div_ceil(batch);
        let size = usize::try_from(batch).unwrap_or(1).max(1);
        let ahead = AHEAD_MAX
            .checked_div(size.saturating_mul(nodes.max(1)))
            .unwrap_or(1)
            .max(1);
        let (senders, queues): (Vec<_>, Vec<_>) = (0..nodes).map(|_| mpsc::channel(ahead)).unzip();
        let (told, full) = tokio::sync::oneshot::channel();
        let signer = Signer {
            members: accounts::members(before.len() as u64),
            nonces: before.iter().map(|seen| seen.nonce).collect(),
            next: (0..nodes).collect(),
            nodes,
            prefix: chain.genesis.prefix(),
            genesis: chain.genesis,
            fee,
            // The chain has advanced while the accounts were funded, and continues to.
            valid_until: Height(
                chain
                    .valid_until(Some(chain.info.params.validity_window.0))
                    .0
                    .saturating_sub(1),
            ),
        };
        std::thread::spawn(move || signer.work(&senders, batches, size, told));
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
fn batch_size(args: &LoadArgs, nodes: usize) -> u64 {
    if args.tps == 0 {
        return args.batch;
    }
    let requests = REQUESTS_PER_S.saturating_mul(nodes as u64).max(1);
    args.tps.div_ceil(requests).clamp(1, args.batch)
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
    members: Vec<accounts::Member>,
    nonces: Vec<u64>,
    /// By node, the next account to send.
    next: Vec<usize>,
    nodes: usize,
    prefix: [u8; 4],
    genesis: Hash,
    fee: Amount,
    valid_until: Height,
}

impl Signer {
    fn work(
        mut self,
        queues: &[mpsc::Sender<Vec<Signed>>],
        batches: u64,
        size: usize,
        told: tokio::sync::oneshot::Sender<()>,
    ) {
        let mut told = Some(told);
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
                    if let Some(told) = told.take() {
                        let _gone = told.send(());
                    }
                    if !low(queue) || queue.blocking_send(batch).is_err() {
                        break;
                    }
                }
            }
        }
        if let Some(told) = told.take() {
            let _gone = told.send(());
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
        let body = TransactionBody {
            chain: self.prefix,
            sender: sender.key.public_key(),
            nonce: Nonce(*nonce),
            fee: self.fee,
            valid_until: self.valid_until,
            operations: vec![Operation::Transfer {
                to: to.address,
                amount: AMOUNT,
            }],
        };
        *nonce = nonce.saturating_add(1);
        let (hash, raw) = sign(body, &self.genesis, &sender.key);
        Some(Signed { account, hash, raw })
    }
}

/// Sends every queue to its node until the deadline.
pub async fn all(
    context: &Context,
    args: &LoadArgs,
    nodes: &[super::NodeRecord],
    jobs: Jobs,
    watch: &Watch,
) -> Result<Outcome, CliError> {
    let outcome = RefCell::new(Outcome::default());
    let end = super::super::run::deadline(args.secs);
    let clients = nodes
        .iter()
        .map(|node| context.at(node.url(), &node.home).client())
        .collect::<Result<Vec<_>, _>>()?;
    let pace = match args.tps {
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
    let in_flight_max = match args.in_flight {
        0 => u64::MAX,
        most => most,
    };
    let senders = jobs.queues.into_iter().enumerate().map(|(node, queue)| Sender {
        node,
        in_flight_max,
        clients: &clients,
        outcome: &outcome,
        watch,
        end,
        pace,
        queue,
    });
    let done = join_all(senders.map(Sender::run)).await;
    done.into_iter().collect::<Result<(), _>>()?;
    Ok(outcome.into_inner())
}

struct Sender<'a> {
    node: usize,
    in_flight_max: u64,
    clients: &'a [jsonrpsee::http_client::HttpClient],
    outcome: &'a RefCell<Outcome>,
    watch: &'a Watch,
    end: Instant,
    pace: Option<Duration>,
    queue: mpsc::Receiver<Vec<Signed>>,
}

impl Sender<'_> {
    async fn run(mut self) -> Result<(), CliError> {
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
        Ok(())
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
            let Some(client) = self.clients.get(target) else {
                return;
            };
            let raws = waiting
                .iter()
                .map(|transfer| transfer.raw.clone().into())
                .collect();
            let options = SubmitOptions {
                wait: Wait::Mempool,
                ..SubmitOptions::default()
            };
            let sent = Instant::now();
            let Ok(entries) = client.submit_batch(raws, Some(options)).await else {
                // It may have been accepted, or not: the next node receives the same batch, and reports known
                // ones.
                self.outcome.borrow_mut().no_answer();
                if Instant::now() >= self.end {
                    return;
                }
                target = target
                    .saturating_add(1)
                    .checked_rem(self.clients.len())
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
                            count(&mut outcome.retried, error.data.reason);
                            again.push_back(transfer);
                        }
                        BatchEntry::Refused { error } => count(&mut outcome.rejected, error.data.reason),
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
    use super::*;

    #[test]
    fn low_rates_come_in_small_requests_and_high_ones_in_full_ones() {
        let args = |tps: u64| LoadArgs {
            tps,
            accounts: 10,
            secs: 1,
            batch: 100,
            in_flight: 0,
            nodes: Vec::new(),
            settle: 1,
        };
        assert_eq!(batch_size(&args(10), 5), 1);
        assert_eq!(batch_size(&args(500), 5), 5);
        assert_eq!(batch_size(&args(9_300), 5), 93);
        assert_eq!(batch_size(&args(100_000), 5), 100);
        assert_eq!(batch_size(&args(0), 5), 100);
    }

    #[test]
    fn what_never_comes_is_given_up_and_makes_room() {
        let mut outcome = Outcome::default();
        (0..10).for_each(|_| outcome.take(0));
        assert_eq!(outcome.in_flight(4), 6);
        outcome.give_up(4);
        assert_eq!(outcome.in_flight(4), 0);
        outcome.take(0);
        assert_eq!(outcome.in_flight(4), 1);
        assert_eq!(outcome.in_flight(7), 0, "some came after all");
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
            prefix: [0; 4],
            genesis: Hash::ZERO,
            fee: Amount(1),
            valid_until: Height(9),
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
