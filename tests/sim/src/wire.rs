//! The wire: links that lose, repeat, delay, damage and cut; gossip that is relayed; the connections between
//! nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vibecoin_host::certified_block;
use vibecoin_primitives::Height;
use vibecoin_replica::{Event, GossipId, Message, PeerId};
use vibecoin_tests_behaviours::Timed;

use crate::Violation;
use crate::ledger::Stored;
use crate::node::{Fault, describe, own_statement};
use crate::report::Rule;
use crate::world::{Happening, World};

/// Bytes of bodies after which an answer with blocks ends.
const SERVE_BYTES_ENOUGH: usize = 1 << 20;
/// Gossiped messages that may still be relayed.
const GOSSIP_MAX: usize = 4096;

/// A message and its bytes.
pub struct Packed {
    pub bytes: Vec<u8>,
    pub message: Message,
}

/// A message in transit.
pub struct Parcel {
    pub from: usize,
    pub to: usize,
    pub packed: Arc<Packed>,
    /// The bytes as they arrive, when they differ from those that were sent.
    pub damaged: Option<Vec<u8>>,
    pub gossip: Option<u64>,
    /// The processes between which a stream carries it: it ends with either. `None` for gossip.
    pub stream: Option<(u64, u64)>,
}

/// A gossiped message, and the nodes that have received it.
#[derive(Default)]
pub struct Gossip {
    messages: BTreeMap<u64, (Arc<Packed>, BTreeSet<usize>)>,
    next: u64,
}

impl Gossip {
    fn publish(&mut self, packed: &Arc<Packed>, from: usize) -> u64 {
        self.next += 1;
        if self.messages.len() >= GOSSIP_MAX {
            self.messages.pop_first();
        }
        let had = BTreeSet::from([from]);
        self.messages.insert(self.next, (Arc::clone(packed), had));
        self.next
    }

    /// Returns true if the node receives this for the first time.
    fn is_new(&mut self, id: u64, node: usize) -> bool {
        self.messages.get_mut(&id).is_none_or(|(_, had)| had.insert(node))
    }
}

impl World {
    /// The bytes of a message, which must decode to the same message.
    pub fn pack(&self, message: Message) -> Result<Arc<Packed>, Fault> {
        let bytes = self.envelope.pack(&message);
        let opened = self
            .envelope
            .open(&bytes)
            .map_err(|error| (Rule::Wire, error.to_string()))?;
        if opened != message {
            return Err((
                Rule::Wire,
                format!("{} is another message after the wire", describe(&message)),
            ));
        }
        Ok(Arc::new(Packed { bytes, message }))
    }

    pub fn transmit(&mut self, from: usize, to: usize, packed: &Arc<Packed>, gossip: Option<u64>) {
        self.report.sent += 1;
        if self.wire.chance(self.faults.loss) {
            self.report.lost += 1;
            return;
        }
        // Between two nodes there is a stream: it may lose its end, but it does not duplicate.
        let direct = matches!(
            packed.message,
            Message::Body { .. }
                | Message::BodyRequest { .. }
                | Message::SyncRequest { .. }
                | Message::SyncResponse { .. }
                | Message::Status { .. }
        );
        let stream = direct.then(|| (self.nodes[from].boot, self.nodes[to].boot));
        let twice = !direct && self.wire.chance(self.faults.duplication);
        self.report.duplicated += u64::from(twice);
        for _ in 0..=u64::from(twice) {
            let mut delay = self.faults.delay + self.wire.below(self.faults.jitter + 1);
            if self.wire.chance(self.faults.stragglers) {
                delay *= 100;
            }
            let mut damaged = None;
            if self.wire.chance(self.faults.damage) {
                self.report.damaged += 1;
                let mut bytes = packed.bytes.clone();
                let (at, bit) = (self.wire.index(bytes.len()), self.wire.below(8));
                bytes[at] ^= 1 << bit;
                damaged = Some(bytes);
            }
            let parcel = Parcel {
                from,
                to,
                packed: Arc::clone(packed),
                damaged,
                gossip,
                stream,
            };
            self.later(delay, Happening::Deliver(parcel));
        }
    }

