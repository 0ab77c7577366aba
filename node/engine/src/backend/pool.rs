//! The pool as readers see it.

use std::sync::atomic::Ordering;

use vibecoin_primitives::{Address, Amount, Hash, Nonce};
use vibecoin_rpc_backend::{PoolAccount, PoolEntry, PoolStatus};

use super::NodeBackend;
use crate::pool_index::Waiting;

impl NodeBackend {
    /// The missing nonce if a transaction in the pool waits behind a nonce gap.
    pub(super) fn gap(&self, sender: &Address, nonce: Nonce) -> Option<Nonce> {
        let committed = self.committed_nonce(sender);
        self.shared.pool.gap(sender, nonce, committed)
    }

    pub(super) fn committed_nonce(&self, sender: &Address) -> Nonce {
        self.store
            .view()
            .account(sender)
            .ok()
            .flatten()
            .map_or(Nonce(0), |account| account.nonce)
    }

    pub(super) fn entry(&self, waiting: Waiting) -> PoolEntry {
        let queued = self
            .gap(&waiting.transaction.sender(), waiting.transaction.body().nonce)
            .is_some();
        PoolEntry {
            transaction: waiting.transaction,
            queued,
        }
    }

    /// Answers `Backend::pool_status`.
    pub(super) fn pool_totals(&self) -> PoolStatus {
        let totals = self.shared.pool.totals();
        let queued = self.shared.queued.load(Ordering::Relaxed).min(totals.count);
        PoolStatus {
            count: totals.count,
            bytes: totals.bytes,
            pending: totals.count.saturating_sub(queued),
            queued,
            oldest: self.shared.pool.oldest(),
            fee_min: Amount(self.shared.fee_min.load(Ordering::Relaxed)),
            count_max: self.pool_count_max,
            bytes_max: self.pool_bytes_max,
            per_sender_max: self.pool_sender_max,
        }
    }

    /// Answers `Backend::pool_list`.
    pub(super) fn list_pool(
        &self,
        sender: Option<&Address>,
        after: Option<&Hash>,
        limit: usize,
    ) -> Vec<PoolEntry> {
        let waiting = match sender {
            None => self.shared.pool.list(after, limit),
            Some(sender) => {
                let mut all = self.shared.pool.of_sender(sender);
                all.sort_by_key(|waiting| *waiting.transaction.id());
                all.retain(|waiting| after.is_none_or(|after| waiting.transaction.id() > after));
                all.truncate(limit);
                all
            }
        };
        waiting.into_iter().map(|waiting| self.entry(waiting)).collect()
    }

    /// Answers `Backend::pool_account`.
    pub(super) fn account_in_pool(&self, address: &Address) -> PoolAccount {
        let head = self.shared.head().header.height;
        let mut waiting = self.shared.pool.of_sender(address);
        // Expired transactions that are still in the pool do not count: a nonce behind them is never reached.
        waiting.retain(|waiting| waiting.transaction.body().valid_until > head);
        let mut next = self.committed_nonce(address);
        let mut entries = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            let queued = waiting.transaction.body().nonce > next;
            if waiting.transaction.body().nonce == next {
                next = next.saturating_add(1);
            }
            entries.push(PoolEntry {
                transaction: waiting.transaction,
                queued,
            });
        }
        let any_pending = entries.iter().any(|entry| !entry.queued);
        PoolAccount {
            entries,
            next_nonce: any_pending.then_some(next),
        }
    }
}
