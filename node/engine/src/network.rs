//! Routes messages from peers to their queues, and announces the node's messages to the network.
//!
//! ```text
//!            ┌─ connections, statements, questions, heads ────▶ mail ────────────▶ driver
//!  network ──┼─ parts, bodies, blocks ─▶ intake ─▶ inspect (hashes, signatures) ──▶ driver
//!            ├─ transactions ──────────▶ verify (signatures) ─────────────────────▶ driver
//!            └─ requests for blocks ───▶ serve (from the store) ─▶ network
//! ```
//!
//! Every arrow is a separate queue, bounded in bytes per peer and in total, so a flood of transactions never
//! delays a vote, and unknown peers never displace validators. Messages beyond the bounds are dropped:
//! consensus rebroadcasts its messages, and sync repeats its requests. The intake rules on a message before
//! any expensive work is done for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tracing::warn;
use vibecoin_config::{Config, Paths};
use vibecoin_consensus::{ConsensusMessage, MonoTime};
use vibecoin_network::{
    Form, Network, NetworkConfig, NetworkError, NetworkEvent, NetworkGuard, Sink, ValidatorProof,
};
use vibecoin_primitives::limits::{EVIDENCE_BYTES_MAX, HEADER_BYTES_MAX, KIB, MIB};
use vibecoin_primitives::{Hash, Height, SecretKey, Transaction, VerifiedTransaction, transaction_bytes};
use vibecoin_replica::intake::part_bytes;
use vibecoin_replica::{Chain, GossipId, Intake, Message, PeerId, Ruling, Severity, Stand};

use crate::clock::Clock;
use crate::driver::NodeEvent;
use crate::error::{Listener, NodeError, kind_of};
use crate::inspect::{Report, Unverified};
use crate::mail::Mailbox;
use crate::queue::{Bounds, FairQueue};
use crate::serve::{Class, Request, Server};
use crate::verify::Gossiped;

/// Bounds of gossiped transactions queued for the signature stage: of validators, and of other peers.
pub const GOSSIPED: [Bounds; 2] = [
    Bounds {
        peer_bytes_max: 4 * MIB,
        bytes_max: 16 * MIB,
    },
    Bounds {
        peer_bytes_max: MIB,
        bytes_max: 8 * MIB,
    },
];

/// Connected peers that are validators or that the operator configured.
pub type KnownPeers = Arc<Mutex<BTreeSet<PeerId>>>;

/// Routes messages from peers into the queues.
pub struct Inbound {
    /// To the driver.
    pub mail: Arc<Mailbox>,
    /// To the thread that checks parts, bodies and blocks.
    pub blocks: Arc<FairQueue<Unverified>>,
    /// To the thread that checks the signatures of single transactions.
    pub gossiped: Arc<FairQueue<Gossiped>>,
    /// Disconnected when no more messages will arrive.
    #[expect(
        dead_code,
        reason = "the inspector waits for its end, and nothing is sent on it"
    )]
    pub alive: Sender<()>,
    /// The thread that reads blocks for peers; set once the network runs.
    pub server: Arc<OnceLock<Server>>,
    /// Connected peers that are validators or that the operator configured.
    pub known: KnownPeers,
    /// Rules that admit or refuse a message cheaply.
    pub intake: Arc<Mutex<Intake>>,
    /// Callback for refused messages.
    pub report: Report,
    /// The time.
    pub clock: Clock,
}

impl Sink for Inbound {
    fn deliver(&self, event: NetworkEvent) -> bool {
        match event {
            NetworkEvent::Message {
                from,
                message,
                gossip,
            } => self.message(from, message, gossip),
            NetworkEvent::Connected {
                peer,
                head,
                validator,
                known,
            } => {
                if known {
                    self.known.lock().insert(peer);
                }
                self.intake.lock().connected(peer, validator);
                self.mail.connected(peer, head, validator);
                true
            }
            NetworkEvent::Disconnected { peer } => {
                self.known.lock().remove(&peer);
                if let Some(server) = self.server.get() {
                    server.forget(peer);
                }
                self.intake.lock().disconnected(peer);
                self.mail.disconnected(peer);
                self.blocks.forget(peer);
                self.gossiped.forget(peer);
                true
            }
        }
    }
}

/// The class whose slots and rate limit a peer shares when it requests blocks.
fn class_of(known: &KnownPeers, peer: PeerId) -> Class {
    if known.lock().contains(&peer) {
        Class::Known
    } else {
        Class::Stranger
    }
}

