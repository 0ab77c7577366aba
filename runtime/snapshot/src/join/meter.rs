//! Bytes per second over the last few moments.

use super::Micros;

/// Number of slots: the current one and those before it.
const SLOTS: usize = 8;
const SLOTS_U64: u64 = SLOTS as u64;

/// A ring of equal slots of time, with the bytes that arrived in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meter {
    slot_micros: u64,
    started: Micros,
    /// Number of the slot that was written last.
    slot: u64,
    bytes: [u64; SLOTS],
}

impl Meter {
    pub(super) const fn new(slot_micros: u64, started: Micros) -> Self {
        Self {
            slot_micros,
            started,
            slot: 0,
            bytes: [0; SLOTS],
        }
    }

    /// Microseconds that the ring covers.
    const fn window(&self) -> u64 {
        self.slot_micros.saturating_mul(SLOTS_U64)
    }

    fn slot_of(&self, now: Micros) -> u64 {
        now.since(self.started).checked_div(self.slot_micros).unwrap_or(0)
    }

    pub(super) fn add(&mut self, now: Micros, bytes: u64) {
        let slot = self.slot_of(now);
        let passed = slot.saturating_sub(self.slot).min(SLOTS_U64);
        for step in 1..=passed {
            *self.place(self.slot.saturating_add(step)) = 0;
        }
        self.slot = self.slot.max(slot);
        let place = self.place(slot);
        *place = place.saturating_add(bytes);
    }

    fn place(&mut self, slot: u64) -> &mut u64 {
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is below the number of slots"
        )]
        &mut self.bytes[usize::try_from(slot % SLOTS_U64).unwrap_or(0)]
    }

    /// Bytes per second over the time that the ring covers, or since the start.
    pub(super) fn rate(&self, now: Micros) -> u64 {
        let mut after = self.clone();
        after.add(now, 0);
        let sum = after
            .bytes
            .iter()
            .fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        // The current slot has only begun.
        let into_slot = now.since(self.started).checked_rem(self.slot_micros).unwrap_or(0);
        let covered = self
            .window()
            .saturating_sub(self.slot_micros)
            .saturating_add(into_slot)
            .min(now.since(self.started));
        let rate = u128::from(sum)
            .saturating_mul(1_000_000)
            .checked_div(u128::from(covered))
            .unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured_and_forgotten_after_the_window() {
        let mut meter = Meter::new(250_000, Micros(5));
        assert_eq!(meter.rate(Micros(5)), 0);
        for step in 1..=100u64 {
            meter.add(Micros(5 + step * 100_000), 1_000);
        }
        let end = 5 + 100 * 100_000;
        assert!(
            (9_000..11_000).contains(&meter.rate(Micros(end))),
            "{}",
            meter.rate(Micros(end))
        );
        assert_eq!(meter.rate(Micros(end + 2_500_000)), 0);
        meter.add(Micros(end + 60_000_000), 500);
        assert!(meter.rate(Micros(end + 60_000_001)) < 300);
    }
}
