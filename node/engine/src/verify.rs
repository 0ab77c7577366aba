//! The signature stage: all queued transactions are checked in one batch, off the driver's thread.
//!
//! An invalid signature must not make the batch of all others expensive. A gossiped message with one is
//! refused as a whole, for the price of one separate batch: an honest peer checks transactions before it
//! forwards them. Only submissions of this node's clients are checked one by one, since each transaction has
//! its own verdict; clients take turns ([`crate::submissions`]). A copy of a checked transaction costs no
//! check ([`proofs`]).

mod proofs;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Sender, select};
use parking_lot::Mutex;
use vibecoin_consensus::Verdict;
use vibecoin_mempool::{Inserted, MempoolError, Status};
use vibecoin_primitives::{Hash, Transaction, VerifiedTransaction};
use vibecoin_replica::{GossipId, PeerId, Refusal, Refused, Ticket};
use vibecoin_rpc_backend::{self as rpc, Caller};

use crate::driver::NodeEvent;
use crate::inspect::Report;
use crate::queue::FairQueue;
use crate::submissions::{Line, Part, Slice, SubmissionReceiver};
pub use proofs::Lookup;
use proofs::{Proof, Proofs};

/// Maximum number of signatures checked in one batch: a larger batch gains nothing and delays the first
/// caller.
pub const BATCH_MAX: usize = 1024;

/// Callback that informs the gossip layer whether to forward a message.
pub type Forward = Box<dyn Fn(GossipId, Verdict) + Send>;

/// Outcome of one submitted transaction.
pub type Outcome = Result<(Hash, Inserted), Rejected>;

/// A submitted transaction that is not in the pool.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its id, once it was verified.
    pub id: Option<Hash>,
    /// The reason.
    pub reason: rpc::Refusal,
}

impl Rejected {
    /// Refused before it had an id.
    pub fn unverified(reason: impl Into<rpc::Refusal>) -> Self {
        Self {
            id: None,
            reason: reason.into(),
        }
    }
}

/// Transactions received by gossip, to be checked and offered to the pool.
pub struct Gossiped {
    /// The sender.
    pub from: PeerId,
    /// Handle for the verdict on forwarding the message.
    pub gossip: Option<GossipId>,
    /// As decoded.
    pub transactions: Vec<Transaction>,
}

/// Recipient of the verdicts.
pub enum Origin {
    /// A client.
    Client(Caller, Part),
    /// The gossip layer.
    Gossip(Option<GossipId>),
}

/// A submission on its way through the replica: the verdicts so far, and their recipient.
struct Pending {
    /// `None` where the pool has not decided yet.
    verdicts: Vec<Option<Outcome>>,
    offered: Vec<Arc<VerifiedTransaction>>,
    origin: Origin,
}

/// Submissions between the signature stage and the pool's answer. Bounded by the driver's inbox.
pub struct Tickets {
    next: AtomicU64,
    /// `None` once the driver has ended: no tickets are answered any more.
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

    /// The driver has ended: waiting callers are notified at once, and later ones do not wait.
    pub fn close_all(&self) {
        *self.pending.lock() = None;
    }

    /// Completes a submission with the pool's answers and returns the result.
    pub fn close(&self, ticket: Ticket, results: Vec<Result<Inserted, MempoolError>>) -> Option<Answer> {
        let pending = self.pending.lock().as_mut()?.remove(&ticket)?;
        Some(pending.answer(results))
    }
}

