//! Hashes per tick and ticks per block, within bounds that keep checking cheap.

use crate::PohError;

/// Maximum number of ticks in a block. The production profile has 64.
pub const TICKS_MAX: u64 = 1024;

/// Maximum number of hashes in a tick. The fastest profile (a dedicated core) has 50,000.
pub const HASHES_PER_TICK_MAX: u64 = 1_000_000;

/// Maximum number of hashes in a block: that of 64 of the longest ticks, about 5 s of work on one core without SIMD.
pub const HASHES_PER_BLOCK_MAX: u64 = 64 * HASHES_PER_TICK_MAX;

const _: () = assert!(
    HASHES_PER_BLOCK_MAX >= HASHES_PER_TICK_MAX,
    "one tick of any size fits a block"
);
const _: () = assert!(
    HASHES_PER_BLOCK_MAX >= TICKS_MAX * 50_000,
    "the fastest profile fits any tick count"
);
const _: () = assert!(
    TICKS_MAX.checked_mul(HASHES_PER_TICK_MAX).is_some(),
    "the product cannot overflow"
);
const _: () = assert!(TICKS_MAX <= u16::MAX as u64, "the header counts ticks in 16 bits");

/// The length of a block's chain: ticks, and hashes per tick. Both are in range and so is their product, so a
/// value of this type bounds the work before the first hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    hashes_per_tick: u64,
    ticks: u64,
}

impl Pace {
    /// Accepts two numbers if a block may have them. Hashes nothing.
    ///
    /// `ticks` is the count required for the header's round, not the one that a block claims.
    ///
    /// # Errors
    /// [`PohError::HashesPerTick`], [`PohError::TicksPerBlock`] or [`PohError::HashesPerBlock`],
    /// checked in this order.
    pub fn new(hashes_per_tick: u64, ticks: u64) -> Result<Self, PohError> {
        if hashes_per_tick == 0 || hashes_per_tick > HASHES_PER_TICK_MAX {
            return Err(PohError::HashesPerTick {
                found: hashes_per_tick,
                max: HASHES_PER_TICK_MAX,
            });
        }
        if ticks == 0 || ticks > TICKS_MAX {
            return Err(PohError::TicksPerBlock {
                found: ticks,
                max: TICKS_MAX,
            });
        }
        let pace = Self {
            hashes_per_tick,
            ticks,
        };
        if pace.hashes() > HASHES_PER_BLOCK_MAX {
            return Err(PohError::HashesPerBlock {
                found: pace.hashes(),
                max: HASHES_PER_BLOCK_MAX,
            });
        }
        Ok(pace)
    }

    /// Number of hashes in a tick, the mixing one included: 1..=[`HASHES_PER_TICK_MAX`].
    #[must_use]
    pub const fn hashes_per_tick(self) -> u64 {
        self.hashes_per_tick
    }

    /// Number of plain hashes in a tick before the mixing one.
    #[must_use]
    pub const fn plain_hashes_per_tick(self) -> u64 {
        self.hashes_per_tick.saturating_sub(1)
    }

    /// Number of ticks in the block: 1..=[`TICKS_MAX`].
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Number of hashes in the block: up to [`HASHES_PER_BLOCK_MAX`].
    #[must_use]
    pub const fn hashes(self) -> u64 {
        self.ticks.saturating_mul(self.hashes_per_tick)
    }

    /// Returns the `poh_seq` of a block at this pace: all hashes from genesis to its last tick.
    ///
    /// # Errors
    /// [`PohError::SequenceOverflow`] when it does not fit into 64 bits.
    pub fn sequence_after(self, parent: u64) -> Result<u64, PohError> {
        let hashes = self.hashes();
        parent
            .checked_add(hashes)
            .ok_or(PohError::SequenceOverflow { parent, hashes })
    }

    /// Refuses a count of ticks other than the pace's own.
    pub(crate) fn expect_ticks(self, found: usize) -> Result<(), PohError> {
        let found = found as u64;
        if found == self.ticks {
            Ok(())
        } else {
            Err(PohError::TickCount {
                expected: self.ticks,
                found,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_refused_just_past_each_bound_and_kept_at_it() {
        let max = HASHES_PER_TICK_MAX;
        assert_eq!(Pace::new(0, 1), Err(PohError::HashesPerTick { found: 0, max }));
        assert_eq!(
            Pace::new(max + 1, 1),
            Err(PohError::HashesPerTick { found: max + 1, max })
        );
        assert_eq!(
            Pace::new(1, 0),
            Err(PohError::TicksPerBlock {
                found: 0,
                max: TICKS_MAX
            })
        );
        let found = TICKS_MAX + 1;
        assert_eq!(
            Pace::new(1, found),
            Err(PohError::TicksPerBlock {
                found,
                max: TICKS_MAX
            })
        );
        assert_eq!(
            Pace::new(max, 65),
            Err(PohError::HashesPerBlock {
                found: 65 * max,
                max: HASHES_PER_BLOCK_MAX
            })
        );
        for (n, t) in [(1, 1), (max, 1), (1, TICKS_MAX), (max, 64), (62_500, TICKS_MAX)] {
            let pace = Pace::new(n, t).expect("within the bounds");
            assert_eq!(
                (pace.hashes_per_tick(), pace.ticks(), pace.hashes()),
                (n, t, n * t)
            );
        }
        assert!(Pace::new(62_501, TICKS_MAX).is_err());
        assert!(Pace::new(u64::MAX, u64::MAX).is_err());
    }

    #[test]
    fn the_sequence_grows_by_the_hashes_of_the_block_and_never_wraps() {
        let pace = Pace::new(12_500, 64).expect("the production profile");
        assert_eq!(pace.sequence_after(0), Ok(800_000));
        assert_eq!(pace.sequence_after(u64::MAX - 800_000), Ok(u64::MAX));
        let parent = u64::MAX - 799_999;
        assert_eq!(
            pace.sequence_after(parent),
            Err(PohError::SequenceOverflow {
                parent,
                hashes: 800_000
            })
        );
    }
}
