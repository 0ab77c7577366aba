//! Events of the network, and their receiver.

use vibecoin_messages::{GossipId, Message, PeerId};
use vibecoin_primitives::{Height, PublicKey};

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
