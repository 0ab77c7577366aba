//! The network.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::PublicKey;

use crate::scalars::{Shown, U64};

/// The node's identity and addresses on the network: `net_getInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetInfoView {
    /// Its peer ID.
    pub peer_id: String,
    /// Listen addresses, as full multiaddresses.
    pub listen: Vec<String>,
    /// Announced addresses.
    pub external: Vec<String>,
    /// Supported protocols.
    pub protocols: Vec<String>,
    /// Connected peers.
    pub peers: u32,
}

/// Options of `net_getPeers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeersOptions {
    /// Number of items, 1 to 1000, default 100.
    pub limit: Option<u32>,
}

/// One connected peer: `net_getPeers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its peer ID.
    pub id: String,
    /// Remote address of the connection.
    pub address: String,
    /// `inbound` when it opened the connection, otherwise `outbound`.
    pub direction: String,
    /// Its agent string, unverified.
    pub client_version: String,
    /// Its consensus key, when it has proven one of the validator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Shown<PublicKey>>,
    /// Height of the newest block that it announced.
    pub height: U64,
    /// Score that the node assigns to it; below a bound it is banned.
    pub score: i32,
    /// Round trip time in milliseconds, when it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<U64>,
    /// Bytes received from it.
    pub bytes_in: U64,
    /// Bytes sent to it.
    pub bytes_out: U64,
    /// Milliseconds since it was connected.
    pub connected_ms: U64,
}

/// A banned peer: `net_getBans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BanView {
    /// Its peer ID.
    pub id: String,
    /// Reason of the ban.
    pub reason: String,
    /// Seconds left; absent when it is banned until an operator unbans it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<U64>,
}
