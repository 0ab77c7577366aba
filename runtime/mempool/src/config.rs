//! The bounds of the pool. They are this node's own affair.

use vibecoin_primitives::limits::MIB;

/// Share of the pool, by count and by bytes, that transactions behind a nonce gap may take together: an eighth.
///
/// They cannot be in a block, so nothing ever charges their fees and whoever fills their share fills it for
/// free. An eighth of the default pool holds 6,250 of them, several times what arrives out of order between two
/// blocks.
pub const QUEUED_SHARE: usize = 8;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Most transactions.
    pub count_max: usize,
    /// Most bytes of memory that they take, as [`crate::memory`] charges for them: decoded, and with about 1.3 KiB each
    /// for the entries that name them.
    pub bytes_max: usize,
    /// Most transactions of one sender. Too low slows down a busy sender, too high lets few fill the pool.
    pub sender_count_max: usize,
    /// How far a nonce may lie ahead of the first one that is missing; less than `sender_count_max`.
    pub nonce_gap_max: u64,
    /// How long a transaction waits at most, in milliseconds.
    pub ttl_ms: u64,
    /// By how much more a replacement must pay, in percent, and at least one base unit. Its rate must not be lower.
    pub replacement_percent: u64,
    /// Most transactions that one step takes out because they expired or waited too long; the others follow in later
    /// steps. Too high stops the node where many expire at one height, too low keeps memory in use.
    pub expired_step_max: usize,
    /// How many departures are remembered, at least `count_max`, in [`crate::memory::DEPARTURE_BYTES`] each besides
    /// `bytes_max`.
    pub fates_max: usize,
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self {
            count_max: 50_000,
            // Enough for 50,000 transfers, and 14,000 transactions of 4 KiB.
            bytes_max: 80 * MIB,
            sender_count_max: 4096,
            nonce_gap_max: 64,
            ttl_ms: 3 * 3600 * 1000,
            replacement_percent: 10,
            // Some 5 ms with what the node does about each.
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
    /// that they wait for, and room to remember a departure of everything at once.
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
