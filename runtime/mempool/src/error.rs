//! Reasons for which the pool refuses transactions.

use vibecoin_execution::InvalidTransaction;
use vibecoin_primitives::{Amount, Hash, Nonce};

/// Reason why the pool refused a transaction. The pool is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// It could not be in a block.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// It is in the pool already.
    #[error("transaction {id} is in the pool already")]
    AlreadyKnown {
        /// Its identifier.
        id: Hash,
    },
    /// Too many transactions are missing before it.
    #[error("nonce {got} is more than {gap_max} ahead of {expected}, the first that is missing")]
    NonceGap {
        /// The first nonce that is missing, transactions in the pool included.
        expected: Nonce,
        /// The transaction's nonce.
        got: Nonce,
        /// The maximum distance that this pool allows.
        gap_max: u64,
    },
    /// The sender cannot pay it in addition to its transactions in the pool.
    #[error("the sender needs {needed} for this and what it has in the pool, it has {available}")]
    InsufficientFunds {
        /// Fees of this and the sender's other transactions, and the amounts that they transfer and pay for storage.
        needed: Amount,
        /// The sender's balance.
        available: Amount,
    },
    /// One with this nonce is in the pool already, and this one does not pay enough more, or bids less per
    /// byte, or expires within the next heights.
    #[error("replacing {existing} takes a fee of at least {least}, this one pays {got}")]
    ReplacementUnderpriced {
        /// The one in the pool.
        existing: Hash,
        /// The minimum fee that replaces it; the largest amount when no fee suffices.
        least: Amount,
        /// The fee offered.
        got: Amount,
    },
    /// One with this nonce is in a block under construction and cannot be replaced any more.
    #[error("nonce {nonce} is taken by {existing}, which is being put into a block")]
    InBlock {
        /// The one in the block.
        existing: Hash,
        /// Its nonce.
        nonce: Nonce,
    },
    /// Every transaction that could be evicted bids no less per byte than this one or than its predecessors
    /// in its row; or this one, or a predecessor, expires within the next heights.
    #[error("the pool is full ({count} transactions, {bytes} bytes); {}", what_gets_in(*.least))]
    PoolFull {
        /// Number of transactions in the pool.
        count: usize,
        /// Bytes of memory charged for them.
        bytes: usize,
        /// The minimum fee with which it is accepted; the largest amount when no fee suffices.
        least: Amount,
    },
    /// It waits behind a nonce gap, and every other transaction there that could be evicted bids no less per byte.
    #[error("no capacity behind nonce gaps ({count} transactions, {bytes} bytes); {}", what_gets_in(*.least))]
    QueueFull {
        /// Number of transactions behind nonce gaps.
        count: usize,
        /// Bytes of memory charged for them.
        bytes: usize,
        /// The minimum fee with which a transaction of this size behind a gap is accepted; the largest amount
        /// when no fee suffices.
        least: Amount,
    },
    /// The sender has too many transactions in the pool.
    #[error("the sender has {limit} transactions in the pool, which is the limit")]
    SenderLimit {
        /// The limit.
        limit: usize,
    },
}

fn what_gets_in(least: Amount) -> String {
    if least == Amount::MAX {
        return "no fee gets in before others leave".to_owned();
    }
    format!("a fee below {least} does not get in")
}
