//! What the pool holds, for readers: RPC never waits for the replica's thread.
//!
//! The driver writes here after each answer of the pool and after each block; locks are held for one
//! lookup. The pool itself stays the only judge.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use vibecoin_primitives::{Address, Hash, Nonce, TimeMs, VerifiedTransaction};

/// One transaction that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// When it came in.
    pub since: TimeMs,
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<Hash, Waiting>,
    by_sender: HashMap<Address, BTreeMap<Nonce, Hash>>,
    bytes: u64,
}

/// The readers' copy of the pool.
#[derive(Default)]
pub struct PoolIndex {
    inner: RwLock<Inner>,
}

/// Count and bytes of what waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Transactions.
    pub count: u64,
    /// Bytes of their encodings.
    pub bytes: u64,
}

impl PoolIndex {
    /// Notes transactions that the pool took.
    pub fn insert(&self, transactions: impl IntoIterator<Item = Arc<VerifiedTransaction>>, now: TimeMs) {
        let mut inner = self.inner.write();
        for transaction in transactions {
            let (sender, nonce, id) = (transaction.sender(), transaction.body().nonce, *transaction.id());
            let replaced = inner.by_sender.entry(sender).or_default().insert(nonce, id);
            if let Some(old) = replaced.filter(|old| *old != id)
                && let Some(old) = inner.by_id.remove(&old)
            {
                inner.bytes = inner.bytes.saturating_sub(u64::from(old.transaction.byte_len()));
            }
            let bytes = u64::from(transaction.byte_len());
            if inner
                .by_id
                .insert(
                    id,
                    Waiting {
                        transaction,
                        since: now,
                    },
                )
                .is_none()
            {
                inner.bytes = inner.bytes.saturating_add(bytes);
            }
        }
    }

    /// Notes transactions that left the pool.
    pub fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a Hash>) {
        let mut inner = self.inner.write();
        for id in ids {
            let Some(gone) = inner.by_id.remove(id) else {
                continue;
            };
            let (sender, nonce) = (gone.transaction.sender(), gone.transaction.body().nonce);
            inner.bytes = inner.bytes.saturating_sub(u64::from(gone.transaction.byte_len()));
            if let Some(queue) = inner.by_sender.get_mut(&sender) {
                if queue.get(&nonce) == Some(id) {
                    queue.remove(&nonce);
                }
                if queue.is_empty() {
                    inner.by_sender.remove(&sender);
                }
            }
        }
    }

    /// The transaction with this id.
    pub fn get(&self, id: &Hash) -> Option<Waiting> {
        self.inner.read().by_id.get(id).cloned()
    }

    /// What waits for one sender, ascending by nonce.
    pub fn of_sender(&self, sender: &Address) -> Vec<Waiting> {
        let inner = self.inner.read();
        let ids = inner.by_sender.get(sender).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }

    /// At most `limit` transactions in ascending order of ids above `after`.
    pub fn list(&self, after: Option<&Hash>, limit: usize) -> Vec<Waiting> {
        use std::ops::Bound::{Excluded, Unbounded};
        let inner = self.inner.read();
        let from = after.map_or(Unbounded, |id| Excluded(*id));
        inner
            .by_id
            .range((from, Unbounded))
            .take(limit)
            .map(|(_, waiting)| waiting.clone())
            .collect()
    }

    /// Count and bytes.
    pub fn totals(&self) -> Totals {
        let inner = self.inner.read();
        Totals {
            count: inner.by_id.len() as u64,
            bytes: inner.bytes,
        }
    }

    /// When the oldest came in.
    pub fn oldest(&self) -> Option<TimeMs> {
        self.inner
            .read()
            .by_id
            .values()
            .map(|waiting| waiting.since)
            .min()
    }
}
