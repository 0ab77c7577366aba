//! Long-lived streams to single peers: frames of `u32` length (little-endian) and an envelope.
//!
//! Each lane has a queue bounded in bytes and a task that writes it, see `out`. A full queue drops what comes:
//! parts are made up for by the body, and answers are asked for again. What peers send is read in `read`:
//! length and kind first, then whether it was asked for (`owed`), and only then the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use vibecoin_primitives::limits::MIB;
use vibecoin_replica::PeerId;

use super::view::{Protocol, Refusal};
use crate::wire::{BODY_MESSAGE_BYTES_MAX, ENVELOPE_BYTES, PART_BYTES_MAX, SYNC_BYTES_MAX, kind};

mod out;
mod owed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod pipe;
mod read;

pub use out::{Queue, Totals, WriteEnd, open, write_frame};
pub use owed::{Bucket, Owed};
pub use read::{InFlight, Reader, STEP_TIME, read_frame};

/// Most bytes that wait for one peer on the direct lane.
pub const DIRECT_QUEUE_BYTES_MAX: usize = 32 * MIB;
/// Most bytes that wait for one peer on the parts lane.
pub const PARTS_QUEUE_BYTES_MAX: usize = 16 * MIB;

const _: () = assert!(BODY_MESSAGE_BYTES_MAX <= SYNC_BYTES_MAX);
const _: () = assert!(SYNC_BYTES_MAX + ENVELOPE_BYTES <= DIRECT_QUEUE_BYTES_MAX);
const _: () = assert!(PART_BYTES_MAX + ENVELOPE_BYTES <= PARTS_QUEUE_BYTES_MAX);

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Direct,
    Parts,
}

impl Lane {
    /// Most bytes of a frame.
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

/// Standing of a peer: what it shares its bounds with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// It proved to be a validator, or the operator named it.
    Known,
    /// Any other peer.
    Stranger,
}

/// Bytes moved for one peer.
#[derive(Default)]
pub struct Traffic {
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// The newest block that it said it has.
    pub head: AtomicU64,
}

/// The lanes to one peer.
pub struct Lanes {
    pub direct: Queue,
    pub parts: Option<Queue>,
    /// Answers that the peer owes to this node.
    pub owed: Arc<Owed>,
}

/// The lanes to all peers; any thread may put frames in.
pub type AllLanes = RwLock<BTreeMap<PeerId, Lanes>>;

/// Why a lane from a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFault {
    /// A frame longer than its lane or kind allows.
    Oversize,
    /// An envelope that does not open.
    Undecodable,
    /// A kind of message that does not belong on the lane.
    WrongLane,
    /// An answer that the peer does not owe.
    Unasked,
    /// A frame that came too slowly.
    Slow,
    /// Statuses without end.
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
