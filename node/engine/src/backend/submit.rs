//! Submissions of clients: transactions, simulations, evidence and the faucet.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::TrySendError;
use tokio::sync::oneshot;
use vibecoin_execution::{BlockContext, BlockExecutor, ExecutionError, InvalidTransaction};
use vibecoin_mempool::{Inserted, MempoolError, Status};
use vibecoin_primitives::{Address, Amount, Evidence, Hash, Receipt, Transaction};
use vibecoin_rpc_backend::{Admitted, BackendError, Caller, Read, Refusal, TransactionStatus};

use super::{NodeBackend, internal};
use crate::driver::NodeEvent;
use crate::submissions::{BUSY, Refused};
use crate::verify::{Outcome, Rejected};

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
            Err(Refused::Full) => return refuse(BUSY),
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

    /// The answer to a submission. Submitting the same bytes again is not a refusal.
    fn verdict(&self, outcome: Outcome) -> Result<Admitted, Refusal> {
        let (id, reason) = match outcome {
            Ok((id, inserted)) => {
                let status = inserted_as(&inserted);
                return Ok(Admitted { id, status });
            }
            Err(Rejected { id: Some(id), reason }) => (id, reason),
            Err(Rejected { id: None, reason }) => return Err(reason),
        };
        let known = match &reason {
            Refusal::Pool(MempoolError::AlreadyKnown { .. }) => {
                // It may have left the pool between the two lookups.
                Some(match self.status_of(&id)? {
                    TransactionStatus::Unknown => TransactionStatus::Pending,
                    status => status,
                })
            }
            // A block that includes it passes its nonce, and may pass its last height.
            Refusal::Pool(MempoolError::Invalid(
                InvalidTransaction::NonceTooLow { .. } | InvalidTransaction::Expired { .. },
            )) => self.submitted_before(&id)?,
            _ => None,
        };
        known.map(|status| Admitted { id, status }).ok_or(reason)
    }

    /// Answers `Backend::simulate`.
    pub(super) fn execute_next(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        let verified = transaction.verify(&self.facts.genesis)?;
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
            // The pool would let it wait, as far as a gap may reach.
            Err(ExecutionError::Invalid {
                reason: InvalidTransaction::NonceTooHigh { expected, got },
                ..
            }) => Err(Refusal::Pool(MempoolError::NonceGap {
                expected,
                got,
                gap_max: self.nonce_gap_max,
            })),
            Err(ExecutionError::Invalid { reason, .. }) => Err(Refusal::Pool(reason.into())),
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

const fn inserted_as(inserted: &Inserted) -> TransactionStatus {
    match inserted.status {
        Status::Queued { expected } => TransactionStatus::Queued { expected },
        _ => TransactionStatus::Pending,
    }
}
