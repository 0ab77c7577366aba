//! The thread of the swarm: connections, hellos, gossip, and what callers order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId as LibPeer, Stream, StreamProtocol, Swarm, multiaddr, ping};
use libp2p_stream::{Control, IncomingStreams};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use vibecoin_consensus::Verdict;
use vibecoin_primitives::{Encoded as _, Height, PublicKey, decode, encode};
use vibecoin_replica::{GossipId, Message, PeerId};

use super::behaviour::{Behaviour, BehaviourEvent, COPY_BYTES, Names};
use super::book::{Book, OUTBOUND_WANTED};
use super::config::{NetworkConfig, NetworkError, NetworkEvent, Sink};
use super::gate::ip_of;
use super::handle::{COPY_MAX, Shared, peer_address};
use super::hello::{ADDRESSES_MAX, AGENT_BYTES_MAX, HELLO_PROTOCOL, Hello, keypair};
use super::lanes::{Lane, LaneFault, Lanes, Reader, Traffic, open, read_frame, write_frame};
use super::score::{BAN_TIME, Ban, FAULT_POINTS, FRAMING_POINTS, Scores};
use super::transport;
use super::view::{BanInfo, NetworkInfo, PeerInfo, Protocol, count};
use crate::wire::WIRE_VERSION;

/// Most gossiped messages whose verdict is waited for; the oldest is given up.
const UNDECIDED_MAX: usize = 8_192;
/// Most streams of a peer that wait for its hello.
const WAITING_STREAMS_MAX: usize = 4;
/// Most streams of one lane that one peer may have open.
const STREAMS_PER_LANE_MAX: usize = 2;
/// How long a peer has for its hello.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// How often a hello is tried, and how long after the last try.
const HELLO_TRIES: u32 = 10;
const HELLO_AGAIN: Duration = Duration::from_millis(50);
/// A second connection to a peer that is connected for longer than this shows that the first one is dead:
/// the peer has forgotten it. Longer than a dial may take, as two nodes may dial each other at once.
const STALE: Duration = Duration::from_secs(8);
/// How long a connection must have held for its peer to be dialled at once when it breaks.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a dial may take.
const DIAL_TIME: Duration = Duration::from_secs(4);
const _: () = assert!(DIAL_TIME.as_millis() < STALE.as_millis());
/// Pings without an answer after which a connection counts as broken.
const PINGS_LOST_MAX: u32 = 2;
/// Most inbound connections of strangers that have yet to say hello.
const GUESTS_MAX: usize = 64;
/// How long a peer of another chain is shut out.
const WRONG_CHAIN_TIME: Duration = Duration::from_secs(60);
/// How often the book is looked at.
const TURN: Duration = Duration::from_millis(100);
/// How often the book is saved, bans are looked through, and peers are shown, in turns.
const SLOW_TURNS: u32 = 10;

/// What a caller wants done.
pub enum Order {
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

/// What a task of a peer found out.
enum Finding {
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
        lane: Lane,
        fault: Option<LaneFault>,
    },
}

/// A connected peer.
struct Peer {
    number: PeerId,
    address: Multiaddr,
    outbound: bool,
    since: Instant,
    admitted: Option<Admitted>,
    /// Streams that came before the hello.
    waiting: Vec<(Lane, Stream)>,
    reading: [usize; 2],
    rtt: Duration,
    pings_lost: u32,
}

struct Admitted {
    agent: String,
    run: u64,
    validator: Option<PublicKey>,
    traffic: Arc<Traffic>,
}

pub struct Task {
    config: NetworkConfig,
    names: Names,
    swarm: Swarm<Behaviour>,
    control: Control,
    sink: Arc<dyn Sink>,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    findings: mpsc::Receiver<Finding>,
    found: mpsc::Sender<Finding>,
    incoming: [IncomingStreams; 3],
    peers: HashMap<LibPeer, Peer>,
    by_number: BTreeMap<PeerId, LibPeer>,
    next_number: u64,
    undecided: HashMap<GossipId, (MessageId, LibPeer)>,
    undecided_order: VecDeque<GossipId>,
    next_gossip: u64,
    book: Book,
    scores: Scores,
    reserved: HashSet<LibPeer>,
    turns: u32,
    /// Tells this run of the program from others.
    run: u64,
}

