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

/// Most connections being negotiated, and as many that have yet to say hello.
const GUESTS_MAX: u32 = 64;
/// Part of the open files that strangers' connections may take; the database, clients and validators have the
/// others.
const STRANGERS_PART_OF_FILES: u64 = 3;

/// Connections of strangers, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seats {
    /// That they opened.
    pub inbound: u32,
    /// That this node opened.
    pub outbound: u32,
    /// That have yet to say hello.
    pub guests: u32,
    /// That are being negotiated, in each direction.
    pub pending: u32,
}

impl Seats {
    /// The configured number, or less where the process may open few files, so that validators are let in when
    /// strangers have taken all of theirs.
    pub fn new(inbound: u32, outbound: u32, files: Option<u64>) -> Self {
        let wanted = Self {
            inbound,
            outbound,
            guests: GUESTS_MAX,
            pending: GUESTS_MAX,
        };
        let all = [inbound, outbound, GUESTS_MAX, GUESTS_MAX].map(u64::from);
        let all: u64 = all.into_iter().fold(0, u64::saturating_add);
        let room = files.map_or(all, |files| (files / STRANGERS_PART_OF_FILES).max(1));
        if all <= room {
            return wanted;
        }
        let part = |seats: u32| {
            let less = u64::from(seats)
                .saturating_mul(room)
                .checked_div(all)
                .unwrap_or(0);
            let less = u32::try_from(less).unwrap_or(seats);
            if seats == 0 { 0 } else { less.max(1) }
        };
        Self {
            inbound: part(inbound),
            outbound: part(outbound),
            guests: part(GUESTS_MAX),
            pending: part(GUESTS_MAX),
        }
    }
}

/// Number of files that this process may have open, where the system shows it.
pub fn open_files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
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
        /// The peer. Its number stays the same across reconnects of one identity.
        peer: PeerId,
        /// Its newest block.
        head: Height,
        /// Which validator it proved to be.
        validator: Option<PublicKey>,
        /// True for a validator or a peer from the configuration.
        known: bool,
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_fewer_seats_where_few_files_may_be_open_and_never_none() {
        let wanted = Seats {
            inbound: 64,
            outbound: 32,
            guests: 64,
            pending: 64,
        };
        assert_eq!(Seats::new(64, 32, None), wanted);
        assert_eq!(Seats::new(64, 32, Some(1_024)), wanted);
        let few = Seats::new(64, 32, Some(256));
        let taken = few.inbound + few.outbound + few.guests + few.pending;
        assert!((60..=256 / 3).contains(&taken), "{few:?}");
        let fewest = Seats {
            inbound: 1,
            outbound: 1,
            guests: 1,
            pending: 1,
        };
        assert_eq!(Seats::new(64, 32, Some(1)), fewest);
        assert_eq!(Seats::new(0, 0, Some(100)).inbound, 0, "what is off stays off");
    }
}
