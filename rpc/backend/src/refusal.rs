//! Reasons why a transaction was refused.

use vibecoin_primitives::{Amount, Height, Nonce};

use crate::BackendError;

/// Reasons why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature rule does not hold.
    #[error("bad signature: {detail}")]
    BadSignature {
        /// Message of the verifier.
        detail: String,
    },
    /// Made for another chain.
    #[error("the transaction names chain {got}, this chain is {expected}")]
    WrongChain {
        /// This chain's prefix of the genesis hash.
        expected: String,
        /// The prefix in the transaction.
        got: String,
    },
    /// The nonce is used.
    #[error("nonce {got} is used, the next one is {expected}")]
    NonceTooLow {
        /// The account's next nonce.
        expected: Nonce,
        /// Nonce of the transaction.
        got: Nonce,
    },
    /// The nonce is too far ahead.
    #[error("nonce {got} is more than {gap_max} ahead of the next one, {expected}")]
    NonceTooHigh {
        /// The account's next nonce.
        expected: Nonce,
        /// Nonce of the transaction.
        got: Nonce,
        /// Maximum gap that the pool allows.
        gap_max: u64,
    },
    /// The sender cannot pay fee and amount, transactions in the pool included.
    #[error("the sender needs {needed} and has {available}")]
    InsufficientFunds {
        /// Required balance.
        needed: Amount,
        /// Available balance.
        available: Amount,
    },
    /// The fee is too low.
    #[error("the fee is {got}, the least is {least}")]
    FeeTooLow {
        /// Minimum fee.
        least: Amount,
        /// Fee of the transaction.
        got: Amount,
    },
    /// Too many bytes or operations, or a slot value too long.
    #[error("too large: {what} {got}, the limit is {limit}")]
    TooLarge {
        /// The bounded quantity: `bytes`, `operations`, …
        what: &'static str,
        /// Size of the transaction.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// No operations, or an operation that can never apply.
    #[error("malformed: {detail}")]
    Malformed {
        /// Description of the fault.
        detail: String,
    },
    /// `valid_until` has passed, or is too far ahead.
    #[error("validUntil {valid_until} is outside {least} to {most}")]
    Expired {
        /// `valid_until` of the transaction.
        valid_until: Height,
        /// The next block's height.
        least: Height,
        /// The highest allowed height.
        most: Height,
    },
    /// The pool has a transaction with this nonce, and this one does not pay enough more.
    #[error("a replacement must pay at least {least}, this one pays {got}")]
    ReplacementUnderpriced {
        /// Minimum fee.
        least: Amount,
        /// Fee of the transaction.
        got: Amount,
    },
    /// A transaction with this nonce is in a block that is being made: the nonce is used, or free again, once that
    /// block is decided.
    #[error("a transaction with nonce {nonce} is in a block that is being made and cannot be replaced now")]
    InBlock {
        /// The nonce.
        nonce: Nonce,
    },
    /// The pool is full.
    #[error("the pool is full: {detail}")]
    PoolFull {
        /// The bound that was reached, and the fee that would be accepted.
        detail: String,
    },
    /// The sender has too many transactions in the pool.
    #[error("the sender has {limit} transactions in the pool, which is the limit")]
    AccountLimit {
        /// The bound.
        limit: u64,
    },
    /// The node cannot answer at present.
    #[error(transparent)]
    Unavailable(#[from] BackendError),
}