impl Pending {
    /// Completes the verdicts with the pool's.
    fn answer(self, results: Vec<Result<Inserted, MempoolError>>) -> Answer {
        let Self {
            mut verdicts,
            offered,
            origin,
        } = self;
        let mut taken = Vec::with_capacity(offered.len());
        let mut pending = Vec::new();
        let open = verdicts.iter_mut().filter(|verdict| verdict.is_none());
        for ((verdict, transaction), result) in open.zip(offered).zip(results) {
            let id = *transaction.id();
            *verdict = Some(match result {
                Ok(inserted) => {
                    if inserted.status == Status::Pending {
                        pending.push(Arc::clone(&transaction));
                    }
                    taken.push(transaction);
                    Ok((id, inserted))
                }
                Err(error) => Err(Rejected {
                    id: Some(id),
                    reason: error.into(),
                }),
            });
        }
        Answer {
            some_queued: pending.len() < taken.len(),
            taken,
            pending,
            verdicts: verdicts.into_iter().flatten().collect(),
            origin,
        }
    }
}

/// A completed submission: record `taken`, then send.
pub struct Answer {
    /// Transactions that the pool accepted.
    pub taken: Vec<Arc<VerifiedTransaction>>,
    /// Those of them that a block could include at once.
    pending: Vec<Arc<VerifiedTransaction>>,
    /// The others wait behind a nonce gap.
    some_queued: bool,
    verdicts: Vec<Outcome>,
    origin: Origin,
}

/// Transactions that this node publishes itself.
pub enum Own {
    /// In any batch, submitted by this client.
    Any(Caller, Vec<Arc<VerifiedTransaction>>),
    /// As one message: all nodes that receive the original message then publish an identical one, which
    /// gossip carries once.
    Message(Vec<Arc<VerifiedTransaction>>),
}

/// Follow-up of a completed submission.
pub enum Completion {
    /// The client has its answer.
    Client,
    /// No follow-up: the originator is this node.
    Nothing,
    /// The gossip layer is to be informed.
    Gossip {
        /// Handle of the message.
        gossip: GossipId,
        /// Verdict on forwarding it.
        verdict: Verdict,
    },
}

impl Answer {
    /// Takes out the transactions that this node publishes itself: pending ones of a client, and pending ones
    /// of a gossiped message that holds queued ones too and is therefore not forwarded. Queued ones pay no
    /// fee yet, so they stay here until they are pending, as
    /// [`Mempool::promoted_since`](vibecoin_mempool::Mempool::promoted_since) reports.
    pub fn take_own(&mut self) -> Own {
        match self.origin {
            Origin::Gossip(Some(_)) if self.some_queued => Own::Message(std::mem::take(&mut self.pending)),
            Origin::Gossip(_) => Own::Message(Vec::new()),
            Origin::Client(caller, _) => Own::Any(caller, std::mem::take(&mut self.pending)),
        }
    }

    /// Answers the client.
    pub fn send(self) -> Completion {
        match self.origin {
            Origin::Client(_, part) => {
                part.fill(self.verdicts);
                Completion::Client
            }
            Origin::Gossip(None) => Completion::Nothing,
            Origin::Gossip(Some(gossip)) => Completion::Gossip {
                gossip,
                verdict: verdict_of(&self.verdicts, self.some_queued),
            },
        }
    }
}

/// Verdict on forwarding a batch with valid signatures: one new transaction is sufficient. A refusal by the
/// pool is not the sender's fault: pools differ, and so do their nonce gaps. A message with a queued
/// transaction is not forwarded.
fn verdict_of(outcomes: &[Outcome], some_queued: bool) -> Verdict {
    if !some_queued && outcomes.iter().any(Result::is_ok) {
        return Verdict::Fresh;
    }
    Verdict::Ignored
}

struct Waiting {
    transactions: Vec<Transaction>,
    source: Source,
}

/// Origin of transactions.
enum Source {
    Client { caller: Caller, part: Part },
    Peer { peer: PeerId, gossip: Option<GossipId> },
}

impl From<Slice> for Waiting {
    fn from(slice: Slice) -> Self {
        Self {
            transactions: slice.transactions,
            source: Source::Client {
                caller: slice.caller,
                part: slice.part,
            },
        }
    }
}

impl From<Gossiped> for Waiting {
    fn from(gossiped: Gossiped) -> Self {
        Self {
            transactions: gossiped.transactions,
            source: Source::Peer {
                peer: gossiped.from,
                gossip: gossiped.gossip,
            },
        }
    }
}

