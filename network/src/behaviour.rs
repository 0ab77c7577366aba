//! Composition of the swarm.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, DataTransform, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, RawMessage,
    TopicHash, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, allow_block_list, memory_connection_limits, ping};
use vibecoin_primitives::Hash;
use vibecoin_primitives::limits::{KIB, MIB};

use crate::admission::Admission;
use crate::arrivals::Arrivals;
use crate::config::{NetworkConfig, Slots};
use crate::counters::Tally;
use crate::error::NetworkError;
use crate::handshake::HELLO_PROTOCOL;
use crate::meter::{GOSSIP_MESSAGE_BYTES, STRANGERS_BYTES_PER_S};
use crate::streams::Streams;
use crate::wire::{CONSENSUS_BYTES_MAX, ENVELOPE_BYTES, EVIDENCE_MESSAGE_BYTES_MAX, TRANSACTIONS_BYTES_MAX};

/// Maximum size of a gossiped message in bytes.
pub const GOSSIP_BYTES_MAX: usize = TRANSACTIONS_BYTES_MAX + ENVELOPE_BYTES + COPY_BYTES;
/// Maximum size of a gossiped consensus message in bytes.
pub const STATEMENT_BYTES_MAX: usize = CONSENSUS_BYTES_MAX + ENVELOPE_BYTES + COPY_BYTES;
const _: () = assert!(EVIDENCE_MESSAGE_BYTES_MAX <= CONSENSUS_BYTES_MAX);
/// Bytes of the next frames that may be in the read buffer behind a frame. The library compares the whole buffer with the
/// limit of one frame, and reads 8 KiB at a time: without this two full messages in a row did not decode, and validators
/// banned each other for relaying them.
const READ_AHEAD_BYTES: usize = 64 * KIB;
/// Maximum number of gossiped messages queued for one peer.
const GOSSIP_QUEUE_MAX: usize = 512;
/// Bytes before the envelope: the copy number of the message, see `repeats`.
pub const COPY_BYTES: usize = 2;
/// Time for which the duplicate cache holds a message id. Longer than the lifetime of a message: up to five
/// seconds in a send queue, and six in the message cache ([`HISTORY`]).
const DUPLICATE_CACHE: Duration = Duration::from_secs(DUPLICATE_CACHE_SECS);
const DUPLICATE_CACHE_SECS: u64 = 15;
/// Bytes per entry of the duplicate cache: three copies of the message id, and the overhead of the tables.
const DUPLICATE_BYTES: u64 = 256;
/// Upper bound of the duplicate cache in bytes, for unknown peers that send at their rate limit.
pub const DUPLICATES_BYTES_MAX: usize = 32 * MIB;
const _: () = assert!(
    STRANGERS_BYTES_PER_S / GOSSIP_MESSAGE_BYTES as u64 * DUPLICATE_CACHE_SECS * DUPLICATE_BYTES
        <= DUPLICATES_BYTES_MAX as u64
);
const HEARTBEAT: Duration = Duration::from_millis(300);
/// In heartbeats: a message whose verdict takes longer cannot be forwarded any more.
const HISTORY: usize = 20;
/// Connections of validators and reserved peers beyond the bounds for others.
const RESERVED_MAX: u32 = 256;

/// The parts of the swarm. The hello contains what the identify protocol would exchange, and one protocol
/// less leaves one less to open streams of.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub admission: Admission,
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub gossip: gossipsub::Behaviour<OwnTopics, WhitelistSubscriptionFilter>,
    pub streams: Streams,
    pub ping: ping::Behaviour,
}

/// Protocol and topic names that depend on the chain.
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

/// A message is identified by its topic and its bytes. The copy number in front gives a message that is sent
/// again a different id, so a repeated vote is not taken for a duplicate.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.data);
    MessageId::new(hasher.finalize().as_bytes())
}

/// Drops messages of other topics. The library would keep them in its caches before it looks at the topic, without a
/// report: 16 MB of them grew a node by 611 MiB.
pub struct OwnTopics([TopicHash; 2]);

impl DataTransform for OwnTopics {
    fn inbound_transform(&self, message: RawMessage) -> io::Result<gossipsub::Message> {
        if self.0.contains(&message.topic) {
            IdentityTransform.inbound_transform(message)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    fn outbound_transform(&self, topic: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        IdentityTransform.outbound_transform(topic, data)
    }
}

impl Behaviour {
    pub fn new(
        config: &NetworkConfig,
        slots: &Slots,
        names: &Names,
        arrivals: Arrivals,
        tally: Arc<Tally>,
    ) -> Result<Self, NetworkError> {
        let gossip = gossipsub::ConfigBuilder::default()
            .heartbeat_interval(HEARTBEAT)
            .heartbeat_initial_delay(Duration::from_millis(50))
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .message_id_fn(message_id)
            .max_transmit_size(GOSSIP_BYTES_MAX + READ_AHEAD_BYTES)
            .duplicate_cache_time(DUPLICATE_CACHE)
            .flood_publish(true)
            .history_length(HISTORY)
            // No lazy gossip (IHAVE, IWANT): without peer scores gossipsub never expires the promises of peers, so any
            // peer could grow them without bound. A message lost on one link arrives over another.
            .history_gossip(0)
            .max_ihave_messages_heartbeat(0)
            // No IDONTWANT either: it is sent before the sender of the message is checked.
            .idontwant_message_size_threshold(usize::MAX)
            // Half of the peers that forward messages to this node are outbound connections.
            .mesh_outbound_min(3)
            .prune_backoff(Duration::from_secs(10))
            .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
            .max_transmit_size_for_topic(STATEMENT_BYTES_MAX, names.consensus.hash())
            .max_transmit_size_for_topic(GOSSIP_BYTES_MAX, names.transactions.hash())
            .build()
            .map_err(start)?;
        let topics = [names.consensus.hash(), names.transactions.hash()];
        // Without gossipsub's peer scores: they remember every message for two minutes, and this crate's
        // scores cover more.
        let mut gossip = gossipsub::Behaviour::new_with_subscription_filter_and_transform(
            MessageAuthenticity::Anonymous,
            gossip,
            WhitelistSubscriptionFilter(topics.iter().cloned().collect()),
            OwnTopics(topics),
        )
        .map_err(start)?;
        gossip.subscribe(&names.consensus).map_err(start)?;
        gossip.subscribe(&names.transactions).map_err(start)?;
        let inbound = slots
            .inbound
            .saturating_add(slots.unauthenticated)
            .saturating_add(RESERVED_MAX);
        let limits = ConnectionLimits::default()
            .with_max_pending_outgoing(Some(slots.pending))
            // A peer that proves to be a validator is admitted beyond the slots of unknown peers, so every
            // hello is received first.
            .with_max_established_incoming(Some(inbound))
            .with_max_established_outgoing(Some(slots.outbound))
            .with_max_established(Some(inbound.saturating_add(slots.outbound)))
            .with_max_established_per_peer(Some(2));
        let memory = usize::try_from(config.memory_max_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            admission: Admission::new(slots.pending, arrivals, tally),
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
