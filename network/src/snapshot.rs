//! Snapshots of the swarm's state, which callers read without waiting for its thread.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use vibecoin_messages::PeerId;
use vibecoin_primitives::{Height, PublicKey};

/// Information on this node.
#[derive(Clone, Debug, Default)]
pub struct NetworkInfo {
    /// Its identity.
    pub peer_id: String,
    /// Its listening addresses, with the identity; the first is the one to share.
    pub addresses: Vec<String>,
    /// The protocols that it supports.
    pub protocols: Vec<String>,
}

/// A connected peer that has completed its hello.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its identity.
    pub id: String,
    /// Its number on this node.
    pub peer: PeerId,
    /// Its address as this node sees it.
    pub address: String,
    /// True if this node opened the connection.
    pub outbound: bool,
    /// Name and version of its program.
    pub agent: String,
    /// The validator key that it proved.
    pub validator: Option<PublicKey>,
    /// The newest block that it reported.
    pub head: Height,
    /// Points of blame; at 100 it is banned.
    pub blame: u32,
    /// Round-trip time of the last ping, in microseconds; 0 before the first.
    pub rtt_micros: u64,
    /// Bytes received on lanes.
    pub bytes_in: u64,
    /// Bytes sent on lanes.
    pub bytes_out: u64,
    /// Milliseconds since the connection was made.
    pub connected_ms: u64,
}

/// A banned peer.
#[derive(Clone, Debug)]
pub struct BanInfo {
    /// Its identity.
    pub id: String,
    /// Reason for the ban.
    pub reason: String,
    /// Milliseconds left; `None` lasts until it is lifted or the node restarts.
    pub left_ms: Option<u64>,
}

/// The newest snapshots, published by the swarm's thread.
#[derive(Default)]
pub struct Snapshots {
    pub info: Mutex<NetworkInfo>,
    pub peers: Mutex<BTreeMap<PeerId, PeerInfo>>,
    pub bans: Mutex<Vec<BanInfo>>,
}
