//! Long-lived streams to single peers: frames of `u32` length (little-endian) and an envelope.
//!
//! Each lane has a queue bounded in bytes and a task that writes it, see `out`. A full queue drops new
//! frames: the body replaces missing parts, and responses are requested again. Frames from peers are read in
//! `read`: length and kind first, then whether the peer owes it (`owed`), and only then the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use vibecoin_messages::PeerId;
use vibecoin_primitives::limits::MIB;

use crate::counters::{Protocol, Refusal};
use crate::wire::{BODY_MESSAGE_BYTES_MAX, ENVELOPE_BYTES, PART_BYTES_MAX, SYNC_BYTES_MAX, kind};

mod out;
mod owed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod pipe;
mod read;

pub use out::{Queue, Totals, WriteEnd, open, write_frame};
pub use owed::Owed;
pub use read::{InFlight, Reader, STEP_TIME, read_frame};

/// Maximum bytes queued for one peer on the direct lane.
pub const DIRECT_QUEUE_BYTES_MAX: usize = 32 * MIB;
/// Maximum bytes queued for one peer on the parts lane.
pub const PARTS_QUEUE_BYTES_MAX: usize = 16 * MIB;

const _: () = assert!(BODY_MESSAGE_BYTES_MAX <= SYNC_BYTES_MAX);
const _: () = assert!(SYNC_BYTES_MAX + ENVELOPE_BYTES <= DIRECT_QUEUE_BYTES_MAX);
const _: () = assert!(PART_BYTES_MAX + ENVELOPE_BYTES <= PARTS_QUEUE_BYTES_MAX);

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Direct,
    Parts,
}

impl Lane {
    /// Maximum size of a frame in bytes.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Direct => SYNC_BYTES_MAX + ENVELOPE_BYTES,
            Self::Parts => PART_BYTES_MAX + ENVELOPE_BYTES,
        }
    }

    const fn queue_bytes_max(self) -> usize {
        match self {
            Self::Direct => DIRECT_QUEUE_BYTES_MAX,
            Self::Parts => PARTS_QUEUE_BYTES_MAX,
        }
    }

    const fn protocol(self) -> Protocol {
        match self {
            Self::Direct => Protocol::Direct,
            Self::Parts => Protocol::Parts,
        }
    }

    /// Returns true if messages of this kind belong on the lane.
    const fn carries(self, kind: u8) -> bool {
        match self {
            Self::Parts => kind == kind::PART,
            Self::Direct => matches!(
                kind,
                kind::BODY | kind::BODY_REQUEST | kind::SYNC_REQUEST | kind::SYNC_RESPONSE | kind::STATUS
            ),
        }
    }
}

/// Class of a peer, which determines the bounds that it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// It proved to be a validator, or the operator configured it.
    Known,
    /// Any other peer.
    Stranger,
}

/// Bytes moved for one peer.
#[derive(Default)]
pub struct Traffic {
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// The newest block that it reported.
    pub head: AtomicU64,
}

/// The lanes to one peer.
pub struct Lanes {
    pub direct: Queue,
    pub parts: Option<Queue>,
    /// Responses that the peer owes to this node.
    pub owed: Arc<Owed>,
}

/// The lanes to all peers; any thread may push frames.
pub type AllLanes = RwLock<BTreeMap<PeerId, Lanes>>;

/// Reason for which a lane from a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFault {
    /// A frame longer than its lane or kind allows.
    Oversize,
    /// An envelope that is not valid.
    Undecodable,
    /// A kind of message that does not belong on the lane.
    WrongLane,
    /// A response that the peer does not owe.
    Unasked,
    /// A frame that arrived too slowly.
    Slow,
    /// Statuses at an excessive rate.
    Statuses,
}

impl LaneFault {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Oversize => "a frame over the limit of its lane",
            Self::Undecodable => "bytes that are no message",
            Self::WrongLane => "a message on the wrong lane",
            Self::Unasked => "an answer that it was not asked for",
            Self::Slow => "a frame that came too slowly",
            Self::Statuses => "statuses without end",
        }
    }

    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Oversize => Refusal::Oversize,
            Self::Undecodable => Refusal::Undecodable,
            Self::WrongLane => Refusal::WrongLane,
            Self::Unasked => Refusal::Unasked,
            Self::Slow => Refusal::SlowFrame,
            Self::Statuses => Refusal::Status,
        }
    }
}
