//! The signature stage: whatever waits is checked in one batch, off the driver's thread.
//!
//! A bad signature must not make the batch of all others dear. A gossiped message with one is refused as a whole,
//! for the price of one batch of its own: who passes transactions on has checked them. Only what clients of this
//! node submit is looked at one by one, since each gets its own verdict.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_consensus::Verdict;
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{Hash, KnownKeys, Transaction, TransactionError, VerifiedTransaction};
use vibecoin_replica::{GossipId, PeerId, Refusal, Refused, Ticket};

use crate::driver::Input;
use crate::inspect::Report;
use crate::queue::FairQueue;

/// Most signatures checked in one batch: beyond it a batch gains nothing and delays the first caller.
pub const BATCH_MAX: usize = 1024;
/// Most submissions that wait for the signature stage; a caller beyond it is told "busy".
pub const SUBMISSIONS_MAX: usize = 256;

/// Tells the gossip layer whether a message may be passed on.
pub type Forward = Box<dyn Fn(GossipId, Verdict) + Send>;

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
    Gossip(Option<GossipId>),
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
    /// It came to this node alone.
    Nobody,
    /// The gossip layer is to be told.
    Gossip {
        /// Under which name.
        gossip: GossipId,
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
            Origin::Gossip(None) => Told::Nobody,
            Origin::Gossip(Some(gossip)) => Told::Gossip {
                gossip,
                verdict: verdict_of(&self.verdicts),
            },
        }
    }
}

/// Whether a batch with good signatures may be passed on: one transaction that was news makes it worth while. What
/// the pool refuses is nobody's fault: pools differ.
fn verdict_of(outcomes: &[Outcome]) -> Verdict {
    if outcomes.iter().any(Result::is_ok) {
        return Verdict::Fresh;
    }
    Verdict::Ignored
}

struct Waiting {
    transactions: Vec<Transaction>,
    origin: Origin,
    /// The peer that it came from.
    from: Option<PeerId>,
}

impl From<Submission> for Waiting {
    fn from(Submission { transactions, reply }: Submission) -> Self {
        Self {
            transactions,
            origin: Origin::Client(reply),
            from: None,
        }
    }
}

impl From<Gossiped> for Waiting {
    fn from(gossiped: Gossiped) -> Self {
        Self {
            transactions: gossiped.transactions,
            origin: Origin::Gossip(gossiped.gossip),
            from: Some(gossiped.from),
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

    fn has(&self, peer: Option<PeerId>) -> bool {
        peer.is_some_and(|peer| self.peers.contains(&peer))
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

/// What the stage needs of the node.
pub struct Stage {
    /// The chain's genesis hash.
    pub genesis: Hash,
    /// What waits.
    pub queues: Queues,
    /// Who waits for verdicts.
    pub tickets: Arc<Tickets>,
    /// Called with gossip that no honest peer passes on.
    pub report: Report,
    /// Tells the gossip layer what becomes of a message.
    pub forward: Forward,
}

impl Stage {
    /// Runs until every sender of submissions is gone.
    pub fn run(&self, driver: &Sender<Input>) {
        let (mut keys, mut tainted) = (KnownKeys::default(), Tainted::default());
        while let Some(first) = self.queues.next() {
            let mut count = first.transactions.len();
            let mut waiting = vec![first];
            while count < BATCH_MAX {
                let Some(next) = self.queues.more() else { break };
                count = count.saturating_add(next.transactions.len());
                waiting.push(next);
            }
            for (pending, transactions) in self.check(waiting, &mut keys, &mut tainted) {
                let Some(ticket) = self.tickets.open(pending) else {
                    return;
                };
                if driver.send(Input::Transactions { ticket, transactions }).is_err() {
                    return;
                }
            }
        }
    }

    /// Checks the signatures of what waits; gives what is to be offered to the pool, entry by entry. Peers whose
    /// gossip was bad lately come after all others, each message apart.
    fn check(
        &self,
        waiting: Vec<Waiting>,
        keys: &mut KnownKeys,
        tainted: &mut Tainted,
    ) -> Vec<(Pending, Vec<Arc<VerifiedTransaction>>)> {
        let (apart, together): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| tainted.has(waiting.from));
        let all = together.iter().flat_map(|waiting| &waiting.transactions);
        let all: Vec<Transaction> = all.cloned().collect();
        let mut checked = Vec::with_capacity(together.len());
        if let Some(verified) = Transaction::verify_all(all, &self.genesis, keys) {
            let mut verified = verified.into_iter();
            for Waiting {
                transactions, origin, ..
            } in together
            {
                let own: Vec<_> = verified.by_ref().take(transactions.len()).collect();
                checked.push(pending(own.into_iter().map(Ok), origin));
            }
        } else {
            checked.extend(
                together
                    .into_iter()
                    .filter_map(|one| self.look_at(one, keys, tainted)),
            );
        }
        checked.extend(
            apart
                .into_iter()
                .filter_map(|one| self.look_at(one, keys, tainted)),
        );
        checked
    }

    /// Checks what came in one message. Gossip with a bad signature is refused for the price of one batch.
    fn look_at(
        &self,
        waiting: Waiting,
        keys: &mut KnownKeys,
        tainted: &mut Tainted,
    ) -> Option<(Pending, Vec<Arc<VerifiedTransaction>>)> {
        let Waiting {
            transactions,
            origin,
            from,
        } = waiting;
        let Some(from) = from else {
            let verdicts = Transaction::verify_batch_with(transactions, &self.genesis, keys);
            return Some(pending(verdicts.into_iter(), origin));
        };
        if let Some(verified) = Transaction::verify_all(transactions, &self.genesis, keys) {
            tainted.clear(from);
            return Some(pending(verified.into_iter().map(Ok), origin));
        }
        tainted.note(from);
        let reason = "a gossiped transaction with a bad form or signature";
        (self.report)(from, &Refusal::one_check(Refused::Transactions, reason));
        if let Origin::Gossip(Some(gossip)) = origin {
            (self.forward)(gossip, Verdict::Rejected(reason));
        }
        None
    }
}

/// A submission whose signatures were checked, and what of it is to be offered to the pool.
fn pending(
    checked: impl Iterator<Item = Result<VerifiedTransaction, TransactionError>>,
    origin: Origin,
) -> (Pending, Vec<Arc<VerifiedTransaction>>) {
    let (mut verdicts, mut offered) = (Vec::new(), Vec::new());
    for verdict in checked {
        match verdict {
            Ok(transaction) => {
                offered.push(Arc::new(transaction));
                verdicts.push(None);
            }
            Err(error) => verdicts.push(Some(Err(SubmitError::Transaction(error)))),
        }
    }
    let transactions = offered.clone();
    let pending = Pending {
        verdicts,
        offered,
        origin,
    };
    (pending, transactions)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
