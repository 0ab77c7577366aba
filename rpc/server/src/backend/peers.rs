//! The network as the server sees it. The engine implements this over the network room's handle.

use vibecoin_primitives::{Height, PublicKey};

/// What the server asks of the network. Every method returns at once.
pub trait PeersView: Send + Sync + 'static {
    /// Who this node is on the network.
    fn info(&self) -> NetworkFacts;

    /// Connected peers, the oldest connection first.
    fn peers(&self) -> Vec<Peer>;

    /// Connects to a peer and stays connected. `address` is a multiaddress that ends in `/p2p/ID`.
    ///
    /// # Errors
    /// What is wrong with the address, or with this peer.
    fn add(&self, address: &str) -> Result<(), String>;

    /// Drops the connection and does not dial again.
    ///
    /// # Errors
    /// When there is no such peer.
    fn remove(&self, id: &str) -> Result<(), String>;

    /// Drops a peer and refuses it: for `seconds`, or until it is let in again.
    ///
    /// # Errors
    /// When `id` is no identity.
    fn ban(&self, id: &str, reason: &str, seconds: Option<u64>) -> Result<(), String>;

    /// Lets a peer in again.
    ///
    /// # Errors
    /// When it is not banned.
    fn unban(&self, id: &str) -> Result<(), String>;

    /// Who is banned.
    fn bans(&self) -> Vec<Ban>;
}

/// Who this node is on the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Our identity.
    pub peer_id: String,
    /// Where it listens, as full multiaddresses.
    pub listen: Vec<String>,
    /// What others are told.
    pub external: Vec<String>,
    /// What it speaks.
    pub protocols: Vec<String>,
}

/// A connected peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub id: String,
    /// Where it is connected from or to.
    pub address: String,
    /// Whether it opened the connection.
    pub inbound: bool,
    /// What it says it is.
    pub agent: String,
    /// Its consensus key, when it has proven one of the validator set.
    pub validator: Option<PublicKey>,
    /// The newest block that it says it has.
    pub head: Height,
    /// What we think of it; it is banned when this is too low.
    pub score: i64,
    /// Round trip time, milliseconds, when it was measured.
    pub rtt_ms: Option<u64>,
    /// Bytes from it.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
    /// Milliseconds since it was connected.
    pub connected_ms: u64,
}

/// A peer that is kept out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ban {
    /// Its identity.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Seconds left; `None` is until it is let in again.
    pub seconds_left: Option<u64>,
}
