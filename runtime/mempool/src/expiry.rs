//! Removal of transactions that can no longer be in a block, a bounded number at a time.
//!
//! A transaction has expired as soon as its last height is passed: it is not selected, not relayed, and
//! reported as departed, and its sender's later ones are queued. That takes the comparison of one height; see
//! [`Entry::until_min`](crate::entry::Entry). Its memory, the lists that refer to it and the figures of
//! [`Stats`](crate::Stats) follow later, in steps of
//! [`MempoolConfig::expired_step_max`](crate::MempoolConfig): tens of thousands may expire at one height, and
//! removing them at once kept a node from its duties for most of a second. An operation that needs their place
//! earlier removes them itself: a transaction of the same sender, and an incoming one in a full pool.

use std::collections::BTreeSet;

use vibecoin_primitives::{Address, Height};

use crate::entry::Place;
use crate::{Departure, Mempool, Reason};

impl Mempool {
    /// From now on no transaction counts that cannot be in a block at `next_height` or later. Removes some of
    /// these and of those that have waited too long, as [`Mempool::expire_more`] does.
    pub fn expire(&mut self, next_height: Height, now_ms: u64) -> Vec<Departure> {
        self.now_ms = self.now_ms.max(now_ms);
        self.next_height = self.next_height.max(next_height);
        self.expired_ms = self.now_ms;
        self.expire_more()
    }

    /// Removes up to [`MempoolConfig::expired_step_max`](crate::MempoolConfig) of the transactions that had
    /// expired, or waited too long, when [`Mempool::expire`] was called last, or that their senders cannot pay for
    /// (`overdrawn.rs`). Call it in every step; without
    /// work it is two searches.
    pub fn expire_more(&mut self) -> Vec<Departure> {
        let first = self.departures.next();
        // Linked once each: a long row may expire from its front to its end.
        let mut changed: BTreeSet<Address> = BTreeSet::new();
        let mut left = self.config.expired_step_max;
        while left > 0 {
            let Some((place, reason)) = self.first_expired().or_else(|| self.first_too_old()) else {
                break;
            };
            self.take(&place, reason);
            changed.insert(place.0);
            left = left.saturating_sub(1);
        }
        for address in changed {
            self.relink(&address);
        }
        self.trim_some(left);
        self.departures.since(first).copied().collect()
    }

    /// Returns true if [`Mempool::expire_more`] has work to do.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.first_expired().or_else(|| self.first_too_old()).is_some() || self.has_overdrawn()
    }

    fn first_expired(&self) -> Option<(Place, Reason)> {
        let (valid_until, arrival) = self.by_expiry.first().copied()?;
        if valid_until >= self.next_height {
            return None;
        }
        let place = self.place_of_arrival(arrival)?;
        Some((place, Reason::Expired { valid_until }))
    }

    /// Transactions in a block under construction stay until the block is committed or abandoned.
    fn first_too_old(&self) -> Option<(Place, Reason)> {
        let (arrival, _) = self.by_arrival.first_key_value()?;
        let place = self.place_of_arrival(*arrival)?;
        let waited_ms = self.expired_ms.saturating_sub(self.entry(&place)?.since_ms);
        let limit_ms = self.config.ttl_ms;
        (waited_ms > limit_ms && !self.is_pinned(&place))
            .then_some((place, Reason::TooOld { waited_ms, limit_ms }))
    }

    /// Removes the expired transactions of one sender, so that its row matches its visible state.
    pub(crate) fn expire_row(&mut self, sender: &Address) {
        let height = self.next_height;
        let Some(row) = self.rows.get(sender).filter(|row| row.has_expired(height)) else {
            return;
        };
        let expired = row.entries().filter(|entry| entry.valid_until < height);
        let expired: Vec<_> = expired.map(|entry| (entry.nonce, entry.valid_until)).collect();
        for (nonce, valid_until) in expired {
            self.take(&(*sender, nonce), Reason::Expired { valid_until });
        }
        self.relink(sender);
    }

    /// Removes expired transactions until `bytes` more at `place` fit, or none is left.
    pub(crate) fn expire_for(&mut self, bytes: usize, place: Place) {
        while self.excess(bytes, Some(place), false) != (0, 0)
            && let Some((expired, reason)) = self.first_expired()
        {
            self.take(&expired, reason);
            self.relink(&expired.0);
        }
    }
}
