//! Checking a chain whose ticks are known: every tick is walked separately, side by side in lanes.

use crate::chain::mix;
use crate::{Kernel, Pace, PohError, SealedTick};
use vibecoin_primitives::Hash;

/// Ticks walked between two comparisons: the widest kernel's lanes. A bad block costs up to this many ticks
/// more than necessary.
const TICKS_AT_ONCE: usize = 32;

/// Checks all ticks of a block against its seed, with the fastest kernel of this machine.
///
/// The number of ticks is compared before anything is hashed. Costs `pace.hashes()` hashes when the block is
/// valid; stops within 32 ticks of the first bad one.
///
/// # Errors
/// [`PohError::TickCount`], or [`PohError::TickHash`] for the first tick that does not follow.
pub fn verify(pace: Pace, seed: Hash, ticks: &[SealedTick]) -> Result<(), PohError> {
    verify_with(Kernel::best(), pace, seed, ticks)
}

/// Does the same as [`verify`] with a kernel of the caller's choice. The verdict is always the same.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(kernel: Kernel, pace: Pace, seed: Hash, ticks: &[SealedTick]) -> Result<(), PohError> {
    pace.expect_ticks(ticks.len())?;
    verify_run(kernel, pace, 0, seed, ticks)
}

/// Checks consecutive ticks in the middle of a block: the unit of work for one thread.
///
/// `first` is the index of `ticks[0]` in the block, and `start` the hash of the previous tick (the seed if `first`
/// is zero). The pieces may be checked in any order; a block is valid when all are, and its first bad tick is the
/// lowest `index` that any piece reports. Pieces of a multiple of [`Kernel::lanes`] ticks leave no lane idle.
///
/// # Errors
/// [`PohError::TickCount`] when the run goes past the block's last tick (nothing is hashed then),
/// or [`PohError::TickHash`] for the first tick of the run that does not follow.
pub fn verify_run(
    kernel: Kernel,
    pace: Pace,
    first: u64,
    start: Hash,
    ticks: &[SealedTick],
) -> Result<(), PohError> {
    let end = first.saturating_add(ticks.len() as u64);
    if end > pace.ticks() {
        return Err(PohError::TickCount {
            expected: pace.ticks(),
            found: end,
        });
    }
    let mut before = start;
    for (group, index) in ticks.chunks(TICKS_AT_ONCE).zip((first..).step_by(TICKS_AT_ONCE)) {
        before = verify_group(kernel, pace, index, before, group)?;
    }
    Ok(())
}

/// Checks up to [`TICKS_AT_ONCE`] ticks and returns the hash of the last one.
fn verify_group(
    kernel: Kernel,
    pace: Pace,
    first: u64,
    start: Hash,
    ticks: &[SealedTick],
) -> Result<Hash, PohError> {
    let mut lanes = [start; TICKS_AT_ONCE];
    for (lane, tick) in lanes.iter_mut().skip(1).zip(ticks) {
        *lane = tick.hash;
    }
    let (walked, _) = lanes.split_at_mut(ticks.len().min(TICKS_AT_ONCE));
    kernel.advance(walked, pace.plain_hashes_per_tick());
    let mut last = start;
    for ((tick, open), index) in ticks.iter().zip(walked).zip(first..) {
        let expected = mix(*open, tick.mixin);
        if expected != tick.hash {
            return Err(PohError::TickHash {
                index,
                expected,
                found: tick.hash,
            });
        }
        last = tick.hash;
    }
    Ok(last)
}

/// Checks a block tick by tick as it is streamed.
///
/// Ticks may be pushed in any portions; portions of 16 already use the lanes well.
#[derive(Clone, Debug)]
pub struct Verifier {
    kernel: Kernel,
    pace: Pace,
    tip: Hash,
    verified: u64,
}

impl Verifier {
    /// Starts at a block's seed, with the fastest kernel of this machine.
    #[must_use]
    pub fn new(pace: Pace, seed: Hash) -> Self {
        Self {
            kernel: Kernel::best(),
            pace,
            tip: seed,
            verified: 0,
        }
    }

    /// Checks the next ticks of the block.
    ///
    /// # Errors
    /// [`PohError::TickCount`] when the block would have too many ticks (nothing is hashed then), or
    /// [`PohError::TickHash`] for the first tick that does not follow. Either way the verifier is unchanged.
    pub fn push(&mut self, ticks: &[SealedTick]) -> Result<(), PohError> {
        verify_run(self.kernel, self.pace, self.verified, self.tip, ticks)?;
        if let Some(last) = ticks.last() {
            self.tip = last.hash;
        }
        self.verified = self.verified.saturating_add(ticks.len() as u64);
        Ok(())
    }

    /// Number of ticks checked so far.
    #[must_use]
    pub const fn ticks_verified(&self) -> u64 {
        self.verified
    }

    /// The hash of the last tick checked, or the seed.
    #[must_use]
    pub const fn tip(&self) -> Hash {
        self.tip
    }

    /// Ends the block and returns its `poh_hash`.
    ///
    /// # Errors
    /// [`PohError::TickCount`] when ticks are missing.
    pub fn finish(self) -> Result<Hash, PohError> {
        if self.verified == self.pace.ticks() {
            Ok(self.tip)
        } else {
            Err(PohError::TickCount {
                expected: self.pace.ticks(),
                found: self.verified,
            })
        }
    }
}

#[cfg(test)]
mod tests;
