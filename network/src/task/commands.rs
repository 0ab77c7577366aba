//! Execution of callers' commands, and penalties for peers' faults.

use std::time::{Duration, Instant};

use libp2p::PeerId as LibPeer;
use libp2p::gossipsub::MessageAcceptance;
use tracing::{debug, info, warn};
use vibecoin_messages::{Severity, Verdict};

use super::Task;
use super::slots::machine_of;
use crate::command::Command;
use crate::counters::{Refusal, count};
use crate::lanes::Rank;
use crate::meter::StreamFault;
use crate::score::{BAN_TIME, Ban, Remembered, points_of};

impl Task {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { transactions, data } => {
                let topic = if transactions {
                    self.names.transactions.hash()
                } else {
                    self.names.consensus.hash()
                };
                // Without peers there is no receiver; important messages are sent again.
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(topic, data) {
                    debug!(target: "node::network", %error, "not published");
                }
            }
            Command::Forward { gossip, verdict } => match verdict {
                Verdict::Fresh | Verdict::Known => self.decide(gossip, MessageAcceptance::Accept),
                Verdict::Ignored => self.ignore(gossip),
                Verdict::Rejected(_) => {
                    count(&self.shared.tally.rejected);
                    self.decide(gossip, MessageAcceptance::Reject);
                }
            },
            Command::Blame {
                peer,
                severity,
                reason,
            } => {
                if let Some(peer) = self.numbers.peer(peer) {
                    self.blame(peer, severity, &reason);
                }
            }
            Command::Add { peer, address } => {
                let behaviour = self.swarm.behaviour_mut();
                behaviour.admission.add_known_machine(&address);
                behaviour.limits.bypass_peer_id(&peer);
                self.book.add(peer, address);
            }
            Command::Remove { peer } => {
                self.book.remove(&peer);
                if !self.reserved.contains(&peer) {
                    self.swarm.behaviour_mut().limits.remove_peer_id(&peer);
                }
                let _not_connected = self.swarm.disconnect_peer_id(peer);
            }
            Command::Ban { peer, reason, time } => {
                self.ban(peer, reason, time);
                self.publish_bans();
            }
            Command::Unban { peer } => {
                self.scores.unban(&peer);
                self.unblock(peer);
                self.publish_bans();
            }
            Command::Stop => {}
        }
    }

    pub(super) fn unblock(&mut self, peer: LibPeer) {
        self.swarm.behaviour_mut().bans.unblock_peer(peer);
        self.book.reset(&peer);
    }

    pub(super) fn blame(&mut self, peer: LibPeer, severity: Severity, reason: &str) {
        let now = Instant::now();
        if self.scores.blame(peer, points_of(severity), now) {
            let known = self.peers.get(&peer);
            let at = known.and_then(|peer| machine_of(&peer.address));
            let admitted = known.and_then(|peer| peer.admitted.as_ref());
            let (rank, validator) = (
                admitted.map(|admitted| admitted.rank),
                admitted.and_then(|admitted| admitted.validator),
            );
            if self.may_log(rank) {
                warn!(target: "node::network", %peer, reason, "peer banned");
            } else {
                debug!(target: "node::network", %peer, reason, "peer banned");
            }
            // Node identities are free, the key of a validator is not.
            if let Some(key) = validator {
                self.scores.ban_key(key, peer, now);
            }
            if let Some(machine) = at
                && self.scores.ban_machine(machine, now)
            {
                count(&self.shared.tally.places_banned);
                if self.may_log(None) {
                    warn!(target: "node::network", %machine, "strangers of this machine are banned");
                }
            }
            self.ban(peer, reason.to_owned(), Some(BAN_TIME));
        } else {
            debug!(target: "node::network", %peer, reason, ?severity, "peer broke a rule");
        }
    }

    pub(super) fn ban(&mut self, peer: LibPeer, reason: String, time: Option<Duration>) {
        count(&self.shared.tally.bans);
        let until = time.and_then(|time| Instant::now().checked_add(time));
        // Beyond the capacity for bans a peer is only disconnected.
        if let Remembered::Yes { lifted } = self.scores.ban(peer, Ban { reason, until }) {
            self.swarm.behaviour_mut().bans.block_peer(peer);
            if let Some(lifted) = lifted {
                self.unblock(lifted);
            }
        }
        let _not_connected = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_stream_fault(&mut self, peer: LibPeer, fault: StreamFault) {
        let (refusal, reason) = match fault {
            StreamFault::Opened => (Refusal::Opened, "streams without end"),
            StreamFault::Garbled => (Refusal::Undecodable, "gossip that does not decode"),
        };
        self.shared.tally.refuse(refusal);
        let admitted = self.peers.get(&peer).and_then(|peer| peer.admitted.as_ref());
        // Gossip is relayed: validators must not ban each other for bytes that a third peer composed.
        let is_relay = fault == StreamFault::Garbled && admitted.is_some_and(|it| it.rank == Rank::Known);
        if !is_relay {
            self.blame(peer, Severity::Serious, reason);
        }
        let _closing = self.swarm.disconnect_peer_id(peer);
    }

    /// A peer does not read its frames: it is disconnected, so that no further frames are queued for it. One
    /// that is stopped or cut off is not at fault; an unknown peer that reconnects to do the same is.
    pub(super) fn on_slow_reader(&mut self, peer: LibPeer, is_stranger: bool) {
        self.shared.tally.refuse(Refusal::SlowReader);
        if self.may_log((!is_stranger).then_some(Rank::Known)) {
            info!(target: "node::network", %peer, "peer does not take what it is sent");
        }
        if is_stranger {
            self.blame(peer, Severity::Minor, "it does not take what it is sent");
        }
        let _not_connected = self.swarm.disconnect_peer_id(peer);
    }
}
