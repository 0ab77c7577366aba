//! Commands of callers to the swarm's thread.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId as LibPeer};
use vibecoin_messages::{GossipId, PeerId, Severity, Verdict};

/// A command of a caller.
pub enum Command {
    /// Gossips bytes, on the topic of transactions or on that of consensus.
    Publish { transactions: bool, data: Vec<u8> },
    /// Forwards, ignores or rejects a gossiped message.
    Forward { gossip: GossipId, verdict: Verdict },
    /// Counts an offence of a peer.
    Blame {
        peer: PeerId,
        severity: Severity,
        reason: String,
    },
    /// Connects to a peer and stays connected.
    Add { peer: LibPeer, address: Multiaddr },
    /// Disconnects a peer and removes it from the address book.
    Remove { peer: LibPeer },
    /// Bans a peer, for a time or until [`Command::Unban`].
    Ban {
        peer: LibPeer,
        reason: String,
        time: Option<Duration>,
    },
    /// Lifts a ban.
    Unban { peer: LibPeer },
    /// Ends the thread.
    Stop,
}
