//! Submissions of clients: transactions, simulations, evidence and the faucet.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::TrySendError;
use tokio::sync::oneshot;
use vibecoin_execution::{BlockContext, BlockExecutor, ExecutionError};
use vibecoin_primitives::{Address, Amount, Evidence, Hash, Receipt, Transaction};
use vibecoin_rpc_backend::{Admitted, BackendError, Caller, Read, Refusal};

use super::refusal::SUBMISSIONS_BUSY;
use super::{NodeBackend, internal};
use crate::driver::NodeEvent;
use crate::submissions::Refused;
use crate::verify::SubmitError;

impl NodeBackend {
    /// Answers `Backend::submit`.
    pub(super) async fn submit_all(
        &self,
        from: Caller,
        transactions: Vec<Transaction>,
    ) -> Vec<Result<Admitted, Refusal>> {
        let count = transactions.len();
        let refuse = |error: BackendError| vec![Err(Refusal::Unavailable(error)); count];
        if self.shared.stopping.load(Ordering::Relaxed) {
            return refuse(BackendError::ShuttingDown);
        }
        let (reply, answer) = oneshot::channel();
        match self.submissions.push(from, transactions, reply) {
            Ok(()) => {}
            Err(Refused::Full) => return refuse(SUBMISSIONS_BUSY),
            Err(Refused::Ended) => return refuse(BackendError::ShuttingDown),
        }
        match answer.await {
            Ok(verdicts) => verdicts
                .into_iter()
                .map(|verdict| self.verdict(verdict))
                .collect(),
            Err(_) => refuse(BackendError::ShuttingDown),
        }
    }

    /// Answers `Backend::simulate`.
    pub(super) fn execute_next(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        let verified = transaction
            .verify(&self.facts.genesis)
            .map_err(|error| self.verdict(Err(SubmitError::Transaction(error))).err())
            .map_err(|refusal| {
                refusal.unwrap_or(Refusal::Malformed {
                    detail: "not a transaction".to_owned(),
                })
            })?;
        let (head, view) = self.view(None)?;
        let context = BlockContext {
            params: Arc::new(self.facts.params.clone()),
            validators: Arc::new(self.facts.validators.clone()),
            height: view.height().saturating_add(1),
            payout: self
                .facts
                .validators
                .members()
                .first()
                .map_or_else(Address::system, |v| v.payout),
        };
        let read = Self::context(&head);
        let mut executor = BlockExecutor::new(view, context);
        match executor.execute(&verified) {
            Ok(receipt) => Ok(Read {
                context: read,
                value: receipt.clone(),
            }),
            Err(ExecutionError::Invalid { reason, .. }) => Err(self.invalid(reason)),
            Err(error) => Err(Refusal::Unavailable(internal(error))),
        }
    }

    /// Answers `Backend::submit_evidence`.
    pub(super) fn offer_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        let Some(driver) = &self.handles.driver else {
            return Err(BackendError::Disabled {
                feature: "taking evidence",
            });
        };
        driver
            .try_send(NodeEvent::Evidence(Box::new(evidence)))
            .map_err(|error| match error {
                TrySendError::Full(_) => BackendError::Busy {
                    queue: "the driver's inbox",
                },
                TrySendError::Disconnected(_) => BackendError::ShuttingDown,
            })
    }

    /// Answers `Backend::faucet`.
    pub(super) async fn gift(&self, to: Address, amount: Amount) -> Result<Hash, Refusal> {
        let Some(faucet) = &self.handles.faucet else {
            return Err(BackendError::Disabled {
                feature: "the faucet",
            }
            .into());
        };
        let _turn = faucet.turn().await;
        let waiting = self.account_in_pool(faucet.address()).next_nonce;
        let nonce = waiting.unwrap_or_else(|| self.committed_nonce(faucet.address()));
        let head = self.shared.head().header.height;
        let gift = faucet.gift(&self.facts.genesis, &self.facts.params, head, nonce, to, amount);
        let verdict = self.submit_all(Caller::NODE, vec![gift]).await.into_iter().next();
        verdict
            .ok_or(BackendError::ShuttingDown)?
            .map(|admitted| admitted.id)
    }
}
