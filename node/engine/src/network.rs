//! Where messages from peers go, and what a node tells the network about itself.
//!
//! ```text
//!            ┌─ statements of consensus, requests ──────────────▶ driver
//!  network ──┼─ parts, bodies, blocks ──▶ blocks (signatures) ──▶ driver
//!            ├─ transactions ───────────▶ verify (signatures) ──▶ driver
//!            └─ requests for blocks ────▶ serve (from the store) ─▶ network
//! ```
//!
//! Every arrow is a bounded queue of its own, so a flood of transactions never delays a vote. What does
//! not fit is dropped: consensus sends again what matters, and catching up asks again.

use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use vibecoin_config::{Config, Paths};
use vibecoin_network::service::{Network, NetworkConfig, NetworkEvent, Sink, ValidatorProof};
use vibecoin_primitives::{Hash, Height, SecretKey, Transaction, VerifiedTransaction};
use vibecoin_replica::{Chain, GossipId, Message, PeerId};

use crate::asked::Asked;
use crate::driver::Input;
use crate::serve::Server;
use crate::shared::Shared;
use crate::verify::Gossiped;

/// Most statements of consensus that wait for the driver.
pub const STATEMENTS_MAX: usize = 8_192;
/// Most messages with transactions of blocks that wait for their signatures to be checked.
pub const BLOCKS_MAX: usize = 256;
/// Most batches of gossiped transactions that wait for the signature stage.
pub const GOSSIPED_MAX: usize = 256;

/// A message with transactions whose signatures have yet to be checked.
pub struct Unverified {
    from: PeerId,
    message: Message,
}

/// Sorts what peers send into the queues.
pub struct Inlet {
    /// To the driver.
    pub driver: Sender<Input>,
    /// To the thread that checks the signatures of blocks.
    pub blocks: Sender<Unverified>,
    /// To the thread that checks the signatures of single transactions.
    pub gossiped: Sender<Gossiped>,
    /// The thread that reads blocks for others; set once the network runs.
    pub server: Arc<OnceLock<Server>>,
    /// What this node has asked for.
    pub asked: Arc<Asked>,
}

fn offer<T>(queue: &Sender<T>, item: T) -> bool {
    match queue.try_send(item) {
        Ok(()) => true,
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
    }
}

impl Sink for Inlet {
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
            } => offer(
                &self.driver,
                Input::Connected {
                    peer,
                    head,
                    validator,
                },
            ),
            NetworkEvent::Disconnected { peer } => offer(&self.driver, Input::Disconnected { peer }),
        }
    }
}

impl Inlet {
    fn message(&self, from: PeerId, message: Message, gossip: Option<GossipId>) -> bool {
        match message {
            Message::Transactions(transactions) => offer(
                &self.gossiped,
                Gossiped {
                    from,
                    gossip,
                    transactions,
                },
            ),
            // Late answers of honest peers are among them, so nobody is blamed.
            message if !self.asked.wants(from, &message) => false,
            Message::Part(_) | Message::Body { .. } | Message::SyncResponse { .. } => {
                offer(&self.blocks, Unverified { from, message })
            }
            Message::SyncRequest { from: first, count } => self
                .server
                .get()
                .is_some_and(|server| server.ask(from, first, count)),
            message => offer(
                &self.driver,
                Input::Message {
                    from,
                    message: Box::new(message),
                    verified: Vec::new(),
                    gossip,
                },
            ),
        }
    }
}

/// Checks the signatures of transactions in blocks, in the order in which the blocks came, until every
/// sender is gone. What the pool holds was checked before.
pub fn check_blocks(genesis: Hash, shared: &Shared, blocks: &Receiver<Unverified>, driver: &Sender<Input>) {
    while let Ok(Unverified { from, message }) = blocks.recv() {
        let verified = verify_unknown(&genesis, shared, &message);
        let input = Input::Message {
            from,
            message: Box::new(message),
            verified,
            gossip: None,
        };
        if driver.send(input).is_err() {
            return;
        }
    }
}

/// Transactions of the message that are good and not in the pool. Bad ones are left to the replica, which
/// finds the block invalid.
fn verify_unknown(genesis: &Hash, shared: &Shared, message: &Message) -> Vec<VerifiedTransaction> {
    let mut unknown: Vec<Transaction> = Vec::new();
    let mut sort = |transaction: &Transaction| {
        let waiting = shared.pool.get(&transaction.id(genesis));
        if waiting.is_none_or(|waiting| waiting.transaction.transaction() != transaction) {
            unknown.push(transaction.clone());
        }
    };
    match message {
        Message::Part(part) => {
            if let vibecoin_primitives::PartContent::Tick(tick) = &part.content {
                tick.transactions.iter().for_each(&mut sort);
            }
        }
        Message::Body { body, .. } => {
            if let Ok(body) = vibecoin_primitives::decode::<vibecoin_primitives::Body>(body) {
                body.transactions().for_each(&mut sort);
            }
        }
        Message::SyncResponse { blocks, .. } => {
            for block in blocks {
                if let Ok(body) = vibecoin_primitives::decode::<vibecoin_primitives::Body>(&block.body) {
                    // The pool has little of what was decided long ago: looking would cost more.
                    unknown.extend(body.transactions().cloned());
                }
            }
        }
        _ => {}
    }
    Transaction::verify_batch(unknown, genesis)
        .into_iter()
        .filter_map(Result::ok)
        .collect()
}

/// Whether this configuration wants a network at all.
pub fn is_wanted(config: &Config) -> bool {
    let p2p = &config.p2p;
    !(p2p.listen.is_empty() && p2p.peers.is_empty() && p2p.bootnodes.is_empty())
}

/// What the network is started with.
pub fn settings(
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

/// What the driver says to peers. A node without a network says it to nobody.
#[derive(Default)]
pub struct Outlet {
    network: Option<Network>,
    asked: Arc<Asked>,
    /// Transactions taken from clients that have not been passed on.
    fresh: Vec<Transaction>,
    fresh_bytes: usize,
}

/// Bytes of transactions from which on a batch leaves; smaller ones leave when there is nothing else to do.
const BATCH_BYTES: usize = 24 * 1024;

impl Outlet {
    /// The way out through `network`.
    pub fn new(network: Option<Network>, asked: Arc<Asked>) -> Self {
        Self {
            network,
            asked,
            ..Self::default()
        }
    }

    /// Sends to everybody, each kind in its own way.
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

    /// Sends to one peer.
    pub fn send(&self, to: PeerId, message: &Message) {
        self.asked.note(to, message);
        if let Some(network) = &self.network {
            network.send(to, message);
        }
    }

    /// Lets a gossiped message pass, or not.
    pub fn forward(&self, gossip: GossipId, verdict: vibecoin_consensus::Verdict) {
        if let Some(network) = &self.network {
            network.forward(gossip, verdict);
        }
    }

    /// Tells the network that a peer broke a rule.
    pub fn blame(&self, peer: PeerId, reason: &str) {
        if let Some(network) = &self.network {
            network.blame(peer, reason);
        }
    }

    /// Takes a transaction that peers should have; it leaves with others.
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

    /// Sends what waits.
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

/// Reads the key that names this node on the network, or makes one: the seed of an ed25519 key.
pub fn node_key(path: &Path) -> Result<[u8; 32], crate::NodeError> {
    let key = vibecoin_keystore::load_or_create_node_key(path)
        .map_err(|error| crate::NodeError::Key(error.to_string()))?;
    Ok(**key.seed())
}
