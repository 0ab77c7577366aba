//! The pool.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use vibecoin_execution::{InvalidTransaction, admit};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, FastMap, Hash, Height, Nonce, VerifiedTransaction,
};

use crate::class::{BlockSpace, Class};
use crate::departures::DepartureLog;
use crate::entry::{Entry, Place, Rank, Standing, cost, place_of};
use crate::memory::charge;
use crate::promoted::Promoted;
use crate::selection::Arrivals;
use crate::sender_queue::SenderQueue;
use crate::{Departure, FeeRate, MempoolConfig, MempoolError, Reason, Status};

/// Maximum number of transactions remembered as set aside.
pub const ASIDE_MAX: usize = 1024;

/// Transactions that wait for a block.
///
/// Every operation costs a few ordered-map steps, independent of the size of the pool.
#[derive(Clone, Debug)]
pub struct Mempool {
    pub(crate) config: MempoolConfig,
    pub(crate) params: Arc<ChainParams>,
    /// Only for lookups, never iterated. No row is empty.
    pub(crate) rows: FastMap<Address, Box<SenderQueue>>,
    by_id: FastMap<Hash, Arc<VerifiedTransaction>>,
    by_hash: FastMap<Hash, Arc<VerifiedTransaction>>,
    pub(crate) by_arrival: BTreeMap<u64, Arc<VerifiedTransaction>>,
    pub(crate) by_expiry: BTreeSet<(Height, u64)>,
    /// The first pending transaction of each row.
    pub(crate) heads: BTreeMap<(Class, Rank), Place>,
    /// The last transaction of each row.
    pub(crate) tails: BTreeMap<Standing, Place>,
    pub(crate) arrivals: Arrivals,
    promoted: Promoted,
    pub(crate) pending: usize,
    pub(crate) pending_bytes: usize,
    pub(crate) bytes: usize,
    next_arrival: u64,
    /// The height after the newest committed block: transactions valid only below it have expired.
    pub(crate) next_height: Height,
    pub(crate) now_ms: u64,
    /// The time against which waiting times are measured; see [`Mempool::expire`].
    pub(crate) expired_ms: u64,
    pub(crate) departures: DepartureLog,
    /// The last nonce of each sender in the block under construction. Only for lookups, never iterated.
    pinned: FastMap<Address, Nonce>,
    /// Identifiers of transactions that made the executor panic, oldest first.
    aside: VecDeque<Hash>,
    /// Senders that can no longer pay for all of their transactions, see `overdrawn.rs`.
    pub(crate) overdrawn: BTreeSet<Address>,
}

/// Result of accepting a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// [`Status::Pending`] or [`Status::Queued`].
    pub status: Status,
    /// The transaction whose place it took.
    pub replaced: Option<Hash>,
    /// Transactions that were evicted from a full pool for it.
    pub evicted: Vec<Hash>,
}

