//! The rules of admission that concern the sender's other transactions.

use vibecoin_primitives::{Account, Amount, VerifiedTransaction};

use super::{Mempool, amount};
use crate::MempoolError;
use crate::entry::cost;

impl Mempool {
    /// Checks the rules that concern the sender's other transactions, and returns the transaction's cost.
    pub(super) fn check_row(
        &self,
        transaction: &VerifiedTransaction,
        account: &Account,
    ) -> Result<Amount, MempoolError> {
        let (got, fee) = (transaction.body().nonce, transaction.body().fee);
        let row = self.rows.get(&transaction.sender());
        let mut others = row.map_or(0, |row| row.costs());
        if let Some(old) = row.and_then(|row| row.get(got)) {
            if self.is_pinned(&(transaction.sender(), got)) {
                return Err(MempoolError::InBlock {
                    existing: *old.transaction.id(),
                    nonce: got,
                });
            }
            // A lower rate would withdraw a bid for which others have been evicted.
            let (bytes, slots) = (transaction.byte_len(), transaction.body().slot_count());
            let same_rate = self
                .params
                .fee_for(bytes, slots)
                .checked_add(old.rate().reach(bytes));
            let more = replacement_fee(old.fee, self.config.replacement_percent);
            let least = same_rate.zip(more).map(|(rate, more)| rate.max(more));
            // A replacement that expires before a block must include it would do the same.
            let until_min = self.evicting_until_min();
            let shortens = transaction.body().valid_until < until_min && old.until_min >= until_min;
            let least = least.filter(|_| !shortens);
            if least.is_none_or(|least| fee < least) {
                let least = least.unwrap_or(Amount::MAX);
                return Err(MempoolError::ReplacementUnderpriced {
                    existing: *old.transaction.id(),
                    least,
                    got: fee,
                });
            }
            others = others.saturating_sub(u128::from(old.cost.0));
        } else {
            let (expected, gap_max) = (
                row.map_or(account.nonce, |row| row.next_nonce()),
                self.config.nonce_gap_max,
            );
            if got.saturating_sub(expected.0).0 > gap_max {
                return Err(MempoolError::NonceGap {
                    expected,
                    got,
                    gap_max,
                });
            }
            let limit = self.config.sender_count_max;
            if row.map_or(0, |row| row.len()) >= limit {
                return Err(MempoolError::SenderLimit { limit });
            }
        }
        // The costs of the transactions behind it count too: once it closes their gap, or transfers more than
        // the one that it replaces, they could be left without their fees.
        let own = cost(transaction, &self.params);
        let needed = others.saturating_add(own);
        if needed > u128::from(account.balance.0) {
            return Err(MempoolError::InsufficientFunds {
                needed: amount(needed),
                available: account.balance,
            });
        }
        Ok(amount(own))
    }
}

/// The minimum fee that replaces one of `fee`; `None` when it does not fit.
fn replacement_fee(fee: Amount, percent: u64) -> Option<Amount> {
    let more = u128::from(fee.0)
        .saturating_mul(u128::from(percent))
        .div_ceil(100)
        .max(1);
    fee.checked_add(Amount(u64::try_from(more).ok()?))
}
