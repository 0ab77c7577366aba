//! Copy of the pool's contents for readers: RPC never waits for the replica's thread.
//!
//! The driver updates it after each answer of the pool and after each block; locks are held for one lookup,
//! or one scan of all ids where a page is requested. Only the pool itself decides on transactions.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use vibecoin_mempool::memory::{READERS_BYTES, block, charge, hashed};
use vibecoin_primitives::{Address, FastMap, Hash, Nonce, TimeMs, VerifiedTransaction};

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// Time of arrival.
    pub since: TimeMs,
}

#[derive(Default)]
struct Inner {
    by_id: FastMap<Hash, Waiting>,
    /// Ascending by nonce; never empty.
    by_sender: FastMap<Address, Vec<Arc<VerifiedTransaction>>>,
    /// In order of arrival. The first is in the pool; later ones may have left.
    arrivals: VecDeque<(TimeMs, Hash)>,
    bytes: u64,
}

impl Inner {
    fn insert(&mut self, transaction: Arc<VerifiedTransaction>, now: TimeMs) {
        let (sender, id) = (transaction.sender(), *transaction.id());
        let queue = self.by_sender.entry(sender).or_default();
        let replaced = match find(queue, transaction.body().nonce) {
            Ok(at) => queue
                .get_mut(at)
                .map(|old| std::mem::replace(old, Arc::clone(&transaction))),
            Err(at) => {
                if queue.capacity() == 0 {
                    // The median sender has one.
                    queue.reserve_exact(1);
                }
                queue.insert(at, Arc::clone(&transaction));
                None
            }
        };
        if let Some(old) = replaced.filter(|old| *old.id() != id) {
            self.forget(old.id());
        }
        if let Some(there) = self.by_id.get_mut(&id) {
            there.transaction = transaction;
            return;
        }
        self.bytes = self.bytes.saturating_add(charged(&transaction));
        self.arrivals.push_back((now, id));
        let since = now;
        self.by_id.insert(id, Waiting { transaction, since });
    }

    fn remove(&mut self, id: &Hash) {
        let Some(gone) = self.forget(id) else { return };
        let (sender, nonce) = (gone.transaction.sender(), gone.transaction.body().nonce);
        let Some(queue) = self.by_sender.get_mut(&sender) else {
            return;
        };
        if let Ok(at) = find(queue, nonce)
            && queue.get(at).is_some_and(|there| there.id() == id)
        {
            queue.remove(at);
            // Otherwise the capacity of a long queue would stay with its last entry.
            if queue.len() < queue.capacity() / 4 {
                queue.shrink_to(queue.len().saturating_mul(2));
            }
        }
        if queue.is_empty() {
            self.by_sender.remove(&sender);
        }
    }

    fn forget(&mut self, id: &Hash) -> Option<Waiting> {
        let gone = self.by_id.remove(id)?;
        self.bytes = self.bytes.saturating_sub(charged(&gone.transaction));
        Some(gone)
    }

    /// Compacts the arrivals: the first is in the pool, and departed ones are never the majority.
    fn tidy(&mut self) {
        let waits = |(since, id): &(TimeMs, Hash)| self.by_id.get(id).is_some_and(|it| it.since == *since);
        while self.arrivals.front().is_some_and(|first| !waits(first)) {
            self.arrivals.pop_front();
        }
        if self.arrivals.len()
            > self
                .by_id
                .len()
                .saturating_mul(3)
                .div_ceil(2)
                .saturating_add(1024)
        {
            self.arrivals.retain(waits);
        }
    }
}

fn charged(transaction: &VerifiedTransaction) -> u64 {
    u64::try_from(charge(transaction)).unwrap_or(u64::MAX)
}

fn find(queue: &[Arc<VerifiedTransaction>], nonce: Nonce) -> Result<usize, usize> {
    queue.binary_search_by_key(&nonce, |there| there.body().nonce)
}

