//! How much a block of ours may hold, so that blocks come on time.
//!
//! The chain's parameters say what a block may hold at most; machines and networks differ in how much of
//! that they get through in a block's time. Every node watches how long full blocks take until they are
//! durable here, and puts less into its own when they are late. It is a habit of the proposer, no rule:
//! any block within the parameters is valid.

/// Operations that a block of ours may always hold: where blocks are late for lack of CPU, smaller ones are
/// no faster, and clear the pool more slowly.
const LEAST: usize = 1_000;
/// What the first block may hold.
const FIRST: usize = 1_000;
/// Slack on top of one and a half times the nominal time, in microseconds: votes and syncs.
const SLACK_MICROS: u64 = 50_000;

/// The habit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadControl {
    limit: usize,
}

impl Default for LoadControl {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl LoadControl {
    /// Operations of the next block of ours, `most` being the chain's bound. Operations and not transactions: the work
    /// of a transaction grows with what it does.
    pub fn limit(&self, most: usize) -> usize {
        self.limit.min(most)
    }

    /// A block became durable `took` after its parent, where its ticks take `nominal`, both in
    /// microseconds.
    pub fn on_block(&mut self, took: u64, nominal: u64, operations: usize, first_round: bool, most: usize) {
        let on_time = (nominal.saturating_mul(3) / 2).saturating_add(SLACK_MICROS);
        let late = took > on_time || !first_round;
        // A block with little in it was late for another reason.
        if late && operations >= self.limit / 4 {
            self.limit = (self.limit / 4).saturating_mul(3).max(LEAST);
        } else if !late && operations >= (self.limit / 4).saturating_mul(3) {
            // Far from late: the load went away, and what waits wants out.
            let early = took <= (nominal.saturating_mul(5) / 4).saturating_add(SLACK_MICROS / 2);
            let more = if early { self.limit / 4 } else { self.limit / 16 };
            self.limit = self.limit.saturating_add(more).saturating_add(8).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_blocks_on_time_make_room_and_late_ones_take_it_away() {
        let mut load = LoadControl::default();
        for _ in 0..200 {
            load.on_block(120_000, 100_000, load.limit(20_000), true, 20_000);
        }
        assert_eq!(load.limit(20_000), 20_000);
        assert_eq!(load.limit(500), 500, "the chain's bound holds");
        load.on_block(400_000, 100_000, 20_000, true, 20_000);
        assert_eq!(load.limit(20_000), 15_000);
        load.on_block(120_000, 100_000, 15_000, false, 20_000);
        assert_eq!(load.limit(20_000), 11_250, "another round is late too");
        for _ in 0..100 {
            load.on_block(900_000, 100_000, 20_000, true, 20_000);
        }
        assert_eq!(load.limit(20_000), LEAST);
    }

    #[test]
    fn a_late_block_with_little_in_it_says_nothing_about_the_load() {
        let mut load = LoadControl::default();
        load.on_block(1_000_000, 100_000, 10, true, 20_000);
        assert_eq!(load.limit(20_000), FIRST);
    }
}
