//! Results of the tasks that serve one peer.

use libp2p::PeerId as LibPeer;

use crate::handshake::Hello;
use crate::lanes::{Lane, LaneFault};

/// A result of a peer's task.
pub(super) enum TaskEvent {
    /// A hello that decodes and is within its bounds.
    Hello { peer: LibPeer, hello: Box<Hello> },
    /// Any other bytes where a hello is due.
    BadHello { peer: LibPeer, detail: String },
    /// A stream of a lane ended; with a fault if the peer broke a rule.
    LaneEnded {
        peer: LibPeer,
        session: u64,
        lane: Lane,
        fault: Option<LaneFault>,
    },
    /// The peer does not read the frames of a lane.
    SlowReader { peer: LibPeer, session: u64 },
}
