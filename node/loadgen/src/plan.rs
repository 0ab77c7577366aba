//! The load to generate.

use std::time::Duration;

use vibecoin_primitives::Amount;

use crate::transfer::AMOUNT;

/// Rate that the accounts are funded for, when there is none: above that of any machine measured.
const TPS_MAX: u64 = 50_000;

/// The load to generate: its accounts, and how their transfers are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Accounts that send and receive.
    pub accounts: u64,
    /// Maximum number of transfers per request.
    pub batch: u64,
    /// Time for which a node may hold a call that waits for funding, in milliseconds.
    pub timeout_ms: u64,
    /// Pacing of the transfers.
    pub pace: Loop,
}

/// Pacing of the transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loop {
    /// The node's answers: a request is sent when the one before is answered.
    Closed(ClosedLoop),
    /// The clock.
    Open(OpenLoop),
}

/// A number of transfers to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// Transfers.
    pub transactions: u64,
    /// Connections that submit.
    pub connections: u64,
}

/// Transfers for a time, to several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLoop {
    /// Transfers per second, over all nodes; 0: as fast as they are accepted.
    pub tps: u64,
    /// Time of sending.
    pub duration: Duration,
    /// Maximum number of transfers that were accepted and are not final yet; 0: no bound.
    pub in_flight_max: u64,
    /// Maximum time in which the last transfers become final.
    pub settle: Duration,
}

impl Plan {
    /// Balance that an account needs for its share of the transfers.
    pub(crate) fn need(&self, fee: Amount, account_price: Amount) -> Amount {
        let accounts = self.accounts.max(1);
        let each = match &self.pace {
            Loop::Closed(closed) => closed.transactions.div_ceil(accounts),
            Loop::Open(open) => {
                let tps = if open.tps == 0 { TPS_MAX } else { open.tps };
                let transfers = tps.saturating_mul(open.duration.as_secs());
                transfers.div_ceil(accounts).saturating_add(1)
            }
        };
        let cost = fee.0.saturating_add(AMOUNT.0).saturating_mul(each);
        Amount(cost.saturating_add(account_price.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_funded_for_its_share_of_the_transfers_and_for_its_own_price() {
        let need = |pace: Loop| {
            let plan = Plan {
                accounts: 10,
                batch: 1,
                timeout_ms: 1,
                pace,
            };
            plan.need(Amount(4), Amount(1_000)).0
        };
        let closed = Loop::Closed(ClosedLoop {
            transactions: 101,
            connections: 1,
        });
        assert_eq!(need(closed), 1_000 + 11 * 5);
        let open = |tps| {
            Loop::Open(OpenLoop {
                tps,
                duration: Duration::from_secs(2),
                in_flight_max: 0,
                settle: Duration::ZERO,
            })
        };
        assert_eq!(need(open(100)), 1_000 + 21 * 5);
        assert_eq!(need(open(0)), 1_000 + 10_001 * 5);
    }
}
