//! The swarm's thread: events of the swarm, commands of callers, and timers. Admission, handshake and
//! disconnection are in `connections` and `slots`, gossip in `gossip`, commands and penalties in `commands`, the
//! views for callers in `snapshots`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use libp2p::gossipsub::{self, MessageId};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId as LibPeer, Stream, Swarm};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{debug, warn};
use vibecoin_messages::{GossipId, PeerId, Severity, Verdict};
use vibecoin_primitives::PublicKey;

use crate::address_book::{Book, OUTBOUND_WANTED};
use crate::arrivals::Arrivals;
use crate::behaviour::{Behaviour, BehaviourEvent, Names};
use crate::config::{NetworkConfig, NetworkError, Seats, Sink, open_files_max};
use crate::counters::{Refusal, count};
use crate::handle::{Shared, peer_address};
use crate::handshake::{HELLO_PROTOCOL, Hello, keypair};
use crate::lanes::{Bucket, InFlight, Lane, LaneFault, Owed, Rank, Totals, Traffic};
use crate::meter::{Meters, STRANGER_BYTES_PER_S_MIN, StreamFault};
use crate::numbers::Numbers;
use crate::repeats::AllRepeats;
use crate::scopes::Scopes;
use crate::score::Scores;
use crate::streams::{Control, Incoming};
use crate::transport;

mod commands;
mod connections;
mod gossip;
mod slots;
mod snapshots;

/// Deadline of a peer's hello; checked once a second.
const HELLO_TIME: Duration = Duration::from_secs(4);
/// Deadline of a dial.
const DIAL_TIME: Duration = Duration::from_secs(4);
/// Interval between two passes over the address book.
const TURN: Duration = Duration::from_millis(100);
/// Interval at which bans expire and views are updated, in turns.
const SLOW_TURNS: u32 = 10;
/// Interval at which the book is saved, which waits for the disk, in turns. A multiple of `SLOW_TURNS`.
const SAVE_TURNS: u32 = 300;
const _: () = assert!(SAVE_TURNS.is_multiple_of(SLOW_TURNS));
/// Maximum time for connections to close when this node stops.
const GOODBYE: Duration = Duration::from_millis(200);
/// Time for the sockets to send their last packets after that.
const LAST_PACKETS: Duration = Duration::from_millis(10);

/// Rate limit of log lines above debug level caused by all unknown peers together: burst and interval.
/// Metrics count every event.
const STRANGER_LINES: u32 = 32;
const STRANGER_LINE_EACH: Duration = Duration::from_secs(2);
/// The same for validators and configured peers.
const KNOWN_LINES: u32 = 256;
const KNOWN_LINE_EACH: Duration = Duration::from_secs(1);

/// A command of a caller.
pub enum Command {
    Publish {
        transactions: bool,
        data: Vec<u8>,
    },
    Forward {
        gossip: GossipId,
        verdict: Verdict,
    },
    Blame {
        peer: PeerId,
        severity: Severity,
        reason: String,
    },
    Add {
        peer: LibPeer,
        address: Multiaddr,
    },
    Remove {
        peer: LibPeer,
    },
    Ban {
        peer: LibPeer,
        reason: String,
        time: Option<Duration>,
    },
    Unban {
        peer: LibPeer,
    },
    Stop,
}

/// A result of a peer's task.
enum TaskEvent {
    Hello {
        peer: LibPeer,
        hello: Box<Hello>,
    },
    BadHello {
        peer: LibPeer,
        detail: String,
    },
    LaneEnded {
        peer: LibPeer,
        visit: u64,
        lane: Lane,
        fault: Option<LaneFault>,
    },
    SlowReader {
        peer: LibPeer,
        visit: u64,
    },
}

/// A connected peer.
struct Peer {
    number: PeerId,
    /// Distinguishes successive connections of the same peer.
    visit: u64,
    address: Multiaddr,
    outbound: bool,
    since: Instant,
    /// Time at which its newest connection was made.
    newest: Instant,
    admitted: Option<Admitted>,
    /// Tasks that send this node's hello, for as long as the round trips take. They end with the peer, whose
    /// streams would never open.
    greetings: Vec<Greeting>,
    /// Number of hellos received.
    hellos: u32,
    /// Held by each task that reads one.
    reading_hellos: Arc<()>,
    /// Bytes on its lanes at the last check, and the time since when there have been no more.
    bytes_seen: u64,
    quiet_since: Instant,
    /// Streams that arrived before the hello.
    waiting: Vec<(Lane, Stream)>,
    reading: [usize; 2],
    rtt: Duration,
    pings_lost: u32,
    /// Rate limit of its useless statements.
    useless: Bucket,
}

struct Admitted {
    agent: String,
    run: u64,
    validator: Option<PublicKey>,
    rank: Rank,
    traffic: Arc<Traffic>,
    owed: Arc<Owed>,
}

