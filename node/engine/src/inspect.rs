//! The thread that looks at parts, bodies and blocks of peers before the driver does.
//!
//! The network's thread has ruled on each by then ([`vibecoin_replica::Intake`]): it was asked for, or it is its
//! sender's turn. Here come hashes, then the message's own signature or certificate, then the signatures of its
//! transactions. What the pool holds was checked before. Parts and bodies of the height being decided go first:
//! an answer with old blocks is worked on in slices, and waits between them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use tracing::debug;
use vibecoin_network::service::Network;
use vibecoin_network::wire::{BODY_MESSAGE_BYTES_MAX, PART_BYTES_MAX, SYNC_BYTES_MAX};
use vibecoin_primitives::limits::MIB;
use vibecoin_primitives::{
    Body, Hash, Height, KnownKeys, PartContent, Transaction, VerifiedTransaction, decode,
};
use vibecoin_replica::{CertifiedBlock, Chain, Message, PeerId, Refusal, Refused, examine};

use crate::driver::Input;
use crate::metrics::Offences;
use crate::queue::{Bounds, FairQueue, ITEM_BYTES};
use crate::shared::Shared;

/// Parts and bodies of blocks that may be decided next.
pub const LIVE: Bounds = Bounds {
    peer_bytes_max: 12 * MIB,
    bytes_max: 32 * MIB,
};
/// Answers to this node's questions for old blocks.
pub const ANSWERS: Bounds = Bounds {
    peer_bytes_max: 20 * MIB,
    bytes_max: 40 * MIB,
};
/// Messages that were looked at and wait for the driver.
pub const CHECKED_MAX: usize = 2;
/// Signatures of transactions that are checked in one go.
pub(crate) const SLICE: usize = 1_024;
/// From so many on two threads check them: one costs some 25 µs, a thread as much as two of them.
const TWO_THREADS_FROM: usize = 128;

const _: () = assert!(BODY_MESSAGE_BYTES_MAX + PART_BYTES_MAX + 2 * ITEM_BYTES <= LIVE.peer_bytes_max);
const _: () = assert!(SYNC_BYTES_MAX + ITEM_BYTES <= ANSWERS.peer_bytes_max);

/// A message on its way to the closer look.
pub struct Unverified {
    /// Who sent it.
    pub from: PeerId,
    /// What.
    pub message: Message,
    /// Only its statement is of use: it contradicts another.
    pub is_evidence: bool,
}

/// Called with each message that is refused.
pub type Report = Arc<dyn Fn(PeerId, &Refusal) + Send + Sync>;

/// Counts what is refused, and blames its sender. `network` is set once the network runs.
pub fn reporter(shared: Arc<Shared>, network: Arc<OnceLock<Network>>) -> Report {
    Arc::new(move |peer, refusal| {
        let metrics = &shared.metrics.network;
        let kind = offence(refusal.kind);
        metrics.refused.at(kind).inc();
        metrics.refused_checks.at(kind).inc_by(u64::from(refusal.checks));
        debug!(target: "node::network", peer = peer.0, refusal.reason, refusal.checks, "message refused");
        if let Some(network) = network.get() {
            network.blame(peer, refusal.kind.severity(), refusal.reason);
        }
    })
}

const fn offence(kind: Refused) -> Offences {
    match kind {
        Refused::Oversized => Offences::Oversized,
        Refused::Flood => Offences::Flood,
        Refused::Unasked => Offences::Unasked,
        Refused::Repeated => Offences::Repeated,
        Refused::OutOfTurn => Offences::OutOfTurn,
        Refused::Mismatch => Offences::Mismatch,
        Refused::Signature => Offences::Signature,
        Refused::Certificate => Offences::Certificate,
        Refused::Transactions => Offences::Transactions,
    }
}

/// Ends the thread.
#[derive(Debug)]
pub struct Ended;

/// Keys that each of the two threads has met.
pub(crate) type Keys = [KnownKeys; 2];

/// Checks the signatures of transactions; `None` when one of them is bad.
pub(crate) fn check_signatures(
    mut transactions: Vec<Transaction>,
    genesis: &Hash,
    keys: &mut Keys,
) -> Option<Vec<VerifiedTransaction>> {
    let [first, second] = keys;
    if transactions.len() < TWO_THREADS_FROM {
        return Transaction::verify_all(transactions, genesis, first);
    }
    let half = transactions.split_off(transactions.len() / 2);
    let (checked, others) = thread::scope(|scope| {
        let others = scope.spawn(|| Transaction::verify_all(half, genesis, second));
        (
            Transaction::verify_all(transactions, genesis, first),
            others.join(),
        )
    });
    let mut checked = checked?;
    checked.extend(others.ok()??);
    Some(checked)
}

/// An answer with blocks that is being worked on.
struct Answer {
    from: PeerId,
    first: Height,
    /// Blocks whose certificates have yet to be checked.
    open: VecDeque<CertifiedBlock>,
    /// Blocks that are certified.
    good: Vec<CertifiedBlock>,
    /// Transactions of the last of them that have yet to be checked.
    unknown: VecDeque<Transaction>,
    verified: Vec<VerifiedTransaction>,
}

/// The thread's work.
pub struct Inspector {
    /// The facts.
    pub chain: Chain,
    /// Whether the signature of a transaction was checked before, as of one that waits in the pool.
    pub known: Box<dyn Fn(&Transaction) -> bool + Send>,
    /// What was let through: [`LIVE`] and [`ANSWERS`].
    pub queue: Arc<FairQueue<Unverified>>,
    /// Disconnected when nothing more comes.
    pub alive: Receiver<()>,
    /// To the driver.
    pub checked: Sender<Input>,
    /// Called with what is refused.
    pub report: Report,
}