    pub fn deliver(&mut self, parcel: Parcel) -> Result<(), Violation> {
        let Parcel {
            from,
            to,
            packed,
            damaged,
            gossip,
            stream,
        } = parcel;
        let over = stream.is_some_and(|boots| boots != (self.nodes[from].boot, self.nodes[to].boot));
        if self.nodes[to].running.is_none() || over || self.is_cut(from, to) {
            self.report.lost += 1;
            return Ok(());
        }
        // Bytes equal to those sent decode to the message sent: `pack` has checked it.
        let message = match damaged {
            None => packed.message.clone(),
            Some(bytes) => match self.envelope.open(&bytes) {
                Ok(message) => message,
                Err(_) => return Ok(()),
            },
        };
        if gossip.is_some_and(|id| !self.gossip.is_new(id, to)) {
            return Ok(());
        }
        self.trace
            .note(self.now, format_args!("{from} -> {to}  {}", describe(&message)));
        let byzantine = self.byzantine.as_mut();
        if let Some(byzantine) = byzantine.filter(|byzantine| byzantine.node == to) {
            byzantine.on_received(&message);
            if let Some(said) = byzantine.answer(from, &message) {
                let packed = self.pack(said.message);
                let packed = packed.map_err(|fault| self.violation(to, fault))?;
                self.transmit(to, from, &packed, None);
            }
        }
        match message {
            Message::Transactions(transactions) => self.take_transactions(to, transactions),
            message => match self.examine(from, to, message)? {
                Some(Message::SyncRequest { from: first, count }) => self.serve(to, from, first, count),
                Some(message) => self.hand_over(from, to, message, gossip),
                None => Ok(()),
            },
        }
    }

    /// A node answers a peer's request for stored blocks, as the serving thread of a real one does.
    fn serve(&mut self, node: usize, peer: usize, first: Height, count: u32) -> Result<(), Violation> {
        let Some(running) = &self.nodes[node].running else {
            return Ok(());
        };
        let store = running.store.clone();
        let answer = vibecoin_host::blocks(first, count, SERVE_BYTES_ENOUGH, |height| {
            certified_block(&store, height)
        });
        if let Some(error) = answer.error {
            return Err(self.violation(node, (Rule::Recovery, error.to_string())));
        }
        self.report.served += 1;
        let message = Message::SyncResponse {
            from: first,
            blocks: answer.blocks,
        };
        self.trace
            .note(self.now, format_args!("{node} -> {peer}  {}", describe(&message)));
        self.say(node, Some(peer), message)
            .map_err(|fault| self.violation(node, fault))
    }

    pub fn hand_over(
        &mut self,
        from: usize,
        to: usize,
        message: Message,
        gossip: Option<u64>,
    ) -> Result<(), Violation> {
        self.step(
            to,
            Event::Message {
                from: PeerId(from as u64),
                message: Box::new(message),
                verified: Vec::new(),
                gossip: gossip.map(GossipId),
            },
        )
    }

    /// A node accepts a gossiped message for relay.
    pub fn forward(&mut self, node: usize, id: u64) {
        let Some((packed, had)) = self.gossip.messages.get(&id) else {
            return;
        };
        let (packed, had) = (Arc::clone(packed), had.clone());
        let permille = self.relays(&packed.message);
        for peer in 0..self.nodes.len() {
            if peer != node && !had.contains(&peer) && self.wire.chance(permille) {
                self.report.relayed += 1;
                self.transmit(node, peer, &packed, Some(id));
            }
        }
    }

    /// Probability that a message is relayed, in thousandths. Public messages of a Byzantine node
    /// are relayed more.
    fn relays(&self, message: &Message) -> u64 {
        let is_byzantine = self.byzantine.as_ref().is_some_and(|byzantine| {
            own_statement(self.nodes[byzantine.node].public, &self.chain.genesis, message).is_some()
        });
        match (is_byzantine, self.calm) {
            (true, true) => 1000,
            (true, false) => self.faults.relay.max(500),
            _ => self.faults.relay,
        }
    }

