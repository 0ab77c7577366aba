//! The signature stage: whatever waits is checked in one batch, off the driver's thread.
//!
//! A bad signature must not make the batch of all others dear. A gossiped message with one is refused as a whole,
//! for the price of one batch of its own: who passes transactions on has checked them. Only what clients of this
//! node submit is looked at one by one, since each gets its own verdict; they take turns
//! ([`crate::submissions`]). A copy of what was checked before costs no check ([`proofs`]).

mod proofs;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Sender, select};
use parking_lot::Mutex;
use vibecoin_consensus::Verdict;
use vibecoin_mempool::{Inserted, MempoolError, Status};
use vibecoin_primitives::{Hash, Transaction, TransactionError, VerifiedTransaction};
use vibecoin_replica::{GossipId, PeerId, Refusal, Refused, Ticket};
use vibecoin_rpc_server::Caller;

use crate::driver::Input;
use crate::inspect::Report;
use crate::queue::FairQueue;
use crate::submissions::{Line, Part, Slice, SubmissionReceiver};
pub use proofs::Lookup;
use proofs::{Proof, Proofs};

/// Most signatures checked in one batch: beyond it a batch gains nothing and delays the first caller.
pub const BATCH_MAX: usize = 1024;

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
    /// It waited, and had to make room for others.
    #[error("too many submissions wait")]
    Busy,
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
    Client(Caller, Part),
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
                Err(error) => Err(SubmitError::Pool { id, error }),
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

/// A completed submission: note what was taken, then send.
pub struct Answer {
    /// What the pool took.
    pub taken: Vec<Arc<VerifiedTransaction>>,
    /// Of these, what a block could have at once.
    pending: Vec<Arc<VerifiedTransaction>>,
    /// The others wait behind a nonce gap.
    some_queued: bool,
    verdicts: Vec<Outcome>,
    origin: Origin,
}

/// Transactions that this node publishes itself.
pub enum Own {
    /// In any company, submitted by this client.
    Any(Caller, Vec<Arc<VerifiedTransaction>>),
    /// As one message: all nodes that were given the message that these come from then publish the same one, which
    /// gossip carries once.
    Message(Vec<Arc<VerifiedTransaction>>),
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
    /// Takes out what this node is to pass on in its own name: what is pending of a client's, and of a gossiped message
    /// that holds queued ones too and is therefore not forwarded. Queued ones cost nobody a fee, so they stay here until
    /// they are pending; [`Mempool::promoted_since`](vibecoin_mempool::Mempool::promoted_since) tells when.
    pub fn take_own(&mut self) -> Own {
        match self.origin {
            Origin::Gossip(Some(_)) if self.some_queued => Own::Message(std::mem::take(&mut self.pending)),
            Origin::Gossip(_) => Own::Message(Vec::new()),
            Origin::Client(caller, _) => Own::Any(caller, std::mem::take(&mut self.pending)),
        }
    }

    /// Tells the client.
    pub fn send(self) -> Told {
        match self.origin {
            Origin::Client(_, part) => {
                part.fill(self.verdicts);
                Told::Client
            }
            Origin::Gossip(None) => Told::Nobody,
            Origin::Gossip(Some(gossip)) => Told::Gossip {
                gossip,
                verdict: verdict_of(&self.verdicts, self.some_queued),
            },
        }
    }
}

/// Whether a batch with good signatures may be passed on: one transaction that was news makes it worth while. What
/// the pool refuses is nobody's fault: pools differ, and so does what they have behind a gap. A message with something
/// queued in it goes no further.
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

/// From where transactions came.
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
    /// The peer that it came from.
    const fn peer(&self) -> Option<PeerId> {
        match self.source {
            Source::Peer { peer, .. } => Some(peer),
            Source::Client { .. } => None,
        }
    }
}

/// Transactions that were checked, with those that are to be offered to the pool.
type Checked = (Pending, Vec<Arc<VerifiedTransaction>>);

/// The two queues of the signature stage.
pub struct Queues {
    /// From clients. The stage ends when its other end is gone.
    pub submissions: SubmissionReceiver,
    /// From peers.
    pub gossiped: Arc<FairQueue<Gossiped>>,
}

impl Queues {
    /// Waits for more; `false` at the end.
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
    /// Gives what waits in the pool: it was checked before.
    pub pool: Lookup,
    /// Called with gossip that no honest peer passes on.
    pub report: Report,
    /// Tells the gossip layer what becomes of a message.
    pub forward: Forward,
}

impl Stage {
    /// Runs until the other end of the queue of submissions is gone.
    pub fn run(&self, driver: &Sender<Input>) {
        let (mut proofs, mut tainted) = (Proofs::default(), Tainted::default());
        while let Some(begun) = self.round(&mut proofs, &mut tainted, driver) {
            if !begun && !self.queues.wait() {
                return;
            }
        }
    }

    /// Checks some of what waits, in steps of bounded work: small submissions with what peers sent, large ones, and
    /// then callers and peers with a bad signature lately. Says whether anything waited; `None` when the driver is gone.
    fn round(&self, proofs: &mut Proofs, tainted: &mut Tainted, driver: &Sender<Input>) -> Option<bool> {
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

    /// Passes on what is good; `None` when the driver is gone.
    fn offer(&self, checked: impl IntoIterator<Item = Checked>, driver: &Sender<Input>) -> Option<()> {
        for (pending, transactions) in checked {
            if transactions.is_empty()
                && let Origin::Client(..) = pending.origin
            {
                // The pool has no part in it.
                pending.answer(Vec::new()).send();
                continue;
            }
            let ticket = self.tickets.open(pending)?;
            driver.send(Input::Transactions { ticket, transactions }).ok()?;
        }
        Some(())
    }

    /// Checks signatures in one batch; gives what is to be offered to the pool, entry by entry. When the batch does not
    /// hold, what peers sent is looked at message by message, and what clients sent in a batch of its own.
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

    /// Checks what came in one message. Gossip with a bad signature is refused for the price of one batch.
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

    /// What was checked, as it is offered to the pool. A client's bad signature is noted.
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

/// A submission whose signatures were checked, and what of it is to be offered to the pool.
fn pending(checked: impl Iterator<Item = Proof>, origin: Origin) -> (Pending, Vec<Arc<VerifiedTransaction>>) {
    let (mut verdicts, mut offered) = (Vec::new(), Vec::new());
    for verdict in checked {
        match verdict {
            Ok(transaction) => {
                offered.push(transaction);
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
