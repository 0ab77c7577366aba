//! Submissions: offered to the pool, and waited for as long as the caller wishes.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use vibecoin_primitives::{Hash, Transaction};
use vibecoin_rpc_api::registry::RECEIPTS_BLOCK_UNITS;
use vibecoin_rpc_api::views::{BatchEntry, Submitted, Wait};
use vibecoin_rpc_api::{ApiError, BytesArg};
use vibecoin_rpc_backend::{Admitted, Backend, Refusal, TransactionStatus};

use super::views::status_view;
use super::{Rpc, read, small};
use crate::errors::Coded as _;
use crate::gate::{self, wait_for_block};
use crate::settling::Awaited;
use crate::work::on_a_thread;

/// Units that a transaction with a bad signature costs its caller beside the price of the call.
const BAD_SIGNATURE_UNITS: u32 = 20;
/// Blocks that an answer may need on a thread that serves connections. Receipts of one submission usually are
/// in one block, which is still in memory.
const BLOCKS_AT_HAND_MAX: usize = 4;

impl<B: Backend> Rpc<B> {
    /// Offers all, then waits once for all that were accepted. One entry per raw transaction, in
    /// order.
    pub(super) async fn submit_all(
        &self,
        raws: Vec<BytesArg>,
        wait: Wait,
        timeout: Duration,
    ) -> Result<Vec<BatchEntry>, ApiError> {
        // Before anything is decoded: a refusal has no effect, and costs next to nothing.
        let (_waiting, awaited) = match wait {
            Wait::Final => (
                wait_for_block()?,
                Some(self.rules.settling.wait(gate::caller(), raws.len())?),
            ),
            Wait::None | Wait::Mempool => (None, None),
        };
        let mut entries: Vec<Option<BatchEntry>> = Vec::with_capacity(raws.len());
        let mut transactions = Vec::with_capacity(raws.len());
        for raw in raws {
            match read(raw) {
                Ok(transaction) => {
                    transactions.push(transaction);
                    entries.push(None);
                }
                Err(error) => entries.push(Some(BatchEntry::Refused { error })),
            }
        }
        let verdicts = if wait == Wait::None {
            self.submit_and_forget(transactions).await
        } else {
            self.submit_and_wait(transactions, awaited, timeout).await?
        };
        let mut verdicts = verdicts.into_iter();
        let fill = |entry: Option<BatchEntry>| {
            entry
                .or_else(|| verdicts.next())
                .ok_or_else(|| ApiError::internal("a submission has no verdict"))
        };
        entries.into_iter().map(fill).collect()
    }

    async fn submit_and_wait(
        &self,
        transactions: Vec<Transaction>,
        awaited: Option<Awaited>,
        timeout: Duration,
    ) -> Result<Vec<BatchEntry>, ApiError> {
        // In a separate task: it is paid for even if the caller disconnects.
        let submitting = tokio::spawn(self.submitting(transactions));
        let mut verdicts = submitting.await.map_err(|error| {
            tracing::error!(target: "rpc", %error, "a submission ended early");
            ApiError::internal("the node failed to answer; its log says why")
        })?;
        if let Some(awaited) = awaited {
            let unsettled = |verdict: &&mut Result<Admitted, Refusal>| {
                verdict
                    .as_ref()
                    .is_ok_and(|admitted| !admitted.status.is_settled())
            };
            let ids: Vec<Hash> = verdicts
                .iter_mut()
                .filter(unsettled)
                .filter_map(|v| v.as_ref().ok().map(|a| a.id))
                .collect();
            if !ids.is_empty() {
                let mut settled = self.settle(awaited, ids, timeout).await?.into_iter();
                for verdict in verdicts.iter_mut().filter(unsettled) {
                    if let (Ok(admitted), Some(status)) = (verdict, settled.next()) {
                        admitted.status = status;
                    }
                }
            }
        }
        let included = verdicts
            .iter()
            .filter_map(|verdict| match verdict.as_ref().ok()?.status {
                TransactionStatus::Included { height, .. } => Some(height),
                _ => None,
            });
        let blocks = included.collect::<BTreeSet<_>>().len();
        if blocks <= BLOCKS_AT_HAND_MAX {
            return self.entries(verdicts);
        }
        // Bytes sent again that were included long ago: each block is read from the store.
        self.charge_beyond(
            "tx_submitBatch",
            small(blocks).saturating_mul(RECEIPTS_BLOCK_UNITS),
        );
        let permit = self.rules.building.acquire(gate::caller()).await?;
        let own = self.clone();
        on_a_thread(move || {
            let _permit = permit;
            own.entries(verdicts)
        })
        .await?
    }

    /// Waits for the ends of transactions. A call that loses its place to another caller's ends as if its time were
    /// over.
    pub(super) async fn settle(
        &self,
        mut awaited: Awaited,
        ids: Vec<Hash>,
        timeout: Duration,
    ) -> Result<Vec<TransactionStatus>, ApiError> {
        let settled = tokio::select! {
            biased;
            settled = self.backend.settle(ids.clone(), timeout) => settled,
            () = awaited.displaced() => self.backend.settle(ids, Duration::ZERO).await,
        };
        settled.coded()
    }

    /// Outcome of each transaction, with receipts.
    fn entries(&self, verdicts: Vec<Result<Admitted, Refusal>>) -> Result<Vec<BatchEntry>, ApiError> {
        // Transactions of one batch usually are in the same block: it is read once.
        let mut block = None;
        verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Ok(admitted) => self
                    .submitted_in(&mut block, admitted.id, admitted.status)
                    .map(BatchEntry::Taken),
                Err(refusal) => Ok(BatchEntry::Refused {
                    error: self.refused(refusal),
                }),
            })
            .collect()
    }

    /// `wait: none`: answers with the hashes while the pool is still deciding. Its verdict is available
    /// from `tx_getStatus`. Only a node that is too busy to decide is reported.
    async fn submit_and_forget(&self, transactions: Vec<Transaction>) -> Vec<BatchEntry> {
        let genesis = self.backend.facts().genesis;
        let taken = |transaction: &Transaction| {
            let status = status_view(transaction.id(&genesis), TransactionStatus::Unknown);
            BatchEntry::Taken(Submitted {
                status,
                receipt: None,
            })
        };
        let entries: Vec<BatchEntry> = transactions.iter().map(taken).collect();
        let mut submitting = Box::pin(self.submitting(transactions));
        // A full queue refuses at the first poll.
        let first = poll_fn(|task| Poll::Ready(submitting.as_mut().poll(task))).await;
        let Poll::Ready(verdicts) = first else {
            tokio::spawn(submitting);
            return entries;
        };
        let refused = |(entry, verdict): (BatchEntry, Result<_, Refusal>)| match verdict {
            Err(refusal @ Refusal::Unavailable(_)) => BatchEntry::Refused {
                error: self.refused(refusal),
            },
            _ => entry,
        };
        entries.into_iter().zip(verdicts).map(refused).collect()
    }

    /// Offers transactions to the pool. Bad signatures cost the node more than good ones, and their sender
    /// nothing but what is charged here.
    fn submitting(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Admitted, Refusal>>> + Send + use<B> {
        let (own, caller) = (self.clone(), gate::caller());
        async move {
            let verdicts = own.backend.submit(caller, transactions).await;
            let bad = verdicts
                .iter()
                .filter(|verdict| verdict.as_ref().is_err_and(Refusal::is_bad_signature));
            let units = small(bad.count()).saturating_mul(BAD_SIGNATURE_UNITS);
            own.rules.charge(caller, units);
            verdicts
        }
    }
}
