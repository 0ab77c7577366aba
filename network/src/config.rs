//! Start parameters of the network, and its events.

use std::path::PathBuf;

use vibecoin_messages::{GossipId, Message, PeerId};
use vibecoin_primitives::{Hash, Height, PublicKey, ValidatorSet};

use crate::handshake::ValidatorProof;

/// Start parameters of the network.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// Seed of the key that identifies this node.
    pub node_key: [u8; 32],
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses announced to peers instead.
    pub external: Vec<String>,
    /// Peers to stay connected with; each ends in `/p2p/ID`.
    pub peers: Vec<String>,
    /// Peers to connect to while there are too few.
    pub bootnodes: Vec<String>,
    /// Identities that are never refused for lack of a slot.
    pub reserved: Vec<String>,
    /// True if peers exchange addresses of further peers.
    pub exchange: bool,
    /// Maximum number of inbound connections.
    pub inbound_max: u32,
    /// Maximum number of outbound connections.
    pub outbound_max: u32,
    /// Maximum number of connections from one IP address; loopback is exempt.
    pub per_ip_max: u32,
    /// Maximum number of connections from one /24 or /48; loopback is exempt.
    pub per_subnet_max: u32,
    /// Bytes per second that one peer may send.
    pub bytes_per_s_per_peer: u64,
    /// Resident memory at which new connections are refused.
    pub memory_max_bytes: u64,
    /// File of the address book.
    pub peers_file: Option<PathBuf>,
    /// The proof that this node holds a validator's key.
    pub validator_proof: Option<ValidatorProof>,
    /// Validators whose proofs are accepted.
    pub validators: ValidatorSet,
    /// Name and version of the program.
    pub agent: String,
    /// The newest block.
    pub head: Height,
}

/// Maximum number of connections being negotiated, and of those awaiting a hello.
const UNAUTHENTICATED_INBOUND_MAX: u32 = 64;
/// Fraction (one in this many) of the open files for connections of unknown peers; the database, clients and
/// validators have the others.
const STRANGERS_PART_OF_FILES: u64 = 3;

/// Maximum numbers of connections of unknown peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seats {
    /// Inbound.
    pub inbound: u32,
    /// Outbound.
    pub outbound: u32,
    /// Awaiting a hello.
    pub guests: u32,
    /// Being negotiated, in each direction.
    pub pending: u32,
}

impl Seats {
    /// The configured number, or less where the process may open few files, so that validators are admitted
    /// when unknown peers have taken all of theirs.
    pub fn new(inbound: u32, outbound: u32, files: Option<u64>) -> Self {
        let wanted = Self {
            inbound,
            outbound,
            guests: UNAUTHENTICATED_INBOUND_MAX,
            pending: UNAUTHENTICATED_INBOUND_MAX,
        };
        let all = [
            inbound,
            outbound,
            UNAUTHENTICATED_INBOUND_MAX,
            UNAUTHENTICATED_INBOUND_MAX,
        ]
        .map(u64::from);
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
            guests: part(UNAUTHENTICATED_INBOUND_MAX),
            pending: part(UNAUTHENTICATED_INBOUND_MAX),
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

/// An event of the network, delivered to the [`Sink`].
#[derive(Debug)]
pub enum NetworkEvent {
    /// A message, within its limits, of this chain.
    Message {
        /// The sender; for a gossiped message, the peer that forwarded it.
        from: PeerId,
        /// The message as decoded.
        message: Message,
        /// Set for a gossiped message, which waits for [`crate::Network::forward`].
        gossip: Option<GossipId>,
    },
    /// A peer has completed its hello.
    Connected {
        /// The peer. Its number stays the same across reconnects of one identity.
        peer: PeerId,
        /// Its newest block.
        head: Height,
        /// The validator key that it proved.
        validator: Option<PublicKey>,
        /// True for a validator or a peer from the configuration.
        known: bool,
    },
    /// A peer that had completed its hello is disconnected.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
}

/// Receiver of events.
pub trait Sink: Send + Sync + 'static {
    /// Accepts an event without blocking. Returns `false` if there was no space and the event is lost.
    fn deliver(&self, event: NetworkEvent) -> bool;
}

/// Reason for which the network did not start, or refused an operator's request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not a multiaddress, or one without a part required here.
    #[error("address {address:?}: {detail}")]
    Address {
        /// The address as configured.
        address: String,
        /// Description of the fault.
        detail: String,
    },
    /// Not the identity of a peer.
    #[error("peer id {id:?}: {detail}")]
    PeerId {
        /// The text as received.
        id: String,
        /// Description of the fault.
        detail: String,
    },
    /// Listening on an address failed.
    #[error("cannot listen at {address}: {detail}")]
    Listen {
        /// The address.
        address: String,
        /// The system's message.
        detail: String,
    },
    /// The swarm could not be built.
    #[error("the network did not start: {detail}")]
    Start {
        /// Description of the fault.
        detail: String,
    },
    /// There is no such peer.
    #[error("there is no peer {id}")]
    NoSuchPeer {
        /// The requested identity.
        id: String,
    },
    /// The network has stopped, or its queue of commands is full.
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
