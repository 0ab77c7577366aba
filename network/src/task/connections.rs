//! Connection lifecycle: admission, handshake and disconnection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId as LibPeer, Stream, StreamProtocol, ping};
use tracing::{debug, info, warn};
use vibecoin_messages::Severity;
use vibecoin_primitives::text::is_hidden;
use vibecoin_primitives::{Encoded as _, Height, decode, encode};

use super::gossip::{USELESS_BURST, USELESS_EACH};
use super::{Admitted, DIAL_TIME, Greeting, HELLO_TIME, Peer, Task, TaskEvent};
use crate::address_book::Announcer;
use crate::admission::ip_of;
use crate::config::NetworkEvent;
use crate::counters::{Protocol, Refusal, count};
use crate::handshake::{ADDRESSES_MAX, AGENT_BYTES_MAX, HELLO_PROTOCOL, Hello, reachable};
use crate::lanes::{
    Bucket, Lane, LaneFault, Lanes, Rank, Reader, STEP_TIME, Traffic, WriteEnd, open, read_frame, write_frame,
};
use crate::wire::WIRE_VERSION;

/// Maximum number of a peer's streams that wait for its hello.
const WAITING_STREAMS_MAX: usize = 4;
/// Maximum number of open streams of one peer on one lane.
const STREAMS_PER_LANE_MAX: usize = 2;
/// Number of attempts to send a hello, and the delay after each.
const HELLO_TRIES: u32 = 10;
const HELLO_AGAIN: Duration = Duration::from_millis(50);
/// Maximum number of hellos from one peer: one for each of its connections, and each second while it receives
/// none of ours.
const HELLOS_MAX: u32 = 32;
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
/// Maximum number of hellos of one peer being read.
const HELLO_STREAMS_MAX: usize = 4;
/// Duration of the ban of a peer of a different chain.
const WRONG_CHAIN_TIME: Duration = Duration::from_secs(60);
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
                    let rank = peer.admitted.as_ref().map(|admitted| admitted.rank);
                    if self.is_told(rank) {
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
            self.say_hello(peer);
            return;
        }
        // Until it is admitted: gossipsub records a message before its sender is checked, and would drop the
        // copies of admitted peers.
        self.swarm.behaviour_mut().gossip.blacklist_peer(&peer);
        if established > 1 || (!endpoint.is_dialer() && !self.has_room(&peer, &address)) {
            debug!(target: "node::network", %peer, %address, "too many connections from there");
            self.swarm.close_connection(connection);
            return;
        }
        let number = self.numbers.met(peer);
        self.next_visit = self.next_visit.saturating_add(1);
        let now = Instant::now();
        self.peers.insert(
            peer,
            Peer {
                number,
                visit: self.next_visit,
                address,
                outbound: endpoint.is_dialer(),
                since: now,
                newest: now,
                admitted: None,
                greetings: Vec::new(),
                hellos: 0,
                reading_hellos: Arc::new(()),
                bytes_seen: 0,
                quiet_since: now,
                waiting: Vec::new(),
                reading: [0; 2],
                rtt: Duration::ZERO,
                pings_lost: 0,
                useless: Bucket::new(USELESS_EACH, USELESS_BURST, now.into()),
            },
        );
        self.say_hello(peer);
    }

    pub(super) fn on_gone(&mut self, peer: LibPeer) {
        self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&peer);
        let Some(gone) = self.peers.remove(&peer) else {
            return;
        };
        self.numbers.left(&peer);
        self.shared.lanes.write().remove(&gone.number);
        self.shared.view.peers.lock().remove(&gone.number);
        let privileged = self.is_privileged(&peer);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_explicit_peer(&peer);
        if !privileged {
            behaviour.limits.remove_peer_id(&peer);
        }
        // A peer that disconnects right after its hello is not dialled again at once.
        if gone.admitted.is_some() && gone.since.elapsed() > SETTLED {
            self.book.reset(&peer);
        }
        if let Some(admitted) = &gone.admitted {
            if self.is_told(Some(admitted.rank)) {
                info!(target: "node::network", %peer, "peer gone");
            } else {
                debug!(target: "node::network", %peer, "peer gone");
            }
            self.deliver(NetworkEvent::Disconnected { peer: gone.number });
        }
    }

    pub(super) fn deliver(&self, event: NetworkEvent) {
        if !self.sink.deliver(event) {
            self.shared.tally.dropped_in(Protocol::Direct);
        }
    }

    /// Addresses of this node, best first; of its listening addresses, those that `for_peer` can reach.
    pub(super) fn own_addresses(&self, for_peer: Option<IpAddr>) -> Vec<String> {
        let own = *self.swarm.local_peer_id();
        let external: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let addresses = if external.is_empty() {
            reachable(self.swarm.listeners().cloned().collect(), for_peer)
        } else {
            reachable(external, None)
        };
        addresses
            .into_iter()
            .take(ADDRESSES_MAX)
            .map(|address| format!("{address}/p2p/{own}"))
            .collect()
    }

    fn say_hello(&mut self, id: LibPeer) {
        let Some(peer) = self.peers.get(&id) else { return };
        let at = ip_of(&peer.address);
        let agent = shortened(&self.config.agent);
        let hello = Hello {
            version: u32::from(WIRE_VERSION),
            genesis: self.config.genesis,
            head: Height(self.shared.head.load(Ordering::Relaxed)),
            agent,
            run: self.run,
            proof: self.config.validator_proof,
            addresses: self.own_addresses(at),
            others: if self.config.exchange {
                self.book.some(ADDRESSES_MAX)
            } else {
                Vec::new()
            },
        };
        let control = self.control.clone();
        let saying = tokio::spawn(async move {
            let protocol = StreamProtocol::new(HELLO_PROTOCOL);
            // If one of two connections is closing, the other one is used.
            for _ in 0..HELLO_TRIES {
                if let Ok(mut stream) = control.open_stream(id, protocol.clone()).await
                    && write_frame(&mut stream, &encode(&hello), true).await.is_ok()
                {
                    let _gone = futures_util::AsyncWriteExt::close(&mut stream).await;
                    return;
                }
                tokio::time::sleep(HELLO_AGAIN).await;
            }
        });
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.greetings.retain(|greeting| !greeting.0.is_finished());
            peer.greetings.push(Greeting(saying.abort_handle()));
        }
    }

    /// A hello can get lost when many arrive at once. A peer that received ours opens a lane, so one that has
    /// opened none is sent it again, as long as it may still be waiting.
    pub(super) fn greet_again(&mut self) {
        let unheard = self.peers.iter().filter(|(_, peer)| {
            peer.reading == [0; 2] && peer.waiting.is_empty() && peer.newest.elapsed() < HELLO_TIME
        });
        let unheard: Vec<LibPeer> = unheard.map(|(id, _)| *id).collect();
        unheard.into_iter().for_each(|id| self.say_hello(id));
    }

    pub(super) fn on_hello_stream(&mut self, id: LibPeer, stream: Stream) {
        // A peer that has disconnected may still have sent a hello of a different chain.
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.hellos = peer.hellos.saturating_add(1);
            if peer.hellos > HELLOS_MAX {
                self.shared.tally.refuse(Refusal::Hello);
                self.blame(id, Severity::Serious, "hellos without end");
                let _closing = self.swarm.disconnect_peer_id(id);
                return;
            }
        }
        let reading = self
            .peers
            .get(&id)
            .map_or_else(Arc::default, |peer| peer.reading_hellos.clone());
        if Arc::strong_count(&reading) > HELLO_STREAMS_MAX.saturating_add(1) {
            return self.shared.tally.refuse(Refusal::Hello);
        }
        self.read_hello(id, stream, reading);
    }

    /// Reads a hello; `reading` is held meanwhile.
    fn read_hello(&self, peer: LibPeer, mut stream: Stream, reading: Arc<()>) {
        let found = self.found.clone();
        tokio::spawn(async move {
            let _reading = reading;
            let read = tokio::time::timeout(HELLO_TIME, read_frame(&mut stream, Hello::BYTES_MAX)).await;
            let finding = match read {
                Ok(Ok(bytes)) => match decode::<Hello>(&bytes) {
                    Ok(hello) if hello.is_bounded() => TaskEvent::Hello {
                        peer,
                        hello: Box::new(hello),
                    },
                    Ok(_) => TaskEvent::BadHello {
                        peer,
                        detail: "a hello with too much in it".to_owned(),
                    },
                    Err(error) => TaskEvent::BadHello {
                        peer,
                        detail: error.to_string(),
                    },
                },
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => TaskEvent::BadHello {
                    peer,
                    detail: "a hello over its limit".to_owned(),
                },
                // A broken connection is not a fault; a silent peer is disconnected at its deadline.
                Ok(Err(_)) | Err(_) => return,
            };
            let _stopping = found.send(finding).await;
        });
    }

    pub(super) fn on_hello(&mut self, id: LibPeer, hello: Hello) {
        let Hello {
            version,
            genesis,
            head,
            agent,
            run,
            proof,
            addresses,
            others,
        } = hello;
        let ours = self.config.genesis;
        if genesis != ours {
            count(&self.shared.tally.wrong_chain);
            let reason = format!("it belongs to the chain {genesis}, this node to {ours}");
            if self.is_told(None) {
                warn!(target: "node::network", peer = %id, %genesis, %ours, "peer of another chain refused");
            }
            return self.ban(id, reason, Some(WRONG_CHAIN_TIME));
        }
        if version != u32::from(WIRE_VERSION) {
            let reason = format!("it speaks version {version} of the wire, this node {WIRE_VERSION}");
            if self.is_told(None) {
                warn!(target: "node::network", peer = %id, version, "peer of another version refused");
            }
            return self.ban(id, reason, Some(WRONG_CHAIN_TIME));
        }
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if let Some(admitted) = &peer.admitted {
            // Over QUIC nothing else signals that a process was killed, until the idle timeout.
            if admitted.run != run {
                let rank = admitted.rank;
                count(&self.shared.tally.restarted);
                if self.is_told(Some(rank)) {
                    info!(target: "node::network", peer = %id, "the peer was started anew: its old connection is dead");
                }
                let _closing = self.swarm.disconnect_peer_id(id);
            }
            return;
        }
        let (outbound, at) = (peer.outbound, peer.address.clone());
        let validator = proof.and_then(|proof| proof.check(&ours, &id, &self.config.validators));
        // A node that proves a banned key is admitted without validator privileges; its gossiped votes still count.
        let now = Instant::now();
        let validator =
            validator.filter(|key| !self.scores.is_key_banned(key, now) && self.meet_validator(id, *key));
        if validator.is_none()
            && let Err(refusal) = self.take_seat(&id)
        {
            debug!(target: "node::network", peer = %id, ?refusal, "no room for another stranger");
            self.shared.tally.refuse(refusal);
            let _closing = self.swarm.disconnect_peer_id(id);
            return;
        }
        let rank = self.rank(&id, validator);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let traffic = Arc::new(Traffic::default());
        traffic.head.store(head.0, Ordering::Relaxed);
        let owed = self.numbers.admitted(&id, rank);
        peer.admitted = Some(Admitted {
            agent: agent.chars().filter(|c| !is_hidden(*c)).collect(),
            run,
            validator,
            rank,
            traffic: traffic.clone(),
            owed: owed.clone(),
        });
        let (number, visit) = (peer.number, peer.visit);
        let waiting = std::mem::take(&mut peer.waiting);
        let lane = |lane: Lane, protocol: &StreamProtocol| {
            let (control, tally) = (self.control.clone(), self.shared.tally.clone());
            let totals = self.totals.clone();
            let (queue, writer) = open(
                lane,
                rank,
                id,
                protocol.clone(),
                control,
                traffic.clone(),
                tally,
                totals,
            );
            let found = self.found.clone();
            tokio::spawn(async move {
                if writer.run().await == WriteEnd::Slow {
                    let _stopping = found.send(TaskEvent::SlowReader { peer: id, visit }).await;
                }
            });
            queue
        };
        let lanes = Lanes {
            direct: lane(Lane::Direct, &self.names.direct),
            parts: validator.map(|_| lane(Lane::Parts, &self.names.parts)),
            owed,
        };
        self.share_out();
        self.shared.lanes.write().insert(number, lanes);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_blacklisted_peer(&id);
        if validator.is_some() {
            behaviour.gate.befriend(&at);
            behaviour.limits.bypass_peer_id(&id);
            behaviour.gossip.add_explicit_peer(&id);
        }
        self.book.met(&id);
        if outbound {
            self.book.verified(&id, &at);
        }
        if self.config.exchange {
            let from = Announcer {
                peer: id,
                ip: ip_of(&at),
            };
            self.book.learn_from_itself(from, &addresses);
            self.book.learn(from, &others);
        }
        let validator_here = validator.is_some();
        if self.is_told(Some(rank)) {
            info!(target: "node::network", peer = %id, %head, validator = validator_here, outbound, "peer connected");
        } else {
            debug!(target: "node::network", peer = %id, %head, validator = validator_here, outbound, "peer connected");
        }
        self.deliver(NetworkEvent::Connected {
            peer: number,
            head,
            validator,
            known: rank == Rank::Known,
        });
        for (lane, stream) in waiting {
            self.on_stream(id, lane, stream);
        }
        self.show_peer(id);
    }

    pub(super) fn on_stream(&mut self, id: LibPeer, lane: Lane, stream: Stream) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(admitted) = &peer.admitted else {
            if peer.waiting.len() < WAITING_STREAMS_MAX {
                peer.waiting.push((lane, stream));
            }
            return;
        };
        // Only validators make blocks.
        if lane == Lane::Parts && admitted.validator.is_none() {
            return self.shared.tally.refuse(Refusal::WrongLane);
        }
        let [direct, parts] = &mut peer.reading;
        let reading = match lane {
            Lane::Direct => direct,
            Lane::Parts => parts,
        };
        if *reading >= STREAMS_PER_LANE_MAX {
            return self.shared.tally.refuse(Refusal::Streams);
        }
        *reading = reading.saturating_add(1);
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
        let (found, visit) = (self.found.clone(), peer.visit);
        tokio::spawn(async move {
            let fault = reader.run(stream).await;
            let _stopping = found
                .send(TaskEvent::LaneEnded {
                    peer: id,
                    visit,
                    lane,
                    fault,
                })
                .await;
        });
    }

    pub(super) fn on_task_event(&mut self, finding: TaskEvent) {
        match finding {
            TaskEvent::Hello { peer, hello } => self.on_hello(peer, *hello),
            TaskEvent::BadHello { peer, detail } => {
                debug!(target: "node::network", %peer, detail, "bad hello");
                self.shared.tally.refuse(Refusal::Hello);
                self.blame(peer, Severity::Serious, "a bad hello");
                let _not_connected = self.swarm.disconnect_peer_id(peer);
            }
            TaskEvent::LaneEnded {
                peer,
                visit,
                lane,
                fault,
            } => {
                // Otherwise the lane belonged to an earlier connection.
                if let Some(peer) = self.peers.get_mut(&peer).filter(|peer| peer.visit == visit) {
                    let [direct, parts] = &mut peer.reading;
                    let reading = match lane {
                        Lane::Direct => direct,
                        Lane::Parts => parts,
                    };
                    *reading = reading.saturating_sub(1);
                }
                if let Some(fault) = fault {
                    self.shared.tally.refuse(fault.refusal());
                    // A cable may be cut in the middle of a frame.
                    let severity = if fault == LaneFault::Slow {
                        Severity::Minor
                    } else {
                        Severity::Serious
                    };
                    self.blame(peer, severity, fault.text());
                    let _not_connected = self.swarm.disconnect_peer_id(peer);
                }
            }
            TaskEvent::SlowReader { peer, visit } => {
                let admitted = self.peers.get(&peer).filter(|peer| peer.visit == visit);
                let Some(admitted) = admitted.and_then(|peer| peer.admitted.as_ref()) else {
                    return;
                };
                let is_stranger = admitted.rank == Rank::Stranger;
                self.on_slow_reader(peer, is_stranger);
            }
        }
    }
}

/// The start of a text, up to the bound of an agent's name.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars() {
        if short.len().saturating_add(c.len_utf8()) > AGENT_BYTES_MAX {
            break;
        }
        short.push(c);
    }
    short
}
