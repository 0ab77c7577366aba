//! Connection lifecycle: connections, pings, the streams of the lanes, and disconnection.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId as LibPeer, Stream, ping};
use tracing::{debug, info};
use vibecoin_messages::Severity;

use super::event::TaskEvent;
use super::peer::Peer;
use super::{DIAL_TIME, Task};
use crate::counters::Refusal;
use crate::event::NetworkEvent;
use crate::lanes::{Lane, LaneFault, Rank, Reader, STEP_TIME};
use crate::meter::part_of_strangers;

/// Maximum number of a peer's streams that wait for its hello.
const EARLY_STREAMS_MAX: usize = 4;
/// Maximum number of open streams of one peer on one lane.
const STREAMS_PER_LANE_MAX: usize = 2;
/// Maximum number of connections of one peer that is configured or proved to be a validator; others have two.
/// Two nodes that dial each other at once have two, and two more when one of them was restarted and its old
/// connections have not ended yet.
const CONNECTIONS_MAX: u32 = 4;
/// A second connection to a peer that is connected for longer than this shows that the first one is dead: the
/// peer has lost it. Longer than a dial may take, as two nodes may dial each other at once.
const STALE: Duration = Duration::from_secs(8);
/// Minimum age of a connection for its peer to be dialled at once when it breaks.
const SETTLED: Duration = Duration::from_secs(2);
/// Number of lost pings after which a connection counts as broken.
const PINGS_LOST_MAX: u32 = 2;
const _: () = assert!(DIAL_TIME.as_millis() < STALE.as_millis());

impl Task {
    /// A cut cable is detected by silence alone, and a new connection can be made only when the old one has
    /// ended.
    pub(super) fn on_ping(&mut self, ping: ping::Event) {
        let Some(peer) = self.peers.get_mut(&ping.peer) else {
            return;
        };
        match ping.result {
            Ok(rtt) => {
                peer.rtt = rtt;
                peer.pings_lost = 0;
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                peer.pings_lost = peer.pings_lost.saturating_add(1);
                if peer.pings_lost >= PINGS_LOST_MAX {
                    let rank = peer.rank();
                    if self.may_log(rank) {
                        info!(target: "node::network", peer = %ping.peer, %error, "peer does not answer");
                    }
                    let _closing = self.swarm.disconnect_peer_id(ping.peer);
                }
            }
        }
    }

    pub(super) fn on_connection(
        &mut self,
        peer: LibPeer,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        established: u32,
    ) {
        let address = endpoint.get_remote_address().clone();
        if let Some(old) = self.peers.get_mut(&peer) {
            if old.since.elapsed() > STALE {
                debug!(target: "node::network", %peer, "the peer connects anew: its old connection is dead");
                let _closing = self.swarm.disconnect_peer_id(peer);
                return;
            }
            if established > CONNECTIONS_MAX {
                debug!(target: "node::network", %peer, %address, "too many connections of one peer");
                self.shared.tally.refuse(Refusal::Connection);
                self.swarm.close_connection(connection);
                return;
            }
            // Two nodes that dialled each other at once keep both connections: each has by then announced on
            // its first one the topics that it subscribes to, and closing either would lose that.
            old.newest = Instant::now();
            self.send_hello(peer);
            return;
        }
        // Until it is admitted: gossipsub records a message before its sender is checked, and would drop the
        // copies of admitted peers.
        self.swarm.behaviour_mut().gossip.blacklist_peer(&peer);
        if established > 1 || (!endpoint.is_dialer() && !self.may_send_hello(&peer, &address)) {
            debug!(target: "node::network", %peer, %address, "too many connections from there");
            self.swarm.close_connection(connection);
            return;
        }
        let number = self.numbers.connected(peer);
        self.next_session = self.next_session.saturating_add(1);
        let record = Peer::new(number, self.next_session, address, endpoint.is_dialer());
        self.peers.insert(peer, record);
        self.send_hello(peer);
    }