/// A gossiped message that waits for its verdict.
struct Undecided {
    id: MessageId,
    source: LibPeer,
    is_statement: bool,
}

/// A task that ends when it is dropped.
struct Greeting(AbortHandle);

impl Drop for Greeting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub struct Task {
    config: NetworkConfig,
    names: Names,
    swarm: Swarm<Behaviour>,
    control: Control,
    sink: Arc<dyn Sink>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    findings: mpsc::Receiver<TaskEvent>,
    found: mpsc::Sender<TaskEvent>,
    peers: HashMap<LibPeer, Peer>,
    numbers: Numbers,
    next_visit: u64,
    undecided: HashMap<GossipId, Undecided>,
    undecided_order: VecDeque<GossipId>,
    next_gossip: u64,
    book: Book,
    /// Dials in progress.
    dialling: HashMap<ConnectionId, LibPeer>,
    scores: Scores,
    reserved: HashSet<LibPeer>,
    /// The newest nodes that proved to be each validator; bounded by the validator set.
    validators_met: HashMap<PublicKey, Vec<LibPeer>>,
    seats: Seats,
    meters: Meters,
    /// Peers whose streams broke a rule.
    stream_faults: mpsc::Receiver<(LibPeer, StreamFault)>,
    repeats: AllRepeats,
    totals: Arc<Totals>,
    in_flight: Arc<InFlight>,
    turns: u32,
    /// Rate limits of log lines caused by unknown peers, and by validators and configured peers.
    stranger_lines: Bucket,
    known_lines: Bucket,
    /// Distinguishes this run of the program from others.
    run: u64,
}

/// An error with its causes: the outer errors of a transport contain no details.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let gap = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{gap}{cause_text}");
        }
        source = cause.source();
    }
    text
}

fn address_fault(address: &str) -> impl Fn(String) -> NetworkError + '_ {
    move |detail| NetworkError::Address {
        address: address.to_owned(),
        detail,
    }
}

impl Task {
    /// Takes one log line above debug level from the budget of the peer's rank; false when it is used up.
    fn is_told(&mut self, rank: Option<Rank>) -> bool {
        let lines = match rank {
            Some(Rank::Known) => &mut self.known_lines,
            Some(Rank::Stranger) | None => &mut self.stranger_lines,
        };
        lines.take(tokio::time::Instant::now())
    }

