//! The pool: arrivals, committed blocks, removals.
//!
//! `admission` are the rules among the transactions of one sender, `lists` the lists and counts over all rows,
//! `queries` what readers see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use vibecoin_execution::{InvalidTransaction, admit};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, FastMap, Hash, Height, Nonce, VerifiedTransaction,
};

use crate::class::Class;
use crate::departures::DepartureLog;
use crate::entry::{Entry, Place, Rank, Standing, place_of};
use crate::memory::charge;
use crate::promoted::Promoted;
use crate::selection::Arrivals;
use crate::sender_queue::SenderQueue;
use crate::{Departure, FeeRate, MempoolConfig, MempoolError, Reason, Status, planted};

mod admission;
mod lists;
mod queries;

use queries::status;
pub use queries::{Listed, Stats};

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
            self.reconcile(address, planted::next_nonce(account.nonce), account.balance);
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

    /// Returns true if no block is under construction.
    pub(crate) fn none_pinned(&self) -> bool {
        self.pinned.is_empty()
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
}

/// For messages: the largest amount when it does not fit.
pub(crate) fn amount(value: u128) -> Amount {
    Amount(u64::try_from(value).unwrap_or(u64::MAX))
}
