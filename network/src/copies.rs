//! Copy numbers of published messages, and the rate at which one message may be published.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::bucket::Bucket;

/// Maximum number of published messages kept.
const PUBLISHED_MAX: usize = 8_192;

/// Rate limit for publishing one message: interval and burst. An honest node sends a vote ten times in the
/// second after it reconnects. Well below the rate for which [`crate::repeats`] blames a peer, for any cause
/// of repetition.
const COPY_EACH: Duration = Duration::from_millis(100);
const COPY_BURST: u32 = 16;

/// Published messages, so that one published again receives a different copy number.
#[derive(Default)]
pub struct Copies {
    known: HashMap<[u8; 32], Bucket>,
    order: VecDeque<[u8; 32]>,
}

impl Copies {
    /// The number of this copy: 0 for the first, so that one message of several nodes is one message. Those
    /// of further copies are random: a peer that could predict them could send them first, and the copies of
    /// this node would then be taken for duplicates. `None` if the message exceeds its publish rate.
    pub fn next(&mut self, envelope: &[u8], now: Instant) -> Option<u16> {
        let hash = *blake3::hash(envelope).as_bytes();
        if let Some(copies) = self.known.get_mut(&hash) {
            let [a, b, ..] = RandomState::new().hash_one(hash).to_le_bytes();
            return copies.take(now).then_some(u16::from_le_bytes([a, b]));
        }
        if self.order.len() >= PUBLISHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        self.known.insert(hash, Bucket::new(COPY_EACH, COPY_BURST, now));
        Some(0)
    }
}