    /// Builds the swarm and starts listening.
    pub async fn new(
        config: NetworkConfig,
        sink: Arc<dyn Sink>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, NetworkError> {
        let start = |detail: String| NetworkError::Start { detail };
        let key =
            keypair(&config.node_key).ok_or_else(|| start("the node key is no ed25519 seed".to_owned()))?;
        let own = key.public().to_peer_id();
        let names = Names::new(&config.genesis)?;
        let files = open_files_max();
        let seats = Seats::new(config.inbound_max, config.outbound_max, files);
        if seats.inbound < config.inbound_max {
            warn!(target: "node::network", ?seats, ?files, "strangers have fewer seats: few files may be open");
        }
        let (meters, stream_faults) = Meters::new(STRANGER_BYTES_PER_S_MIN.min(config.bytes_per_s_per_peer));
        let arrivals = Arrivals::default();
        let behaviour = Behaviour::new(&config, &seats, &names, arrivals.clone(), shared.tally.clone())?;
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_other_transport(|key| transport::quic(key, &meters).map(|inner| arrivals.watch(inner)))
            .map_err(|error| start(error.to_string()))?
            .with_other_transport(|key| transport::tcp(key, &meters).map(|inner| arrivals.watch(inner)))
            .map_err(|error| start(error.to_string()))?
            .with_dns()
            .map_err(|error| start(error.to_string()))?
            .with_behaviour(|_| behaviour)
            .map_err(|error| start(error.to_string()))?
            .with_swarm_config(|swarm| {
                swarm
                    .with_idle_connection_timeout(Duration::from_secs(3600))
                    .with_max_negotiating_inbound_streams(transport::NEGOTIATED_STREAMS_MAX)
            })
            .with_connection_timeout(DIAL_TIME)
            .build();
        let control = swarm.behaviour().streams.control();
        let given = [&config.listen, &config.external, &config.peers, &config.bootnodes];
        let scopes = Scopes::of(given.into_iter().flatten());
        let mut book = Book::new(own, config.peers_file.clone(), scopes, shared.tally.clone());
        for address in &config.bootnodes {
            let (peer, at) = peer_address(address)?;
            book.add_boot(peer, at);
        }
        for address in &config.peers {
            let (peer, at) = peer_address(address)?;
            let behaviour = swarm.behaviour_mut();
            behaviour.gate.befriend(&at);
            behaviour.limits.bypass_peer_id(&peer);
            book.add(peer, at);
        }
        let mut reserved = HashSet::new();
        for id in &config.reserved {
            let peer: LibPeer =
                id.parse()
                    .map_err(|error: libp2p::identity::ParseError| NetworkError::PeerId {
                        id: id.clone(),
                        detail: error.to_string(),
                    })?;
            swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            reserved.insert(peer);
        }
        for address in &config.external {
            let at: Multiaddr = address
                .parse()
                .map_err(|error: libp2p::multiaddr::Error| address_fault(address)(error.to_string()))?;
            swarm.add_external_address(at);
        }
        let (found, findings) = mpsc::channel(1024);
        let mut task = Self {
            names,
            swarm,
            control,
            sink,
            shared,
            commands,
            findings,
            found,
            peers: HashMap::new(),
            numbers: Numbers::new(),
            next_visit: 0,
            undecided: HashMap::new(),
            undecided_order: VecDeque::new(),
            next_gossip: 1,
            book,
            dialling: HashMap::new(),
            scores: Scores::default(),
            reserved,
            validators_met: HashMap::new(),
            seats,
            meters,
            stream_faults,
            repeats: AllRepeats::default(),
            known_lines: Bucket::new(KNOWN_LINE_EACH, KNOWN_LINES, tokio::time::Instant::now()),
            stranger_lines: Bucket::new(STRANGER_LINE_EACH, STRANGER_LINES, tokio::time::Instant::now()),
            totals: Arc::default(),
            in_flight: Arc::default(),
            turns: 0,
            run: RandomState::new().hash_one(0),
            config,
        };
        task.listen().await?;
        task.show_self();
        Ok(task)
    }

    async fn listen(&mut self) -> Result<(), NetworkError> {
        for address in self.config.listen.clone() {
            let fault = |detail: String| NetworkError::Listen {
                address: address.clone(),
                detail,
            };
            let at: Multiaddr = address
                .parse()
                .map_err(|error: libp2p::multiaddr::Error| address_fault(&address)(error.to_string()))?;
            let listener = self.swarm.listen_on(at).map_err(|error| fault(causes(&error)))?;
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => break,
                    SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                        return Err(fault(causes(&error)));
                    }
                    SwarmEvent::ListenerClosed {
                        listener_id, reason, ..
                    } if listener_id == listener => {
                        return Err(fault(
                            reason.err().map_or_else(String::new, |error| causes(&error)),
                        ));
                    }
                    event => self.on_event(event),
                }
            }
        }
        Ok(())
    }

    /// Runs until it receives a stop.
    pub async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                order = self.commands.recv() => match order {
                    None | Some(Command::Stop) => break,
                    Some(order) => self.on_command(order),
                },
                // Before the end of its connection is handled, so that its machine is known.
                Some((peer, fault)) = self.stream_faults.recv() => self.on_stream_fault(peer, fault),
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(finding) = self.findings.recv() => self.on_task_event(finding),
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
            } => self.on_gone(peer_id),
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
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.show_self(),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.on_gossip(propagation_source, message_id, message),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, .. })) => {
                let rank = self
                    .peers
                    .get(&peer_id)
                    .and_then(|peer| Some(peer.admitted.as_ref()?.rank));
                if rank == Some(Rank::Stranger) {
                    self.on_slow_reader(peer_id, true);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Streams(incoming)) => self.on_incoming(incoming),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.on_ping(ping),
            _ => {}
        }
    }

    fn on_turn(&mut self) {
        let now = Instant::now();
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
        for (peer, way) in due {
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::NotDialing)
                .addresses(vec![way])
                .build();
            let id = dial.connection_id();
            self.swarm.behaviour_mut().gate.open_for(id);
            match self.swarm.dial(dial) {
                Ok(()) => {
                    self.dialling.insert(id, peer);
                    count(&self.shared.tally.dials);
                }
                Err(error) => {
                    self.book.not_begun(&peer);
                    debug!(target: "node::network", %peer, %error, "not dialled");
                }
            }
        }
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(SLOW_TURNS) {
            return;
        }
        for peer in self.scores.expired(now) {
            self.let_in(peer);
        }
        let silent = |peer: &Peer| peer.admitted.is_none() && peer.since.elapsed() > HELLO_TIME;
        let silent: Vec<LibPeer> = self
            .peers
            .iter()
            .filter(|(_, peer)| silent(peer))
            .map(|(id, _)| *id)
            .collect();
        for peer in silent {
            self.shared.tally.refuse(Refusal::Silent);
            let _not_connected = self.swarm.disconnect_peer_id(peer);
        }
        self.greet_again();
        self.share_out();
        let ids: Vec<LibPeer> = self.peers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.show_peer(id));
        self.show_bans();
        if self.turns.is_multiple_of(SAVE_TURNS) {
            self.save_book();
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

    fn save_book(&mut self) {
        if let Err(error) = self.book.save() {
            warn!(target: "node::network", %error, "the peers were not remembered");
        }
    }
}
