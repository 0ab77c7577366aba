//! The network.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::PublicKey;

use crate::scalars::{Shown, U64};

/// Who the node is on the network: `net_getInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetInfoView {
    /// Its identity.
    pub peer_id: String,
    /// Where it listens, as full multiaddresses.
    pub listen: Vec<String>,
    /// What others are told.
    pub external: Vec<String>,
    /// What it speaks.
    pub protocols: Vec<String>,
    /// Connected peers.
    pub peers: u32,
}

/// Options of `net_getPeers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeersOptions {
    /// Items, 1 to 1000, default 100.
    pub limit: Option<u32>,
}

/// One connected peer: `net_getPeers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its identity.
    pub id: String,
    /// Where it is connected from or to.
    pub address: String,
    /// `inbound` when it opened the connection, otherwise `outbound`.
    pub direction: String,
    /// What it says it is.
    pub client_version: String,
    /// Its consensus key, when it has proven one of the validator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Shown<PublicKey>>,
    /// The newest block that it says it has.
    pub height: U64,
    /// What the node thinks of it; below a bound it is banned.
    pub score: i32,
    /// Round trip time in milliseconds, when it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<U64>,
    /// Bytes from it.
    pub bytes_in: U64,
    /// Bytes to it.
    pub bytes_out: U64,
    /// Milliseconds since it was connected.
    pub connected_ms: U64,
}

/// A peer that is kept out: `net_getBans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BanView {
    /// Its identity.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Seconds left; absent when it is kept out until somebody lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<U64>,
}