impl Waiting {
    /// The peer that sent it.
    const fn peer(&self) -> Option<PeerId> {
        match self.source {
            Source::Peer { peer, .. } => Some(peer),
            Source::Client { .. } => None,
        }
    }
}

/// Transactions that were checked, with those to be offered to the pool.
type Checked = (Pending, Vec<Arc<VerifiedTransaction>>);

/// The two queues of the signature stage.
pub struct Queues {
    /// From clients. The stage ends when its sender is dropped.
    pub submissions: SubmissionReceiver,
    /// From peers.
    pub gossiped: Arc<FairQueue<Gossiped>>,
}

impl Queues {
    /// Waits for input; returns `false` at the end.
    fn wait(&self) -> bool {
        if self.submissions.is_done() {
            return false;
        }
        select! {
            recv(self.submissions.bell()) -> _ => {}
            recv(self.gossiped.bell()) -> _ => {}
        }
        true
    }
}

/// Peers whose gossip had an invalid signature lately: their messages are checked separately, so that they do
/// not make the batch of other peers more expensive, and after it.
#[derive(Default)]
struct Tainted {
    peers: VecDeque<PeerId>,
}

impl Tainted {
    /// Maximum number of peers kept; the oldest is removed first.
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

/// Interfaces of the node that the stage uses.
pub struct Stage {
    /// The chain's genesis hash.
    pub genesis: Hash,
    /// Input queues.
    pub queues: Queues,
    /// Recipients of verdicts.
    pub tickets: Arc<Tickets>,
    /// Returns transactions in the pool: they were checked before.
    pub pool: Lookup,
    /// Callback for gossip that no honest peer forwards.
    pub report: Report,
    /// Callback with the verdict on forwarding a message.
    pub forward: Forward,
}

impl Stage {
    /// Runs until the sender of submissions is dropped.
    pub fn run(&self, driver: &Sender<NodeEvent>) {
        let (mut proofs, mut tainted) = (Proofs::default(), Tainted::default());
        while let Some(begun) = self.round(&mut proofs, &mut tainted, driver) {
            if !begun && !self.queues.wait() {
                return;
            }
        }
    }

    /// Checks some of the input, in steps of bounded work: small submissions with messages of peers, large
    /// ones, and then callers and peers with an invalid signature lately. Returns true if there was any;
    /// `None` when the driver has ended.
    fn round(&self, proofs: &mut Proofs, tainted: &mut Tainted, driver: &Sender<NodeEvent>) -> Option<bool> {
        let submissions = &self.queues.submissions;
        let waiting =
            |line| -> Vec<Waiting> { submissions.take(line).into_iter().map(Waiting::from).collect() };
        let mut first = waiting(Line::Small);
        let transactions = first.iter().map(|waiting| waiting.transactions.len());
        let mut count = transactions.fold(0, usize::saturating_add);
        while count < BATCH_MAX
            && let Some(gossiped) = self.queues.gossiped.pop()
        {
            count = count.saturating_add(gossiped.transactions.len());
            first.push(gossiped.into());
        }
        let (apart, together): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|waiting| tainted.has(waiting.peer()));
        let mut begun = !together.is_empty();
        self.offer(self.check(together, proofs, tainted), driver)?;
        let large = waiting(Line::Large);
        begun |= !large.is_empty();
        self.offer(self.check(large, proofs, tainted), driver)?;
        let suspects = waiting(Line::Tainted);
        for suspect in apart.into_iter().chain(suspects) {
            begun = true;
            let checked = self.look_at(suspect, proofs, tainted);
            self.offer(checked, driver)?;
        }
        Some(begun)
    }