impl Inbound {
    fn message(&self, from: PeerId, message: Message, gossip: Option<GossipId>) -> bool {
        let bytes = weight(&message);
        let mut intake = self.intake.lock();
        let ruling = intake.rule(from, &message, self.clock.now().mono);
        let by_validator = intake.validator(from).is_some();
        drop(intake);
        let is_evidence = match ruling {
            Ruling::Take => false,
            Ruling::Evidence => true,
            // Recorded by the intake, not lost for lack of space.
            Ruling::Drop => return true,
            Ruling::Refuse(refusal) => {
                (self.report)(from, &refusal);
                return true;
            }
        };
        match message {
            Message::Transactions(transactions) => {
                let gossiped = Gossiped {
                    from,
                    gossip,
                    transactions,
                };
                self.gossiped
                    .push(usize::from(!by_validator), from, bytes, gossiped)
            }
            Message::Part(_) | Message::Body { .. } | Message::SyncResponse { .. } => {
                let class = usize::from(matches!(message, Message::SyncResponse { .. }));
                let unverified = Unverified {
                    from,
                    message,
                    is_evidence,
                };
                self.blocks.push(class, from, bytes, unverified)
            }
            Message::SyncRequest { from: first, count } => {
                let class = class_of(&self.known, from);
                let server = self.server.get();
                let request = Request::Blocks { from: first, count };
                server.is_some_and(|server| server.ask(class, from, request))
            }
            Message::Status { height } => {
                self.mail.head(from, height);
                true
            }
            Message::Consensus(_) | Message::Evidence(_) | Message::BodyRequest { .. } => {
                let event = NodeEvent::Message {
                    from,
                    message: Box::new(message),
                    verified: Vec::new(),
                    gossip,
                };
                self.mail.push(by_validator, from, bytes, event)
            }
        }
    }
}

/// Approximate size of a message in memory, in bytes.
fn weight(message: &Message) -> usize {
    const VOTE_BYTES: usize = 160;
    let list = |count: usize, each: usize| count.saturating_mul(each);
    match message {
        Message::Consensus(ConsensusMessage::Vote(_))
        | Message::BodyRequest { .. }
        | Message::SyncRequest { .. }
        | Message::Status { .. } => VOTE_BYTES,
        Message::Consensus(ConsensusMessage::Proposal(_)) => HEADER_BYTES_MAX,
        Message::Consensus(ConsensusMessage::Polka(polka)) => list(polka.signatures.len(), VOTE_BYTES),
        Message::Consensus(ConsensusMessage::Round(round)) => list(round.votes.len(), VOTE_BYTES),
        Message::Body { body, .. } => body.len().saturating_add(HEADER_BYTES_MAX),
        Message::SyncResponse { blocks, .. } => blocks.iter().fold(0, |sum, block| {
            let certificate = list(block.certificate.signatures.len(), VOTE_BYTES);
            let bytes = block.body.len().saturating_add(HEADER_BYTES_MAX);
            sum.saturating_add(bytes).saturating_add(certificate)
        }),
        Message::Transactions(transactions) => transactions.iter().fold(0, |sum, transaction| {
            let bytes = transaction_bytes(transaction).saturating_add(size_of::<Transaction>());
            sum.saturating_add(bytes)
        }),
        Message::Part(part) => part_bytes(part).saturating_add(32 * KIB),
        Message::Evidence(_) => EVIDENCE_BYTES_MAX,
    }
}

/// Returns true if this configuration enables the network.
pub fn is_wanted(config: &Config) -> bool {
    let p2p = &config.p2p;
    !(p2p.listen.is_empty() && p2p.peers.is_empty() && p2p.bootnodes.is_empty())
}

/// Checks the addresses and identities of peers, also those that a node without a network would not use: an
/// entry that can never match is an error in the configuration.
///
/// # Errors
/// [`NodeError::Config`] with the key of the first entry that is refused.
pub fn check_addresses(config: &Config) -> Result<(), NodeError> {
    let p2p = &config.p2p;
    for (key, list, form) in [
        ("p2p.listen", &p2p.listen, Form::Listen),
        ("p2p.external", &p2p.external, Form::Announce),
        ("p2p.peers", &p2p.peers, Form::Peer),
        ("p2p.bootnodes", &p2p.bootnodes, Form::Peer),
        ("p2p.reserved", &p2p.reserved, Form::Id),
    ] {
        for entry in list {
            form.check(entry).map_err(|error| NodeError::Config {
                what: key.to_owned(),
                detail: error.to_string(),
            })?;
        }
    }
    Ok(())
}

