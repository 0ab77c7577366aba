//! The wait for a proposal: the propose timeout, and its extension by parts of the block.
//!
//! ```text
//! begin                         length                       length + length / 2
//!   ├─────────────────────────────┼──────────────┬──────────────┤
//!   │   without any part          │ k of n parts │              │ all parts, but no proposal
//! ```
//!
//! Each part adds the same share, so the timeout of a proposer that falls behind the pace of the shares
//! expires, and one that sends every part too late gains no more than half a timeout. See
//! `docs/adr/0009-bounded-propose-wait.md`.

use crate::orderer::{MonoTime, Progress};

/// The parts of a block extend the propose timeout by up to this fraction of it: one half. With the
/// parameters of devnet and production each part then adds one and a half ticks, so a proposer that is late
/// but keeps the pace of the chain succeeds.
pub const PROPOSE_STRETCH_DIVISOR: u64 = 2;

/// The wait for a proposal that was begun last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProposeWait {
    /// The propose timeout of the round, in microseconds.
    length: u64,
    /// End of the wait if no part arrives.
    end: MonoTime,
}

impl ProposeWait {
    pub const fn begin(now: MonoTime, length: u64) -> Self {
        Self {
            length,
            end: now.after(length),
        }
    }

    pub const fn length(&self) -> u64 {
        self.length
    }

    /// End of the wait after this much of the block.
    pub fn end_after(&self, progress: Progress) -> MonoTime {
        let stretch = self.length.checked_div(PROPOSE_STRETCH_DIVISOR).unwrap_or(0);
        let parts = u64::from(progress.parts.min(progress.of));
        let share = stretch.saturating_mul(parts).checked_div(u64::from(progress.of));
        self.end.after(share.unwrap_or(0))
    }

    /// Ends the wait at `at` if that is sooner; parts that arrive later extend the new end.
    pub fn shorten(&mut self, at: MonoTime) {
        self.end = self.end.min(at);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const LENGTH: u64 = 300_000;

    fn end(parts: u32, of: u32) -> u64 {
        let wait = ProposeWait::begin(MonoTime(1_000), LENGTH);
        wait.end_after(Progress { parts, of }).0 - 1_000
    }

    #[test]
    fn each_part_adds_an_equal_share_of_half_a_timeout() {
        for (parts, expected) in [(0, 300_000), (1, 307_500), (10, 375_000), (20, 450_000)] {
            assert_eq!(end(parts, 20), expected, "{parts} parts of 20");
        }
    }

    #[test]
    fn more_parts_than_the_block_has_add_no_more() {
        assert_eq!(end(21, 20), 450_000);
        assert_eq!(end(u32::MAX, 1), 450_000);
        assert_eq!(end(u32::MAX, 0), 300_000, "a block without parts");
    }

    #[test]
    fn a_wait_near_the_end_of_time_does_not_overflow() {
        let wait = ProposeWait::begin(MonoTime(u64::MAX - 1), u64::MAX);
        let all = Progress {
            parts: u32::MAX,
            of: u32::MAX,
        };
        assert_eq!(wait.end_after(all), MonoTime(u64::MAX));
    }

    #[test]
    fn a_shortened_wait_is_never_made_longer_than_it_was() {
        let mut wait = ProposeWait::begin(MonoTime(0), LENGTH);
        wait.shorten(MonoTime(200_000));
        wait.shorten(MonoTime(250_000));
        assert_eq!(wait.end, MonoTime(200_000));
        let all = Progress { parts: 5, of: 5 };
        assert_eq!(wait.end_after(all), MonoTime(350_000));
    }
}