    /// Sends to one node, or to all; the observer receives it first.
    pub fn say(&mut self, from: usize, to: Option<usize>, message: Message) -> Result<(), Fault> {
        let node = &self.nodes[from];
        // A twin may relay a body that the other one of its key has made: nothing is signed by that.
        let twins = self
            .nodes
            .iter()
            .filter(|other| other.public == node.public)
            .count()
            > 1;
        if !(twins && matches!(message, Message::Body { .. })) {
            node.may_leave(&self.chain.genesis, &message)?;
        }
        if node.log_failed && own_statement(node.public, &self.chain.genesis, &message).is_some() {
            self.report.signed_after_fault += 1;
        }
        let byzantine = self.byzantine.as_mut();
        let message = match byzantine.filter(|byzantine| byzantine.node == from) {
            None => message,
            Some(byzantine) => match byzantine.time(message, self.now) {
                Timed::Now(message) => message,
                Timed::Later(messages) => {
                    for (after, message) in messages {
                        self.later(after, Happening::Said { message });
                    }
                    return Ok(());
                }
            },
        };
        let node = &self.nodes[from];
        let byzantine = self.byzantine.as_mut();
        if let Some(byzantine) = byzantine.filter(|byzantine| byzantine.node == from)
            && let Some(running) = &node.running
        {
            let sent = byzantine.send(to, message, &Stored(&running.store));
            for said in sent {
                self.send(from, &said.to, said.message)?;
            }
            return Ok(());
        }
        let everybody = 0..self.nodes.len();
        let to: Vec<usize> = everybody
            .filter(|peer| *peer != from && to.is_none_or(|to| to == *peer))
            .collect();
        self.send(from, &to, message)
    }

    pub fn send(&mut self, from: usize, to: &[usize], message: Message) -> Result<(), Fault> {
        self.observer.hear(self.nodes[from].public, &message)?;
        let gossiped = matches!(message, Message::Consensus(_) | Message::Evidence(_));
        let gossiped = gossiped && self.relays(&message) > 0;
        let packed = self.pack(message)?;
        let gossip = gossiped.then(|| self.gossip.publish(&packed, from));
        for peer in to {
            self.transmit(from, *peer, &packed, gossip);
        }
        Ok(())
    }

    // ---- connections between nodes ---------------------------------------------------------------

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.apart.contains(&a) != self.apart.contains(&b)
    }

    /// Lets every pair check, soon, if it is connected.
    pub fn look_at_links(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let after = 1 + self.wire.below(self.faults.delay + self.faults.jitter);
                self.later(after, Happening::Link(b, a));
            }
        }
    }

    /// Removes the connections of a process that has ended.
    pub fn unlink(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            if self.linked.remove(&(node.min(peer), node.max(peer))) {
                let after = 1 + self.wire.below(self.faults.delay + self.faults.jitter);
                self.later(
                    after,
                    Happening::Gone {
                        node: peer,
                        peer: node,
                    },
                );
            }
        }
    }

    /// Updates the connection between two nodes.
    pub fn link(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let up = self.nodes[a].running.is_some() && self.nodes[b].running.is_some() && !self.is_cut(a, b);
        if up == self.linked.contains(&(a, b)) {
            return Ok(());
        }
        if up {
            self.linked.insert((a, b));
        } else {
            self.linked.remove(&(a, b));
        }
        for (node, peer) in [(a, b), (b, a)] {
            let (id, head) = (PeerId(peer as u64), self.nodes[peer].acked.0);
            let event = if up {
                Event::Connected {
                    peer: id,
                    head,
                    validator: Some(self.nodes[peer].public),
                }
            } else {
                Event::Disconnected { peer: id }
            };
            self.step(node, event)?;
        }
        Ok(())
    }

    /// A node notices that a peer has disconnected, if it has not reconnected meanwhile.
    pub fn gone(&mut self, node: usize, peer: usize) -> Result<(), Violation> {
        if self.linked.contains(&(node.min(peer), node.max(peer))) {
            return Ok(());
        }
        self.step(
            node,
            Event::Disconnected {
                peer: PeerId(peer as u64),
            },
        )
    }
}