/// A committed block.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// Its height.
    pub height: Height,
    /// Identifiers of its transactions.
    pub included: &'a [Hash],
    /// Accounts that it changed, with their new values. Those without transactions in the pool do no harm.
    pub accounts: &'a [(Address, Option<Account>)],
}

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
    /// An empty pool for a chain with these parameters.
    #[must_use]
    pub fn new(config: MempoolConfig, params: Arc<ChainParams>) -> Self {
        let config = config.sane();
        Self {
            config,
            params,
            rows: FastMap::default(),
            by_id: FastMap::default(),
            by_hash: FastMap::default(),
            by_arrival: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            heads: BTreeMap::new(),
            tails: BTreeMap::new(),
            arrivals: Arrivals::default(),
            promoted: Promoted::default(),
            pending: 0,
            pending_bytes: 0,
            bytes: 0,
            next_arrival: 0,
            next_height: Height(0),
            now_ms: 0,
            expired_ms: 0,
            departures: DepartureLog::new(config.fates_max),
            pinned: FastMap::default(),
            aside: VecDeque::new(),
            overdrawn: BTreeSet::new(),
        }
    }

    /// The bounds in force.
    #[must_use]
    pub const fn config(&self) -> &MempoolConfig {
        &self.config
    }

    /// Accepts a transaction, or returns the reason of the refusal.
    ///
    /// `account` is the sender's at the last committed block, `next_height` the height after that block.
    ///
    /// # Errors
    /// [`MempoolError`] with the first rule that does not hold: form, nonce and fee, then replacement or the
    /// sender's bounds, then funds, then capacity.
    pub fn insert(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        account: Option<&Account>,
        next_height: Height,
        now_ms: u64,
    ) -> Result<Inserted, MempoolError> {
        self.now_ms = self.now_ms.max(now_ms);
        self.next_height = self.next_height.max(next_height);
        self.expire_row(&transaction.sender());
        let id = *transaction.id();
        if self.by_id.contains_key(&id) {
            return Err(MempoolError::AlreadyKnown { id });
        }
        if self.aside.contains(&id) {
            return Err(InvalidTransaction::SetAside.into());
        }
        admit(account, &self.params, next_height, &transaction)?;
        let account = account.copied().unwrap_or_default();
        let (sender, nonce) = (transaction.sender(), transaction.body().nonce);
        let outdated = |row: &SenderQueue| row.nonce() != account.nonce || row.balance() != account.balance;
        if self.rows.get(&sender).is_some_and(|row| outdated(row)) {
            self.reconcile(&sender, account.nonce, account.balance);
        }
        self.trim(&sender, usize::MAX);
        let cost = self.check_row(&transaction, &account)?;
        self.expire_for(charge(&transaction), (sender, nonce));
        let victims = self.make_room(&transaction, &account)?;

        let evicted = victims
            .iter()
            .filter_map(|place| self.depart(place, Reason::Evicted { by: id }))
            .collect();
        let arrival = self.next_arrival;
        self.next_arrival = arrival.saturating_add(1);
        let rate = FeeRate::of(&transaction, &self.params);
        let entry = Entry::new(transaction, rate, cost, arrival, self.now_ms);
        self.enlist(&entry);
        let row = self
            .rows
            .entry(sender)
            .or_insert_with(|| Box::new(SenderQueue::new(&account)));
        let old = row.put(entry);
        // Its own status is in the answer.
        row.promoted.retain(|promoted| *promoted != nonce);
        let status = status(row, nonce, self.next_height);
        if let Some(old) = &old {
            self.unlist(old, Reason::Replaced { by: id });
        }
        if status == Status::Pending {
            self.arrivals.push(sender);
        }
        self.relink(&sender);
        Ok(Inserted {
            status,
            replaced: old.map(|old| *old.transaction.id()),
            evicted,
        })
    }

    /// Applies a committed block: removes the included transactions, those that the new accounts invalidate,
    /// and some of those too old for the next block, as [`Mempool::expire`] does. Returns all departures.
    pub fn on_committed(&mut self, block: &Committed<'_>, now_ms: u64) -> Vec<Departure> {
        self.pinned.clear();
        let first = self.departures.next();
        let mut spent: BTreeMap<Address, Nonce> = BTreeMap::new();
        for id in block.included {
            let Some((sender, nonce)) = self.by_id.get(id).map(|tx| place_of(tx)) else {
                continue;
            };
            self.take(&(sender, nonce), Reason::Included { height: block.height });
            let next = spent.entry(sender).or_default();
            *next = nonce.saturating_add(1).max(*next);
        }
        for (address, account) in block.accounts {
            spent.remove(address);
            let account = account.unwrap_or_default();
            let nonce = account
                .nonce
                .saturating_add(u64::from(active(Bug::NonceOffByOne)));
            self.reconcile(address, nonce, account.balance);
        }
        // Senders in the block but not among the accounts have spent nonces all the same.
        for (sender, next) in spent {
            let Some(row) = self.rows.get(&sender) else {
                continue;
            };
            let (nonce, balance) = (next.max(row.nonce()), row.balance());
            self.reconcile(&sender, nonce, balance);
        }
        self.trim_some(self.config.expired_step_max);
        self.expire(block.height.saturating_add(1), now_ms);
        self.departures.since(first).copied().collect()
    }

    /// Removes one transaction manually and returns true if it was there. Its sender's later ones stay, queued.
    pub fn remove(&mut self, id: &Hash) -> bool {
        self.depart_by_id(id, Reason::Cleared)
    }

    /// Removes a transaction that could not be executed and returns true if it was there. Its sender's later
    /// ones stay, queued.
    pub fn reject(&mut self, id: &Hash, why: InvalidTransaction) -> bool {
        self.depart_by_id(id, Reason::Invalid(why))
    }

    /// Removes a transaction that made the executor panic and never accepts it again, as long as it is among
    /// the last [`ASIDE_MAX`] of them. Returns true if it was there.
    pub fn set_aside(&mut self, id: &Hash) -> bool {
        if !self.aside.contains(id) {
            if self.aside.len() >= ASIDE_MAX {
                self.aside.pop_front();
            }
            self.aside.push_back(*id);
        }
        self.depart_by_id(id, Reason::Invalid(InvalidTransaction::SetAside))
    }

    /// The transaction with this id is in a block under construction: it is neither replaced nor evicted
    /// until [`Mempool::on_committed`] or [`Mempool::unpin_all`], so that its departure is never reported
    /// while the block makes it final. Pin in the order of nonces.
    pub fn pin(&mut self, transaction: &VerifiedTransaction) {
        self.pinned.insert(transaction.sender(), transaction.body().nonce);
    }

    /// The block under construction is abandoned.
    pub fn unpin_all(&mut self) {
        self.pinned.clear();
    }

    pub(crate) fn is_pinned(&self, (sender, nonce): &Place) -> bool {
        self.pinned.get(sender).is_some_and(|last| nonce <= last)
    }

    /// Removes all transactions.
    pub fn clear(&mut self) -> Vec<Departure> {
        let first = self.departures.next();
        while let Some(place) = self.by_arrival.last_key_value().map(|(_, tx)| place_of(tx)) {
            self.depart(&place, Reason::Cleared);
        }
        self.departures.since(first).copied().collect()
    }

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

    /// Returns true if no block is under construction.
    pub(crate) fn none_pinned(&self) -> bool {
        self.pinned.is_empty()
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

    /// Position of the transaction with this arrival.
    pub(crate) fn place_of_arrival(&self, arrival: u64) -> Option<Place> {
        self.by_arrival.get(&arrival).map(|tx| place_of(tx))
    }

    pub(crate) fn entry(&self, place: &Place) -> Option<&Entry> {
        self.rows.get(&place.0)?.get(place.1)
    }

    /// Checks the rules that concern the sender's other transactions, and returns the transaction's cost.
    fn check_row(
        &self,
        transaction: &VerifiedTransaction,
        account: &Account,
    ) -> Result<Amount, MempoolError> {
        let (got, fee) = (transaction.body().nonce, transaction.body().fee);
        let row = self.rows.get(&transaction.sender());
        let mut others = row.map_or(0, |row| row.costs());
        if let Some(old) = row.and_then(|row| row.get(got)) {
            if self.is_pinned(&(transaction.sender(), got)) {
                return Err(MempoolError::InBlock {
                    existing: *old.transaction.id(),
                    nonce: got,
                });
            }
            // A lower rate would withdraw a bid for which others have been evicted.
            let (bytes, slots) = (transaction.byte_len(), transaction.body().slot_count());
            let same_rate = self
                .params
                .fee_for(bytes, slots)
                .checked_add(old.rate().reach(bytes));
            let more = replacement_fee(old.fee, self.config.replacement_percent);
            let least = same_rate.zip(more).map(|(rate, more)| rate.max(more));
            // A replacement that expires before a block must include it would do the same.
            let until_min = self.evicting_until_min();
            let shortens = transaction.body().valid_until < until_min && old.until_min >= until_min;
            let least = least.filter(|_| !shortens);
            if least.is_none_or(|least| fee < least) {
                let least = least.unwrap_or(Amount::MAX);
                return Err(MempoolError::ReplacementUnderpriced {
                    existing: *old.transaction.id(),
                    least,
                    got: fee,
                });
            }
            others = others.saturating_sub(u128::from(old.cost.0));
        } else {
            let (expected, gap_max) = (
                row.map_or(account.nonce, |row| row.next_nonce()),
                self.config.nonce_gap_max,
            );
            if got.saturating_sub(expected.0).0 > gap_max {
                return Err(MempoolError::NonceGap {
                    expected,
                    got,
                    gap_max,
                });
            }
            let limit = self.config.sender_count_max;
            if row.map_or(0, |row| row.len()) >= limit {
                return Err(MempoolError::SenderLimit { limit });
            }
        }
        // The costs of the transactions behind it count too: once it closes their gap, or transfers more than
        // the one that it replaces, they could be left without their fees.
        let own = cost(transaction, &self.params);
        let needed = others.saturating_add(own);
        if needed > u128::from(account.balance.0) {
            return Err(MempoolError::InsufficientFunds {
                needed: amount(needed),
                available: account.balance,
            });
        }
        Ok(amount(own))
    }

    /// Reconciles a row with its account: used nonces leave. The tails that it cannot pay for follow.
    fn reconcile(&mut self, address: &Address, nonce: Nonce, balance: Amount) {
        // Behind expired transactions none becomes pending.
        self.expire_row(address);
        while let Some(got) = self.first_nonce(address).filter(|first| *first < nonce) {
            self.take(
                &(*address, got),
                Reason::Invalid(InvalidTransaction::NonceTooLow { expected: nonce, got }),
            );
        }
        if let Some(row) = self.rows.get_mut(address) {
            row.set_account(nonce, balance);
        }
        self.note_overdrawn(address);
        self.relink(address);
    }

    fn first_nonce(&self, address: &Address) -> Option<Nonce> {
        self.rows.get(address)?.entries().next().map(|entry| entry.nonce)
    }

    fn depart_by_id(&mut self, id: &Hash, reason: Reason) -> bool {
        let place = self.get(id).map(|tx| place_of(tx));
        place.and_then(|place| self.depart(&place, reason)).is_some()
    }

    /// Removes a transaction and returns its id.
    fn depart(&mut self, place: &Place, reason: Reason) -> Option<Hash> {
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

    fn enlist(&mut self, entry: &Entry) {
        let transaction = &entry.transaction;
        self.by_id.insert(*transaction.id(), Arc::clone(transaction));
        self.by_hash.insert(*transaction.hash(), Arc::clone(transaction));
        self.by_arrival
            .insert(entry.rank.arrival, Arc::clone(transaction));
        self.by_expiry
            .insert((transaction.body().valid_until, entry.rank.arrival));
        self.bytes = self.bytes.saturating_add(entry.bytes());
    }

    fn unlist(&mut self, entry: &Entry, mut reason: Reason) {
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

fn status(row: &SenderQueue, nonce: Nonce, next_height: Height) -> Status {
    let expected = row.next_nonce_at(next_height);
    if nonce < expected {
        Status::Pending
    } else {
        Status::Queued { expected }
    }
}

/// The minimum fee that replaces one of `fee`; `None` when it does not fit.
fn replacement_fee(fee: Amount, percent: u64) -> Option<Amount> {
    let more = u128::from(fee.0)
        .saturating_mul(u128::from(percent))
        .div_ceil(100)
        .max(1);
    fee.checked_add(Amount(u64::try_from(more).ok()?))
}

/// For messages: the largest amount when it does not fit.
pub(crate) fn amount(value: u128) -> Amount {
    Amount(u64::try_from(value).unwrap_or(u64::MAX))
}
