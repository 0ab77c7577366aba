//! Outcomes of the transactions that left.

use std::collections::VecDeque;

use vibecoin_execution::InvalidTransaction;
use vibecoin_primitives::{Address, Amount, FastMap, Hash, Height, Nonce};

/// A transaction left the pool. Peers may still have it: only the chain ends it, with a block that uses its
/// nonce, or with its last height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The transaction's identifier.
    pub id: Hash,
    /// Its sender.
    pub sender: Address,
    /// Its nonce.
    pub nonce: Nonce,
    /// The last height whose block may include it.
    pub valid_until: Height,
    /// The reason for which it left.
    pub reason: Reason,
}

/// Reason why a transaction left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It was included in a block.
    #[error("included at height {height}")]
    Included {
        /// Height of the block.
        height: Height,
    },
    /// Its sender sent another one with the same nonce and a higher fee.
    #[error("replaced by {by}")]
    Replaced {
        /// The other one.
        by: Hash,
    },
    /// The pool was full and another one paid more per byte, or this one waited behind a nonce gap.
    #[error("evicted from a full pool for {by}")]
    Evicted {
        /// A transaction that took its place.
        by: Hash,
    },
    /// Its last allowed height has passed.
    #[error("expired: valid until height {valid_until}")]
    Expired {
        /// That height.
        valid_until: Height,
    },
    /// It has waited for longer than this node keeps transactions.
    #[error("waited {waited_ms} ms, the limit is {limit_ms} ms")]
    TooOld {
        /// Time that it waited, in milliseconds.
        waited_ms: u64,
        /// The limit, in milliseconds.
        limit_ms: u64,
    },
    /// It can no longer be in a block.
    #[error("invalid: {0}")]
    Invalid(InvalidTransaction),
    /// Its sender can no longer pay for all its transactions in the pool.
    #[error("the sender's transactions in the pool need {needed}, its balance is {available}")]
    Unaffordable {
        /// Fees of the sender's transactions up to and including this one, and the amounts that they transfer
        /// and pay for storage.
        needed: Amount,
        /// The sender's balance.
        available: Amount,
    },
    /// It was removed manually.
    #[error("taken out by the operator")]
    Cleared,
}

/// The last departures, oldest first, and the position of each identifier among them.
#[derive(Clone, Debug)]
pub(crate) struct DepartureLog {
    ring: VecDeque<Departure>,
    /// Number of the departure at the front of the ring.
    first: u64,
    latest: FastMap<Hash, u64>,
    most: usize,
}

impl DepartureLog {
    pub fn new(most: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            first: 0,
            latest: FastMap::default(),
            most,
        }
    }

    /// The number that the next departure will have.
    pub fn next(&self) -> u64 {
        self.first
            .saturating_add(u64::try_from(self.ring.len()).unwrap_or(u64::MAX))
    }

    pub fn push(&mut self, departure: Departure) {
        let number = self.next();
        self.ring.push_back(departure);
        self.latest.insert(departure.id, number);
        while self.ring.len() > self.most {
            let Some(oldest) = self.ring.pop_front() else {
                return;
            };
            // The same id may have left again later.
            if self.latest.get(&oldest.id) == Some(&self.first) {
                self.latest.remove(&oldest.id);
            }
            self.first = self.first.saturating_add(1);
        }
    }

    pub fn get(&self, id: &Hash) -> Option<Reason> {
        let at = self.latest.get(id)?.checked_sub(self.first)?;
        self.ring
            .get(usize::try_from(at).ok()?)
            .map(|departure| departure.reason)
    }

    /// Departures from number `from` on, as far as they are remembered.
    pub fn since(&self, from: u64) -> impl ExactSizeIterator<Item = &Departure> {
        let at = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.ring.range(at.min(self.ring.len())..)
    }
}
