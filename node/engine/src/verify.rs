//! The signature stage: whatever waits is checked in one batch, off the driver's thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{Hash, Transaction, TransactionError, VerifiedTransaction};
use vibecoin_replica::Ticket;

use crate::driver::Input;

/// Most signatures checked in one batch: beyond it a batch gains nothing and delays the first caller.
pub const BATCH_MAX: usize = 1024;
/// Most submissions that wait for the signature stage; a caller beyond it is told "busy".
pub const SUBMISSIONS_MAX: usize = 256;

/// What became of one submitted transaction.
pub type Outcome = Result<(Hash, Inserted), SubmitError>;

/// Why a submitted transaction is not in the pool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Form or signature.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The pool refused it.
    #[error("{error}")]
    Pool {
        /// The transaction.
        id: Hash,
        /// Why.
        error: MempoolError,
    },
}

/// Transactions to be checked and offered to the pool, with the way back for the verdicts.
pub struct Submission {
    /// As decoded.
    pub transactions: Vec<Transaction>,
    /// One verdict per transaction, in order.
    pub reply: oneshot::Sender<Vec<Outcome>>,
}

/// A submission on its way through the replica: verdicts known so far, and who waits.
struct Pending {
    /// `None` where the pool has yet to speak.
    verdicts: Vec<Option<Outcome>>,
    offered: Vec<Arc<VerifiedTransaction>>,
    reply: oneshot::Sender<Vec<Outcome>>,
}

/// Submissions between the signature stage and the pool's answer. Bounded by the driver's inbox.
pub struct Tickets {
    next: AtomicU64,
    /// `None` once the driver has ended: nobody would answer any more.
    pending: Mutex<Option<HashMap<Ticket, Pending>>>,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(0),
            pending: Mutex::new(Some(HashMap::new())),
        }
    }
}

impl Tickets {
    fn open(&self, pending: Pending) -> Option<Ticket> {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        self.pending.lock().as_mut()?.insert(ticket, pending);
        Some(ticket)
    }

    /// The driver has ended: callers that wait learn it at once, and nobody waits from now on.
    pub fn close_all(&self) {
        *self.pending.lock() = None;
    }

    /// Completes a submission with the pool's answers and returns what the pool took.
    pub fn close(&self, ticket: Ticket, results: Vec<Result<Inserted, MempoolError>>) -> Option<Answer> {
        let Pending {
            mut verdicts,
            offered,
            reply,
        } = self.pending.lock().as_mut()?.remove(&ticket)?;
        let mut taken = Vec::with_capacity(offered.len());
        let open = verdicts.iter_mut().filter(|verdict| verdict.is_none());
        for ((verdict, transaction), result) in open.zip(offered).zip(results) {
            let id = *transaction.id();
            *verdict = Some(match result {
                Ok(inserted) => {
                    taken.push(transaction);
                    Ok((id, inserted))
                }
                Err(error) => Err(SubmitError::Pool { id, error }),
            });
        }
        Some(Answer {
            taken,
            verdicts: verdicts.into_iter().flatten().collect(),
            reply,
        })
    }
}

/// A completed submission: note what was taken, then send.
pub struct Answer {
    /// What the pool took.
    pub taken: Vec<Arc<VerifiedTransaction>>,
    verdicts: Vec<Outcome>,
    reply: oneshot::Sender<Vec<Outcome>>,
}

impl Answer {
    /// Tells the caller; one that went away is no fault.
    pub fn send(self) {
        let _gone = self.reply.send(self.verdicts);
    }
}

/// Runs until every sender of submissions is gone.
pub fn run(genesis: Hash, submissions: &Receiver<Submission>, tickets: &Tickets, driver: &Sender<Input>) {
    while let Ok(first) = submissions.recv() {
        let mut count = first.transactions.len();
        let mut waiting = vec![first];
        while count < BATCH_MAX {
            let Ok(next) = submissions.try_recv() else { break };
            count = count.saturating_add(next.transactions.len());
            waiting.push(next);
        }
        let mut all = Vec::with_capacity(count);
        let mut parts = Vec::with_capacity(waiting.len());
        for Submission {
            mut transactions,
            reply,
        } in waiting
        {
            parts.push((transactions.len(), reply));
            all.append(&mut transactions);
        }
        let mut verified = Transaction::verify_batch(all, &genesis).into_iter();
        for (len, reply) in parts {
            let mut verdicts = Vec::with_capacity(len);
            let mut offered = Vec::with_capacity(len);
            for verdict in verified.by_ref().take(len) {
                match verdict {
                    Ok(transaction) => {
                        offered.push(Arc::new(transaction));
                        verdicts.push(None);
                    }
                    Err(error) => verdicts.push(Some(Err(SubmitError::Transaction(error)))),
                }
            }
            if offered.is_empty() {
                let _gone = reply.send(verdicts.into_iter().flatten().collect());
                continue;
            }
            let transactions = offered.clone();
            let Some(ticket) = tickets.open(Pending {
                verdicts,
                offered,
                reply,
            }) else {
                return;
            };
            if driver.send(Input::Transactions { ticket, transactions }).is_err() {
                return;
            }
        }
    }
}