/// The first nonce from `committed` on that is not in the queue. Nonces ascend without repetition, so a
/// prefix is without a gap exactly as long as each nonce is `committed` plus its position.
fn next_nonce(queue: &[Arc<VerifiedTransaction>], committed: Nonce) -> Nonce {
    let passed = queue.partition_point(|there| there.body().nonce < committed);
    let queue = queue.get(passed..).unwrap_or_default();
    let (mut unbroken, mut end) = (0usize, queue.len());
    while unbroken < end {
        let middle = unbroken.midpoint(end);
        let ahead = queue
            .get(middle)
            .map(|there| there.body().nonce.0.saturating_sub(committed.0));
        if ahead == Some(middle as u64) {
            unbroken = middle.saturating_add(1);
        } else {
            end = middle;
        }
    }
    committed.saturating_add(unbroken as u64)
}

/// The pool charges for this copy: the entries of the three lists, the last of which has capacity for twice
/// as many as were in it when it grew, and half as many again for departed ones.
const _: () = assert!(
    hashed(size_of::<(Hash, Waiting)>())
        + hashed(size_of::<(Address, Vec<Arc<VerifiedTransaction>>)>())
        + block(size_of::<Arc<VerifiedTransaction>>())
        + size_of::<(TimeMs, Hash)>() * 3
        <= READERS_BYTES
);

/// The readers' copy of the pool.
#[derive(Default)]
pub struct PoolIndex {
    inner: RwLock<Inner>,
}

/// Number and bytes of the transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Number of transactions.
    pub count: u64,
    /// Bytes of memory that the pool charges for them.
    pub bytes: u64,
}

impl PoolIndex {
    /// Adds transactions that the pool accepted.
    pub fn insert(&self, transactions: impl IntoIterator<Item = Arc<VerifiedTransaction>>, now: TimeMs) {
        let mut inner = self.inner.write();
        for transaction in transactions {
            inner.insert(transaction, now);
        }
        inner.tidy();
    }

