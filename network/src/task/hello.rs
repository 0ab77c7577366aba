//! Handshake: sending and reading hellos, and the admission of a peer whose hello is accepted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId as LibPeer, Stream, StreamProtocol};
use tracing::{debug, info, warn};
use vibecoin_messages::Severity;
use vibecoin_primitives::text::is_hidden;
use vibecoin_primitives::{Encoded as _, Height, PublicKey, decode, encode};

use super::event::TaskEvent;
use super::peer::{AbortOnDrop, Admitted};
use super::{HELLO_TIME, Task};
use crate::address::ip_of;
use crate::address_book::Announcer;
use crate::counters::{Refusal, count};
use crate::event::NetworkEvent;
use crate::handshake::{ADDRESSES_MAX, AGENT_BYTES_MAX, HELLO_PROTOCOL, Hello, reachable};
use crate::lanes::{Lane, Lanes, Queue, Rank, Traffic, WriteEnd, open, read_frame, write_frame};
use crate::wire::WIRE_VERSION;

/// Number of attempts to send a hello, and the delay after each.
const HELLO_TRIES: u32 = 10;
const HELLO_AGAIN: Duration = Duration::from_millis(50);
/// Maximum number of hellos from one peer: one for each of its connections, and each second while it receives
/// none of ours.
const HELLOS_MAX: u32 = 32;
/// Maximum number of hellos of one peer being read.
const HELLO_STREAMS_MAX: usize = 4;
/// Duration of the ban of a peer of a different chain.
const WRONG_CHAIN_TIME: Duration = Duration::from_secs(60);

impl Task {
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

