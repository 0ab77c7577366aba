//! Why the pool refuses transactions.

use vibecoin_execution::InvalidTransaction;
use vibecoin_primitives::{Amount, Hash, Nonce};

/// Why the pool refused a transaction. The pool is as if it had never seen it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// It could not be in a block.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// It is in the pool already.
    #[error("transaction {id} is in the pool already")]
    AlreadyKnown {
        /// Its id.
        id: Hash,
    },
    /// Too many transactions are missing before it.
    #[error("nonce {got} is more than {gap_max} ahead of {expected}, the first that is missing")]
    NonceGap {
        /// The first nonce that is missing, what waits in the pool included.
        expected: Nonce,
        /// The transaction's nonce.
        got: Nonce,
        /// How far ahead this pool allows.
        gap_max: u64,
    },
    /// The sender cannot pay it on top of what it has in the pool.
    #[error("the sender needs {needed} for this and what it has in the pool, it has {available}")]
    InsufficientFunds {
        /// Fees of this and the sender's other transactions, and what they move to others and pay for storage.
        needed: Amount,
        /// The sender's balance.
        available: Amount,
    },
    /// One with this nonce waits already, and this one does not pay enough more, or bids less per byte, or expires within
    /// the next heights.
    #[error("replacing {existing} takes a fee of at least {least}, this one pays {got}")]
    ReplacementUnderpriced {
        /// The one that waits.
        existing: Hash,
        /// The least fee that replaces it; the largest amount when no fee suffices.
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
    /// Everything that could leave bids at least as much per byte as this, or as what is before this in its row; or this, or
    /// what is before it, expires within the next heights.
    #[error("the pool is full ({count} transactions, {bytes} bytes); {}", what_gets_in(*.least))]
    PoolFull {
        /// Transactions in the pool.
        count: usize,
        /// Bytes of memory charged for them.
        bytes: usize,
        /// The least fee with which it gets in; the largest amount when no fee suffices.
        least: Amount,
    },
    /// It waits behind a nonce gap, and everything else there that could leave bids at least as much per byte.
    #[error("no capacity behind nonce gaps ({count} transactions, {bytes} bytes); {}", what_gets_in(*.least))]
    QueueFull {
        /// Transactions behind nonce gaps.
        count: usize,
        /// Bytes of memory charged for them.
        bytes: usize,
        /// A transaction of this size behind a gap does not get in for less; the largest amount when no fee
        /// suffices.
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
