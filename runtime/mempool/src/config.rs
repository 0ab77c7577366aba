//! Bounds of the pool, local to this node.

use vibecoin_primitives::limits::MIB;

/// Share of the pool, by count and by bytes, that transactions behind a nonce gap may take together: an eighth.
///
/// They cannot be in a block, so their fees are never charged and filling their share is free. An eighth of the
/// default pool holds 6,250 of them, several times the number that arrives out of order between two blocks.
pub const QUEUED_SHARE: usize = 8;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Maximum number of transactions.
    pub count_max: usize,
    /// Maximum bytes of memory that they take, as charged by [`crate::memory`]: decoded, and with about 1.3
    /// KiB each for the entries that refer to them.
    pub bytes_max: usize,
    /// Maximum number of transactions of one sender. Too low slows down a busy sender, too high lets few fill
    /// the pool.
    pub sender_count_max: usize,
    /// Maximum distance of a nonce from the first one that is missing; less than `sender_count_max`.
    pub nonce_gap_max: u64,
    /// Maximum time that a transaction waits, in milliseconds.
    pub ttl_ms: u64,
    /// Minimum increase of the fee of a replacement, in percent, and one base unit or more. Its rate must not
    /// be lower.
    pub replacement_percent: u64,
    /// Maximum number of transactions that one step removes because they expired, waited too long, or can no longer be
    /// paid; the others follow in later steps. Too high stops the node where many expire at one height, too low keeps memory in use.
    pub expired_step_max: usize,
    /// Number of departures remembered, `count_max` or more, in [`crate::memory::DEPARTURE_BYTES`] each
    /// besides `bytes_max`.
    pub fates_max: usize,
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self {
            count_max: 50_000,
            // Enough for 50,000 transfers, or 14,000 transactions of 4 KiB.
            bytes_max: 80 * MIB,
            sender_count_max: 4096,
            nonce_gap_max: 64,
            ttl_ms: 3 * 3600 * 1000,
            replacement_percent: 10,
            // About 5 ms with the node's work for each.
            expired_step_max: 512,
            fates_max: 50_000,
        }
    }
}

impl MempoolConfig {
    /// Bound of the count of transactions behind nonce gaps, rounded up: a small pool holds one too.
    #[must_use]
    pub const fn queued_count_max(&self) -> usize {
        self.count_max.div_ceil(QUEUED_SHARE)
    }

    /// Bound of the bytes of transactions behind nonce gaps.
    #[must_use]
    pub const fn queued_bytes_max(&self) -> usize {
        self.bytes_max.div_ceil(QUEUED_SHARE)
    }

    /// The same, with `nonce_gap_max` low enough that a sender's queued transactions never keep out the one
    /// that they wait for, and capacity to remember the departure of all at once.
    #[must_use]
    pub(crate) fn sane(mut self) -> Self {
        let most = u64::try_from(self.sender_count_max)
            .unwrap_or(u64::MAX)
            .saturating_sub(1);
        self.nonce_gap_max = self.nonce_gap_max.min(most);
        self.fates_max = self.fates_max.max(self.count_max);
        self.expired_step_max = self.expired_step_max.max(1);
        self
    }
}
