//! The signature stage: whatever waits is checked in one batch, off the driver's thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_consensus::Verdict;
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{Hash, KnownKeys, Transaction, TransactionError, VerifiedTransaction};
use vibecoin_replica::{GossipId, PeerId, Ticket};

use crate::driver::Input;
use crate::queue::FairQueue;

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

/// Transactions that came by gossip, to be checked and offered to the pool.
pub struct Gossiped {
    /// From whom.
    pub from: PeerId,
    /// Whether they may be passed on is told under this name.
    pub gossip: Option<GossipId>,
    /// As decoded.
    pub transactions: Vec<Transaction>,
}

/// Who waits for the verdicts.
pub enum Origin {
    /// A client.
    Client(oneshot::Sender<Vec<Outcome>>),
    /// The gossip layer.
    Gossip {
        /// Under which name.
        gossip: Option<GossipId>,
        /// Who is to blame for what no honest node passes on.
        from: PeerId,
    },
}

/// A submission on its way through the replica: verdicts known so far, and who waits.
struct Pending {
    /// `None` where the pool has yet to speak.
    verdicts: Vec<Option<Outcome>>,
    offered: Vec<Arc<VerifiedTransaction>>,
    origin: Origin,
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
            origin,
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
            origin,
        })
    }
}

/// A completed submission: note what was taken, then send.
pub struct Answer {
    /// What the pool took.
    pub taken: Vec<Arc<VerifiedTransaction>>,
    verdicts: Vec<Outcome>,
    origin: Origin,
}

/// What there is to tell about a completed submission.
pub enum Told {
    /// The client has its answer.
    Client,
    /// The gossip layer is to be told.
    Gossip {
        /// Under which name.
        gossip: Option<GossipId>,
        /// From whom it came.
        from: PeerId,
        /// Whether it may be passed on.
        verdict: Verdict,
    },
}

impl Answer {
    /// Whether a client of this node gave the transactions.
    pub const fn is_from_client(&self) -> bool {
        matches!(self.origin, Origin::Client(_))
    }

    /// Tells the client; one that went away is no fault.
    pub fn send(self) -> Told {
        match self.origin {
            Origin::Client(reply) => {
                let _gone = reply.send(self.verdicts);
                Told::Client
            }
            Origin::Gossip { gossip, from } => Told::Gossip {
                gossip,
                from,
                verdict: verdict_of(&self.verdicts),
            },
        }
    }
}

/// Whether a batch may be passed on: one bad signature spoils it, one transaction that was news makes it
/// worth while. What the pool refuses is nobody's fault: pools differ.
fn verdict_of(outcomes: &[Outcome]) -> Verdict {
    let bad = |outcome: &Outcome| matches!(outcome, Err(SubmitError::Transaction(_)));
    if outcomes.iter().any(bad) {
        return Verdict::Rejected("a gossiped transaction with a bad form or signature");
    }
    if outcomes.iter().any(Result::is_ok) {
        return Verdict::Fresh;
    }
    Verdict::Ignored
}

struct Waiting {
    transactions: Vec<Transaction>,
    origin: Origin,
}

impl From<Submission> for Waiting {
    fn from(Submission { transactions, reply }: Submission) -> Self {
        Self {
            transactions,
            origin: Origin::Client(reply),
        }
    }
}

impl From<Gossiped> for Waiting {
    fn from(gossiped: Gossiped) -> Self {
        Self {
            transactions: gossiped.transactions,
            origin: Origin::Gossip {
                gossip: gossiped.gossip,
                from: gossiped.from,
            },
        }
    }
}

/// The two queues of the signature stage.
pub struct Queues {
    /// From clients. The stage ends when all senders of it are gone.
    pub submissions: Receiver<Submission>,
    /// From peers.
    pub gossiped: Arc<FairQueue<Gossiped>>,
}

impl Queues {
    /// Waits for the next entry; `None` at the end.
    fn next(&self) -> Option<Waiting> {
        loop {
            if let Some(waiting) = self.more() {
                return Some(waiting);
            }
            select! {
                recv(self.submissions) -> submission => return submission.ok().map(Waiting::from),
                recv(self.gossiped.bell()) -> _ => {}
            }
        }
    }

    /// The next entry if one waits.
    fn more(&self) -> Option<Waiting> {
        let submission = self.submissions.try_recv().ok().map(Waiting::from);
        submission.or_else(|| self.gossiped.pop().map(Waiting::from))
    }
}

/// Peers whose gossip had a bad signature lately: what they send is checked apart, so that it makes nobody else's
/// batch dearer, and after everybody else's.
#[derive(Default)]
struct Tainted {
    peers: VecDeque<PeerId>,
}

impl Tainted {
    /// Most peers that are remembered; the oldest is forgotten first.
    const MAX: usize = 64;

    fn has(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::Gossip { from, .. } if self.peers.contains(from))
    }

    fn note(&mut self, peer: PeerId) {
        self.peers.retain(|known| *known != peer);
        if self.peers.len() >= Self::MAX {
            self.peers.pop_front();
        }
        self.peers.push_back(peer);
    }

    fn clear(&mut self, peer: PeerId) {
        self.peers.retain(|known| *known != peer);
    }
}

/// Runs until every sender of submissions is gone.
pub fn run(genesis: Hash, queues: &Queues, tickets: &Tickets, driver: &Sender<Input>) {
    let (mut keys, mut tainted) = (KnownKeys::default(), Tainted::default());
    while let Some(first) = queues.next() {
        let mut count = first.transactions.len();
        let mut waiting = vec![first];
        while count < BATCH_MAX {
            let Some(next) = queues.more() else { break };
            count = count.saturating_add(next.transactions.len());
            waiting.push(next);
        }
        let (apart, together): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| tainted.has(&waiting.origin));
        let batches = std::iter::once(together).chain(apart.into_iter().map(|one| vec![one]));
        for batch in batches {
            let checked = check(&genesis, batch, &mut keys, &mut tainted);
            for (pending, transactions) in checked {
                let Some(ticket) = tickets.open(pending) else {
                    return;
                };
                if driver.send(Input::Transactions { ticket, transactions }).is_err() {
                    return;
                }
            }
        }
    }
}

/// Checks the signatures of what waits in one batch; gives what is to be offered to the pool, entry by entry.
fn check(
    genesis: &Hash,
    waiting: Vec<Waiting>,
    keys: &mut KnownKeys,
    tainted: &mut Tainted,
) -> Vec<(Pending, Vec<Arc<VerifiedTransaction>>)> {
    let mut all = Vec::new();
    let mut parts = Vec::with_capacity(waiting.len());
    for Waiting {
        mut transactions,
        origin,
    } in waiting
    {
        parts.push((transactions.len(), origin));
        all.append(&mut transactions);
    }
    let mut verified = Transaction::verify_batch_with(all, genesis, keys).into_iter();
    let entry = |(len, origin): (usize, Origin)| {
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
        if let Origin::Gossip { from, .. } = &origin {
            if verdicts.iter().any(Option::is_some) {
                tainted.note(*from);
            } else {
                tainted.clear(*from);
            }
        }
        let transactions = offered.clone();
        let pending = Pending {
            verdicts,
            offered,
            origin,
        };
        (pending, transactions)
    };
    parts.into_iter().map(entry).collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