impl Inspector {
    /// Works until nothing more comes.
    pub fn run(&self) {
        let mut keys = Keys::default();
        let mut answer = None;
        while !matches!(self.alive.try_recv(), Err(TryRecvError::Disconnected)) {
            let done = if let Some(live) = self.queue.pop_of(0) {
                self.look_at(live, &mut keys)
            } else if let Some(current) = answer.take() {
                self.go_on(current, &mut keys).map(|rest| answer = rest)
            } else if let Some(next) = self.queue.pop_of(1) {
                answer = self.begin(next);
                Ok(())
            } else {
                select! {
                    recv(self.queue.bell()) -> _ => {}
                    recv(self.alive) -> _ => {}
                }
                Ok(())
            };
            if done.is_err() {
                return;
            }
        }
    }

    fn pass_on(
        &self,
        from: PeerId,
        message: Message,
        verified: Vec<VerifiedTransaction>,
    ) -> Result<(), Ended> {
        let input = Input::Message {
            from,
            message: Box::new(message),
            verified,
            gossip: None,
        };
        self.checked.send(input).map_err(|_| Ended)
    }

    /// A part or a body.
    fn look_at(&self, live: Unverified, keys: &mut Keys) -> Result<(), Ended> {
        let Unverified {
            from,
            message,
            is_evidence,
        } = live;
        let looked_at = match &message {
            Message::Part(part) => examine::part(&self.chain, part),
            Message::Body { header, body } => examine::body(header, body),
            _ => Ok(()),
        };
        if let Err(refusal) = looked_at {
            (self.report)(from, &refusal);
            return Ok(());
        }
        let mut unknown = VecDeque::new();
        match &message {
            Message::Part(part) => {
                if let (PartContent::Tick(tick), false) = (&part.content, is_evidence) {
                    let new = tick.transactions.iter().filter(|tx| !(self.known)(tx));
                    unknown.extend(new.cloned());
                }
            }
            Message::Body { body, .. } => {
                // A body past its bounds is invalid whatever its signatures are.
                if let Ok(body) = decode::<Body>(body)
                    && examine::within_bounds(&self.chain.params, &body)
                {
                    unknown.extend(body.transactions().filter(|tx| !(self.known)(tx)).cloned());
                }
            }
            _ => {}
        }
        let mut verified = Vec::with_capacity(unknown.len());
        while !unknown.is_empty() {
            if self.slice(&mut unknown, &mut verified, keys) {
                continue;
            }
            // The block is invalid, as the replica will find. Who gave a body is not to blame for what is in it.
            if matches!(message, Message::Part(_)) {
                let reason = "a part with a transaction whose form or signature is bad";
                let refusal = Refusal::one_check(Refused::Transactions, reason);
                (self.report)(from, &refusal);
            }
            break;
        }
        self.pass_on(from, message, verified)
    }

    /// Checks some of the signatures; `false` when one of them is bad.
    fn slice(
        &self,
        unknown: &mut VecDeque<Transaction>,
        verified: &mut Vec<VerifiedTransaction>,
        keys: &mut Keys,
    ) -> bool {
        let some = unknown.drain(..unknown.len().min(SLICE)).collect();
        let checked = check_signatures(some, &self.chain.genesis, keys);
        checked.is_some_and(|checked| {
            verified.extend(checked);
            true
        })
    }

    /// An answer with blocks: its form, its links and its bodies.
    fn begin(&self, next: Unverified) -> Option<Answer> {
        let Unverified {
            from,
            message: Message::SyncResponse { from: first, blocks },
            ..
        } = next
        else {
            return None;
        };
        let mut answer = Answer {
            from,
            first,
            open: VecDeque::new(),
            good: Vec::with_capacity(blocks.len()),
            unknown: VecDeque::new(),
            verified: Vec::new(),
        };
        match examine::blocks(first, &blocks) {
            Ok(()) => answer.open = blocks.into(),
            Err(refusal) => {
                (self.report)(from, &refusal);
                let height = first;
                // A driver that has ended shows at the next message.
                let _ended = self.checked.send(Input::Refused { from, height });
                return None;
            }
        }
        Some(answer)
    }

    /// One step of an answer: a certificate, or a slice of transactions. `None` at its end.
    fn go_on(&self, mut answer: Answer, keys: &mut Keys) -> Result<Option<Answer>, Ended> {
        if !answer.unknown.is_empty() {
            if !self.slice(&mut answer.unknown, &mut answer.verified, keys) {
                // A quorum certified it all the same: what that means is the replica's to say.
                answer.unknown.clear();
            }
            return Ok(Some(answer));
        }
        let Answer { from, first, .. } = answer;
        let Some(block) = answer.open.pop_front() else {
            let blocks = answer.good;
            let message = Message::SyncResponse { from: first, blocks };
            return self.pass_on(from, message, answer.verified).map(|()| None);
        };
        if let Err(refusal) = examine::certificate(&self.chain, &block) {
            (self.report)(from, &refusal);
            // Those before it are good.
            let blocks = answer.good;
            if !blocks.is_empty() {
                let message = Message::SyncResponse { from: first, blocks };
                self.pass_on(from, message, answer.verified)?;
            }
            let height = block.header.height;
            let refused = Input::Refused { from, height };
            return self.checked.send(refused).map(|()| None).map_err(|_| Ended);
        }
        if let Ok(body) = decode::<Body>(&block.body)
            && examine::within_bounds(&self.chain.params, &body)
        {
            // The pool has little of what was decided long ago: looking would cost more.
            answer.unknown = body.transactions().cloned().collect();
        }
        answer.good.push(block);
        Ok(Some(answer))
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