/// Starts the network if the configuration enables it. Its listeners are bound on return.
pub fn start(
    config: &Config,
    paths: &Paths,
    chain: &Chain,
    validator_key: Option<&SecretKey>,
    head: Height,
    agent: String,
    inbound: Inbound,
) -> Result<Option<(Network, NetworkGuard)>, NodeError> {
    if !is_wanted(config) {
        if validator_key.is_some() && chain.validators.members().len() > 1 {
            warn!(target: "node", "this chain has other validators, but p2p.listen and p2p.peers are empty: no block can be agreed on");
        }
        return Ok(None);
    }
    let node_key = node_key(&paths.node_key)?;
    let settings = settings(config, paths, chain, node_key, validator_key, head, agent);
    let started = Network::start(settings, Arc::new(inbound)).map_err(|error| match error {
        NetworkError::Listen { address, detail } => NodeError::Listen {
            listener: Listener::P2p,
            address,
            kind: kind_of(&detail),
            detail,
        },
        error => NodeError::Config {
            what: "p2p".to_owned(),
            detail: error.to_string(),
        },
    })?;
    Ok(Some(started))
}

/// Start parameters of the network.
pub(crate) fn settings(
    config: &Config,
    paths: &Paths,
    chain: &Chain,
    node_key: [u8; 32],
    validator: Option<&SecretKey>,
    head: Height,
    agent: String,
) -> NetworkConfig {
    let p2p = &config.p2p;
    NetworkConfig {
        genesis: chain.genesis,
        node_key,
        listen: p2p.listen.clone(),
        external: p2p.external.clone(),
        peers: p2p.peers.clone(),
        bootnodes: p2p.bootnodes.clone(),
        reserved: p2p.reserved.clone(),
        exchange: p2p.exchange,
        inbound_max: p2p.inbound_max,
        outbound_max: p2p.outbound_max,
        per_ip_max: p2p.per_ip_max,
        per_subnet_max: p2p.per_subnet_max,
        bytes_per_s_per_peer: p2p.bytes_per_s_per_peer,
        memory_max_bytes: p2p.memory_max_bytes,
        peers_file: paths.peers.clone(),
        validator_proof: validator.map(|key| ValidatorProof::make(&chain.genesis, &node_key, key)),
        validators: (*chain.validators).clone(),
        agent,
        head,
    }
}

/// Outgoing messages of the driver to peers. Without a network they are discarded.
pub struct Outbound {
    network: Option<Network>,
    intake: Arc<Mutex<Intake>>,
    known: KnownPeers,
    /// Transactions accepted from clients and not yet published.
    fresh: Vec<Transaction>,
    fresh_bytes: usize,
}

/// Minimum size in bytes of a batch that is sent at once; smaller ones are sent when there is nothing else to
/// do.
const BATCH_BYTES: usize = 24 * 1024;

impl Outbound {
    /// An outbound to `network`.
    pub fn new(network: Option<Network>, intake: Arc<Mutex<Intake>>, known: KnownPeers) -> Self {
        Self {
            network,
            intake,
            known,
            fresh: Vec::new(),
            fresh_bytes: 0,
        }
    }

    /// Broadcasts a message on the channel of its kind.
    pub fn broadcast(&self, message: &Message) {
        let Some(network) = &self.network else { return };
        match message {
            Message::Part(_) => network.stream(message),
            Message::Status { height } => {
                network.set_head(*height);
                network.send_all(message);
            }
            _ => network.publish(message),
        }
    }

    /// Updates the replica's position for the checks of incoming messages.
    pub fn stand(&self, stand: Stand) {
        self.intake.lock().stand(stand);
    }

    /// Sends to one peer.
    pub fn send(&self, to: PeerId, message: &Message, now: MonoTime) {
        if matches!(message, Message::BodyRequest { .. } | Message::SyncRequest { .. }) {
            self.intake.lock().asked(to, message, now);
        }
        if let Some(network) = &self.network {
            network.send(to, message);
        }
    }

    /// Sends a peer the body of a block that may be decided next, which is encoded by `pack` for the first
    /// one. A validator receives it at once, since its vote waits; other peers receive it in turn.
    pub fn give_body(
        &self,
        server: &Server,
        to: PeerId,
        block: Hash,
        pack: impl FnOnce() -> Option<Message>,
    ) {
        let Some(network) = &self.network else { return };
        let Some(frame) = server.body(block, || Some(network.frame(&pack()?))) else {
            return;
        };
        if self.intake.lock().validator(to).is_some() {
            network.send_frame(to, &frame);
        } else {
            server.ask(class_of(&self.known, to), to, Request::Body(block));
        }
    }

