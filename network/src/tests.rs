//! Networks of a few nodes on loopback sockets. Every wait is for an event.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vibecoin_messages::{GossipId, Message, PeerId, Severity, Verdict};
use vibecoin_primitives::{
    Address, Encoded as _, Hash, Height, Power, PublicKey, SecretKey, Signature, Transaction, Validator,
    ValidatorSet, decode, encode,
};

use super::*;
use crate::handshake::Hello;
use crate::lanes::{DIRECT_QUEUE_BYTES_MAX, Lane};
use crate::wire::Envelope;

/// Far beyond the duration of any step here; only a broken test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

mod connections;
mod encodings;
mod hostile;
mod messages;

const GENESIS: Hash = Hash([7; 32]);

struct Tell(Sender<NetworkEvent>);

impl Sink for Tell {
    fn deliver(&self, event: NetworkEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

struct Node {
    network: Network,
    guard: Option<NetworkGuard>,
    events: Receiver<NetworkEvent>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
    }
}

fn validator_key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn validators() -> ValidatorSet {
    let validator = |number| Validator {
        key: validator_key(number).public_key(),
        power: Power(1),
        payout: Address([number; 32]),
    };
    ValidatorSet::new((1..=4).map(validator).collect()).unwrap()
}

fn config(number: u8) -> NetworkConfig {
    NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        per_ip_max: 1,
        per_subnet_max: 1,
        agent: "test".to_owned(),
        head: Height(u64::from(number)),
        ..NetworkConfig::unconnected(GENESIS, [number; 32], validators())
    }
}

/// Adds the proof of a validator to the configuration.
fn proven(mut config: NetworkConfig, number: u8) -> NetworkConfig {
    let proof = ValidatorProof::make(&config.genesis, &config.node_key, &validator_key(number));
    config.validator_proof = Some(proof);
    config
}

fn to(mut config: NetworkConfig, nodes: &[&Node]) -> NetworkConfig {
    config.peers = nodes.iter().map(|node| node.address()).collect();
    config
}

impl Node {
    fn start(config: NetworkConfig) -> Self {
        let (tell, events) = channel();
        let (network, guard) = Network::start(config, Arc::new(Tell(tell))).unwrap();
        Self {
            network,
            guard: Some(guard),
            events,
        }
    }

    fn address(&self) -> String {
        self.network.info().addresses.first().unwrap().clone()
    }

    fn id(&self) -> String {
        self.network.info().peer_id
    }

    /// The first event that `pick` accepts; others are skipped.
    fn wait<T>(&self, what: &str, mut pick: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            if let Some(found) = pick(event.unwrap_or_else(|_| panic!("no {what} came"))) {
                return found;
            }
        }
    }

    fn connected(&self) -> (PeerId, Height, Option<PublicKey>) {
        self.wait("connection", |event| match event {
            NetworkEvent::Connected {
                peer,
                head,
                validator,
                ..
            } => Some((peer, head, validator)),
            _ => None,
        })
    }

    fn disconnected(&self) -> PeerId {
        self.wait("disconnection", |event| match event {
            NetworkEvent::Disconnected { peer } => Some(peer),
            _ => None,
        })
    }

    fn message(&self) -> (PeerId, Message, Option<GossipId>) {
        self.wait("message", |event| match event {
            NetworkEvent::Message {
                from,
                message,
                gossip,
            } => Some((from, message, gossip)),
            _ => None,
        })
    }

    /// Events received so far that no call took.
    fn rest(&self) -> Vec<NetworkEvent> {
        self.events.try_iter().collect()
    }

    /// Publishes until `other` has received it once: a subscription may still be in flight.
    fn publish_to(&self, other: &Node, message: &Message) -> GossipId {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.network.publish(message);
            if let Ok(NetworkEvent::Message {
                message: got, gossip, ..
            }) = other.events.recv_timeout(Duration::from_millis(100))
            {
                assert_eq!(&got, message);
                return gossip.unwrap();
            }
        }
        panic!("no gossip came")
    }
}

/// Polls a condition that has no event.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::yield_now();
    }
}

fn batch(number: u8) -> Message {
    let key = validator_key(number);
    let body = vibecoin_primitives::TransactionBody {
        chain: GENESIS.prefix(),
        sender: key.public_key(),
        nonce: vibecoin_primitives::Nonce(u64::from(number)),
        fee: vibecoin_primitives::Amount(1),
        valid_until: Height(9),
        operations: Vec::new(),
    };
    let transaction: Transaction = body.sign(&GENESIS, &key);
    Message::Transactions(vec![transaction])
}

fn part(sequence: u32) -> Message {
    use vibecoin_primitives::{BlockPart, PartContent, PartStatement, Round};
    let content = PartContent::Opening {
        last_commit: None,
        evidence: Vec::new(),
    };
    let key = validator_key(1);
    let statement = PartStatement {
        height: Height(1),
        round: Round(0),
        proposer: key.public_key(),
        parent: GENESIS,
        sequence,
        digest: content.digest(),
    };
    Message::Part(Box::new(BlockPart {
        signed: statement.sign(&GENESIS, &key),
        content,
    }))
}

fn header() -> vibecoin_primitives::Header {
    vibecoin_primitives::Header {
        height: Height(1),
        parent: GENESIS,
        ticks: 1,
        ..vibecoin_tests_support::header()
    }
}

/// A field of a protobuf message: a number below 16, and bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(u64::try_from(bytes.len()).unwrap()));
    out.extend_from_slice(bytes);
    out
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}
