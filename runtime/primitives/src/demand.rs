//! Upper bounds on the work of executing transactions, derived from their bytes alone.
//!
//! A block is small and its effect on the state need not be: an operation of 44 bytes clears a value of 4 KiB
//! that is on the disk. So blocks and transactions have bounds on their demand besides their size. Every
//! count here is an upper bound that needs no state: an old row counts as the largest possible one. So
//! admission, proposer and validator count the same, a block over a bound is refused before any signature is
//! checked, and a failed transaction counts like a successful one
//! (`docs/adr/0007-static-bounds-on-state-work.md`).

use crate::limits::{ACCOUNT_ROW_BYTES_MAX, SLOT_ROW_OVERHEAD_BYTES};
use crate::{ChainParams, Operation, Transaction, TransactionBody};

/// Bytes of an account's old and new row.
const ACCOUNT_ROWS_BYTES: u64 = 2 * ACCOUNT_ROW_BYTES_MAX as u64;

/// The demand of transactions besides their bytes: upper bounds, known without the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Number of operations.
    pub operations: u64,
    /// Number of slots set or cleared; one that is set twice counts twice.
    pub slots: u64,
    /// Bytes of old and new rows: for every transaction its sender's account, for every transfer its
    /// recipient's, for every slot the largest value that it may hold and the new one.
    pub state_bytes: u64,
}

/// A bound that a demand exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The counted quantity.
    pub what: &'static str,
    /// The count found.
    pub got: u64,
    /// The maximum allowed.
    pub limit: u32,
}

impl Demand {
    /// The demand of one transaction.
    #[must_use]
    pub fn of(body: &TransactionBody, params: &ChainParams) -> Self {
        let old = u64::from(params.slot_value_bytes_max).saturating_add(SLOT_ROW_OVERHEAD_BYTES as u64);
        let sender = Self {
            state_bytes: ACCOUNT_ROWS_BYTES,
            ..Self::default()
        };
        body.operations.iter().fold(sender, |sum, operation| {
            let (slots, state_bytes) = match operation {
                Operation::Transfer { .. } => (0, ACCOUNT_ROWS_BYTES),
                Operation::SetStorage { value, .. } if value.is_empty() => (1, old),
                Operation::SetStorage { value, .. } => {
                    let new = value.len().saturating_add(SLOT_ROW_OVERHEAD_BYTES);
                    (1, old.saturating_add(u64::try_from(new).unwrap_or(u64::MAX)))
                }
            };
            sum.plus(Self {
                operations: 1,
                slots,
                state_bytes,
            })
        })
    }

    /// The demand of `transactions` transactions with `transfers` transfers.
    #[must_use]
    pub const fn transfers(transactions: u64, transfers: u64) -> Self {
        Self {
            operations: transfers,
            slots: 0,
            state_bytes: transactions
                .saturating_add(transfers)
                .saturating_mul(ACCOUNT_ROWS_BYTES),
        }
    }

    /// The sum of both demands.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations.saturating_add(other.operations),
            slots: self.slots.saturating_add(other.slots),
            state_bytes: self.state_bytes.saturating_add(other.state_bytes),
        }
    }

    /// The first bound of a transaction that this demand exceeds.
    #[must_use]
    pub fn exceeds_transaction(&self, params: &ChainParams) -> Option<Excess> {
        first_excess([
            (
                "operations of a transaction",
                self.operations,
                params.operations_max,
            ),
            ("slots of a transaction", self.slots, params.transaction_slots_max),
            (
                "bytes of rows of a transaction",
                self.state_bytes,
                params.transaction_state_bytes_max,
            ),
        ])
    }

    /// The first bound of a block that this demand exceeds.
    #[must_use]
    pub fn exceeds_block(&self, params: &ChainParams) -> Option<Excess> {
        first_excess([
            (
                "number of operations",
                self.operations,
                params.block_operations_max,
            ),
            ("number of slots", self.slots, params.block_slots_max),
            ("bytes of rows", self.state_bytes, params.block_state_bytes_max),
        ])
    }

    /// The demand of all these transactions, while each is within its bounds and their sum within a block's.
    ///
    /// # Errors
    /// The first bound that is exceeded; the transactions after it are not checked.
    pub fn of_block<'t>(
        self,
        transactions: impl IntoIterator<Item = &'t Transaction>,
        params: &ChainParams,
    ) -> Result<Self, Excess> {
        transactions.into_iter().try_fold(self, |sum, transaction| {
            let demand = Self::of(transaction.body(), params);
            let sum = sum.plus(demand);
            match demand
                .exceeds_transaction(params)
                .or_else(|| sum.exceeds_block(params))
            {
                Some(excess) => Err(excess),
                None => Ok(sum),
            }
        })
    }
}

