//! The figures of a load.

use std::time::Duration;

use crate::accounts::{self, Accounts};
use crate::announced::{BlockFigures, percentile};
use crate::outcome::Outcome;
use crate::settle::Settled;

/// All measurements of a load.
pub struct Report {
    /// Outcome of the submissions.
    pub outcome: Outcome,
    /// The part of it that is in blocks.
    pub settled: Settled,
    /// Time of signing, which is not counted; zero in the open loop, which signs while it sends.
    pub signing: Duration,
    /// Time of sending.
    pub sending: Duration,
    /// Time from the first submission until the last block with transfers was announced.
    pub wall: Duration,
    /// Figures over the blocks.
    pub blocks: BlockFigures,
    /// Figures over the samples; none in the closed loop.
    pub samples: Samples,
    pub(crate) accounts: Accounts,
}

impl Report {
    /// Transfers that became final per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let wall = self.wall.as_secs_f64();
        if wall > 0.0 {
            self.settled.included as f64 / wall
        } else {
            0.0
        }
    }

    /// Compares every balance with the expected result of the accepted transfers.
    ///
    /// # Errors
    /// A description of the first account whose balance differs.
    pub fn balances(&self) -> Result<(), String> {
        let Accounts { before, terms, .. } = &self.accounts;
        accounts::check(before, &self.settled.after, &self.outcome, terms.fee)
    }
}

/// Times from the submission of a transfer to one node until the next node announced its block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Number of transfers that were measured.
    pub count: usize,
    /// Number of samples whose block was not announced.
    pub lost: usize,
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Maximum.
    pub max: Duration,
}

impl Samples {
    /// Figures over times in ascending order.
    pub(crate) fn of(sorted: &[Duration], lost: usize) -> Self {
        let at = |percent| percentile(sorted, percent);
        Self {
            count: sorted.len(),
            lost,
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}
