//! Submission of batches; in the closed loop over several connections at once, and transfers that were refused for
//! lack of space again.

use std::collections::VecDeque;

use futures_util::future::join_all;
use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use tokio::sync::watch;
use vibecoin_rpc_api::methods::TxApiClient as _;
use vibecoin_rpc_api::views::{BatchEntry, SubmitOptions, Wait};

use crate::blocks::Blocks;
use crate::error::LoadError;
use crate::outcome::Outcome;
use crate::transfer::Signed;

/// Submits transfers, and waits until the node's pool has accepted or refused them. One entry each, in order.
pub(crate) async fn batch<'a>(
    client: &HttpClient,
    transfers: impl IntoIterator<Item = &'a Signed>,
) -> Result<Vec<BatchEntry>, ClientError> {
    let raws = transfers
        .into_iter()
        .map(|transfer| transfer.raw.clone().into())
        .collect();
    let options = SubmitOptions {
        wait: Wait::Mempool,
        ..SubmitOptions::default()
    };
    client.submit_batch(raws, Some(options)).await
}

/// Sends every queue over its connection, and follows blocks meanwhile.
pub(crate) async fn all(
    connections: Vec<(HttpClient, Vec<Signed>)>,
    blocks: &mut Blocks,
    batch_max: u64,
) -> Result<Outcome, LoadError> {
    let size = usize::try_from(batch_max).unwrap_or(1).max(1);
    let mut tasks = Vec::new();
    for (client, queue) in connections {
        tasks.push(one(client, queue, blocks.pulse(), size));
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
            block = blocks.next() => block?,
        }
    }
}

/// Sends one queue, in order.
async fn one(
    client: HttpClient,
    queue: Vec<Signed>,
    mut pulse: watch::Receiver<u64>,
    size: usize,
) -> Result<Outcome, LoadError> {
    let mut queue = VecDeque::from(queue);
    let mut outcome = Outcome::default();
    while !queue.is_empty() {
        let sent: Vec<Signed> = queue.drain(..size.min(queue.len())).collect();
        pulse.borrow_and_update();
        let entries = batch(&client, &sent).await?;
        let mut again = Vec::new();
        for (transfer, entry) in sent.into_iter().zip(entries) {
            match entry {
                BatchEntry::Taken(_) => outcome.take(transfer.account),
                BatchEntry::Refused { error } if error.data.retryable => {
                    outcome.retry(error.data.reason);
                    again.push(transfer);
                }
                BatchEntry::Refused { error } => outcome.reject(error.data.reason),
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
