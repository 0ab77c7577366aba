//! The pool as readers see it.

use std::sync::Arc;

use vibecoin_primitives::{Amount, Nonce, TimeMs, VerifiedTransaction};

/// Contents and limits of the pool.
#[derive(Clone, Debug, Default)]
pub struct PoolStatus {
    /// Transactions.
    pub count: u64,
    /// Bytes of memory that the transactions take.
    pub bytes: u64,
    /// Transactions that are next in line for their senders, without a gap.
    pub pending: u64,
    /// Transactions behind a gap.
    pub queued: u64,
    /// Arrival time of the oldest; `None` when empty.
    pub oldest: Option<TimeMs>,
    /// Minimum fee of a small transaction that would be accepted now.
    pub fee_min: Amount,
    /// Bound on `count`.
    pub count_max: u64,
    /// Bound on `bytes`.
    pub bytes_max: u64,
    /// Bound on the transactions of one sender.
    pub per_sender_max: u64,
}

/// One transaction in the pool.
#[derive(Clone, Debug)]
pub struct PoolEntry {
    /// The verified transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// True if it is behind a gap of nonces.
    pub queued: bool,
}

/// Transactions of one account in the pool.
#[derive(Clone, Debug, Default)]
pub struct PoolAccount {
    /// Ascending by nonce.
    pub entries: Vec<PoolEntry>,
    /// The next free nonce, counting pending transactions; `None` when there are none.
    pub next_nonce: Option<Nonce>,
}
