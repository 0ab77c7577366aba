//! Evictions from a full pool for an incoming transaction.

use std::collections::BTreeMap;

use vibecoin_primitives::{Account, Amount, Height, VerifiedTransaction};

use crate::entry::{Entry, Place, Standing};
use crate::memory::{charge, charge_for_transfers};
use crate::{FeeRate, Mempool, MempoolError};

/// Minimum number of heights, from the next block's on, for which a transaction and all before it in its row
/// must be valid to evict others from a full pool.
pub const EVICTING_HEIGHTS_MIN: u64 = 4;

/// Evictions needed for an incoming transaction.
pub(crate) struct Capacity {
    /// The transactions to evict, in this order; `None` when not enough can be evicted.
    victims: Option<Vec<Place>>,
    /// The highest fee rate that the incoming transaction has to outbid.
    above: Option<FeeRate>,
}

impl Capacity {
    /// The minimum bid that buys the capacity for `bytes` encoded bytes behind transactions of which the
    /// cheapest has the rate `before`.
    fn least_bid(&self, bytes: u32, before: FeeRate) -> Amount {
        match (&self.victims, self.above) {
            (None, _) => Amount::MAX,
            (Some(_), Some(rate)) if rate >= before => Amount::MAX,
            (Some(_), Some(rate)) => rate.outbid(bytes),
            (Some(_), None) => Amount::ZERO,
        }
    }
}

impl Mempool {
    /// The minimum fee with which a transaction of `bytes` bytes without slots would be accepted now, as far
    /// as the price is concerned, if no nonce is missing before it; the largest amount when no fee suffices.
    #[must_use]
    pub fn least_fee(&self, bytes: u32) -> Amount {
        let capacity = self.capacity_for(charge_for_transfers(bytes), None, false);
        let bid = capacity.least_bid(bytes, FeeRate(u64::MAX));
        self.params.fee_for(bytes, 0).saturating_add(bid.0)
    }

    /// Minimum last height of a row that may evict others. A transaction that expires before blocks have
    /// included as much as is pending may never be charged its fee, however high.
    pub(crate) fn evicting_until_min(&self) -> Height {
        let block = usize::try_from(self.params.block_transactions_max).unwrap_or(usize::MAX);
        let blocks = u64::try_from(self.pending.div_ceil(block.max(1))).unwrap_or(u64::MAX);
        let heights = blocks
            .max(EVICTING_HEIGHTS_MIN)
            .min(self.params.validity_window / 2);
        self.next_height.saturating_add(heights)
    }

    /// The tails to evict for `transaction`. Changes nothing.
    pub(crate) fn make_room(
        &self,
        transaction: &VerifiedTransaction,
        account: &Account,
    ) -> Result<Vec<Place>, MempoolError> {
        let (sender, nonce, bytes) = (
            transaction.sender(),
            transaction.body().nonce,
            transaction.byte_len(),
        );
        let row = self.rows.get(&sender);
        let expected = row.map_or(account.nonce, |row| row.next_nonce());
        let is_queued = nonce > expected;
        let mut capacity = self.capacity_for(charge(transaction), Some((sender, nonce)), is_queued);
        let before = row.map_or(FeeRate(u64::MAX), |row| row.lowest_before(nonce));
        let rate = FeeRate::of(transaction, &self.params).min(before);
        let until_before = row.map_or(Height(u64::MAX), |row| row.until_before(nonce));
        let until = transaction.body().valid_until.min(until_before);
        if capacity
            .victims
            .as_ref()
            .is_some_and(|victims| !victims.is_empty())
            && until < self.evicting_until_min()
        {
            capacity.victims = None;
        }
        let obligatory = self.params.fee_for(bytes, transaction.body().slot_count());
        let least = obligatory.saturating_add(capacity.least_bid(bytes, before).0);
        match capacity.victims {
            Some(victims) if capacity.above.is_none_or(|above| above < rate) => Ok(victims),
            _ if is_queued => Err(MempoolError::QueueFull {
                count: self.len().saturating_sub(self.pending),
                bytes: self.bytes.saturating_sub(self.pending_bytes),
                least,
            }),
            _ => Err(MempoolError::PoolFull {
                count: self.len(),
                bytes: self.bytes,
                least,
            }),
        }
    }

    /// Evictions needed for `bytes` bytes of memory at `place`, or of a sender without transactions in the pool.
    ///
    /// Queued transactions are evicted before pending ones; a queued one evicts no pending one. A pending one need
    /// not outbid the queued ones.
    fn capacity_for(&self, bytes: usize, place: Option<Place>, is_queued: bool) -> Capacity {
        let (mut count_over, mut bytes_over) = self.excess(bytes, place, is_queued);
        let mut victims = Vec::new();
        let mut above: Option<FeeRate> = None;
        let mut tails = self.tails.iter().rev().map(|(key, place)| (*key, *place));
        let mut listed = tails.next();
        // Tails that appear once those behind them are evicted.
        let mut bared: BTreeMap<Standing, Place> = BTreeMap::new();
        while count_over > 0 || bytes_over > 0 {
            let shown = bared.last_key_value().map(|(key, place)| (*key, *place));
            let first = listed.max(shown);
            let Some((standing, victim)) = first.filter(|(standing, _)| standing.queued || !is_queued) else {
                return Capacity { victims: None, above };
            };
            if listed == first {
                listed = tails.next();
            } else {
                bared.pop_last();
            }
            // It is in a block under construction, and so is everything before it in its row.
            if self.is_pinned(&victim) {
                continue;
            }
            // Of its own row only later transactions can be evicted.
            if place.is_some_and(|(sender, nonce)| victim.0 == sender && victim.1 <= nonce) {
                continue;
            }
            let Some(row) = self.rows.get(&victim.0) else {
                continue;
            };
            count_over = count_over.saturating_sub(1);
            bytes_over = bytes_over.saturating_sub(row.get(victim.1).map_or(0, Entry::bytes));
            if let Some(before) = row.before(victim.1) {
                bared.insert(row.standing(before), (victim.0, before.nonce));
            }
            if is_queued || !standing.queued {
                above = above.max(Some(standing.rank.rate.0));
            }
            victims.push(victim);
        }
        Capacity {
            victims: Some(victims),
            above,
        }
    }

    /// Number of transactions and bytes by which an incoming transaction exceeds the bounds.
    pub(crate) fn excess(&self, bytes: usize, place: Option<Place>, is_queued: bool) -> (usize, usize) {
        let replaced = place.and_then(|place| self.entry(&place));
        let more = usize::from(replaced.is_none());
        let less_bytes = replaced.map_or(0, Entry::bytes);
        let over = |count: usize, total: usize, count_max: usize, bytes_max: usize| {
            let total = total.saturating_add(bytes).saturating_sub(less_bytes);
            (
                count.saturating_add(more).saturating_sub(count_max),
                total.saturating_sub(bytes_max),
            )
        };
        let config = &self.config;
        let whole = over(self.len(), self.bytes, config.count_max, config.bytes_max);
        if !is_queued {
            return whole;
        }
        let (count, total) = (
            self.len().saturating_sub(self.pending),
            self.bytes.saturating_sub(self.pending_bytes),
        );
        // More than the share is queued when pending transactions have lost one before them. These need not
        // be evicted for a queued one, but it must not add to them.
        let queued = over(
            count,
            total,
            config.queued_count_max().max(count),
            config.queued_bytes_max().max(total),
        );
        (whole.0.max(queued.0), whole.1.max(queued.1))
    }
}