    /// Offers the valid ones to the pool; `None` when the driver has ended.
    fn offer(&self, checked: impl IntoIterator<Item = Checked>, driver: &Sender<NodeEvent>) -> Option<()> {
        for (pending, transactions) in checked {
            if transactions.is_empty()
                && let Origin::Client(..) = pending.origin
            {
                // The pool is not involved.
                pending.answer(Vec::new()).send();
                continue;
            }
            let ticket = self.tickets.open(pending)?;
            driver
                .send(NodeEvent::Transactions { ticket, transactions })
                .ok()?;
        }
        Some(())
    }

    /// Checks signatures in one batch; returns the transactions to be offered to the pool, entry by entry.
    /// When the batch is invalid, messages of peers are checked one by one, and submissions of clients in a
    /// separate batch.
    fn check(&self, waiting: Vec<Waiting>, proofs: &mut Proofs, tainted: &mut Tainted) -> Vec<Checked> {
        let all = waiting.iter().flat_map(|waiting| &waiting.transactions);
        if let Some(verified) = proofs.all(all, &self.genesis, &self.pool) {
            let mut verified = verified.into_iter().map(Ok);
            let good = |waiting: Waiting| {
                let own = verified.by_ref().take(waiting.transactions.len()).collect();
                self.judged(own, waiting.source)
            };
            return waiting.into_iter().map(good).collect();
        }
        let (of_peers, of_clients): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.peer().is_some());
        let all = of_clients.iter().flat_map(|waiting| &waiting.transactions);
        let mut verdicts = proofs.each(all, &self.genesis, &self.pool).into_iter();
        let mut checked = Vec::with_capacity(of_clients.len().saturating_add(of_peers.len()));
        for waiting in of_clients {
            let own = verdicts.by_ref().take(waiting.transactions.len()).collect();
            checked.push(self.judged(own, waiting.source));
        }
        let of_peers = of_peers.into_iter();
        checked.extend(of_peers.filter_map(|one| self.look_at(one, proofs, tainted)));
        checked
    }

    /// Checks the transactions of one message. Gossip with an invalid signature is refused for the price of
    /// one batch.
    fn look_at(&self, waiting: Waiting, proofs: &mut Proofs, tainted: &mut Tainted) -> Option<Checked> {
        let Waiting { transactions, source } = waiting;
        let Source::Peer { peer, gossip } = source else {
            let verdicts = proofs.each(&transactions, &self.genesis, &self.pool);
            return Some(self.judged(verdicts, source));
        };
        if let Some(verified) = proofs.all(&transactions, &self.genesis, &self.pool) {
            tainted.clear(peer);
            return Some(self.judged(verified.into_iter().map(Ok).collect(), source));
        }
        tainted.note(peer);
        let reason = "a gossiped transaction with a bad form or signature";
        (self.report)(peer, &Refusal::one_check(Refused::Transactions, reason));
        if let Some(gossip) = gossip {
            (self.forward)(gossip, Verdict::Rejected(reason));
        }
        None
    }

    /// Converts checked transactions to an offer to the pool. A client's invalid signature is recorded.
    fn judged(&self, verdicts: Vec<Proof>, source: Source) -> Checked {
        let origin = match source {
            Source::Peer { gossip, .. } => Origin::Gossip(gossip),
            Source::Client { caller, part } => {
                let is_good = verdicts.iter().all(Result::is_ok);
                self.queues.submissions.judge(caller, is_good);
                Origin::Client(caller, part)
            }
        };
        pending(verdicts.into_iter(), origin)
    }
}

/// A submission whose signatures were checked, and those of its transactions to be offered to the pool.
fn pending(checked: impl Iterator<Item = Proof>, origin: Origin) -> (Pending, Vec<Arc<VerifiedTransaction>>) {
    let (mut verdicts, mut offered) = (Vec::new(), Vec::new());
    for verdict in checked {
        match verdict {
            Ok(transaction) => {
                offered.push(transaction);
                verdicts.push(None);
            }
            Err(error) => verdicts.push(Some(Err(Rejected::unverified(error)))),
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
