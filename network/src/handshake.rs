//! The first messages between two nodes.
//!
//! ```text
//! hello = u32 wire version, genesis hash, head height, agent, u64 run of the program,
//!         optional validator proof, own addresses, addresses of other peers
//! ```
//!
//! Each side opens one stream and sends its own hello. The protocol's name does not depend on the chain, so
//! that a peer of a different chain is detected, and both hashes can be reported.

use std::net::IpAddr;

use libp2p::identity::{Keypair, PublicKey as LibKey};
use libp2p::{Multiaddr, PeerId as LibPeer, multiaddr};
use vibecoin_primitives::limits::KIB;
use vibecoin_primitives::{Encoded, Hash, Height, PublicKey, SecretKey, Signature, ValidatorSet};
use wincode::{SchemaRead, SchemaWrite};

use crate::address::{ip_of, subnet};

/// The protocol's name.
pub const HELLO_PROTOCOL: &str = "/vibecoin/hello/1";
/// Maximum number of addresses of each kind in a hello.
pub const ADDRESSES_MAX: usize = 32;
/// Maximum size of one address in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Maximum number of bytes of an agent's name that are kept.
pub const AGENT_BYTES_MAX: usize = 64;
/// Prefix of the bytes that a validator proof's signature covers.
const PROOF_TAG: &[u8] = b"vibecoin/peer-proof/v1";

/// A validator's signature over the identity of the node that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ValidatorProof {
    /// The validator.
    pub key: PublicKey,
    /// Over tag, genesis hash and peer identity.
    pub signature: Signature,
}

/// Contents of a hello.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Hello {
    /// [`crate::wire::WIRE_VERSION`].
    pub version: u32,
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// The newest block.
    pub head: Height,
    /// Name and version of the program.
    pub agent: String,
    /// Identifies this run of the program: a different one means that the previous run's connections are
    /// dead.
    pub run: u64,
    /// Proof of the validator's key, if it is a validator.
    pub proof: Option<ValidatorProof>,
    /// Addresses it listens on.
    pub addresses: Vec<String>,
    /// Addresses of other peers.
    pub others: Vec<String>,
}

impl Encoded for Hello {
    const NAME: &'static str = "hello";
    const BYTES_MAX: usize = 2 * ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 8) + KIB;
}

/// The own addresses announced to a peer that is connected from `peer`, best first: those of its subnet, and
/// QUIC before TCP. Loopback is useless to a peer on another machine.
pub fn reachable(mut own: Vec<Multiaddr>, peer: Option<IpAddr>) -> Vec<Multiaddr> {
    let is_far = peer.is_some_and(|peer| !peer.is_loopback());
    own.retain(|address| !(is_far && ip_of(address).is_some_and(|ip| ip.is_loopback())));
    own.sort_by_key(|address| {
        let is_near = peer.is_some() && ip_of(address).map(subnet) == peer.map(subnet);
        let is_quic = address.iter().any(|part| part == multiaddr::Protocol::QuicV1);
        (!is_near, !is_quic)
    });
    own
}

/// The network key pair of a node key.
pub fn keypair(node_key: &[u8; 32]) -> Option<Keypair> {
    let mut seed = *node_key;
    Keypair::ed25519_from_bytes(&mut seed).ok()
}

/// The identity of the node with this key, as text; empty for a key that cannot be used.
#[must_use]
pub fn peer_id_of(node_key: &[u8; 32]) -> String {
    keypair(node_key).map_or_else(String::new, |key| identity(&key.public()).to_string())
}

fn identity(key: &LibKey) -> LibPeer {
    key.to_peer_id()
}

fn proof_bytes(genesis: &Hash, peer: &LibPeer) -> Vec<u8> {
    [PROOF_TAG, genesis.as_bytes(), &peer.to_bytes()].concat()
}

impl ValidatorProof {
    /// Signs a proof for the node with this key.
    #[must_use]
    pub fn make(genesis: &Hash, node_key: &[u8; 32], key: &SecretKey) -> Self {
        let peer = keypair(node_key).map(|pair| identity(&pair.public()));
        let bytes = peer.map_or_else(Vec::new, |peer| proof_bytes(genesis, &peer));
        Self {
            key: key.public_key(),
            signature: key.sign(&bytes),
        }
    }

    /// The validator, if it is in `set` and signed for exactly this peer.
    pub fn check(&self, genesis: &Hash, peer: &LibPeer, set: &ValidatorSet) -> Option<PublicKey> {
        set.find(&self.key)?;
        self.key
            .verify(&proof_bytes(genesis, peer), &self.signature)
            .ok()?;
        Some(self.key)
    }
}

#[cfg(test)]
impl Hello {
    /// The hello of an unknown peer, for tests.
    pub fn of_stranger(genesis: Hash) -> Self {
        Self {
            version: u32::from(crate::wire::WIRE_VERSION),
            genesis,
            head: Height(1),
            agent: "stranger".to_owned(),
            run: 1,
            proof: None,
            addresses: Vec::new(),
            others: Vec::new(),
        }
    }
}

impl Hello {
    /// Returns true if every list and text is within its bound.
    pub fn is_bounded(&self) -> bool {
        let list = |addresses: &[String]| {
            addresses.len() <= ADDRESSES_MAX && addresses.iter().all(|one| one.len() <= ADDRESS_BYTES_MAX)
        };
        self.agent.len() <= AGENT_BYTES_MAX && list(&self.addresses) && list(&self.others)
    }
}
