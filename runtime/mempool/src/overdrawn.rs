//! Removal of transactions that their senders can no longer pay for, a bounded number at a time.
//!
//! A block may take the balance of some senders with thousands of transactions each. Removing these at once kept a
//! node from its duties for half a second. Until they are removed they are selected like others, and the executor
//! decides: a fee that cannot be paid is refused there. A sender's next transaction removes its own first.

use vibecoin_primitives::{Address, Nonce};

use crate::pool::amount;
use crate::{Mempool, Reason};

/// Maximum number of senders whose transactions wait to be removed; those of a further one are removed at once.
const OVERDRAWN_MAX: usize = 4_096;

impl Mempool {
    /// Remembers a sender that cannot pay for all of its transactions.
    pub(crate) fn note_overdrawn(&mut self, address: &Address) {
        if self.unaffordable(address).is_none() {
            return;
        }
        let is_full = self.overdrawn.len() >= OVERDRAWN_MAX;
        self.overdrawn.insert(*address);
        if is_full {
            self.trim(address, usize::MAX);
        }
    }

    /// Removes up to `count_max` of the tails that their senders cannot pay for. Those in a block under construction
    /// stay.
    pub(crate) fn trim_some(&mut self, count_max: usize) {
        let mut left = count_max;
        while left > 0
            && self.none_pinned()
            && let Some(address) = self.overdrawn.first().copied()
        {
            let count = self.trim(&address, left);
            left = left.saturating_sub(count.max(1));
        }
    }

    /// Removes up to `count_max` of the tails that one sender cannot pay for, and returns their number.
    pub(crate) fn trim(&mut self, address: &Address, count_max: usize) -> usize {
        if !self.overdrawn.contains(address) {
            return 0;
        }
        let mut count = 0usize;
        while let Some((needed, last)) = self.unaffordable(address) {
            if count >= count_max || self.is_pinned(&(*address, last)) {
                self.relink(address);
                return count;
            }
            let available = self
                .rows
                .get(address)
                .map(|row| row.balance())
                .unwrap_or_default();
            let needed = amount(needed);
            self.take(&(*address, last), Reason::Unaffordable { needed, available });
            count = count.saturating_add(1);
        }
        self.overdrawn.remove(address);
        self.relink(address);
        count
    }

    /// Returns true if [`Mempool::trim_some`] has work to do.
    pub(crate) fn has_overdrawn(&self) -> bool {
        !self.overdrawn.is_empty() && self.none_pinned()
    }

    /// The summed costs and the last nonce of a row that its account cannot pay.
    fn unaffordable(&self, address: &Address) -> Option<(u128, Nonce)> {
        let row = self
            .rows
            .get(address)
            .filter(|row| row.costs() > u128::from(row.balance().0))?;
        Some((row.costs(), row.last()?.nonce))
    }
}
