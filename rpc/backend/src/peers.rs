//! Interface between the server and the network. The engine implements it over the handle of the
//! network crate.

use vibecoin_primitives::{Height, PublicKey};

/// Queries and commands of the server to the network. Every method returns at once.
pub trait PeersView: Send + Sync + 'static {
    /// This node's identity and addresses.
    fn info(&self) -> NetworkFacts;

    /// Connected peers, the oldest connection first.
    fn peers(&self) -> Vec<Peer>;

    /// Connects to a peer and stays connected. `address` is a multiaddress that ends in `/p2p/ID`.
    ///
    /// # Errors
    /// A message if the address or the peer is invalid.
    fn add(&self, address: &str) -> Result<(), String>;

    /// Drops the connection and does not dial again.
    ///
    /// # Errors
    /// When there is no such peer.
    fn remove(&self, id: &str) -> Result<(), String>;

    /// Drops a peer and refuses it: for `seconds`, or until it is unbanned.
    ///
    /// # Errors
    /// When `id` is not an identity.
    fn ban(&self, id: &str, reason: &str, seconds: Option<u64>) -> Result<(), String>;

    /// Lifts a ban.
    ///
    /// # Errors
    /// When it is not banned.
    fn unban(&self, id: &str) -> Result<(), String>;

    /// The banned peers.
    fn bans(&self) -> Vec<Ban>;
}

/// This node's identity and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// The node's identity.
    pub peer_id: String,
    /// Listen addresses, as full multiaddresses.
    pub listen: Vec<String>,
    /// Announced addresses.
    pub external: Vec<String>,
    /// Supported protocols.
    pub protocols: Vec<String>,
}

/// A connected peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub id: String,
    /// Remote address of the connection.
    pub address: String,
    /// True if it opened the connection.
    pub inbound: bool,
    /// Its agent string, unverified.
    pub agent: String,
    /// Its consensus key, when it has proven one of the validator set.
    pub validator: Option<PublicKey>,
    /// The height of the newest block that it announced.
    pub head: Height,
    /// Score of the peer; it is banned when this is too low.
    pub score: i64,
    /// Round trip time, milliseconds, when it was measured.
    pub rtt_ms: Option<u64>,
    /// Bytes received from it.
    pub bytes_in: u64,
    /// Bytes sent to it.
    pub bytes_out: u64,
    /// Milliseconds since it was connected.
    pub connected_ms: u64,
}

/// A banned peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ban {
    /// Its identity.
    pub id: String,
    /// Reason of the ban.
    pub reason: String,
    /// Seconds left; `None` is until it is unbanned.
    pub seconds_left: Option<u64>,
}