fn first_excess<const N: usize>(counts: [(&'static str, u64, u32); N]) -> Option<Excess> {
    counts
        .into_iter()
        .find(|(_, got, limit)| *got > u64::from(*limit))
        .map(|(what, got, limit)| Excess { what, got, limit })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::limits::SLOT_VALUE_BYTES_MAX;
    use crate::{
        Account, AccountRow, Address, Amount, Failure, Hash, Height, Nonce, Outcome, PublicKey, Receipt,
        ReceiptV1, SlotRow, encode,
    };

    fn body(operations: Vec<Operation>) -> TransactionBody {
        TransactionBody {
            chain: [0; 4],
            sender: PublicKey([1; 32]),
            nonce: Nonce(0),
            fee: Amount(0),
            valid_until: Height(1),
            operations,
        }
    }

    fn transfer() -> Operation {
        Operation::Transfer {
            to: Address([2; 32]),
            amount: Amount(1),
        }
    }

    fn set(len: usize) -> Operation {
        Operation::SetStorage {
            slot: Hash([3; 32]),
            value: vec![1; len],
        }
    }

    #[test]
    fn no_row_is_larger_than_it_counts() {
        let account = Account {
            code: Some(Hash([1; 32])),
            storage_root: Some(Hash([2; 32])),
            ..Account::default()
        };
        let row = AccountRow {
            address: Address([3; 32]),
            account,
        };
        assert_eq!(encode(&row).len(), ACCOUNT_ROW_BYTES_MAX);
        let row = SlotRow {
            slot: Hash([4; 32]),
            value: vec![0; SLOT_VALUE_BYTES_MAX],
        };
        assert_eq!(encode(&row).len(), SLOT_VALUE_BYTES_MAX + SLOT_ROW_OVERHEAD_BYTES);
        let receipt = Receipt::V1(ReceiptV1 {
            transaction: Hash([5; 32]),
            fee: Amount(u64::MAX),
            burned: Amount(u64::MAX),
            outcome: Outcome::Failed {
                operation: 1,
                reason: Failure::InsufficientFunds {
                    needed: Amount(1),
                    available: Amount(1),
                },
            },
        });
        assert_eq!(encode(&receipt).len(), crate::limits::RECEIPT_BYTES_MAX);
    }

    #[test]
    fn a_clear_counts_as_the_largest_value_that_may_be_there() {
        let params = ChainParams::devnet();
        let demand = |operations| Demand::of(&body(operations), &params);
        assert_eq!(demand(vec![transfer()]), Demand::transfers(1, 1));
        let expected = |operations, slots, state_bytes| Demand {
            operations,
            slots,
            state_bytes,
        };
        assert_eq!(demand(vec![set(0)]), expected(1, 1, 236 + 4136));
        assert_eq!(demand(vec![set(10)]), expected(1, 1, 236 + 4136 + 50));
        assert_eq!(
            demand(vec![set(0), transfer(), set(0)]),
            expected(3, 2, 472 + 2 * 4136)
        );
    }

    #[test]
    fn a_full_block_of_transfers_and_one_of_large_values_fit_every_profile() {
        for params in [
            ChainParams::devnet(),
            ChainParams::dev(),
            ChainParams::production(),
        ] {
            let count = u64::from(params.block_transactions_max);
            assert_eq!(Demand::transfers(count, count).exceeds_block(&params), None);
            let value = Demand::of(&body(vec![set(4096)]), &params);
            // 4,283 bytes of transaction each: up to 979 fit into 4 MiB.
            let most = params.block_slots_max.min(979);
            let values = (0..most).fold(Demand::default(), |sum, _| sum.plus(value));
            assert_eq!(values.exceeds_block(&params), None);
            let clears = Demand::of(&body(vec![set(0); 64]), &params);
            assert_eq!(clears.exceeds_transaction(&params), None);
        }
    }

    #[test]
    fn the_bound_that_is_passed_is_named_with_its_figures() {
        let params = ChainParams {
            transaction_slots_max: 2,
            block_slots_max: 3,
            ..ChainParams::devnet()
        };
        let three = Demand::of(&body(vec![set(0); 3]), &params);
        let excess = three.exceeds_transaction(&params).unwrap();
        assert_eq!(
            (excess.what, excess.got, excess.limit),
            ("slots of a transaction", 3, 2)
        );
        assert_eq!(three.exceeds_block(&params), None);
        let four = three.plus(Demand::of(&body(vec![set(0)]), &params));
        let excess = four.exceeds_block(&params).unwrap();
        assert_eq!((excess.what, excess.got, excess.limit), ("number of slots", 4, 3));
    }
}
