//! Gossiped messages, until their verdict is known.

use std::time::Duration;

use libp2p::PeerId as LibPeer;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use vibecoin_messages::{GossipId, Message, Severity};

use super::Task;
use crate::behaviour::COPY_BYTES;
use crate::counters::{Protocol, Refusal, count};
use crate::event::NetworkEvent;
use crate::lanes::Rank;
use crate::meter::GOSSIP_MESSAGE_BYTES;
use crate::repeats::{Repeat, name_of};

/// Rate limit of useless statements from an unknown peer: burst and interval. Relays forward only statements
/// useful to themselves: those of this node's height are useful here, too. A relay some heights behind
/// forwards useless ones, but no more than its validators send there: a few hundred statements a height, and
/// copies of them.
pub(super) const USELESS_BURST: u32 = 8_192;
pub(super) const USELESS_EACH: Duration = Duration::from_micros(500);
/// Maximum number of gossiped messages without a verdict; the oldest is ignored.
const UNDECIDED_MAX: usize = 8_192;

/// A gossiped message that waits for its verdict.
pub(super) struct Undecided {
    id: MessageId,
    source: LibPeer,
    is_statement: bool,
}

impl Task {
    pub(super) fn on_gossip(&mut self, source: LibPeer, id: MessageId, message: gossipsub::Message) {
        let transactions = message.topic == self.names.transactions.hash();
        let protocol = if transactions {
            Protocol::Transactions
        } else {
            Protocol::Consensus
        };
        self.shared.tally.received(protocol, message.data.len());
        self.meters.charge(&source, GOSSIP_MESSAGE_BYTES);
        let sender = self.peers.get(&source).and_then(|peer| {
            let admitted = peer.admitted.as_ref()?;
            Some((peer.number, admitted.rank))
        });
        let Some((number, rank)) = sender else {
            return self.report(&id, &source, MessageAcceptance::Ignore);
        };
        let envelope = message.data.get(COPY_BYTES..).unwrap_or_default();
        let repeats = if transactions {
            &mut self.repeats.transactions
        } else {
            &mut self.repeats.consensus
        };
        let copy = repeats.copy(name_of(envelope), source, rank, tokio::time::Instant::now());
        if copy != Repeat::Fresh {
            self.shared.tally.refuse(Refusal::Copy);
            self.report(&id, &source, MessageAcceptance::Ignore);
            if copy == Repeat::Fault {
                self.blame(source, Severity::Minor, "copies of known gossip without end");
            }
            return;
        }
        let opened = self.shared.envelope.open(envelope).ok();
        let belongs = |message: &Message| match message {
            Message::Transactions(_) => transactions,
            Message::Consensus(_) | Message::Evidence(_) => !transactions,
            _ => false,
        };
        let Some(message) = opened.filter(belongs) else {
            count(&self.shared.tally.rejected);
            self.shared.tally.refuse(Refusal::Undecodable);
            self.report(&id, &source, MessageAcceptance::Reject);
            return self.blame(source, Severity::Serious, "gossip that is no message");
        };
        let gossip = GossipId(self.next_gossip);
        self.next_gossip = self.next_gossip.saturating_add(1);
        if self.undecided_order.len() >= UNDECIDED_MAX
            && let Some(oldest) = self.undecided_order.pop_front()
        {
            self.decide(oldest, MessageAcceptance::Ignore);
        }
        let is_statement = !transactions;
        self.undecided.insert(
            gossip,
            Undecided {
                id,
                source,
                is_statement,
            },
        );
        self.undecided_order.push_back(gossip);
        let event = NetworkEvent::Message {
            from: number,
            message,
            gossip: Some(gossip),
        };
        if !self.sink.deliver(event) {
            self.shared.tally.dropped_in(protocol);
            self.decide(gossip, MessageAcceptance::Ignore);
        }
    }

    pub(super) fn decide(&mut self, gossip: GossipId, acceptance: MessageAcceptance) {
        if let Some(Undecided { id, source, .. }) = self.undecided.remove(&gossip) {
            self.report(&id, &source, acceptance);
        }
    }

    /// A message is useless to this node, through no fault in it. Unknown peers that send such statements
    /// without end are blamed. Transactions are not counted: space for them differs from node to node.
    pub(super) fn ignore(&mut self, gossip: GossipId) {
        let statement = self.undecided.get(&gossip).filter(|one| one.is_statement);
        let source = statement.map(|one| one.source);
        self.decide(gossip, MessageAcceptance::Ignore);
        let Some(source) = source else { return };
        let Some(peer) = self.peers.get_mut(&source) else {
            return;
        };
        if peer.rank() == Some(Rank::Stranger) && !peer.useless.take(tokio::time::Instant::now()) {
            self.shared.tally.refuse(Refusal::Useless);
            self.blame(source, Severity::Minor, "statements of no use without end");
        }
    }

    fn report(&mut self, id: &MessageId, source: &LibPeer, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // A message that has left the cache can no longer be forwarded.
        let _left_the_cache = gossip.report_message_validation_result(id, source, acceptance);
    }
}
