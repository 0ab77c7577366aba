//! The swarm's thread: events of the swarm, commands of callers, and timers.
//!
//! In `start` the swarm is built, in `connections` are the life of a connection and its streams, in `hello` the
//! handshake and the admission of a peer, in `slots` the bounds on unknown peers, in `gossip` the messages that
//! wait for a verdict, in `commands` commands and penalties, in `snapshots` the state that callers read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use libp2p::gossipsub;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, ListenError, SwarmEvent};
use libp2p::{PeerId as LibPeer, Swarm};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use vibecoin_messages::GossipId;
use vibecoin_primitives::PublicKey;

use crate::address_book::{AddressBook, OUTBOUND_WANTED};
use crate::behaviour::{Behaviour, BehaviourEvent, Names};
use crate::bucket::Bucket;
use crate::command::Command;
use crate::config::{NetworkConfig, Slots};
use crate::counters::{Protocol, Refusal, count};
use crate::event::{NetworkEvent, Sink};
use crate::handshake::HELLO_PROTOCOL;
use crate::lanes::{InFlight, Lane, Rank, Totals};
use crate::meter::{Meters, StreamFault};
use crate::numbers::PeerNumbers;
use crate::repeats::AllRepeats;
use crate::score::Scores;
use crate::shared::Shared;
use crate::streams::{Control, Incoming};
use event::TaskEvent;
use gossip::Undecided;
use peer::Peer;

mod commands;
mod connections;
mod event;
mod gossip;
mod hello;
mod peer;
mod slots;
mod snapshots;
mod start;

/// Deadline of a peer's hello; checked once a second.
const HELLO_TIME: Duration = Duration::from_secs(4);
/// Deadline of a dial.
const DIAL_TIME: Duration = Duration::from_secs(4);
/// Interval between two passes over the address book.
const TURN: Duration = Duration::from_millis(100);
/// Interval at which bans expire and snapshots are published, in turns.
const SLOW_TURNS: u32 = 10;
/// Interval at which the address book is saved, which waits for the disk, in turns. A multiple of
/// `SLOW_TURNS`.
const SAVE_TURNS: u32 = 300;
const _: () = assert!(SAVE_TURNS.is_multiple_of(SLOW_TURNS));
/// Maximum time for connections to close when this node stops.
const GOODBYE: Duration = Duration::from_millis(200);
/// Time for the sockets to send their last packets after that.
const LAST_PACKETS: Duration = Duration::from_millis(10);

/// State of the swarm's thread.
pub struct Task {
    config: NetworkConfig,
    names: Names,
    swarm: Swarm<Behaviour>,
    control: Control,
    sink: Arc<dyn Sink>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// Results of the peers' tasks, and the sender that each of these tasks has.
    events: mpsc::Receiver<TaskEvent>,
    event_sender: mpsc::Sender<TaskEvent>,
    /// Connected peers.
    peers: HashMap<LibPeer, Peer>,
    numbers: PeerNumbers,
    next_session: u64,
    /// Gossiped messages that wait for their verdict, and their order of arrival.
    undecided: HashMap<GossipId, Undecided>,
    undecided_order: VecDeque<GossipId>,
    next_gossip: u64,
    book: AddressBook,
    /// Dials in progress.
    dialling: HashMap<ConnectionId, LibPeer>,
    scores: Scores,
    reserved: HashSet<LibPeer>,
    /// The newest nodes that proved to be each validator; bounded by the validator set.
    validator_nodes: HashMap<PublicKey, Vec<LibPeer>>,
    slots: Slots,
    meters: Meters,
    /// Peers whose streams broke a rule.
    stream_faults: mpsc::Receiver<(LibPeer, StreamFault)>,
    repeats: AllRepeats,
    totals: Arc<Totals>,
    in_flight: Arc<InFlight>,
    turns: u32,
    /// Budgets of log lines caused by unknown peers, and by validators and configured peers.
    stranger_lines: Bucket,
    known_lines: Bucket,
    /// Distinguishes this run of the program from others.
    run: u64,
}

impl Task {
    /// Takes one log line above debug level from the budget of the peer's rank; false when it is used up.
    fn may_log(&mut self, rank: Option<Rank>) -> bool {
        let lines = match rank {
            Some(Rank::Known) => &mut self.known_lines,
            Some(Rank::Stranger) | None => &mut self.stranger_lines,
        };
        lines.take(tokio::time::Instant::now())
    }

