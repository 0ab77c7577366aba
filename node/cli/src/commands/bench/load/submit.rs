//! Submission over several connections at once; transfers refused for lack of space are sent again.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::join_all;
use tokio::sync::watch;
use vibecoin_rpc_api::methods::TxApiClient as _;
use vibecoin_rpc_api::views::{BatchEntry, SubmitOptions, Wait};

use super::LoadArgs;
use super::blocks::Blocks;
use crate::context::Context;
use crate::error::CliError;

/// A transfer that is ready to be sent.
pub struct Signed {
    /// Index of the sending account.
    pub account: usize,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// Outcome of the submissions.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Accepted by the pool.
    pub taken: u64,
    /// Number of accepted transfers, by account.
    pub sent: BTreeMap<usize, u64>,
    /// Refused permanently, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Refused for lack of space and sent again, by reason.
    pub retried: BTreeMap<String, u64>,
}

impl Outcome {
    /// Number of accepted transfers of an account.
    pub fn sent_by(&self, account: usize) -> u64 {
        self.sent.get(&account).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        self.taken = self.taken.saturating_add(other.taken);
        let merge = |into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            for (reason, count) in from {
                count_up(into, reason, count);
            }
        };
        merge(&mut self.rejected, other.rejected);
        merge(&mut self.retried, other.retried);
        for (account, count) in other.sent {
            count_up(&mut self.sent, account, count);
        }
    }
}

fn count_up<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    let sum = counts.entry(key).or_default();
    *sum = sum.saturating_add(count);
}

/// Sends every queue over a separate connection, and follows blocks meanwhile.
pub async fn all(
    context: &Context,
    queues: Vec<Vec<Signed>>,
    blocks: &mut Blocks,
    args: &LoadArgs,
) -> Result<Outcome, CliError> {
    let mut tasks = Vec::new();
    for queue in queues {
        tasks.push(one(context, queue, blocks.pulse(), args));
    }
    let sending = join_all(tasks);
    tokio::pin!(sending);
    loop {
        tokio::select! {
            outcomes = &mut sending => {
                let mut sum = Outcome::default();
                for outcome in outcomes {
                    sum.add(outcome?);
                }
                return Ok(sum);
            }
            heard = blocks.next() => heard?,
        }
    }
}

/// Sends one queue, in order.
async fn one(
    context: &Context,
    queue: Vec<Signed>,
    mut pulse: watch::Receiver<u64>,
    args: &LoadArgs,
) -> Result<Outcome, CliError> {
    let client = context.client()?;
    let size = usize::try_from(args.batch).unwrap_or(1);
    let mut queue = VecDeque::from(queue);
    let mut outcome = Outcome::default();
    while !queue.is_empty() {
        let batch: Vec<Signed> = queue.drain(..size.min(queue.len())).collect();
        let raws = batch.iter().map(|transfer| transfer.raw.clone().into()).collect();
        let options = SubmitOptions {
            wait: Wait::Mempool,
            ..SubmitOptions::default()
        };
        pulse.borrow_and_update();
        let entries = client.submit_batch(raws, Some(options)).await?;
        let mut again = Vec::new();
        for (transfer, entry) in batch.into_iter().zip(entries) {
            match entry {
                BatchEntry::Taken(_) => {
                    outcome.taken = outcome.taken.saturating_add(1);
                    count_up(&mut outcome.sent, transfer.account, 1);
                }
                BatchEntry::Refused { error } if error.data.retryable => {
                    count_up(&mut outcome.retried, error.data.reason, 1);
                    again.push(transfer);
                }
                BatchEntry::Refused { error } => count_up(&mut outcome.rejected, error.data.reason, 1),
            }
        }
        if !again.is_empty() {
            // Back to the front, in order: later nonces depend on them.
            for transfer in again.into_iter().rev() {
                queue.push_front(transfer);
            }
            // A block frees space.
            let _ended = pulse.changed().await;
        }
    }
    Ok(outcome)
}
