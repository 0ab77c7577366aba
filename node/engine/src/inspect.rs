//! The thread that checks parts, bodies and blocks of peers before the driver receives them.
//!
//! The network's thread has admitted each one by then ([`vibecoin_replica::Intake`]): it was requested, or it
//! is its sender's turn. The checks here are the hashes, then the message's signature or certificate, then
//! the signatures of its transactions. Those of transactions in the pool were checked before. Parts and
//! bodies of the height being decided go first: a response with old blocks is processed in slices, and waits
//! between them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use tracing::debug;
use vibecoin_network::Network;
use vibecoin_network::wire::{BODY_MESSAGE_BYTES_MAX, PART_BYTES_MAX, SYNC_BYTES_MAX};
use vibecoin_primitives::limits::MIB;
use vibecoin_primitives::{
    Body, Hash, Height, KnownKeys, PartContent, Transaction, VerifiedTransaction, decode,
};
use vibecoin_replica::{CertifiedBlock, Chain, Message, PeerId, Refusal, Refused, examine};

use crate::driver::NodeEvent;
use crate::metrics::Offences;
use crate::queue::{Bounds, FairQueue, ITEM_BYTES};
use crate::shared::Shared;

/// Bounds of parts and bodies of blocks that may be decided next.
pub const LIVE: Bounds = Bounds {
    peer_bytes_max: 12 * MIB,
    bytes_max: 32 * MIB,
};
/// Bounds of responses to this node's requests for old blocks.
pub const ANSWERS: Bounds = Bounds {
    peer_bytes_max: 20 * MIB,
    bytes_max: 40 * MIB,
};
/// Maximum number of checked messages queued for the driver.
pub const CHECKED_MAX: usize = 2;
/// Number of transaction signatures checked in one step.
pub(crate) const SLICE: usize = 1_024;
/// Minimum batch that is split between two threads: one check costs some 25 µs, a thread as much as two of
/// them.
const TWO_THREADS_FROM: usize = 128;

const _: () = assert!(BODY_MESSAGE_BYTES_MAX + PART_BYTES_MAX + 2 * ITEM_BYTES <= LIVE.peer_bytes_max);
const _: () = assert!(SYNC_BYTES_MAX + ITEM_BYTES <= ANSWERS.peer_bytes_max);

/// A message queued for the full checks.
pub struct Unverified {
    /// The sender.
    pub from: PeerId,
    /// The message as decoded.
    pub message: Message,
    /// Used only as evidence: it contradicts another message.
    pub is_evidence: bool,
}

/// Callback for each message that is refused.
pub type Report = Arc<dyn Fn(PeerId, &Refusal) + Send + Sync>;

/// Counts refused messages and blames their senders. `network` is set once the network runs.
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

/// The driver has ended, so the thread ends.
#[derive(Debug)]
pub struct Ended;

/// Keys that each of the two threads has seen.
pub(crate) type Keys = [KnownKeys; 2];

/// Checks the signatures of transactions; `None` when one of them is invalid.
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

/// A response with blocks, in progress.
struct Answer {
    from: PeerId,
    first: Height,
    /// Blocks whose certificates have not been checked.
    open: VecDeque<CertifiedBlock>,
    /// Blocks whose certificates are valid.
    good: Vec<CertifiedBlock>,
    /// Transactions of the last certified block that have not been checked.
    unknown: VecDeque<Transaction>,
    verified: Vec<VerifiedTransaction>,
}

/// State and channels of the inspecting thread.
pub struct Inspector {
    /// Constants of the chain.
    pub chain: Chain,
    /// Returns true if the signature of a transaction was checked before, as for one in the pool.
    pub known: Box<dyn Fn(&Transaction) -> bool + Send>,
    /// Admitted messages: [`LIVE`] and [`ANSWERS`].
    pub queue: Arc<FairQueue<Unverified>>,
    /// Disconnected when no more messages will arrive.
    pub alive: Receiver<()>,
    /// Checked messages, to the driver.
    pub checked: Sender<NodeEvent>,
    /// Callback for refused messages.
    pub report: Report,
}

impl Inspector {
    /// Runs until no more messages will arrive.
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
        let event = NodeEvent::Message {
            from,
            message: Box::new(message),
            verified,
            gossip: None,
        };
        self.checked.send(event).map_err(|_| Ended)
    }

    /// Checks a part or a body.
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
            // The block is invalid, as the replica will find. The peer that sent a body is not to blame for
            // its contents.
            if matches!(message, Message::Part(_)) {
                let reason = "a part with a transaction whose form or signature is bad";
                let refusal = Refusal::one_check(Refused::Transactions, reason);
                (self.report)(from, &refusal);
            }
            break;
        }
        self.pass_on(from, message, verified)
    }

    /// Checks one slice of the signatures; returns `false` when one of them is invalid.
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

    /// Checks a response with blocks: its form, its links and its bodies.
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
                // A driver that has ended is detected at the next message.
                let _ended = self.checked.send(NodeEvent::Refused { from, height });
                return None;
            }
        }
        Some(answer)
    }

    /// One step of a response: a certificate, or a slice of transactions. `None` at its end.
    fn go_on(&self, mut answer: Answer, keys: &mut Keys) -> Result<Option<Answer>, Ended> {
        if !answer.unknown.is_empty() {
            if !self.slice(&mut answer.unknown, &mut answer.verified, keys) {
                // A quorum certified it all the same: the replica decides on the consequence.
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
            // Those before it are valid.
            let blocks = answer.good;
            if !blocks.is_empty() {
                let message = Message::SyncResponse { from: first, blocks };
                self.pass_on(from, message, answer.verified)?;
            }
            let height = block.header.height;
            let refused = NodeEvent::Refused { from, height };
            return self.checked.send(refused).map(|()| None).map_err(|_| Ended);
        }
        if let Ok(body) = decode::<Body>(&block.body)
            && examine::within_bounds(&self.chain.params, &body)
        {
            // The pool has few of the transactions decided long ago: the lookup would cost more than it
            // saves.
            answer.unknown = body.transactions().cloned().collect();
        }
        answer.good.push(block);
        Ok(Some(answer))
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
