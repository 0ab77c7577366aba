//! Blocks as nodes announce them, and the figures over them.

use std::collections::BTreeMap;
use std::time::Instant;

use vibecoin_rpc_api::views::{BlockView, SubscriptionEvent};

use crate::error::LoadError;

/// A block, as announced by a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    /// Time of the announcement.
    pub at: Instant,
    /// The block's own time.
    pub time_ms: u64,
    /// Transactions in it.
    pub transactions: u64,
    /// The round in which it was decided.
    pub round: u32,
}

impl Announced {
    /// The block of an event that arrived at `at`, with its height.
    pub fn read(event: &SubscriptionEvent, at: Instant) -> Result<(u64, Self), LoadError> {
        if let Some(reason) = &event.closed {
            return Err(LoadError::Closed(reason.clone()));
        }
        let data = event.data.as_ref().map(|data| data.get()).unwrap_or_default();
        let block: BlockView = serde_json::from_str(data).map_err(LoadError::BadBlock)?;
        let announced = Self {
            at,
            time_ms: block.header.timestamp_ms.0,
            transactions: u64::from(block.tx_count),
            round: block.header.round,
        };
        Ok((block.header.height.0, announced))
    }
}

/// Time of the announcement of the last block with transactions.
pub(crate) fn last_with_transactions(blocks: &BTreeMap<u64, Announced>) -> Option<Instant> {
    let mut newest_first = blocks.values().rev();
    newest_first
        .find(|block| block.transactions > 0)
        .map(|block| block.at)
}

/// Figures over the blocks that had transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BlockFigures {
    /// Number of blocks.
    pub count: usize,
    /// Number of blocks that were not decided in the first round.
    pub later_rounds: usize,
    /// Median time between consecutive blocks.
    pub time_p50_ms: u64,
    /// 99th percentile of that time.
    pub time_p99_ms: u64,
    /// Maximum of that time.
    pub time_max_ms: u64,
    /// Mean number of transactions in a block.
    pub fill_mean: f64,
    /// Maximum number of transactions in a block.
    pub fill_max: u64,
}

impl BlockFigures {
    /// Figures over blocks by height.
    pub(crate) fn of(blocks: &BTreeMap<u64, Announced>) -> Self {
        let full: Vec<(&u64, &Announced)> = blocks
            .iter()
            .filter(|(_, block)| block.transactions > 0)
            .collect();
        // Between consecutive heights only: a pause without transfers is not a block time.
        let mut times: Vec<u64> = full
            .iter()
            .zip(full.iter().skip(1))
            .filter(|((one, _), (next, _))| one.checked_add(1) == Some(**next))
            .map(|((_, one), (_, next))| next.time_ms.saturating_sub(one.time_ms))
            .collect();
        times.sort_unstable();
        let sum: u64 = full.iter().map(|(_, block)| block.transactions).sum();
        let fill_max = full.iter().map(|(_, block)| block.transactions).max();
        Self {
            count: full.len(),
            later_rounds: full.iter().filter(|(_, block)| block.round > 0).count(),
            time_p50_ms: percentile(&times, 50),
            time_p99_ms: percentile(&times, 99),
            time_max_ms: percentile(&times, 100),
            fill_mean: sum as f64 / full.len().max(1) as f64,
            fill_max: fill_max.unwrap_or(0),
        }
    }
}

/// The value below which `percent` percent of the values are.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let index = sorted
        .len()
        .saturating_mul(percent)
        .div_ceil(100)
        .saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (
                percentile(&values, 50),
                percentile(&values, 99),
                percentile(&values, 100)
            ),
            (100, 198, 200)
        );
        assert_eq!(percentile(&[7u64], 50), 7);
        assert_eq!(percentile::<u64>(&[], 99), 0);
    }

    #[test]
    fn a_pause_without_transactions_is_not_a_block_time() {
        let block = |time_ms, transactions, round| Announced {
            at: Instant::now(),
            time_ms,
            transactions,
            round,
        };
        let blocks = BTreeMap::from([
            (4, block(1_000, 10, 0)),
            (5, block(1_100, 30, 1)),
            (6, block(9_000, 0, 0)),
            (7, block(9_500, 20, 0)),
        ]);
        let figures = BlockFigures::of(&blocks);
        assert_eq!((figures.count, figures.later_rounds), (3, 1));
        assert_eq!((figures.time_p50_ms, figures.time_max_ms), (100, 100));
        assert_eq!(figures.fill_max, 30);
        assert!((figures.fill_mean - 20.0).abs() < 1e-9);
    }
}