fn address_fault(address: &str) -> impl Fn(String) -> NetworkError + '_ {
    move |detail| NetworkError::Address {
        address: address.to_owned(),
        detail,
    }
}

impl Task {
    /// Puts the swarm together and listens.
    pub async fn new(
        config: NetworkConfig,
        sink: Arc<dyn Sink>,
        shared: Arc<Shared>,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, NetworkError> {
        let start = |detail: String| NetworkError::Start { detail };
        let key =
            keypair(&config.node_key).ok_or_else(|| start("the node key is no ed25519 seed".to_owned()))?;
        let own = key.public().to_peer_id();
        let names = Names::new(&config.genesis)?;
        let behaviour = Behaviour::new(&key, &config, &names)?;
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_quic_config(transport::quic)
            .with_other_transport(transport::tcp)
            .map_err(|error| start(error.to_string()))?
            .with_dns()
            .map_err(|error| start(error.to_string()))?
            .with_behaviour(|_| behaviour)
            .map_err(|error| start(error.to_string()))?
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(3600)))
            .with_connection_timeout(DIAL_TIME)
            .build();
        let mut control = swarm.behaviour().streams.new_control();
        let registered = |error: libp2p_stream::AlreadyRegistered| start(error.to_string());
        let incoming = [
            control
                .accept(StreamProtocol::new(HELLO_PROTOCOL))
                .map_err(registered)?,
            control.accept(names.direct.clone()).map_err(registered)?,
            control.accept(names.parts.clone()).map_err(registered)?,
        ];
        let mut book = Book::new(own, config.peers_file.clone());
        for address in &config.bootnodes {
            let (peer, at) = peer_address(address)?;
            book.add_boot(peer, at);
        }
        for address in &config.peers {
            let (peer, at) = peer_address(address)?;
            book.add(peer, at);
            swarm.behaviour_mut().limits.bypass_peer_id(&peer);
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
            orders,
            findings,
            found,
            incoming,
            peers: HashMap::new(),
            by_number: BTreeMap::new(),
            next_number: 1,
            undecided: HashMap::new(),
            undecided_order: VecDeque::new(),
            next_gossip: 1,
            book,
            scores: Scores::default(),
            reserved,
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
            let listener = self
                .swarm
                .listen_on(at)
                .map_err(|error| fault(error.to_string()))?;
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => break,
                    SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                        return Err(fault(error.to_string()));
                    }
                    SwarmEvent::ListenerClosed {
                        listener_id, reason, ..
                    } if listener_id == listener => {
                        return Err(fault(
                            reason.err().map_or_else(String::new, |error| error.to_string()),
                        ));
                    }
                    event => self.on_event(event),
                }
            }
        }
        Ok(())
    }

    /// Runs until told to stop.
    pub async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let [hellos, direct, parts] = &mut self.incoming;
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(order) => self.on_order(order),
                },
                event = self.swarm.select_next_some() => self.on_event(event),
                Some((peer, stream)) = hellos.next() => self.read_hello(peer, stream),
                Some((peer, stream)) = direct.next() => self.on_stream(peer, Lane::Direct, stream),
                Some((peer, stream)) = parts.next() => self.on_stream(peer, Lane::Parts, stream),
                Some(finding) = self.findings.recv() => self.on_finding(finding),
                _ = turn.tick() => self.on_turn(),
            }
        }
        if let Err(error) = self.book.save() {
            warn!(target: "node::network", %error, "the peers were not remembered");
        }
        let connected: Vec<LibPeer> = self.peers.keys().copied().collect();
        for peer in connected {
            let _not_connected = self.swarm.disconnect_peer_id(peer);
        }
        // Lets the goodbyes out, without waiting for anybody.
        while self.swarm.next().now_or_never().is_some() {}
    }

    // ---- connections --------------------------------------------------------------------------

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => self.on_connection(peer_id, connection_id, &endpoint, num_established.get()),
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => self.on_gone(peer_id),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                count(&self.shared.tally.dials_failed);
                debug!(target: "node::network", peer = ?peer_id, %error, "could not connect");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                debug!(target: "node::network", %error, "a connection was refused");
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.show_self(),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.on_gossip(propagation_source, message_id, message),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.on_ping(ping),
            _ => {}
        }
    }

    /// A cut cable is seen by silence alone, and a new connection can be made only when the old one is gone.
    fn on_ping(&mut self, ping: ping::Event) {
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
                    info!(target: "node::network", peer = %ping.peer, %error, "peer does not answer");
                    let _closing = self.swarm.disconnect_peer_id(ping.peer);
                }
            }
        }
    }

    fn on_connection(
        &mut self,
        peer: LibPeer,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        established: u32,
    ) {
        let address = endpoint.get_remote_address().clone();
        if let Some(old) = self.peers.get(&peer) {
            if old.since.elapsed() > STALE {
                debug!(target: "node::network", %peer, "the peer connects anew: its old connection is dead");
                let _closing = self.swarm.disconnect_peer_id(peer);
            }
            // Two that dialled each other at once keep both connections: each side has said by then on
            // its first one which topics it listens to, and closing either would lose that.
            return;
        }
        if established > 1 || (!endpoint.is_dialer() && !self.has_room(&peer, &address)) {
            debug!(target: "node::network", %peer, %address, "too many connections from there");
            self.swarm.close_connection(connection);
            return;
        }
        let number = PeerId(self.next_number);
        self.next_number = self.next_number.saturating_add(1);
        self.by_number.insert(number, peer);
        self.peers.insert(
            peer,
            Peer {
                number,
                address,
                outbound: endpoint.is_dialer(),
                since: Instant::now(),
                admitted: None,
                waiting: Vec::new(),
                reading: [0; 2],
                rtt: Duration::ZERO,
                pings_lost: 0,
            },
        );
        self.say_hello(peer);
    }

    /// Whether one more connection from this address is within the bounds for strangers.
    fn has_room(&self, peer: &LibPeer, address: &Multiaddr) -> bool {
        if self.swarm.behaviour().limits.is_bypassed(peer) {
            return true;
        }
        let guests = self
            .peers
            .values()
            .filter(|peer| !peer.outbound && peer.admitted.is_none());
        if guests.count() >= GUESTS_MAX {
            return false;
        }
        let Some(ip) = ip_of(address).filter(|ip| !ip.is_loopback()) else {
            return true;
        };
        let ips = self.peers.values().filter_map(|peer| ip_of(&peer.address));
        let (mut same, mut near) = (0u32, 0u32);
        for other in ips {
            same = same.saturating_add(u32::from(other == ip));
            near = near.saturating_add(u32::from(subnet(other) == subnet(ip)));
        }
        same < self.config.per_ip_max && near < self.config.per_subnet_max
    }

    fn on_gone(&mut self, peer: LibPeer) {
        let Some(gone) = self.peers.remove(&peer) else {
            return;
        };
        self.by_number.remove(&gone.number);
        self.shared.lanes.write().remove(&gone.number);
        self.shared.view.peers.lock().remove(&gone.number);
        let privileged = self.is_privileged(&peer);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_explicit_peer(&peer);
        if !privileged {
            behaviour.limits.remove_peer_id(&peer);
        }
        // A peer that greets and hangs up is not dialled at once again.
        if gone.admitted.is_some() && gone.since.elapsed() > SETTLED {
            self.book.reset(&peer);
        }
        if gone.admitted.is_some() {
            info!(target: "node::network", %peer, "peer gone");
            self.deliver(NetworkEvent::Disconnected { peer: gone.number });
        }
    }

    /// Whether the operator named the peer.
    fn is_privileged(&self, peer: &LibPeer) -> bool {
        self.reserved.contains(peer) || self.book.is_persistent(peer)
    }

    /// Whether a stranger that connected to us and said hello may stay.
    fn has_seat(&self, id: &LibPeer, outbound: bool) -> bool {
        if outbound || self.is_privileged(id) {
            return true;
        }
        let stranger = |(id, peer): &(&LibPeer, &Peer)| {
            let admitted = peer.admitted.as_ref();
            !peer.outbound
                && admitted.is_some_and(|admitted| admitted.validator.is_none())
                && !self.is_privileged(id)
        };
        let seated = self.peers.iter().filter(stranger).count();
        seated < usize::try_from(self.config.inbound_max).unwrap_or(usize::MAX)
    }

    fn deliver(&self, event: NetworkEvent) {
        if !self.sink.deliver(event) {
            self.shared.tally.dropped_in(Protocol::Direct);
        }
    }

    // ---- hello --------------------------------------------------------------------------------

    fn own_addresses(&self) -> Vec<String> {
        let own = *self.swarm.local_peer_id();
        let external = self.swarm.external_addresses().collect::<Vec<_>>();
        let mut addresses: Vec<&Multiaddr> = if external.is_empty() {
            self.swarm.listeners().collect()
        } else {
            external
        };
        // Best first.
        addresses.sort_by_key(|address| !address.iter().any(|part| part == multiaddr::Protocol::QuicV1));
        addresses
            .into_iter()
            .take(ADDRESSES_MAX)
            .map(|address| format!("{address}/p2p/{own}"))
            .collect()
    }

    fn say_hello(&self, peer: LibPeer) {
        let agent = shortened(&self.config.agent);
        let hello = Hello {
            version: u32::from(WIRE_VERSION),
            genesis: self.config.genesis,
            head: Height(self.shared.head.load(Ordering::Relaxed)),
            agent,
            run: self.run,
            proof: self.config.validator_proof,
            addresses: self.own_addresses(),
            others: if self.config.exchange {
                self.book.some(ADDRESSES_MAX)
            } else {
                Vec::new()
            },
        };
        let mut control = self.control.clone();
        tokio::spawn(async move {
            let protocol = StreamProtocol::new(HELLO_PROTOCOL);
            // One of two connections may be closing: then the other one takes it.
            for _ in 0..HELLO_TRIES {
                if let Ok(mut stream) = control.open_stream(peer, protocol.clone()).await
                    && write_frame(&mut stream, &encode(&hello), true).await.is_ok()
                {
                    let _gone = futures_util::AsyncWriteExt::close(&mut stream).await;
                    return;
                }
                tokio::time::sleep(HELLO_AGAIN).await;
            }
        });
    }

    /// A hello can get lost when many come at once. Who has heard ours opens a lane, so who has opened none
    /// is told again, as long as it may still be waiting.
    fn greet_again(&self) {
        let unheard = self.peers.iter().filter(|(_, peer)| {
            peer.reading == [0; 2] && peer.waiting.is_empty() && peer.since.elapsed() < HELLO_TIME
        });
        unheard.for_each(|(id, _)| self.say_hello(*id));
    }

    fn read_hello(&self, peer: LibPeer, mut stream: Stream) {
        let found = self.found.clone();
        tokio::spawn(async move {
            let read = tokio::time::timeout(HELLO_TIME, read_frame(&mut stream, Hello::BYTES_MAX)).await;
            let finding = match read {
                Ok(Ok(bytes)) => match decode::<Hello>(&bytes) {
                    Ok(hello) if hello.is_bounded() => Finding::Hello {
                        peer,
                        hello: Box::new(hello),
                    },
                    Ok(_) => Finding::BadHello {
                        peer,
                        detail: "a hello with too much in it".to_owned(),
                    },
                    Err(error) => Finding::BadHello {
                        peer,
                        detail: error.to_string(),
                    },
                },
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => Finding::BadHello {
                    peer,
                    detail: "a hello over its limit".to_owned(),
                },
                // A connection that broke is nobody's fault; who stays silent is dropped with time.
                Ok(Err(_)) | Err(_) => return,
            };
            let _stopping = found.send(finding).await;
        });
    }

    fn on_hello(&mut self, id: LibPeer, hello: Hello) {
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
            warn!(target: "node::network", peer = %id, %genesis, %ours, "peer of another chain refused");
            return self.ban(id, reason, Some(WRONG_CHAIN_TIME));
        }
        if version != u32::from(WIRE_VERSION) {
            let reason = format!("it speaks version {version} of the wire, this node {WIRE_VERSION}");
            warn!(target: "node::network", peer = %id, version, "peer of another version refused");
            return self.ban(id, reason, Some(WRONG_CHAIN_TIME));
        }
        let validator = proof.and_then(|proof| proof.check(&ours, &id, &self.config.validators));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(admitted) = &peer.admitted {
            // Over QUIC nothing else tells that a process was killed, until silence does.
            if admitted.run != run {
                debug!(target: "node::network", peer = %id, "the peer was started anew: its old connection is dead");
                let _closing = self.swarm.disconnect_peer_id(id);
            }
            return;
        }
        let outbound = peer.outbound;
        if validator.is_none() && !self.has_seat(&id, outbound) {
            debug!(target: "node::network", peer = %id, "no room for another stranger");
            let _closing = self.swarm.disconnect_peer_id(id);
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let traffic = Arc::new(Traffic::default());
        traffic.head.store(head.0, Ordering::Relaxed);
        peer.admitted = Some(Admitted {
            agent: agent.chars().filter(|c| !c.is_control()).collect(),
            run,
            validator,
            traffic: traffic.clone(),
        });
        let number = peer.number;
        let waiting = std::mem::take(&mut peer.waiting);
        let lane = |lane: Lane, protocol: &StreamProtocol| {
            let (control, tally) = (self.control.clone(), self.shared.tally.clone());
            open(lane, id, protocol.clone(), control, traffic.clone(), tally)
        };
        let lanes = Lanes {
            direct: lane(Lane::Direct, &self.names.direct),
            parts: validator.map(|_| lane(Lane::Parts, &self.names.parts)),
        };
        self.shared.lanes.write().insert(number, lanes);
        if validator.is_some() {
            let behaviour = self.swarm.behaviour_mut();
            behaviour.limits.bypass_peer_id(&id);
            behaviour.gossip.add_explicit_peer(&id);
        }
        if self.config.exchange {
            self.book.learn_from_itself(id, &addresses);
            self.book.learn(&others);
        }
        info!(target: "node::network", peer = %id, %head, validator = validator.is_some(), outbound, "peer connected");
        self.deliver(NetworkEvent::Connected {
            peer: number,
            head,
            validator,
        });
        for (lane, stream) in waiting {
            self.on_stream(id, lane, stream);
        }
        self.show_peer(id);
    }

    // ---- lanes --------------------------------------------------------------------------------

    fn on_stream(&mut self, id: LibPeer, lane: Lane, stream: Stream) {
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
            return;
        }
        let [direct, parts] = &mut peer.reading;
        let reading = match lane {
            Lane::Direct => direct,
            Lane::Parts => parts,
        };
        if *reading >= STREAMS_PER_LANE_MAX {
            return;
        }
        *reading = reading.saturating_add(1);
        let reader = Reader {
            lane,
            from: peer.number,
            envelope: self.shared.envelope,
            sink: self.sink.clone(),
            traffic: admitted.traffic.clone(),
            tally: self.shared.tally.clone(),
            bytes_per_s: self.config.bytes_per_s_per_peer,
        };
        let found = self.found.clone();
        tokio::spawn(async move {
            let fault = reader.run(stream).await;
            let _stopping = found
                .send(Finding::LaneEnded {
                    peer: id,
                    lane,
                    fault,
                })
                .await;
        });
    }

    fn on_finding(&mut self, finding: Finding) {
        match finding {
            Finding::Hello { peer, hello } => self.on_hello(peer, *hello),
            Finding::BadHello { peer, detail } => {
                debug!(target: "node::network", %peer, detail, "bad hello");
                self.blame(peer, FRAMING_POINTS, "a bad hello");
                let _not_connected = self.swarm.disconnect_peer_id(peer);
            }
            Finding::LaneEnded { peer, lane, fault } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    let [direct, parts] = &mut peer.reading;
                    let reading = match lane {
                        Lane::Direct => direct,
                        Lane::Parts => parts,
                    };
                    *reading = reading.saturating_sub(1);
                }
                if let Some(fault) = fault {
                    self.blame(peer, FRAMING_POINTS, fault.text());
                    let _not_connected = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }

    // ---- gossip -------------------------------------------------------------------------------

    fn on_gossip(&mut self, source: LibPeer, id: MessageId, message: gossipsub::Message) {
        let transactions = message.topic == self.names.transactions.hash();
        let protocol = if transactions {
            Protocol::Transactions
        } else {
            Protocol::Consensus
        };
        self.shared.tally.received(protocol, message.data.len());
        let Some(number) = self
            .peers
            .get(&source)
            .filter(|peer| peer.admitted.is_some())
            .map(|peer| peer.number)
        else {
            return self.report(&id, &source, MessageAcceptance::Ignore);
        };
        let opened = match message.data.split_first_chunk::<COPY_BYTES>() {
            Some((copy, envelope)) if u16::from_le_bytes(*copy) <= COPY_MAX => {
                self.shared.envelope.open(envelope).ok()
            }
            _ => None,
        };
        let belongs = |message: &Message| match message {
            Message::Transactions(_) => transactions,
            Message::Consensus(_) | Message::Evidence(_) => !transactions,
            _ => false,
        };
        let Some(message) = opened.filter(belongs) else {
            count(&self.shared.tally.rejected);
            self.report(&id, &source, MessageAcceptance::Reject);
            return self.blame(source, FRAMING_POINTS, "gossip that is no message");
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

    fn decide(&mut self, gossip: GossipId, acceptance: MessageAcceptance) {
        if let Some((id, source)) = self.undecided.remove(&gossip) {
            self.report(&id, &source, acceptance);
        }
    }

    fn report(&mut self, id: &MessageId, source: &LibPeer, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // A message that has left the cache can be passed on no more.
        let _left_the_cache = gossip.report_message_validation_result(id, source, acceptance);
    }

    // ---- orders -------------------------------------------------------------------------------

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Publish { transactions, data } => {
                let topic = if transactions {
                    self.names.transactions.hash()
                } else {
                    self.names.consensus.hash()
                };
                // Without peers there is nobody to tell; what matters is sent again.
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(topic, data) {
                    debug!(target: "node::network", %error, "not published");
                }
            }
            Order::Forward { gossip, verdict } => self.decide(
                gossip,
                match verdict {
                    Verdict::Fresh | Verdict::Known => MessageAcceptance::Accept,
                    Verdict::Ignored => MessageAcceptance::Ignore,
                    Verdict::Rejected(_) => {
                        count(&self.shared.tally.rejected);
                        MessageAcceptance::Reject
                    }
                },
            ),
            Order::Blame { peer, reason } => {
                if let Some(peer) = self.by_number.get(&peer).copied() {
                    self.blame(peer, FAULT_POINTS, &reason);
                }
            }
            Order::Add { peer, address } => {
                self.book.add(peer, address);
                self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            }
            Order::Remove { peer } => {
                self.book.remove(&peer);
                if !self.reserved.contains(&peer) {
                    self.swarm.behaviour_mut().limits.remove_peer_id(&peer);
                }
                let _not_connected = self.swarm.disconnect_peer_id(peer);
            }
            Order::Ban { peer, reason, time } => self.ban(peer, reason, time),
            Order::Unban { peer } => {
                self.scores.unban(&peer);
                self.let_in(peer);
                self.show_bans();
            }
            Order::Stop => {}
        }
    }

    fn let_in(&mut self, peer: LibPeer) {
        self.swarm.behaviour_mut().bans.unblock_peer(peer);
        self.book.reset(&peer);
    }

    fn blame(&mut self, peer: LibPeer, points: u32, reason: &str) {
        if self.scores.blame(peer, points, Instant::now()) {
            warn!(target: "node::network", %peer, reason, "peer banned");
            self.ban(peer, reason.to_owned(), Some(BAN_TIME));
        }
    }

    fn ban(&mut self, peer: LibPeer, reason: String, time: Option<Duration>) {
        count(&self.shared.tally.bans);
        let until = time.and_then(|time| Instant::now().checked_add(time));
        // Beyond what can be remembered a peer is only sent away.
        if self.scores.ban(peer, Ban { reason, until }) {
            self.swarm.behaviour_mut().bans.block_peer(peer);
        }
        let _not_connected = self.swarm.disconnect_peer_id(peer);
        self.show_bans();
    }

    // ---- what time brings ---------------------------------------------------------------------

    fn on_turn(&mut self) {
        let now = Instant::now();
        let outbound = self.peers.values().filter(|peer| peer.outbound).count();
        let wanted = if self.config.exchange {
            OUTBOUND_WANTED.saturating_sub(outbound)
        } else {
            0
        };
        let (peers, scores) = (&self.peers, &self.scores);
        let due = self.book.due(now, wanted, |peer| {
            peers.contains_key(peer) || scores.is_banned(peer)
        });
        for (peer, way) in due {
            count(&self.shared.tally.dials);
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::NotDialing)
                .addresses(vec![way])
                .build();
            let id = dial.connection_id();
            self.swarm.behaviour_mut().gate.open_for(id);
            if let Err(error) = self.swarm.dial(dial) {
                debug!(target: "node::network", %peer, %error, "not dialled");
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
            let _not_connected = self.swarm.disconnect_peer_id(peer);
        }
        self.greet_again();
        let ids: Vec<LibPeer> = self.peers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.show_peer(id));
        self.show_bans();
        if let Err(error) = self.book.save() {
            warn!(target: "node::network", %error, "the peers were not remembered");
        }
    }

    // ---- what callers see ---------------------------------------------------------------------

    fn show_self(&self) {
        *self.shared.view.info.lock() = NetworkInfo {
            peer_id: self.swarm.local_peer_id().to_string(),
            addresses: self.own_addresses(),
            protocols: vec![
                HELLO_PROTOCOL.to_owned(),
                self.names.direct.to_string(),
                self.names.parts.to_string(),
            ],
        };
    }

    fn show_peer(&self, id: LibPeer) {
        let Some((peer, admitted)) = self.peers.get(&id).and_then(|p| Some((p, p.admitted.as_ref()?))) else {
            return;
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let info = PeerInfo {
            id: id.to_string(),
            peer: peer.number,
            address: peer.address.to_string(),
            outbound: peer.outbound,
            agent: admitted.agent.clone(),
            validator: admitted.validator,
            head: Height(admitted.traffic.head.load(Ordering::Relaxed)),
            blame: self.scores.of(&id, Instant::now()),
            rtt_micros: u64::try_from(peer.rtt.as_micros()).unwrap_or(u64::MAX),
            bytes_in: admitted.traffic.bytes_in.load(Ordering::Relaxed),
            bytes_out: admitted.traffic.bytes_out.load(Ordering::Relaxed),
            connected_ms: millis(peer.since.elapsed()),
        };
        self.shared.view.peers.lock().insert(peer.number, info);
    }

    fn show_bans(&self) {
        let now = Instant::now();
        let left = |until: Instant| until.saturating_duration_since(now).as_millis();
        let bans = self.scores.bans().map(|(peer, ban)| BanInfo {
            id: peer.to_string(),
            reason: ban.reason.clone(),
            left_ms: ban
                .until
                .map(|until| u64::try_from(left(until)).unwrap_or(u64::MAX)),
        });
        *self.shared.view.bans.lock() = bans.collect();
    }
}

/// The start of a text, within the bound of an agent's name.
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

/// The first 24 bits of an IPv4 address, the first 48 of an IPv6 address.
fn subnet(ip: IpAddr) -> [u8; 7] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [4, a, b, c, 0, 0, 0]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            [a, b, c, d, e, f, 6]
        }
    }
}