    /// Removes transactions that left the pool.
    pub fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a Hash>) {
        let mut inner = self.inner.write();
        for id in ids {
            inner.remove(id);
        }
        inner.tidy();
    }

    /// The transaction with this id.
    pub fn get(&self, id: &Hash) -> Option<Waiting> {
        self.inner.read().by_id.get(id).cloned()
    }

    /// Transactions of one sender, ascending by nonce.
    pub fn of_sender(&self, sender: &Address) -> Vec<Waiting> {
        let inner = self.inner.read();
        let ids = inner.by_sender.get(sender).into_iter().flatten();
        ids.filter_map(|waits| inner.by_id.get(waits.id()).cloned())
            .collect()
    }

    /// Returns true if the transaction with this id is in the pool.
    pub fn contains(&self, id: &Hash) -> bool {
        self.inner.read().by_id.contains_key(id)
    }

    /// The missing nonce that `nonce` of a sender waits for, when its next nonce is `committed`; `None` when
    /// there is no gap. Two binary searches, and nothing is copied.
    pub fn gap(&self, sender: &Address, nonce: Nonce, committed: Nonce) -> Option<Nonce> {
        let inner = self.inner.read();
        let queue = inner.by_sender.get(sender).map_or(&[][..], Vec::as_slice);
        let next = next_nonce(queue, committed);
        (nonce >= next).then_some(next)
    }

    /// Up to `limit` transactions in ascending order of ids above `after`. Scans all ids, once.
    pub fn list(&self, after: Option<&Hash>, limit: usize) -> Vec<Waiting> {
        let inner = self.inner.read();
        let mut page: BinaryHeap<&Hash> = BinaryHeap::new();
        for id in inner
            .by_id
            .keys()
            .filter(|id| after.is_none_or(|after| *id > after))
        {
            if page.len() < limit {
                page.push(id);
            } else if let Some(mut highest) = page.peek_mut()
                && id < *highest
            {
                *highest = id;
            }
        }
        let ids = page.into_sorted_vec().into_iter();
        ids.filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }

    /// Number and bytes of the transactions.
    pub fn totals(&self) -> Totals {
        let inner = self.inner.read();
        Totals {
            count: inner.by_id.len() as u64,
            bytes: inner.bytes,
        }
    }

    /// Arrival of the oldest transaction.
    pub fn oldest(&self) -> Option<TimeMs> {
        self.inner.read().arrivals.front().map(|(since, _)| *since)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeMap;

    use vibecoin_primitives::{Amount, Height, Operation, SecretKey, TransactionBody};

    use super::*;

    const GENESIS: Hash = Hash([7; 32]);

    fn transaction(sender: u8, nonce: u64, fee: u64) -> Arc<VerifiedTransaction> {
        let key = SecretKey::from_seed(&[sender; 32]);
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key.public_key(),
            nonce: Nonce(nonce),
            fee: Amount(fee),
            valid_until: Height(9),
            operations: vec![Operation::Transfer {
                to: Address([1; 32]),
                amount: Amount(1),
            }],
        };
        Arc::new(body.sign(&GENESIS, &key).verify(&GENESIS).unwrap())
    }

    /// All queries of the index, against one ordered map that is searched from end to end.
    #[test]
    fn it_tells_what_a_plain_map_would() {
        let index = PoolIndex::default();
        let mut model: BTreeMap<Hash, Waiting> = BTreeMap::new();
        let mut dice = 1u64;
        let mut roll = |sides: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        for now in 0..3_000u64 {
            let one = transaction(u8::try_from(roll(3)).unwrap(), roll(6), roll(2));
            let place = |it: &Waiting| (it.transaction.sender(), it.transaction.body().nonce);
            if roll(5) < 2 {
                index.remove([one.id()]);
                model.remove(one.id());
            } else {
                index.insert([Arc::clone(&one)], TimeMs(now));
                if !model.contains_key(one.id()) {
                    model.retain(|_, it| place(it) != (one.sender(), one.body().nonce));
                    let since = TimeMs(now);
                    model.insert(
                        *one.id(),
                        Waiting {
                            transaction: Arc::clone(&one),
                            since,
                        },
                    );
                }
            }
            let totals = index.totals();
            let bytes = model.values().map(|it| charged(&it.transaction)).sum();
            assert_eq!((totals.count, totals.bytes), (model.len() as u64, bytes));
            assert_eq!(index.oldest(), model.values().map(|it| it.since).min());
            let ids = |list: &[Waiting]| list.iter().map(|it| *it.transaction.id()).collect::<Vec<_>>();
            let after = *one.id();
            let expected: Vec<Hash> = model
                .range(after..)
                .map(|(id, _)| *id)
                .filter(|id| *id != after)
                .collect();
            assert_eq!(ids(&index.list(Some(&after), 100)), expected);
            assert_eq!(
                ids(&index.list(Some(&after), 3)),
                &expected[..expected.len().min(3)]
            );
            assert_eq!(
                ids(&index.list(None, 100)),
                model.keys().copied().collect::<Vec<_>>()
            );
            let mut mine: Vec<&Waiting> = model.values().filter(|it| place(it).0 == one.sender()).collect();
            mine.sort_by_key(|it| place(it).1);
            for committed in 0..7 {
                // From nonce to nonce.
                let mut next = Nonce(committed);
                for it in &mine {
                    if place(it).1 == next {
                        next = Nonce(next.0 + 1);
                    }
                }
                for nonce in (0..7).map(Nonce) {
                    let gap = (nonce >= next).then_some(next);
                    assert_eq!(index.gap(&one.sender(), nonce, Nonce(committed)), gap);
                }
            }
            let mine: Vec<Hash> = mine.iter().map(|it| *it.transaction.id()).collect();
            assert_eq!(ids(&index.of_sender(&one.sender())), mine);
            assert_eq!(
                index.get(one.id()).map(|it| it.since),
                model.get(one.id()).map(|it| it.since)
            );
        }
        assert!(
            index.inner.read().arrivals.len() < 1_100,
            "what left is forgotten"
        );
    }
}
