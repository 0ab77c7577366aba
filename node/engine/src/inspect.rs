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
    BlockPart, Body, Hash, Header, Height, KnownKeys, PartContent, Transaction, VerifiedTransaction,
};
use vibecoin_replica::{Chain, LinkedBlock, Message, PeerId, ReceivedBlock, Refusal, Refused, examine};

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
    open: VecDeque<LinkedBlock>,
    /// Blocks whose certificates are valid.
    good: Vec<ReceivedBlock>,
    /// Transactions of the last certified block that have not been checked.
    unknown: VecDeque<Transaction>,
    verified: Vec<VerifiedTransaction>,
}

impl Answer {
    /// The blocks that were found good, for the driver.
    fn into_event(self) -> NodeEvent {
        NodeEvent::Blocks {
            from: self.from,
            first: self.first,
            blocks: self.good,
            verified: self.verified,
        }
    }
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

    fn pass_on(&self, event: NodeEvent) -> Result<(), Ended> {
        self.checked.send(event).map_err(|_| Ended)
    }

    /// Checks a part or a body.
    fn look_at(&self, live: Unverified, keys: &mut Keys) -> Result<(), Ended> {
        let from = live.from;
        let checked = match live.message {
            Message::Part(part) => self.part(from, part, live.is_evidence, keys),
            Message::Body { header, body } => self.body(from, *header, &body, keys),
            _ => return Ok(()),
        };
        match checked {
            Ok(event) => self.pass_on(event),
            Err(refusal) => {
                (self.report)(from, &refusal);
                Ok(())
            }
        }
    }

    fn part(
        &self,
        from: PeerId,
        part: Box<BlockPart>,
        is_evidence: bool,
        keys: &mut Keys,
    ) -> Result<NodeEvent, Refusal> {
        examine::part(&self.chain, &part)?;
        let mut verified = Vec::new();
        if let (PartContent::Tick(tick), false) = (&part.content, is_evidence) {
            let (all, checked) = self.check_unknown(tick.transactions.iter(), keys);
            verified = checked;
            if !all {
                // The block is invalid, as the replica will find.
                let reason = "a part with a transaction whose form or signature is bad";
                (self.report)(from, &Refusal::one_check(Refused::Transactions, reason));
            }
        }
        Ok(NodeEvent::Message {
            from,
            message: Box::new(Message::Part(part)),
            verified,
            gossip: None,
        })
    }

    /// Checks a body. The peer that sent it is not to blame for its contents: the replica finds that it is invalid.
    fn body(
        &self,
        from: PeerId,
        header: Header,
        encoded: &[u8],
        keys: &mut Keys,
    ) -> Result<NodeEvent, Refusal> {
        let body = examine::body(header, encoded)?;
        let (_, verified) = match self.judgeable(body.body()) {
            Some(body) => self.check_unknown(body.transactions(), keys),
            None => (true, Vec::new()),
        };
        Ok(NodeEvent::Body {
            from,
            body: Box::new(body),
            verified,
        })
    }

    /// The body, if it is within its bounds: any other is invalid whatever its signatures are.
    fn judgeable<'b>(&self, body: Option<&'b Body>) -> Option<&'b Body> {
        body.filter(|body| examine::within_bounds(&self.chain.params, body))
    }

    /// Checks the signatures of those transactions that are not known, slice by slice up to the first bad one. Returns
    /// `false` when there is one, and those of the slices before it.
    fn check_unknown<'t>(
        &self,
        transactions: impl Iterator<Item = &'t Transaction>,
        keys: &mut Keys,
    ) -> (bool, Vec<VerifiedTransaction>) {
        let unknown = transactions.filter(|tx| !(self.known)(tx));
        let mut unknown: VecDeque<Transaction> = unknown.cloned().collect();
        let mut verified = Vec::with_capacity(unknown.len());
        while !unknown.is_empty() {
            if !self.slice(&mut unknown, &mut verified, keys) {
                return (false, verified);
            }
        }
        (true, verified)
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
        match examine::blocks(first, blocks) {
            Ok(linked) => Some(Answer {
                from,
                first,
                good: Vec::with_capacity(linked.len()),
                open: linked.into(),
                unknown: VecDeque::new(),
                verified: Vec::new(),
            }),
            Err(refusal) => {
                (self.report)(from, &refusal);
                let height = first;
                // A driver that has ended is detected at the next message.
                let _ended = self.checked.send(NodeEvent::Refused { from, height });
                None
            }
        }
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
        let Some(block) = answer.open.pop_front() else {
            return self.pass_on(answer.into_event()).map(|()| None);
        };
        let (from, height) = (answer.from, block.height());
        match examine::certificate(&self.chain, block) {
            Ok(block) => {
                if let Some(body) = self.judgeable(block.body()) {
                    // The pool has few of the transactions decided long ago: the lookup would cost more than it
                    // saves.
                    answer.unknown = body.transactions().cloned().collect();
                }
                answer.good.push(block);
                Ok(Some(answer))
            }
            Err(refusal) => {
                (self.report)(from, &refusal);
                // Those before it are valid.
                if !answer.good.is_empty() {
                    self.pass_on(answer.into_event())?;
                }
                self.pass_on(NodeEvent::Refused { from, height }).map(|()| None)
            }
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
