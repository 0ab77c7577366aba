//! What the pool contains, for its readers.

use std::sync::Arc;

use vibecoin_primitives::{Address, Hash, Height, Nonce, VerifiedTransaction};

use super::Mempool;
use crate::entry::{Entry, Place, Standing, place_of};
use crate::sender_queue::SenderQueue;
use crate::{Departure, FeeRate, Reason, Status};

/// One transaction of the pool, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// [`Status::Pending`] or [`Status::Queued`].
    pub status: Status,
    /// Counts the accepted transactions of this pool; the position at which [`Mempool::list`] continues.
    pub arrival: u64,
    /// Time of arrival, in milliseconds of the caller's clock.
    pub since_ms: u64,
}

/// Statistics of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Number of transactions.
    pub count: usize,
    /// Number of pending ones.
    pub pending: usize,
    /// Number of queued ones.
    pub queued: usize,
    /// Bytes of memory that they are charged with, see [`crate::memory`].
    pub bytes: usize,
    /// Number of accounts that sent them.
    pub senders: usize,
    /// Arrival of the oldest, in milliseconds of the caller's clock.
    pub oldest_ms: Option<u64>,
    /// The bid per byte of the cheapest that could be evicted, or of a cheaper one before it in its row.
    pub cheapest: Option<FeeRate>,
}

impl Mempool {
    /// Number of transactions, including those that have expired and are still to be removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_arrival.len()
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    /// Returns true if there are transactions for a block. A pool of queued transactions alone has none.
    /// Expired ones count until they are removed.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// The transaction with this id, unless it has expired.
    #[must_use]
    pub fn get(&self, id: &Hash) -> Option<&Arc<VerifiedTransaction>> {
        let found = self.by_id.get(id)?;
        (found.body().valid_until >= self.next_height).then_some(found)
    }

    /// The transaction with this hash, signature included: its signature has been checked. It may have expired.
    #[must_use]
    pub fn get_by_hash(&self, hash: &Hash) -> Option<&Arc<VerifiedTransaction>> {
        self.by_hash.get(hash)
    }

    /// Status of the transaction with this id.
    #[must_use]
    pub fn status(&self, id: &Hash) -> Status {
        let waiting = self
            .by_id
            .get(id)
            .map(|tx| place_of(tx))
            .and_then(|(sender, nonce)| Some((self.rows.get(&sender)?, nonce)));
        if let Some((row, nonce)) = waiting {
            let valid_until = row.get(nonce).map_or(self.next_height, |entry| entry.valid_until);
            if valid_until < self.next_height {
                return Status::Departed(Reason::Expired { valid_until });
            }
            return status(row, nonce, self.next_height);
        }
        self.departures.get(id).map_or(Status::Unknown, Status::Departed)
    }

    /// The nonce that the sender should use next; `None` when it has no transaction in the pool.
    #[must_use]
    pub fn pending_next(&self, sender: &Address) -> Option<Nonce> {
        let row = self.rows.get(sender)?;
        // A row of expired transactions alone is none.
        let valid = row.entries().any(|entry| entry.valid_until >= self.next_height);
        valid.then(|| row.next_nonce_at(self.next_height))
    }

    /// Up to `limit` transactions in the order of their arrival, from after the one with arrival `after`.
    #[must_use]
    pub fn list(&self, after: Option<u64>, limit: usize) -> Vec<Listed> {
        let from = after.map_or(Some(0), |after| after.checked_add(1));
        let places = from.into_iter().flat_map(|from| self.by_arrival.range(from..));
        let places = places.map(|(_, tx)| place_of(tx));
        let rows = places.filter_map(|(sender, nonce)| Some((self.rows.get(&sender)?, nonce)));
        rows.filter_map(|(row, nonce)| self.listed(row, row.get(nonce)?))
            .take(limit)
            .collect()
    }

    /// Transactions of one sender, ascending by nonce.
    pub fn of_sender(&self, sender: &Address) -> impl Iterator<Item = Listed> {
        self.rows
            .get(sender)
            .into_iter()
            .flat_map(|row| row.entries().filter_map(|entry| self.listed(row, entry)))
    }

    /// `None` for an expired one.
    fn listed(&self, row: &SenderQueue, entry: &Entry) -> Option<Listed> {
        (entry.valid_until >= self.next_height).then(|| Listed {
            transaction: Arc::clone(&entry.transaction),
            status: status(row, entry.nonce, self.next_height),
            arrival: entry.rank.arrival,
            since_ms: entry.since_ms,
        })
    }

    /// The last departures from number `from` on, oldest first, and the number to pass next time. Some are
    /// missing when more than `fates_max` have left since.
    pub fn departures_since(&self, from: u64) -> (impl ExactSizeIterator<Item = &Departure>, u64) {
        (self.departures.since(from), self.departures.next())
    }

    /// The transactions that became pending after they had been queued, from number `from` on, oldest first,
    /// and the number to pass next time. Each is returned once, and only while it is pending; one that is
    /// pending on arrival is not. Some are missing when too many followed.
    pub fn promoted_since(&self, from: u64) -> (impl Iterator<Item = &Arc<VerifiedTransaction>>, u64) {
        let pending = |(sender, nonce): &Place| self.rows.get(sender)?.get_pending(*nonce);
        let promoted = self.promoted.since(from).filter_map(pending);
        let promoted = promoted.filter(|entry| entry.until_min >= self.next_height);
        (promoted.map(|entry| &entry.transaction), self.promoted.next())
    }

    /// Statistics of the pool.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let oldest = self
            .by_arrival
            .first_key_value()
            .and_then(|(_, tx)| self.entry(&place_of(tx)));
        Stats {
            count: self.len(),
            pending: self.pending,
            queued: self.len().saturating_sub(self.pending),
            bytes: self.bytes,
            senders: self.rows.len(),
            oldest_ms: oldest.map(|entry| entry.since_ms),
            cheapest: self.cheapest_tail(),
        }
    }

    fn cheapest_tail(&self) -> Option<FeeRate> {
        let pending = self.tails.range(..Standing::QUEUED_MIN).next_back();
        let queued = self.tails.range(Standing::QUEUED_MIN..).next_back();
        let rates = pending.into_iter().chain(queued);
        rates.map(|(standing, _)| standing.rank.rate.0).min()
    }
}

pub(super) fn status(row: &SenderQueue, nonce: Nonce, next_height: Height) -> Status {
    let expected = row.next_nonce_at(next_height);
    if nonce < expected {
        Status::Pending
    } else {
        Status::Queued { expected }
    }
}
