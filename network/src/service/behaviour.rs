//! What the swarm is made of.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicScoreParams,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, allow_block_list, memory_connection_limits, ping};
use vibecoin_primitives::Hash;
use vibecoin_primitives::limits::KIB;

use super::config::{NetworkConfig, NetworkError, Seats};
use super::gate::Gate;
use super::hello::HELLO_PROTOCOL;
use super::streams::Streams;
use crate::wire::{CONSENSUS_BYTES_MAX, ENVELOPE_BYTES, EVIDENCE_MESSAGE_BYTES_MAX, TRANSACTIONS_BYTES_MAX};

/// Most bytes of one gossiped message.
pub const GOSSIP_BYTES_MAX: usize = TRANSACTIONS_BYTES_MAX + ENVELOPE_BYTES + COPY_BYTES;
/// Most bytes of one gossiped message of consensus.
pub const STATEMENT_BYTES_MAX: usize = CONSENSUS_BYTES_MAX + ENVELOPE_BYTES + COPY_BYTES;
const _: () = assert!(EVIDENCE_MESSAGE_BYTES_MAX <= CONSENSUS_BYTES_MAX);
/// Most gossiped messages that wait for one peer.
const GOSSIP_QUEUE_MAX: usize = 512;
/// Bytes before the envelope: which copy of the message this is, see `repeats`.
pub const COPY_BYTES: usize = 2;
/// How long a message is known, so that it is taken once.
const DUPLICATE_CACHE: Duration = Duration::from_secs(60);
/// Connections of validators and reserved peers beyond the bounds for others.
const RESERVED_MAX: u32 = 256;

/// The parts of the swarm. The hello says what the protocol identify would, and a protocol less is one less to open
/// streams of.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub gate: Gate,
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub gossip: gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>,
    pub streams: Streams,
    pub ping: ping::Behaviour,
}

/// Names that depend on the chain.
#[derive(Clone, Debug)]
pub struct Names {
    pub consensus: IdentTopic,
    pub transactions: IdentTopic,
    pub direct: StreamProtocol,
    pub parts: StreamProtocol,
}

impl Names {
    pub fn new(genesis: &Hash) -> Result<Self, NetworkError> {
        let [a, b, c, d] = genesis.prefix();
        let chain = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
        let protocol = |name: &str| {
            StreamProtocol::try_from_owned(format!("/vibecoin/{chain}/{name}/1")).map_err(|error| {
                NetworkError::Start {
                    detail: error.to_string(),
                }
            })
        };
        Ok(Self {
            consensus: IdentTopic::new(format!("vibecoin/{chain}/consensus/1")),
            transactions: IdentTopic::new(format!("vibecoin/{chain}/transactions/1")),
            direct: protocol("direct")?,
            parts: protocol("parts")?,
        })
    }
}

fn start(detail: impl ToString) -> NetworkError {
    NetworkError::Start {
        detail: detail.to_string(),
    }
}

/// A message's identity is its topic and its bytes. The copy number in front makes a message that is sent
/// again another one, so a repeated vote is not taken for a duplicate.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.data);
    MessageId::new(hasher.finalize().as_bytes())
}

/// How gossip itself rates peers. Only what an honest peer never does costs anything: in a network of four
/// on one machine many share an address, some are slow, and whole topics are silent for minutes.
fn scores(names: &Names) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -2.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    };
    let topics = [names.consensus.hash(), names.transactions.hash()];
    PeerScoreParams {
        topics: topics.into_iter().map(|name| (name, topic.clone())).collect(),
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.8,
        slow_peer_weight: 0.0,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

impl Behaviour {
    pub fn new(config: &NetworkConfig, seats: &Seats, names: &Names) -> Result<Self, NetworkError> {
        let gossip = gossipsub::ConfigBuilder::default()
            .heartbeat_interval(Duration::from_millis(300))
            .heartbeat_initial_delay(Duration::from_millis(50))
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .message_id_fn(message_id)
            .max_transmit_size(GOSSIP_BYTES_MAX + KIB)
            .duplicate_cache_time(DUPLICATE_CACHE)
            .flood_publish(true)
            // In heartbeats: a message whose verdict takes longer cannot be passed on any more.
            .history_length(20)
            .history_gossip(4)
            .prune_backoff(Duration::from_secs(10))
            .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
            .max_transmit_size_for_topic(STATEMENT_BYTES_MAX, names.consensus.hash())
            .max_transmit_size_for_topic(GOSSIP_BYTES_MAX, names.transactions.hash())
            .build()
            .map_err(start)?;
        let topics = [names.consensus.hash(), names.transactions.hash()];
        let mut gossip = gossipsub::Behaviour::new_with_subscription_filter(
            MessageAuthenticity::Anonymous,
            gossip,
            WhitelistSubscriptionFilter(topics.into_iter().collect()),
        )
        .map_err(start)?;
        gossip
            .with_peer_score(scores(names), PeerScoreThresholds::default())
            .map_err(start)?;
        gossip.subscribe(&names.consensus).map_err(start)?;
        gossip.subscribe(&names.transactions).map_err(start)?;
        let inbound = seats
            .inbound
            .saturating_add(seats.guests)
            .saturating_add(RESERVED_MAX);
        let limits = ConnectionLimits::default()
            .with_max_pending_outgoing(Some(seats.pending))
            // Who proves to be a validator is let in beyond the seats of strangers, so everybody is heard first.
            .with_max_established_incoming(Some(inbound))
            .with_max_established_outgoing(Some(seats.outbound))
            .with_max_established(Some(inbound.saturating_add(seats.outbound)))
            .with_max_established_per_peer(Some(2));
        let memory = usize::try_from(config.memory_max_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            gate: Gate::new(seats.pending),
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(memory),
            bans: allow_block_list::Behaviour::default(),
            gossip,
            streams: Streams::new([
                StreamProtocol::new(HELLO_PROTOCOL),
                names.direct.clone(),
                names.parts.clone(),
            ]),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(Duration::from_secs(2))
                    .with_timeout(Duration::from_secs(5)),
            ),
        })
    }
}
