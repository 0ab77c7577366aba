//! What peers pass on, until its verdict is known.

use libp2p::PeerId as LibPeer;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use vibecoin_replica::{GossipId, Message, Severity};

use super::Task;
use crate::service::behaviour::COPY_BYTES;
use crate::service::config::NetworkEvent;
use crate::service::meter::GOSSIP_MESSAGE_BYTES;
use crate::service::repeats::{Repeat, name_of};
use crate::service::view::{Protocol, Refusal, count};

/// Most gossiped messages whose verdict is waited for; the oldest is given up.
const UNDECIDED_MAX: usize = 8_192;

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
        let Some(number) = self
            .peers
            .get(&source)
            .filter(|peer| peer.admitted.is_some())
            .map(|peer| peer.number)
        else {
            return self.report(&id, &source, MessageAcceptance::Ignore);
        };
        let envelope = message.data.get(COPY_BYTES..).unwrap_or_default();
        let repeats = if transactions {
            &mut self.repeats.transactions
        } else {
            &mut self.repeats.consensus
        };
        let copy = repeats.copy(name_of(envelope), source, tokio::time::Instant::now());
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
        self.undecided.insert(gossip, (id, source));
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
        if let Some((id, source)) = self.undecided.remove(&gossip) {
            self.report(&id, &source, acceptance);
        }
    }

    fn report(&mut self, id: &MessageId, source: &LibPeer, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // A message that has left the cache can be passed on no more.
        let _left_the_cache = gossip.report_message_validation_result(id, source, acceptance);
    }
}