    /// Sends this node's hello to a connected peer.
    pub(super) fn send_hello(&mut self, id: LibPeer) {
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
                self.book.addresses(ADDRESSES_MAX)
            } else {
                Vec::new()
            },
        };
        let control = self.control.clone();
        let sending = tokio::spawn(async move {
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
            peer.hello_senders.retain(|sender| !sender.0.is_finished());
            peer.hello_senders.push(AbortOnDrop(sending.abort_handle()));
        }
    }

    /// A hello can get lost when many arrive at once. A peer that received ours opens a lane, so one that has
    /// opened none is sent it again, as long as it may still be waiting.
    pub(super) fn resend_hellos(&mut self) {
        let waiting = self.peers.iter().filter(|(_, peer)| {
            peer.streams_read == [0; 2] && peer.early_streams.is_empty() && peer.newest.elapsed() < HELLO_TIME
        });
        let waiting: Vec<LibPeer> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.send_hello(id));
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
            .map_or_else(Arc::default, |peer| peer.hello_readers.clone());
        if Arc::strong_count(&reading) > HELLO_STREAMS_MAX.saturating_add(1) {
            return self.shared.tally.refuse(Refusal::Hello);
        }
        self.read_hello(id, stream, reading);
    }

    /// Reads a hello; `reading` is held meanwhile.
    fn read_hello(&self, peer: LibPeer, mut stream: Stream, reading: Arc<()>) {
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            let _reading = reading;
            let read = tokio::time::timeout(HELLO_TIME, read_frame(&mut stream, Hello::BYTES_MAX)).await;
            let event = match read {
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
            let _stopping = events.send(event).await;
        });
    }

    pub(super) fn on_bad_hello(&mut self, peer: LibPeer, detail: &str) {
        debug!(target: "node::network", %peer, detail, "bad hello");
        self.shared.tally.refuse(Refusal::Hello);
        self.blame(peer, Severity::Serious, "a bad hello");
        let _not_connected = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_hello(&mut self, id: LibPeer, hello: Hello) {
        if !self.is_compatible(id, &hello) {
            return;
        }
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if let Some(admitted) = &peer.admitted {
            // Over QUIC nothing else signals that a process was killed, until the idle timeout.
            if admitted.run != hello.run {
                let rank = admitted.rank;
                count(&self.shared.tally.restarted);
                if self.may_log(Some(rank)) {
                    info!(target: "node::network", peer = %id, "the peer was started anew: its old connection is dead");
                }
                let _closing = self.swarm.disconnect_peer_id(id);
            }
            return;
        }
        let validator = hello
            .proof
            .and_then(|proof| proof.check(&self.config.genesis, &id, &self.config.validators));
        // A node that proves a banned key is admitted without validator privileges; its gossiped votes still
        // count.
        let now = Instant::now();
        let validator = validator
            .filter(|key| !self.scores.is_key_banned(key, now) && self.record_validator_node(id, *key));
        if validator.is_none()
            && let Err(refusal) = self.take_slot(&id)
        {
            debug!(target: "node::network", peer = %id, ?refusal, "no room for another stranger");
            self.shared.tally.refuse(refusal);
            let _closing = self.swarm.disconnect_peer_id(id);
            return;
        }
        self.admit(id, hello, validator);
    }

    /// Returns true if the hello is of this chain and version; the peer is banned for a time otherwise.
    fn is_compatible(&mut self, id: LibPeer, hello: &Hello) -> bool {
        let ours = self.config.genesis;
        let Hello { version, genesis, .. } = *hello;
        if genesis != ours {
            count(&self.shared.tally.wrong_chain);
            let reason = format!("it belongs to the chain {genesis}, this node to {ours}");
            if self.may_log(None) {
                warn!(target: "node::network", peer = %id, %genesis, %ours, "peer of another chain refused");
            }
            self.ban(id, reason, Some(WRONG_CHAIN_TIME));
            return false;
        }
        if version != u32::from(WIRE_VERSION) {
            let reason = format!("it speaks version {version} of the wire, this node {WIRE_VERSION}");
            if self.may_log(None) {
                warn!(target: "node::network", peer = %id, version, "peer of another version refused");
            }
            self.ban(id, reason, Some(WRONG_CHAIN_TIME));
            return false;
        }
        true
    }

    /// Opens the lanes to a peer, shares gossip with it and reports it.
    fn admit(&mut self, id: LibPeer, hello: Hello, validator: Option<PublicKey>) {
        let rank = self.rank(&id, validator);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let traffic = Arc::new(Traffic::default());
        traffic.head.store(hello.head.0, Ordering::Relaxed);
        let owed = self.numbers.admitted(&id, rank);
        peer.admitted = Some(Admitted {
            agent: hello.agent.chars().filter(|c| !is_hidden(*c)).collect(),
            run: hello.run,
            validator,
            rank,
            traffic: traffic.clone(),
            owed: owed.clone(),
        });
        let (number, session, outbound) = (peer.number, peer.session, peer.outbound);
        let address = peer.address.clone();
        let early_streams = std::mem::take(&mut peer.early_streams);
        let lanes = Lanes {
            direct: self.open_lane(id, session, Lane::Direct, rank, &traffic),
            parts: validator.map(|_| self.open_lane(id, session, Lane::Parts, rank, &traffic)),
            owed,
        };
        self.share_bandwidth();
        self.shared.lanes.write().insert(number, lanes);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_blacklisted_peer(&id);
        if validator.is_some() {
            behaviour.admission.add_known_machine(&address);
            behaviour.limits.bypass_peer_id(&id);
            behaviour.gossip.add_explicit_peer(&id);
        }
        self.learn_addresses(id, &address, outbound, &hello);
        let (head, is_validator) = (hello.head, validator.is_some());
        if self.may_log(Some(rank)) {
            info!(target: "node::network", peer = %id, %head, validator = is_validator, outbound, "peer connected");
        } else {
            debug!(target: "node::network", peer = %id, %head, validator = is_validator, outbound, "peer connected");
        }
        self.deliver(NetworkEvent::Connected {
            peer: number,
            head,
            validator,
            known: rank == Rank::Known,
        });
        for (lane, stream) in early_streams {
            self.on_stream(id, lane, stream);
        }
        self.publish_peer(id);
    }

    /// Opens a lane to a peer, and returns its queue.
    fn open_lane(&self, id: LibPeer, session: u64, lane: Lane, rank: Rank, traffic: &Arc<Traffic>) -> Queue {
        let protocol = match lane {
            Lane::Direct => &self.names.direct,
            Lane::Parts => &self.names.parts,
        };
        let (queue, writer) = open(
            lane,
            rank,
            id,
            protocol.clone(),
            self.control.clone(),
            traffic.clone(),
            self.shared.tally.clone(),
            self.totals.clone(),
        );
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            if writer.run().await == WriteEnd::Slow {
                let _stopping = events.send(TaskEvent::SlowReader { peer: id, session }).await;
            }
        });
        queue
    }

    /// Records where an admitted peer was reached, and the addresses in its hello.
    fn learn_addresses(&mut self, id: LibPeer, address: &Multiaddr, outbound: bool, hello: &Hello) {
        self.book.on_hello(&id);
        if outbound {
            self.book.verified(&id, address);
        }
        if self.config.exchange {
            let from = Announcer {
                peer: id,
                ip: ip_of(address),
            };
            self.book.learn_from_itself(from, &hello.addresses);
            self.book.learn(from, &hello.others);
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
