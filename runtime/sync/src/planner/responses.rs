//! Responses: their form, the blocks that they bring, and the faults of their senders.

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Height;

use super::{Planner, SyncBlock, run};
use crate::PeerId;
use crate::peer::smoothed;

/// Fault of a response that an honest peer never sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// This peer was not asked for that.
    #[error("blocks from height {from} came without having been asked for")]
    Unsolicited {
        /// The first height that the response names.
        from: Height,
    },
    /// More blocks than requested.
    #[error("{got} blocks came where {asked} were asked for")]
    TooMany {
        /// Number of blocks requested.
        asked: u32,
        /// Number of blocks received.
        got: usize,
    },
    /// The blocks do not start at the expected height, or leave a gap.
    #[error("the block of height {got} came where height {expected} was due")]
    OutOfOrder {
        /// The height expected.
        expected: Height,
        /// The height received.
        got: Height,
    },
}

/// A block that waits for its turn.
#[derive(Debug)]
pub(super) struct Buffered<B> {
    peer: PeerId,
    bytes: usize,
    block: B,
}

impl<B: SyncBlock> Planner<B> {
    /// Processes a response. Responses that are late, repeated, or from a disconnected peer are harmless.
    ///
    /// # Errors
    /// [`AnswerFault`] names the fault of the peer; nothing of the response is kept.
    pub fn answer(
        &mut self,
        id: PeerId,
        from: Height,
        blocks: Vec<B>,
        now: MonoTime,
    ) -> Result<(), AnswerFault> {
        self.now = self.now.max(now);
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        // A request may have been abandoned and repeated with another count: the response counts for the
        // smallest that it fits. So a later one is never too long for the remaining request.
        let fits = |count: u32| u32::try_from(blocks.len()).is_ok_and(|got| got <= count);
        let open = self.in_flight.get(&from).filter(|ask| ask.peer == id).copied();
        let smallest = |count: u32| {
            fits(count)
                && peer
                    .fitting_abandoned(from, fits)
                    .is_none_or(|other| count <= other)
        };
        let open = open.filter(|ask| smallest(ask.count) || !peer.has_abandoned(from));
        let late = open.is_none();
        let request = match open {
            Some(ask) => {
                self.in_flight.remove(&from);
                peer.in_flight = peer.in_flight.saturating_sub(1);
                Some((ask.count, ask.sent, true, ask.guessed))
            }
            _ => peer
                .take_abandoned(from, fits)
                .map(|ask| (ask.count, ask.sent, ask.useful, false)),
        };
        let Some((count, sent, useful, guessed)) = request else {
            // Possibly the response to a request from before a reconnection: not counted as a failure.
            return Err(AnswerFault::Unsolicited { from });
        };
        if let Err(fault) = check_form(from, count, &blocks) {
            peer.record_violation(run(from, count), now, &self.config);
            return Err(fault);
        }
        let Some(last) = blocks.last().map(SyncBlock::height) else {
            if guessed {
                peer.lacks_until = now.after(self.config.lacks_rest);
            } else if !late {
                peer.record_stall(run(from, count), now, &self.config);
            }
            return Ok(());
        };
        if useful {
            let got = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            peer.claimed = peer.claimed.max(last);
            peer.record_delivery(count, got, now.0.saturating_sub(sent.0), &self.config);
            self.keep(id, blocks);
        }
        Ok(())
    }

    /// Stores blocks by height. When full, the highest are dropped: the lowest are needed first.
    fn keep(&mut self, peer: PeerId, blocks: Vec<B>) {
        let largest = blocks.iter().map(SyncBlock::byte_len).max().unwrap_or_default();
        let largest = u64::try_from(largest).unwrap_or(u64::MAX).max(1);
        self.block_bytes = largest.max(smoothed(self.block_bytes, largest));
        for block in blocks {
            let height = block.height();
            if height < self.next || self.taken.contains_key(&height) || self.buffered.contains_key(&height) {
                continue;
            }
            let bytes = block.byte_len();
            self.buffered_bytes = self.buffered_bytes.saturating_add(bytes);
            self.buffered.insert(height, Buffered { peer, bytes, block });
            while self.buffered_bytes > self.config.buffered_bytes_max && self.buffered.len() > 1 {
                self.drop_highest(self.next);
            }
        }
    }

    /// Drops the highest buffered block, if it is above `keep`.
    pub(super) fn drop_highest(&mut self, keep: Height) -> bool {
        let above = self
            .buffered
            .keys()
            .next_back()
            .copied()
            .filter(|highest| *highest > keep);
        above.and_then(|height| self.take(height)).is_some()
    }

    fn take(&mut self, height: Height) -> Option<Buffered<B>> {
        let buffered = self.buffered.remove(&height)?;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(buffered.bytes);
        Some(buffered)
    }

    /// Hands out the block at `next`, if it is here, with the peer that sent it. It is not requested again,
    /// unless it is [refused](Self::refused) or has no effect for long.
    pub fn pop(&mut self, next: Height) -> Option<(PeerId, B)> {
        let buffered = self.take(next)?;
        self.taken.insert(next, buffered.peer);
        Some((buffered.peer, buffered.block))
    }

    /// The block that this peer sent for that height is invalid. Everything else from it is dropped, and
    /// others are asked.
    pub fn refused(&mut self, id: PeerId, height: Height) {
        let now = self.now;
        self.abandon_all(id);
        self.buffered.retain(|_, buffered| buffered.peer != id);
        self.buffered_bytes = self
            .buffered
            .values()
            .fold(0, |sum, buffered| sum.saturating_add(buffered.bytes));
        self.taken.retain(|at, from| *from != id || *at < height);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.record_violation(run(height, 1), now, &self.config);
        }
    }

    /// Drops blocks below `next`, which are not needed any more.
    pub fn advanced(&mut self, next: Height) {
        if next <= self.next {
            return;
        }
        self.next = next;
        self.waiting_since = None;
        self.taken = self.taken.split_off(&next);
        let above = self.buffered.split_off(&next);
        let below = std::mem::replace(&mut self.buffered, above);
        for buffered in below.values() {
            self.buffered_bytes = self.buffered_bytes.saturating_sub(buffered.bytes);
        }
        // Requests entirely below stay until their response, which measures the peer's speed.
    }
}

fn check_form<B: SyncBlock>(from: Height, count: u32, blocks: &[B]) -> Result<(), AnswerFault> {
    if u32::try_from(blocks.len()).is_ok_and(|got| got <= count) {
        let heights = (from.0..).map(Height);
        let wrong = heights
            .zip(blocks)
            .find(|(expected, block)| block.height() != *expected);
        wrong.map_or(Ok(()), |(expected, block)| {
            Err(AnswerFault::OutOfOrder {
                expected,
                got: block.height(),
            })
        })
    } else {
        Err(AnswerFault::TooMany {
            asked: count,
            got: blocks.len(),
        })
    }
}
