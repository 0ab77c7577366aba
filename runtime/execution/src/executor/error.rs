//! Reasons why a block was not executed.

use vibecoin_primitives::{Amount, Hash};

use crate::{InvalidTransaction, ReadError};

/// Reason why a block, or one transaction of it, was not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutionError {
    /// The transaction is not allowed in the block. The executor is unchanged.
    #[error("transaction {id} at position {index} is invalid: {reason}")]
    Invalid {
        /// Position that the transaction has, or would have had, in the block.
        index: usize,
        /// Its identifier.
        id: Hash,
        /// The rule that does not hold.
        reason: InvalidTransaction,
    },
    /// The transaction triggered a bug of this program. The executor is unchanged.
    #[error("transaction {id} at position {index} made the executor panic")]
    Panicked {
        /// Position that the transaction has, or would have had, in the block.
        index: usize,
        /// Its identifier.
        id: Hash,
    },
    /// The state could not be read. The node is broken, not the block.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state belongs to another validator set: the proposer schedule has another length.
    #[error("the proposer schedule has {got} entries, the validator set has {expected}")]
    Schedule {
        /// Number of validators.
        expected: usize,
        /// Number of entries in the schedule.
        got: usize,
    },
    /// The payout account or the burned total would overflow; impossible while the supply fits 64 bits.
    #[error("{what} would overflow: {value} + {added}")]
    Overflow {
        /// Name of the sum.
        what: &'static str,
        /// Its value before the block.
        value: Amount,
        /// Base units that the block adds.
        added: Amount,
    },
    /// Balances and burned total do not add up. A bug of this program; nothing of the block may be kept.
    #[error("the balances changed by {delta} with {burned} burned; their sum must be zero")]
    Supply {
        /// Sum of all balance changes.
        delta: i128,
        /// Base units burned.
        burned: Amount,
    },
}