    pub(super) fn on_disconnected(&mut self, id: LibPeer) {
        self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&id);
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        self.numbers.disconnected(&id);
        self.shared.lanes.write().remove(&peer.number);
        self.shared.snapshots.peers.lock().remove(&peer.number);
        let privileged = self.is_privileged(&id);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_explicit_peer(&id);
        if !privileged {
            behaviour.limits.remove_peer_id(&id);
        }
        // A peer that disconnects right after its hello is not dialled again at once.
        if peer.admitted.is_some() && peer.since.elapsed() > SETTLED {
            self.book.reset(&id);
        }
        if let Some(admitted) = &peer.admitted {
            if self.may_log(Some(admitted.rank)) {
                info!(target: "node::network", peer = %id, "peer gone");
            } else {
                debug!(target: "node::network", peer = %id, "peer gone");
            }
            self.deliver(NetworkEvent::Disconnected { peer: peer.number });
        }
    }

    /// Reads a stream of a lane that the peer opened, if its hello was accepted.
    pub(super) fn on_stream(&mut self, id: LibPeer, lane: Lane, stream: Stream) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(admitted) = &peer.admitted else {
            if peer.early_streams.len() < EARLY_STREAMS_MAX {
                peer.early_streams.push((lane, stream));
            }
            return;
        };
        // Only validators make blocks.
        if lane == Lane::Parts && admitted.validator.is_none() {
            return self.shared.tally.refuse(Refusal::WrongLane);
        }
        let reader = Reader {
            lane,
            from: peer.number,
            envelope: self.shared.envelope,
            sink: self.sink.clone(),
            traffic: admitted.traffic.clone(),
            tally: self.shared.tally.clone(),
            rank: admitted.rank,
            owed: admitted.owed.clone(),
            in_flight: self.in_flight.clone(),
            bytes_per_s: self.config.bytes_per_s_per_peer,
            step_time: STEP_TIME,
        };
        let count = peer.streams_read_on(lane);
        if *count >= STREAMS_PER_LANE_MAX {
            return self.shared.tally.refuse(Refusal::Streams);
        }
        *count = count.saturating_add(1);
        let (events, session) = (self.event_sender.clone(), peer.session);
        tokio::spawn(async move {
            let fault = reader.run(stream).await;
            let ended = TaskEvent::LaneEnded {
                peer: id,
                session,
                lane,
                fault,
            };
            let _stopping = events.send(ended).await;
        });
    }

    pub(super) fn on_lane_ended(&mut self, id: LibPeer, session: u64, lane: Lane, fault: Option<LaneFault>) {
        // Otherwise the lane belonged to an earlier connection.
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.session == session) {
            let count = peer.streams_read_on(lane);
            *count = count.saturating_sub(1);
        }
        let Some(fault) = fault else { return };
        self.shared.tally.refuse(fault.refusal());
        // A cable may be cut in the middle of a frame.
        let severity = if fault == LaneFault::Slow {
            Severity::Minor
        } else {
            Severity::Serious
        };
        self.blame(id, severity, fault.text());
        let _not_connected = self.swarm.disconnect_peer_id(id);
    }

    /// Sets each peer's rate for the number of connected ones, and records which are quiet.
    pub(super) fn share_bandwidth(&mut self) {
        let ranks: Vec<(LibPeer, Option<Rank>)> = self
            .peers
            .iter()
            .map(|(id, peer)| {
                let admitted = peer.admitted.as_ref();
                (*id, admitted.map(|admitted| self.rank(id, admitted.validator)))
            })
            .collect();
        let per_peer = self.config.bytes_per_s_per_peer;
        let strangers = ranks.iter().filter(|(_, rank)| *rank == Some(Rank::Stranger));
        let part = part_of_strangers(strangers.count(), per_peer);
        for (id, rank) in ranks {
            match rank {
                Some(Rank::Known) => self.meters.set(&id, per_peer, true),
                Some(Rank::Stranger) => self.meters.set(&id, part, false),
                None => {}
            }
        }
        for peer in self.peers.values_mut() {
            let Some(admitted) = &peer.admitted else { continue };
            let bytes = admitted.traffic.bytes_in.load(Ordering::Relaxed);
            if bytes != peer.bytes_seen {
                peer.bytes_seen = bytes;
                peer.quiet_since = Instant::now();
            }
        }
    }
}
