//! Size limit of our own blocks, so that blocks are on time.
//!
//! The chain's parameters set the maximum of a block; machines and networks differ in how much of it they
//! process in a block's time. Every node measures how long full blocks take until they are durable here, and
//! puts less into its own when they are late. This is a local heuristic of the proposer, not a consensus
//! rule: any block within the parameters is valid.

/// Minimum limit on operations: where blocks are late for lack of CPU, smaller ones are not faster, and clear
/// the pool more slowly.
const OPERATIONS_MIN: usize = 1_000;
/// Limit of the first block.
const OPERATIONS_FIRST: usize = 1_000;
/// Slack on top of one and a half times the nominal time, in microseconds: votes and syncs.
const SLACK_MICROS: u64 = 50_000;

/// The controller: the current limit on operations of our own blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockSizeController {
    limit: usize,
}

impl Default for BlockSizeController {
    fn default() -> Self {
        Self {
            limit: OPERATIONS_FIRST,
        }
    }
}

impl BlockSizeController {
    /// Operations of the next block of ours, `operations_max` being the chain's bound. Operations and not
    /// transactions: the work of a transaction grows with its operations.
    pub fn limit(&self, operations_max: usize) -> usize {
        self.limit.min(operations_max)
    }

    /// A block became durable `took` after its parent, where its ticks take `nominal`, both in
    /// microseconds.
    pub fn on_block(
        &mut self,
        took: u64,
        nominal: u64,
        operations: usize,
        first_round: bool,
        operations_max: usize,
    ) {
        let on_time = (nominal.saturating_mul(3) / 2).saturating_add(SLACK_MICROS);
        let late = took > on_time || !first_round;
        // A nearly empty block was late for another reason.
        if late && operations >= self.limit / 4 {
            self.limit = (self.limit / 4).saturating_mul(3).max(OPERATIONS_MIN);
        } else if !late && operations >= (self.limit / 4).saturating_mul(3) {
            // Far from late: the load has dropped, and waiting transactions should be included.
            let early = took <= (nominal.saturating_mul(5) / 4).saturating_add(SLACK_MICROS / 2);
            let more = if early { self.limit / 4 } else { self.limit / 16 };
            self.limit = self
                .limit
                .saturating_add(more)
                .saturating_add(8)
                .min(operations_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_blocks_on_time_make_room_and_late_ones_take_it_away() {
        let mut load = BlockSizeController::default();
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
        assert_eq!(load.limit(20_000), OPERATIONS_MIN);
    }

    #[test]
    fn a_late_block_with_little_in_it_says_nothing_about_the_load() {
        let mut load = BlockSizeController::default();
        load.on_block(1_000_000, 100_000, 10, true, 20_000);
        assert_eq!(load.limit(20_000), OPERATIONS_FIRST);
    }
}
