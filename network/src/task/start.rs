//! Start of the swarm: its transports, the address book, the listening sockets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId as LibPeer, Swarm};
use tokio::sync::mpsc;
use tracing::warn;

use super::{DIAL_TIME, Task};
use crate::address::{multiaddr, peer_address, peer_id};
use crate::address_book::AddressBook;
use crate::arrivals::Arrivals;
use crate::behaviour::{Behaviour, Names};
use crate::bucket::Bucket;
use crate::command::Command;
use crate::config::{NetworkConfig, Slots, open_files_max};
use crate::counters::Tally;
use crate::error::NetworkError;
use crate::event::Sink;
use crate::handshake::keypair;
use crate::meter::{Meters, STRANGER_BYTES_PER_S_MIN};
use crate::numbers::PeerNumbers;
use crate::repeats::AllRepeats;
use crate::scopes::Scopes;
use crate::score::Scores;
use crate::shared::Shared;
use crate::transport;

/// Rate limit of log lines above debug level caused by all unknown peers together: burst and interval.
/// Metrics count every event.
const STRANGER_LINES: u32 = 32;
const STRANGER_LINE_EACH: Duration = Duration::from_secs(2);
/// The same for validators and configured peers.
const KNOWN_LINES: u32 = 256;
const KNOWN_LINE_EACH: Duration = Duration::from_secs(1);
/// Maximum number of results of the peers' tasks queued for the swarm's thread.
const TASK_EVENTS_MAX: usize = 1_024;

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

fn not_started(detail: impl ToString) -> NetworkError {
    NetworkError::Start {
        detail: detail.to_string(),
    }
}

/// Builds the swarm over QUIC and over TCP.
fn build_swarm(
    key: Keypair,
    behaviour: Behaviour,
    meters: &Meters,
    arrivals: &Arrivals,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let swarm = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|key| transport::quic(key, meters).map(|inner| arrivals.watch(inner)))
        .map_err(not_started)?
        .with_other_transport(|key| transport::tcp(key, meters).map(|inner| arrivals.watch(inner)))
        .map_err(not_started)?
        .with_dns()
        .map_err(not_started)?
        .with_behaviour(|_| behaviour)
        .map_err(not_started)?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(Duration::from_secs(3600))
                .with_max_negotiating_inbound_streams(transport::NEGOTIATED_STREAMS_MAX)
        })
        .with_connection_timeout(DIAL_TIME)
        .build();
    Ok(swarm)
}

/// The address book with the configured addresses; the machines and identities of configured peers have slots
/// beyond those of unknown peers.
fn open_book(
    own: LibPeer,
    config: &NetworkConfig,
    tally: Arc<Tally>,
    behaviour: &mut Behaviour,
) -> Result<AddressBook, NetworkError> {
    let configured = [&config.listen, &config.external, &config.peers, &config.bootnodes];
    let scopes = Scopes::of(configured.into_iter().flatten());
    let mut book = AddressBook::new(own, config.peers_file.clone(), scopes, tally);
    for text in &config.bootnodes {
        let (peer, address) = peer_address(text)?;
        book.add_bootnode(peer, address);
    }
    for text in &config.peers {
        let (peer, address) = peer_address(text)?;
        behaviour.admission.add_known_machine(&address);
        behaviour.limits.bypass_peer_id(&peer);
        book.add(peer, address);
    }
    Ok(book)
}

impl Task {
    /// Builds the swarm and starts listening.
    pub async fn new(
        config: NetworkConfig,
        sink: Arc<dyn Sink>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, NetworkError> {
        let key = keypair(&config.node_key).ok_or_else(|| not_started("the node key is no ed25519 seed"))?;
        let own = key.public().to_peer_id();
        let names = Names::new(&config.genesis)?;
        let files = open_files_max();
        let slots = Slots::new(config.inbound_max, config.outbound_max, files);
        if slots.inbound < config.inbound_max {
            warn!(target: "node::network", seats = ?slots, ?files, "strangers have fewer seats: few files may be open");
        }
        let (meters, stream_faults) = Meters::new(STRANGER_BYTES_PER_S_MIN.min(config.bytes_per_s_per_peer));
        let arrivals = Arrivals::default();
        let behaviour = Behaviour::new(&config, &slots, &names, arrivals.clone(), shared.tally.clone())?;
        let mut swarm = build_swarm(key, behaviour, &meters, &arrivals)?;
        let control = swarm.behaviour().streams.control();
        let book = open_book(own, &config, shared.tally.clone(), swarm.behaviour_mut())?;
        let mut reserved = HashSet::new();
        for id in &config.reserved {
            let peer = peer_id(id)?;
            swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            reserved.insert(peer);
        }
        for address in &config.external {
            swarm.add_external_address(multiaddr(address)?);
        }
        let (event_sender, events) = mpsc::channel(TASK_EVENTS_MAX);
        let now = tokio::time::Instant::now();
        let mut task = Self {
            names,
            swarm,
            control,
            sink,
            shared,
            commands,
            events,
            event_sender,
            peers: HashMap::new(),
            numbers: PeerNumbers::new(),
            next_session: 0,
            undecided: HashMap::new(),
            undecided_order: VecDeque::new(),
            next_gossip: 1,
            book,
            dialling: HashMap::new(),
            scores: Scores::default(),
            reserved,
            validator_nodes: HashMap::new(),
            slots,
            meters,
            stream_faults,
            repeats: AllRepeats::default(),
            known_lines: Bucket::new(KNOWN_LINE_EACH, KNOWN_LINES, now),
            stranger_lines: Bucket::new(STRANGER_LINE_EACH, STRANGER_LINES, now),
            totals: Arc::default(),
            in_flight: Arc::default(),
            turns: 0,
            run: RandomState::new().hash_one(0),
            config,
        };
        task.listen().await?;
        task.publish_info();
        Ok(task)
    }

    async fn listen(&mut self) -> Result<(), NetworkError> {
        for address in self.config.listen.clone() {
            let fault = |detail: String| NetworkError::Listen {
                address: address.clone(),
                detail,
            };
            let listener = self
                .swarm
                .listen_on(multiaddr(&address)?)
                .map_err(|error| fault(causes(&error)))?;
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
}