    /// Forwards a gossiped message, or not, as `verdict` states.
    pub fn forward(&self, gossip: GossipId, verdict: vibecoin_consensus::Verdict) {
        if let Some(network) = &self.network {
            network.forward(gossip, verdict);
        }
    }

    /// Reports to the network that a peer broke a rule.
    pub fn blame(&self, peer: PeerId, reason: &str) {
        if let Some(network) = &self.network {
            network.blame(peer, Severity::Minor, reason);
        }
    }

    /// Queues a transaction for peers; it is published in a batch.
    pub fn pass_on(&mut self, transaction: &VerifiedTransaction) {
        if self.network.is_none() {
            return;
        }
        self.fresh_bytes = self
            .fresh_bytes
            .saturating_add(usize::try_from(transaction.byte_len()).unwrap_or(usize::MAX));
        self.fresh.push(transaction.transaction().clone());
        if self.fresh_bytes >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Publishes transactions at once, as a separate message.
    pub fn publish(&self, transactions: &[Arc<VerifiedTransaction>]) {
        let Some(network) = &self.network else { return };
        if !transactions.is_empty() {
            let all = transactions.iter().map(|one| one.transaction().clone());
            network.publish(&Message::Transactions(all.collect()));
        }
    }

    /// Publishes the queued transactions.
    pub fn flush(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        self.fresh_bytes = 0;
        let message = Message::Transactions(std::mem::take(&mut self.fresh));
        if let Some(network) = &self.network {
            network.publish(&message);
        }
    }
}

/// Reads the key that identifies this node on the network, or creates one: the seed of an ed25519 key.
pub fn node_key(path: &Path) -> Result<[u8; 32], NodeError> {
    let key = vibecoin_keystore::load_or_create_node_key(path)?;
    Ok(**key.seed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_can_never_be_reached_is_refused_with_its_key() {
        let id = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";
        let mut good = Config::default();
        good.p2p.listen = vec![
            "/ip4/0.0.0.0/udp/0/quic-v1".to_owned(),
            "/ip6/::/tcp/1".to_owned(),
        ];
        good.p2p.external = vec!["/dns4/node.example/tcp/1".to_owned()];
        good.p2p.peers = vec![format!("/ip4/10.0.0.1/tcp/1/p2p/{id}")];
        good.p2p.bootnodes = vec![format!("/dns/node.example/udp/1/quic-v1/p2p/{id}")];
        good.p2p.reserved = vec![id.to_owned()];
        assert!(check_addresses(&good).is_ok(), "{:?}", check_addresses(&good));
        for (key, entry) in [
            ("p2p.listen", "127.0.0.1:27656".to_owned()),
            ("p2p.listen", "/dns4/node.example/tcp/1".to_owned()),
            ("p2p.listen", "/ip4/0.0.0.0/udp/1".to_owned()),
            ("p2p.listen", "/ip4/0.0.0.0/tcp/1/ws".to_owned()),
            ("p2p.external", "/ip4/0.0.0.0/tcp/1".to_owned()),
            ("p2p.external", "/ip4/1.2.3.4/tcp/0".to_owned()),
            ("p2p.external", format!("/ip4/1.2.3.4/tcp/1/p2p/{id}")),
            ("p2p.peers", "/ip4/10.0.0.1/tcp/1".to_owned()),
            ("p2p.peers", format!("/ip4/10.0.0.1/tcp/0/p2p/{id}")),
            ("p2p.peers", format!("/ip4/10.0.0.1/udp/1/p2p/{id}")),
            ("p2p.bootnodes", format!("/ip6/::/tcp/1/p2p/{id}")),
            ("p2p.reserved", "12D3KooW".to_owned()),
            ("p2p.reserved", format!("/p2p/{id}")),
        ] {
            let mut config = good.clone();
            let list = match key {
                "p2p.listen" => &mut config.p2p.listen,
                "p2p.external" => &mut config.p2p.external,
                "p2p.peers" => &mut config.p2p.peers,
                "p2p.bootnodes" => &mut config.p2p.bootnodes,
                _ => &mut config.p2p.reserved,
            };
            list.push(entry.clone());
            let refused = check_addresses(&config).map_err(|error| (error.exit_code(), error.to_string()));
            assert!(
                matches!(&refused, Err((10, text)) if text.starts_with(&format!("{key}: "))),
                "{key} {entry}: {refused:?}"
            );
        }
    }
}
