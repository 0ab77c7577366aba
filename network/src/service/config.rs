//! What the network is started with, and what it tells.

use std::path::PathBuf;

use vibecoin_primitives::{Hash, Height, PublicKey, ValidatorSet};
use vibecoin_replica::{GossipId, Message, PeerId};

use super::ValidatorProof;

/// What the network is started with.
#[derive(Clone)]
pub struct NetworkConfig {
    /// The chain.
    pub genesis: Hash,
    /// Seed of the key that names this node.
    pub node_key: [u8; 32],
    /// Multiaddresses to listen at.
    pub listen: Vec<String>,
    /// Multiaddresses that others are told instead.
    pub external: Vec<String>,
    /// Peers to stay connected with; each ends in `/p2p/ID`.
    pub peers: Vec<String>,
    /// Peers to connect to while there are too few.
    pub bootnodes: Vec<String>,
    /// Identities that are never turned away for lack of room.
    pub reserved: Vec<String>,
    /// Whether peers tell each other of further peers.
    pub exchange: bool,
    /// Most connections that others opened.
    pub inbound_max: u32,
    /// Most connections that this node opens.
    pub outbound_max: u32,
    /// Most connections from one IP address; loopback is free.
    pub per_ip_max: u32,
    /// Most connections from one /24 or /48; loopback is free.
    pub per_subnet_max: u32,
    /// Bytes per second that one peer may send.
    pub bytes_per_s_per_peer: u64,
    /// Resident memory at which new connections are refused.
    pub memory_max_bytes: u64,
    /// Where peers are remembered.
    pub peers_file: Option<PathBuf>,
    /// The proof that this node holds a validator's key.
    pub validator_proof: Option<ValidatorProof>,
    /// Whose proofs count.
    pub validators: ValidatorSet,
    /// Name and version of the program.
    pub agent: String,
    /// The newest block.
    pub head: Height,
}

/// Something that came from a peer, or became of one.
#[derive(Debug)]
pub enum NetworkEvent {
    /// A message, within its limits, of this chain.
    Message {
        /// From whom; for a gossiped one, who passed it on.
        from: PeerId,
        /// What.
        message: Message,
        /// Set for a gossiped one, which waits for [`super::Network::forward`].
        gossip: Option<GossipId>,
    },
    /// A peer has said hello.
    Connected {
        /// Who.
        peer: PeerId,
        /// Its newest block.
        head: Height,
        /// Which validator it proved to be.
        validator: Option<PublicKey>,
    },
    /// A peer that had said hello is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
}

/// Where events go.
pub trait Sink: Send + Sync + 'static {
    /// Takes an event without blocking. `false`: there was no room, and the event is lost.
    fn deliver(&self, event: NetworkEvent) -> bool;
}

/// Why the network did not start, or did not do what an operator asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not a multiaddress, or one without what is needed here.
    #[error("address {address:?}: {detail}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Not the identity of a peer.
    #[error("peer id {id:?}: {detail}")]
    PeerId {
        /// As given.
        id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An address could not be listened at.
    #[error("cannot listen at {address}: {detail}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// The swarm could not be put together.
    #[error("the network did not start: {detail}")]
    Start {
        /// What went wrong.
        detail: String,
    },
    /// There is no such peer.
    #[error("there is no peer {id}")]
    NoSuchPeer {
        /// The identity asked for.
        id: String,
    },
    /// The network has stopped, or its queue of orders is full.
    #[error("the network is busy or stopped; try again")]
    Busy,
}
