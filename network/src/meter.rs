//! The byte budget of a peer, over everything that it sends: lanes, gossip, hellos and libp2p's own
//! protocols.
//!
//! Streams are read through a meter that all connections of an identity share. A peer that exceeds its rate
//! is read more slowly, and its sends wait. Unknown peers share one budget: each has an equal part of it, so
//! that many of them together do not take the network's thread from validators.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use libp2p::PeerId as LibPeer;
use libp2p::core::muxing::StreamMuxer;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use vibecoin_primitives::limits::{KIB, MIB};

use crate::stream_rate::StreamRate;

mod muxer;
mod stream;

pub use muxer::MeteredMuxer;

/// Bytes per second of all unknown peers together.
pub const STRANGERS_BYTES_PER_S: u64 = 16 * MIB as u64;
/// Minimum share of one unknown peer, in bytes per second.
pub const STRANGER_BYTES_PER_S_MIN: u64 = 256 * KIB as u64;
/// Minimum burst of any peer, in bytes.
const BURST_BYTES_MIN: u64 = 64 * KIB as u64;
/// Charge for a gossiped message that is new to this node, beside its bytes, for the work that does not
/// depend on its size: decoding and validation. Limits all unknown peers together to 8,000 messages per
/// second.
pub const GOSSIP_MESSAGE_BYTES: usize = 2 * KIB;
/// Maximum accumulated budget of a peer, as a time.
const SAVED_MAX: Duration = Duration::from_secs(1);
/// Maximum number of stream faults queued for the swarm.
const FAULTS_MAX: usize = 256;

/// Protocol violation on a peer's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// It opens streams without end. Its connection is closed.
    Opened,
    /// It sent gossip that does not decode.
    Garbled,
}

/// Returns the share of one of `strangers` unknown peers.
pub fn part_of_strangers(strangers: usize, per_peer: u64) -> u64 {
    let count = u64::try_from(strangers).unwrap_or(u64::MAX).max(1);
    let part = STRANGERS_BYTES_PER_S.checked_div(count).unwrap_or(0);
    part.max(STRANGER_BYTES_PER_S_MIN).min(per_peer)
}

/// Bytes that one peer has sent, against its rate.
pub struct Meter {
    per_s: AtomicU64,
    /// Time at which the bytes received so far would have arrived at that rate.
    at: Mutex<Instant>,
    /// Rate limit of the streams that it opens.
    opened: StreamRate,
    /// Its hello was accepted.
    is_met: AtomicBool,
}

impl Meter {
    fn new(per_s: u64) -> Self {
        let now = Instant::now();
        Self {
            per_s: AtomicU64::new(per_s.max(1)),
            at: Mutex::new(now.checked_sub(SAVED_MAX).unwrap_or(now)),
            opened: StreamRate::new(now),
            is_met: AtomicBool::new(false),
        }
    }

    /// Counts received bytes; returns the delay before more are read.
    fn spend(&self, len: usize, now: Instant) -> Duration {
        let per_s = self.per_s.load(Ordering::Relaxed).max(1);
        let time = |bytes: u64| {
            let nanos = bytes.saturating_mul(1_000_000_000).checked_div(per_s);
            Duration::from_nanos(nanos.unwrap_or(0))
        };
        let saved = SAVED_MAX.max(time(BURST_BYTES_MIN));
        let cost = time(u64::try_from(len).unwrap_or(u64::MAX));
        let mut at = self.at.lock();
        let begun = now.checked_sub(SAVED_MAX).unwrap_or(now).max(*at);
        *at = begun.checked_add(cost).unwrap_or(begun);
        // Budget beyond a second is the minimum burst, which the slowest peer has, too.
        let free = saved.saturating_sub(SAVED_MAX);
        at.saturating_duration_since(now).saturating_sub(free)
    }
}

/// The meters of all connected identities.
#[derive(Clone)]
pub struct Meters {
    /// Rate of a new peer.
    first: u64,
    of: Arc<Mutex<HashMap<LibPeer, Weak<Meter>>>>,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
}

impl Meters {
    /// Meters that permit new peers this rate, and the receiver of peers whose streams break a rule.
    pub fn new(first: u64) -> (Self, mpsc::Receiver<(LibPeer, StreamFault)>) {
        let (faults, found) = mpsc::channel(FAULTS_MAX);
        let meters = Self {
            first,
            of: Arc::default(),
            faults,
        };
        (meters, found)
    }

    /// Wraps a connection so that its streams are read through the meter of its peer.
    pub fn connection<M: StreamMuxer>(&self, peer: LibPeer, inner: M) -> MeteredMuxer<M> {
        MeteredMuxer::new(inner, self.of(peer), peer, self.faults.clone())
    }

    /// The meter of a peer; it lives as long as a connection of the peer.
    pub fn of(&self, peer: LibPeer) -> Arc<Meter> {
        let mut meters = self.of.lock();
        if let Some(meter) = meters.get(&peer).and_then(Weak::upgrade) {
            return meter;
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter::new(self.first));
        meters.insert(peer, Arc::downgrade(&meter));
        meter
    }

    /// Charges a connected peer for work beside its bytes, as `bytes` additional ones.
    pub fn charge(&self, peer: &LibPeer, bytes: usize) {
        if let Some(meter) = self.of.lock().get(peer).and_then(Weak::upgrade) {
            let _later = meter.spend(bytes, Instant::now());
        }
    }

    /// Sets the rate of a connected peer whose hello was accepted, and the class of its limits.
    pub fn set(&self, peer: &LibPeer, per_s: u64, is_known: bool) {
        if let Some(meter) = self.of.lock().get(peer).and_then(Weak::upgrade) {
            meter.per_s.store(per_s.max(1), Ordering::Relaxed);
            meter.opened.set_known(is_known, Instant::now());
            meter.is_met.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
mod tests;
