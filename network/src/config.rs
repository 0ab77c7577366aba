//! Start parameters of the network, and the slots that they and the system leave.

use std::path::PathBuf;

use vibecoin_primitives::{Hash, Height, ValidatorSet};

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

impl NetworkConfig {
    /// A node that neither listens nor dials, with open limits: for tests, and for clients that implement the protocol.
    #[must_use]
    pub fn unconnected(genesis: Hash, node_key: [u8; 32], validators: ValidatorSet) -> Self {
        Self {
            genesis,
            node_key,
            listen: Vec::new(),
            external: Vec::new(),
            peers: Vec::new(),
            bootnodes: Vec::new(),
            reserved: Vec::new(),
            exchange: false,
            inbound_max: 8,
            outbound_max: 8,
            per_ip_max: 8,
            per_subnet_max: 8,
            bytes_per_s_per_peer: 1 << 30,
            memory_max_bytes: 1 << 40,
            peers_file: None,
            validator_proof: None,
            validators,
            agent: "node".to_owned(),
            head: Height(0),
        }
    }
}

/// Maximum number of connections being negotiated, and of those awaiting a hello.
const UNAUTHENTICATED_INBOUND_MAX: u32 = 64;
/// Fraction (one in this many) of the open files for connections of unknown peers; the database, clients and
/// validators have the others.
const STRANGERS_PART_OF_FILES: u64 = 3;

/// Maximum numbers of connections of unknown peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Inbound.
    pub inbound: u32,
    /// Outbound.
    pub outbound: u32,
    /// Awaiting a hello.
    pub unauthenticated: u32,
    /// Being negotiated, in each direction.
    pub pending: u32,
}

impl Slots {
    /// The configured number, or less where the process may open few files, so that validators are admitted
    /// when unknown peers have taken all of theirs.
    pub fn new(inbound: u32, outbound: u32, files: Option<u64>) -> Self {
        let wanted = Self {
            inbound,
            outbound,
            unauthenticated: UNAUTHENTICATED_INBOUND_MAX,
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
        let available = files.map_or(all, |files| (files / STRANGERS_PART_OF_FILES).max(1));
        if all <= available {
            return wanted;
        }
        let part = |slots: u32| {
            let less = u64::from(slots)
                .saturating_mul(available)
                .checked_div(all)
                .unwrap_or(0);
            let less = u32::try_from(less).unwrap_or(slots);
            if slots == 0 { 0 } else { less.max(1) }
        };
        Self {
            inbound: part(inbound),
            outbound: part(outbound),
            unauthenticated: part(UNAUTHENTICATED_INBOUND_MAX),
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_fewer_seats_where_few_files_may_be_open_and_never_none() {
        let wanted = Slots {
            inbound: 64,
            outbound: 32,
            unauthenticated: 64,
            pending: 64,
        };
        assert_eq!(Slots::new(64, 32, None), wanted);
        assert_eq!(Slots::new(64, 32, Some(1_024)), wanted);
        let few = Slots::new(64, 32, Some(256));
        let taken = few.inbound + few.outbound + few.unauthenticated + few.pending;
        assert!((60..=256 / 3).contains(&taken), "{few:?}");
        let fewest = Slots {
            inbound: 1,
            outbound: 1,
            unauthenticated: 1,
            pending: 1,
        };
        assert_eq!(Slots::new(64, 32, Some(1)), fewest);
        assert_eq!(Slots::new(0, 0, Some(100)).inbound, 0, "what is off stays off");
    }
}
