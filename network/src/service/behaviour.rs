//! What the swarm is made of.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, allow_block_list, identify, memory_connection_limits, ping};
use vibecoin_primitives::Hash;

use super::config::{NetworkConfig, NetworkError};
use crate::wire::{ENVELOPE_BYTES, TRANSACTIONS_BYTES_MAX};

/// Most bytes of one gossiped message.
pub const GOSSIP_BYTES_MAX: usize = TRANSACTIONS_BYTES_MAX + ENVELOPE_BYTES + COPY_BYTES;
/// Bytes before the envelope: which copy of the message this is.
pub const COPY_BYTES: usize = 2;
/// How long a message is known, so that it is taken once.
const DUPLICATE_CACHE: Duration = Duration::from_secs(60);
/// Connections of validators and reserved peers beyond the bounds for others.
const RESERVED_MAX: u32 = 256;

/// The parts of the swarm.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub gossip: gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>,
    pub streams: libp2p_stream::Behaviour,
    pub identify: identify::Behaviour,
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

impl Behaviour {
    pub fn new(key: &Keypair, config: &NetworkConfig, names: &Names) -> Result<Self, NetworkError> {
        let gossip = gossipsub::ConfigBuilder::default()
            .heartbeat_interval(Duration::from_millis(300))
            .heartbeat_initial_delay(Duration::from_millis(50))
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .message_id_fn(message_id)
            .max_transmit_size(GOSSIP_BYTES_MAX)
            .duplicate_cache_time(DUPLICATE_CACHE)
            .flood_publish(true)
            .build()
            .map_err(start)?;
        let topics = [names.consensus.hash(), names.transactions.hash()];
        let mut gossip = gossipsub::Behaviour::new_with_subscription_filter(
            MessageAuthenticity::Anonymous,
            gossip,
            WhitelistSubscriptionFilter(topics.into_iter().collect()),
        )
        .map_err(start)?;
        gossip.subscribe(&names.consensus).map_err(start)?;
        gossip.subscribe(&names.transactions).map_err(start)?;
        let total = config
            .inbound_max
            .saturating_add(config.outbound_max)
            .saturating_add(RESERVED_MAX);
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(64))
            .with_max_pending_outgoing(Some(64))
            .with_max_established_incoming(Some(config.inbound_max))
            .with_max_established_outgoing(Some(config.outbound_max))
            .with_max_established(Some(total))
            .with_max_established_per_peer(Some(2));
        let memory = usize::try_from(config.memory_max_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(memory),
            bans: allow_block_list::Behaviour::default(),
            gossip,
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(
                identify::Config::new("/vibecoin/1".to_owned(), key.public())
                    .with_agent_version(config.agent.clone()),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(10))),
        })
    }
}