    /// Runs until it receives a stop.
    pub async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.on_command(command),
                },
                // Before the end of its connection is handled, so that its machine is known.
                Some((peer, fault)) = self.stream_faults.recv() => self.on_stream_fault(peer, fault),
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(event) = self.events.recv() => self.on_task_event(event),
                _ = turn.tick() => self.on_turn(),
            }
        }
        self.save_book();
        let connected: Vec<LibPeer> = self.peers.keys().copied().collect();
        for peer in connected {
            let _not_connected = self.swarm.disconnect_peer_id(peer);
        }
        // Sends the last packets: over QUIC nothing else signals that this node has ended.
        let goodbyes = async {
            while self.swarm.connected_peers().next().is_some() {
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = self.swarm.select_next_some().await
                {
                    let _just_connected = self.swarm.disconnect_peer_id(peer_id);
                }
            }
        };
        let _some_do_not_end = tokio::time::timeout(GOODBYE, goodbyes).await;
        tokio::time::sleep(LAST_PACKETS).await;
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                self.dialling.remove(&connection_id);
                self.on_connection(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => self.on_disconnected(peer_id),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.dialling.remove(&connection_id);
                count(&self.shared.tally.dials_failed);
                debug!(target: "node::network", peer = ?peer_id, %error, "could not connect");
            }
            SwarmEvent::IncomingConnectionError { error, peer_id, .. } => {
                if matches!(error, ListenError::Denied { .. }) {
                    let is_known = peer_id.is_some();
                    let refusal = if is_known {
                        Refusal::Connection
                    } else {
                        Refusal::Pending
                    };
                    self.shared.tally.refuse(refusal);
                }
                debug!(target: "node::network", %error, "a connection was refused");
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.publish_info(),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.on_gossip(propagation_source, message_id, message),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, .. }))
                if self.peers.get(&peer_id).and_then(Peer::rank) == Some(Rank::Stranger) =>
            {
                self.on_slow_reader(peer_id, true);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Streams(incoming)) => self.on_incoming(incoming),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.on_ping(ping),
            _ => {}
        }
    }

    fn on_task_event(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::Hello { peer, hello } => self.on_hello(peer, *hello),
            TaskEvent::BadHello { peer, detail } => self.on_bad_hello(peer, &detail),
            TaskEvent::LaneEnded {
                peer,
                session,
                lane,
                fault,
            } => self.on_lane_ended(peer, session, lane, fault),
            TaskEvent::SlowReader { peer, session } => {
                let reader = self.peers.get(&peer).filter(|peer| peer.session == session);
                if let Some(rank) = reader.and_then(Peer::rank) {
                    self.on_slow_reader(peer, rank == Rank::Stranger);
                }
            }
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        let Incoming {
            peer,
            protocol,
            stream,
        } = incoming;
        if protocol == HELLO_PROTOCOL {
            self.on_hello_stream(peer, stream);
        } else if protocol == self.names.parts {
            self.on_stream(peer, Lane::Parts, stream);
        } else {
            self.on_stream(peer, Lane::Direct, stream);
        }
    }

    fn on_turn(&mut self) {
        let now = Instant::now();
        self.dial_due(now);
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(SLOW_TURNS) {
            return;
        }
        for peer in self.scores.expired(now) {
            self.unblock(peer);
        }
        self.disconnect_silent();
        self.resend_hellos();
        self.share_bandwidth();
        let ids: Vec<LibPeer> = self.peers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.publish_peer(id));
        self.publish_bans();
        if self.turns.is_multiple_of(SAVE_TURNS) {
            self.save_book();
        }
    }

    /// Dials the peers that are due, while outbound connections are below their target.
    fn dial_due(&mut self, now: Instant) {
        let outbound = self.peers.values().filter(|peer| peer.outbound).count();
        let wanted = if self.config.exchange {
            OUTBOUND_WANTED.saturating_sub(outbound)
        } else {
            0
        };
        let (peers, scores, dialling) = (&self.peers, &self.scores, &self.dialling);
        let due = self.book.due(now, wanted, |peer| {
            let is_dialled = dialling.values().any(|other| other == peer);
            peers.contains_key(peer) || is_dialled || scores.is_banned(peer)
        });
        for (peer, address) in due {
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::NotDialing)
                .addresses(vec![address])
                .build();
            let id = dial.connection_id();
            self.swarm.behaviour_mut().admission.permit_dial(id);
            match self.swarm.dial(dial) {
                Ok(()) => {
                    self.dialling.insert(id, peer);
                    count(&self.shared.tally.dials);
                }
                Err(error) => {
                    self.book.dial_not_started(&peer);
                    debug!(target: "node::network", %peer, %error, "not dialled");
                }
            }
        }
    }

    /// Disconnects peers whose hello did not arrive in time.
    fn disconnect_silent(&mut self) {
        let is_silent = |peer: &Peer| peer.admitted.is_none() && peer.since.elapsed() > HELLO_TIME;
        let silent: Vec<LibPeer> = self
            .peers
            .iter()
            .filter(|(_, peer)| is_silent(peer))
            .map(|(id, _)| *id)
            .collect();
        for peer in silent {
            self.shared.tally.refuse(Refusal::Silent);
            let _not_connected = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn save_book(&mut self) {
        if let Err(error) = self.book.save() {
            warn!(target: "node::network", %error, "the peers were not remembered");
        }
    }

    fn deliver(&self, event: NetworkEvent) {
        if !self.sink.deliver(event) {
            self.shared.tally.dropped_in(Protocol::Direct);
        }
    }
}
