//! The lists that refer to a transaction, and the counts: kept in step with the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use vibecoin_primitives::{Address, Hash, Nonce};

use super::Mempool;
use crate::class::{BlockSpace, Class};
use crate::entry::{Entry, Place, place_of};
use crate::{Departure, Reason};

impl Mempool {
    /// Position of the transaction with this arrival.
    pub(crate) fn place_of_arrival(&self, arrival: u64) -> Option<Place> {
        self.by_arrival.get(&arrival).map(|tx| place_of(tx))
    }

    pub(crate) fn entry(&self, place: &Place) -> Option<&Entry> {
        self.rows.get(&place.0)?.get(place.1)
    }

    /// Removes a transaction and returns its id.
    pub(super) fn depart(&mut self, place: &Place, reason: Reason) -> Option<Hash> {
        let id = self.take(place, reason);
        self.relink(&place.0);
        id
    }

    /// Removes a transaction from its row and all lists except `heads` and `tails`: [`Mempool::relink`] must follow.
    pub(crate) fn take(&mut self, place: &Place, reason: Reason) -> Option<Hash> {
        let entry = self.rows.get_mut(&place.0)?.take(place.1)?;
        self.unlist(&entry, reason);
        Some(*entry.transaction.id())
    }

    pub(super) fn enlist(&mut self, entry: &Entry) {
        let transaction = &entry.transaction;
        self.by_id.insert(*transaction.id(), Arc::clone(transaction));
        self.by_hash.insert(*transaction.hash(), Arc::clone(transaction));
        self.by_arrival
            .insert(entry.rank.arrival, Arc::clone(transaction));
        self.by_expiry
            .insert((transaction.body().valid_until, entry.rank.arrival));
        self.bytes = self.bytes.saturating_add(entry.bytes());
    }

    pub(super) fn unlist(&mut self, entry: &Entry, mut reason: Reason) {
        let transaction = &entry.transaction;
        // It has been reported so before.
        if entry.valid_until < self.next_height && !matches!(reason, Reason::Included { .. }) {
            let valid_until = entry.valid_until;
            reason = Reason::Expired { valid_until };
        }
        self.by_id.remove(transaction.id());
        self.by_hash.remove(transaction.hash());
        self.by_arrival.remove(&entry.rank.arrival);
        self.by_expiry
            .remove(&(transaction.body().valid_until, entry.rank.arrival));
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        self.departures.push(Departure {
            id: *transaction.id(),
            sender: transaction.sender(),
            nonce: entry.nonce,
            valid_until: entry.valid_until,
            reason,
        });
    }

    /// Reconciles `heads`, `tails` and the counts with a row that has changed.
    pub(crate) fn relink(&mut self, address: &Address) {
        let Some(row) = self.rows.get_mut(address) else {
            return;
        };
        row.refresh();
        for nonce in std::mem::take(&mut row.promoted) {
            self.promoted.push((*address, nonce));
        }
        let head = row.first_pending().map(|entry| {
            let known = row.head.filter(|(_, rank)| *rank == entry.rank);
            let class = || Class::of(&BlockSpace::needed(&entry.transaction, &self.params));
            let class = known.map_or_else(class, |(class, _)| class);
            ((class, entry.rank), entry.nonce)
        });
        relist(&mut self.heads, &mut row.head, head, address);
        let tail = row.last().map(|entry| (row.standing(entry), entry.nonce));
        relist(&mut self.tails, &mut row.tail, tail, address);
        self.pending = self
            .pending
            .saturating_sub(row.counted)
            .saturating_add(row.pending_count());
        row.counted = row.pending_count();
        self.pending_bytes = self
            .pending_bytes
            .saturating_sub(row.counted_bytes)
            .saturating_add(row.pending_bytes());
        row.counted_bytes = row.pending_bytes();
        if row.is_empty() {
            self.rows.remove(address);
        }
    }
}

/// Lists a row under its current key.
fn relist<K: Copy + Ord>(
    list: &mut BTreeMap<K, Place>,
    listed: &mut Option<K>,
    now: Option<(K, Nonce)>,
    address: &Address,
) {
    let key = now.map(|(key, _)| key);
    if *listed == key {
        return;
    }
    if let Some(old) = listed {
        list.remove(old);
    }
    if let Some((key, nonce)) = now {
        list.insert(key, (*address, nonce));
    }
    *listed = key;
}
