//! The pool against a slow and obvious model: one list, everything computed from scratch.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
#![allow(clippy::cast_possible_truncation)]

mod support;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::*;
use vibecoin_mempool::capacity::EVICTING_HEIGHTS_MIN;
use vibecoin_mempool::memory::{charge, charge_for_transfers};
use vibecoin_mempool::{
    Committed, Departure, Mempool, MempoolConfig, MempoolError, Reason, Selection, Status,
};
use vibecoin_primitives::{Address, Amount, Hash, Height, Nonce, Operation};

const SENDERS: u8 = 6;
const COUNT_MAX: usize = 12;
/// An eighth.
const QUEUED_MAX: usize = 2;
const SENDER_MAX: usize = 5;
const GAP_MAX: u64 = 3;
const TTL_MS: u64 = 50;

#[derive(Clone, Debug)]
enum Step {
    Insert {
        sender: u8,
        /// It follows the sender's pending transactions, whatever `ahead` is.
        follows: bool,
        ahead: u64,
        fee: u64,
        long: bool,
        valid_for: u64,
    },
    Take {
        most: usize,
        skip_one: bool,
    },
    /// Commits the transactions taken so far; others may have used nonces and balance too.
    Commit {
        also: Vec<(u8, u64, u64)>,
    },
    Remove {
        at: usize,
    },
    Wait {
        ms: u64,
    },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (
        0..SENDERS,
        any::<bool>(),
        0..7u64,
        10..60u64,
        any::<bool>(),
        prop_oneof![2 => 0..12u64, 3 => 12..30u64],
    )
        .prop_map(|(sender, follows, ahead, fee, long, valid_for)| Step::Insert {
            sender,
            follows,
            ahead,
            fee,
            long: long && fee % 3 == 0,
            valid_for,
        });
    let also = prop::collection::vec((0..SENDERS, 0..3u64, 0..400u64), 0..3);
    prop_oneof![
        48 => insert,
        8 => (1..6usize, any::<bool>()).prop_map(|(most, skip_one)| Step::Take { most, skip_one }),
        4 => also.prop_map(|also| Step::Commit { also }),
        2 => (0..COUNT_MAX).prop_map(|at| Step::Remove { at }),
        4 => (1..30u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Clear),
    ]
}

#[derive(Clone, Debug)]
struct Waiting {
    tx: Tx,
    arrival: u64,
    since: u64,
}

impl Waiting {
    fn nonce(&self) -> u64 {
        self.tx.body().nonce.0
    }

    fn bytes(&self) -> usize {
        charge(&self.tx)
    }

    fn until(&self) -> u64 {
        self.tx.body().valid_until.0
    }

    fn rate(&self) -> u128 {
        rate(self.tx.body().fee.0, self.tx.byte_len() as usize)
    }

    fn is_better_than(&self, other: &Self) -> bool {
        self.rate() > other.rate() || (self.rate() == other.rate() && self.arrival < other.arrival)
    }
}

/// The part of the fee above the minimum, 10, per byte.
fn rate(fee: u64, bytes: usize) -> u128 {
    (u128::from(fee.saturating_sub(10)) << 16) / bytes as u128
}

fn cost(tx: &Tx) -> u64 {
    let amount = |operation: &Operation| match operation {
        Operation::Transfer { amount, .. } => amount.0,
        Operation::SetStorage { .. } => 0,
    };
    tx.body().fee.0 + tx.body().operations.iter().map(amount).sum::<u64>()
}

/// The whole pool as one list, and the chain as invented by the test.
struct Model {
    waiting: Vec<Waiting>,
    accounts: BTreeMap<Address, (u64, u64)>,
    arrivals: u64,
    height: u64,
    now: u64,
    bytes_max: usize,
    /// The last nonce of each sender in the block under construction.
    pinned: BTreeMap<Address, u64>,
}

impl Model {
    fn of(&self, sender: Address) -> Vec<&Waiting> {
        let mut row: Vec<_> = self.waiting.iter().filter(|w| w.tx.sender() == sender).collect();
        row.sort_by_key(|w| w.nonce());
        row
    }

    fn next_nonce(&self, sender: Address) -> u64 {
        let mut next = self.accounts[&sender].0;
        for w in self.of(sender) {
            next += u64::from(w.nonce() == next);
        }
        next
    }

    fn is_pending(&self, w: &Waiting) -> bool {
        w.nonce() < self.next_nonce(w.tx.sender())
    }

    fn is_pinned(&self, w: &Waiting) -> bool {
        self.pinned
            .get(&w.tx.sender())
            .is_some_and(|last| w.nonce() <= *last)
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(Waiting::bytes).sum()
    }

    fn queued(&self) -> (usize, usize) {
        let queued = self.waiting.iter().filter(|w| !self.is_pending(w));
        queued.fold((0, 0), |(count, bytes), w| (count + 1, bytes + w.bytes()))
    }

    /// The lowest rate of a sender's transactions before this nonce.
    fn lowest_before(&self, sender: Address, nonce: u64) -> u128 {
        let row = self.of(sender);
        let before = row.iter().filter(|w| w.nonce() < nonce);
        before.map(|w| w.rate()).min().unwrap_or(u128::MAX)
    }

    /// The lowest last height of a sender's transactions before this nonce.
    fn until_before(&self, sender: Address, nonce: u64) -> u64 {
        let row = self.of(sender);
        let before = row.iter().filter(|w| w.nonce() < nonce);
        before.map(|w| w.until()).min().unwrap_or(u64::MAX)
    }

    /// Returns true if a transaction with this last height evicts no other.
    fn is_brief(&self, until: u64) -> bool {
        until < self.height + EVICTING_HEIGHTS_MIN
    }

    /// Maximum rate at which a block includes it: its predecessors in the row are included first.
    fn worth(&self, w: &Waiting) -> u128 {
        self.lowest_before(w.tx.sender(), w.nonce()).min(w.rate())
    }

    /// Transactions evicted for one with this fee, of encoded bytes and bytes of memory, or the name of the refusal.
    fn make_room(
        &self,
        sender: Address,
        nonce: u64,
        (fee, until): (u64, u64),
        (encoded, bytes): (usize, usize),
    ) -> Result<Vec<Hash>, &'static str> {
        let is_queued = self
            .accounts
            .get(&sender)
            .is_some_and(|_| nonce > self.next_nonce(sender));
        let own = rate(fee, encoded).min(self.lowest_before(sender, nonce));
        let mut rest: Vec<&Waiting> = self
            .waiting
            .iter()
            .filter(|w| w.tx.sender() != sender || w.nonce() != nonce)
            .collect();
        let (queued, queued_bytes) = self.queued();
        let pending: BTreeSet<&Hash> = self
            .waiting
            .iter()
            .filter(|w| self.is_pending(w))
            .map(|w| w.tx.id())
            .collect();
        let is_pending = |w: &Waiting| pending.contains(w.tx.id());
        let fits = |rest: &[&Waiting]| {
            let total = |rest: &[&Waiting]| rest.iter().map(|w| w.bytes()).sum::<usize>() + bytes;
            let waits: Vec<_> = rest.iter().filter(|w| !is_pending(w)).copied().collect();
            let share = waits.len() < QUEUED_MAX.max(queued)
                && total(&waits) <= self.bytes_max.div_ceil(8).max(queued_bytes);
            rest.len() < COUNT_MAX && total(rest) <= self.bytes_max && (share || !is_queued)
        };
        let mut gone = vec![];
        let until = until.min(self.until_before(sender, nonce));
        let refusal = if is_queued { "QueueFull" } else { "PoolFull" };
        if !fits(&rest) && self.is_brief(until) {
            return Err(refusal);
        }
        while !fits(&rest) {
            let may_leave = |w: &Waiting| {
                let behind = |o: &&Waiting| o.tx.sender() == w.tx.sender() && o.nonce() > w.nonce();
                let carries_the_newcomer = w.tx.sender() == sender && w.nonce() < nonce;
                !rest.iter().any(behind) && !carries_the_newcomer && !self.is_pinned(w)
            };
            let worst = |pending: bool| {
                rest.iter()
                    .filter(|w| may_leave(w) && is_pending(w) == pending)
                    .min_by_key(|w| (self.worth(w), Reverse(w.arrival)))
            };
            // At the same rate it is the later arrival, so it is never better.
            let outbid = |w: &&&Waiting| own > self.worth(w);
            let leaves = if is_queued {
                worst(false).filter(outbid)
            } else {
                worst(false).or(worst(true).filter(outbid))
            };
            let Some(leaves) = leaves.map(|w| *w.tx.id()) else {
                return Err(refusal);
            };
            gone.push(leaves);
            rest.retain(|w| *w.tx.id() != leaves);
        }
        Ok(gone)
    }

    /// Returns true if `least` is the minimum fee that buys the place.
    fn is_least(
        &self,
        least: Amount,
        (sender, nonce): (Address, u64),
        until: u64,
        bytes: (usize, usize),
    ) -> bool {
        let gets_in = |fee| self.make_room(sender, nonce, (fee, until), bytes).is_ok();
        match least {
            Amount::MAX => !gets_in(u64::MAX),
            least => gets_in(least.0) && (least.0 <= 10 || !gets_in(least.0 - 1)),
        }
    }

    /// The name of the refusal, or the ids evicted for it.
    fn insert(&mut self, tx: &Tx) -> Result<BTreeMap<Hash, &'static str>, &'static str> {
        let (sender, nonce) = (tx.sender(), tx.body().nonce.0);
        let (account_nonce, balance) = self.accounts[&sender];
        let fee = tx.body().fee.0;
        if self.waiting.iter().any(|w| w.tx.id() == tx.id()) {
            return Err("AlreadyKnown");
        }
        if tx.body().valid_until.0 < self.height || nonce < account_nonce || fee > balance {
            return Err("Invalid");
        }
        let old = self.of(sender).into_iter().find(|w| w.nonce() == nonce).cloned();
        if let Some(old) = &old {
            if self.is_pinned(old) {
                return Err("InBlock");
            }
            let lower = rate(fee, tx.byte_len() as usize) < old.rate();
            let until = self.until_before(sender, nonce).min(old.until());
            let shortens = self.is_brief(tx.body().valid_until.0) && !self.is_brief(until);
            let old = old.tx.body().fee.0;
            if lower || shortens || fee * 10 < old * 11 || fee == old {
                return Err("ReplacementUnderpriced");
            }
        } else if nonce > self.next_nonce(sender) + GAP_MAX {
            return Err("NonceGap");
        } else if self.of(sender).len() >= SENDER_MAX {
            return Err("SenderLimit");
        }
        let others: u64 = self
            .of(sender)
            .iter()
            .filter(|w| w.nonce() != nonce)
            .map(|w| cost(&w.tx))
            .sum();
        if others + cost(tx) > balance {
            return Err("InsufficientFunds");
        }

        let new = Waiting {
            tx: Arc::clone(tx),
            arrival: self.arrivals,
            since: self.now,
        };
        let until = tx.body().valid_until.0;
        let evicted = self.make_room(sender, nonce, (fee, until), (tx.byte_len() as usize, charge(tx)))?;
        let mut gone: BTreeMap<Hash, &'static str> = old.iter().map(|w| (*w.tx.id(), "Replaced")).collect();
        gone.extend(evicted.into_iter().map(|id| (id, "Evicted")));
        self.waiting.retain(|w| !gone.contains_key(w.tx.id()));
        self.waiting.push(new);
        self.arrivals += 1;
        Ok(gone)
    }

    fn leave(
        &mut self,
        gone: &mut BTreeMap<Hash, &'static str>,
        why: &'static str,
        is_out: impl Fn(&Waiting) -> bool,
    ) {
        for w in self.waiting.extract_if(.., |w| is_out(w)) {
            assert!(gone.insert(*w.tx.id(), why).is_none());
        }
    }

    fn commit(&mut self, included: &[Hash]) -> BTreeMap<Hash, &'static str> {
        self.pinned.clear();
        let mut gone = BTreeMap::new();
        self.leave(&mut gone, "Included", |w| included.contains(w.tx.id()));
        let accounts = self.accounts.clone();
        self.leave(&mut gone, "Invalid", |w| w.nonce() < accounts[&w.tx.sender()].0);
        for (sender, (_, balance)) in accounts {
            while self.of(sender).iter().map(|w| cost(&w.tx)).sum::<u64>() > balance {
                let last = *self.of(sender).last().unwrap().tx.id();
                self.leave(&mut gone, "Unaffordable", |w| *w.tx.id() == last);
            }
        }
        self.height += 1;
        self.expire(&mut gone);
        gone
    }

    fn expire(&mut self, gone: &mut BTreeMap<Hash, &'static str>) {
        let (height, now) = (self.height, self.now);
        self.leave(gone, "Expired", |w| w.tx.body().valid_until.0 < height);
        // Transactions in a block under construction stay, and with them those that arrived later.
        let pinned = self.waiting.iter().filter(|w| self.is_pinned(w));
        let held = pinned.map(|w| w.arrival).min().unwrap_or(u64::MAX);
        self.leave(gone, "TooOld", |w| now - w.since > TTL_MS && w.arrival < held);
    }

    /// The best pending transaction that follows those taken.
    fn next(&self, taken: &BTreeMap<Address, Option<u64>>) -> Option<Tx> {
        let follows = |w: &&Waiting| {
            let sender = w.tx.sender();
            let next = taken
                .get(&sender)
                .copied()
                .unwrap_or(Some(self.accounts[&sender].0));
            self.is_pending(w) && next == Some(w.nonce())
        };
        let best = self
            .waiting
            .iter()
            .filter(follows)
            .reduce(|a, b| if a.is_better_than(b) { a } else { b });
        best.map(|w| Arc::clone(&w.tx))
    }
}

fn names(departures: &[Departure]) -> BTreeMap<Hash, &'static str> {
    let name = |reason: &Reason| match reason {
        Reason::Included { .. } => "Included",
        Reason::Replaced { .. } => "Replaced",
        Reason::Evicted { .. } => "Evicted",
        Reason::Expired { .. } => "Expired",
        Reason::TooOld { .. } => "TooOld",
        Reason::Invalid(_) => "Invalid",
        Reason::Unaffordable { .. } => "Unaffordable",
        Reason::Cleared => "Cleared",
        _ => "?",
    };
    let names: BTreeMap<_, _> = departures.iter().map(|d| (d.id, name(&d.reason))).collect();
    assert_eq!(names.len(), departures.len(), "nothing leaves twice");
    names
}

fn refusal(error: &MempoolError) -> String {
    format!("{error:?}")
        .split([' ', '(', '{'])
        .next()
        .unwrap()
        .to_owned()
}

/// Every query of the pool, against the list.
fn compare(pool: &Mempool, model: &Model, ever: &BTreeSet<Hash>) {
    let stats = pool.stats();
    let pending = model.waiting.iter().filter(|w| model.is_pending(w)).count();
    assert_eq!(
        (stats.count, stats.bytes, stats.pending),
        (model.waiting.len(), model.bytes(), pending)
    );
    assert_eq!(stats.queued, stats.count - stats.pending);
    assert!(stats.count <= COUNT_MAX && stats.bytes <= model.bytes_max);
    for bytes in [tx_bytes(), 12 * tx_bytes()] {
        let least = pool.least_fee(bytes as u32);
        let stranger = Address([9; 32]);
        let sizes = (bytes, charge_for_transfers(bytes as u32));
        assert!(model.is_least(least, (stranger, 0), u64::MAX, sizes), "{least:?}");
    }
    assert_eq!(pool.has_pending(), pending > 0);
    let senders: BTreeSet<_> = model.waiting.iter().map(|w| w.tx.sender()).collect();
    assert_eq!(stats.senders, senders.len());
    assert_eq!(stats.oldest_ms, model.waiting.iter().map(|w| w.since).min());
    for w in &model.waiting {
        let expected = Nonce(model.next_nonce(w.tx.sender()));
        let status = if model.is_pending(w) {
            Status::Pending
        } else {
            Status::Queued { expected }
        };
        assert_eq!(pool.status(w.tx.id()), status);
        assert_eq!(pool.get_by_hash(w.tx.hash()), Some(&w.tx));
    }
    let listed: Vec<_> = pool
        .list(None, 100)
        .into_iter()
        .map(|l| *l.transaction.id())
        .collect();
    assert_eq!(
        listed,
        model.waiting.iter().map(|w| *w.tx.id()).collect::<Vec<_>>()
    );
    for sender in (0..SENDERS).map(user) {
        let row = model.of(sender);
        assert!(row.len() <= SENDER_MAX);
        let next = (!row.is_empty()).then(|| Nonce(model.next_nonce(sender)));
        assert_eq!(pool.pending_next(&sender), next);
        let own: Vec<_> = pool.of_sender(&sender).map(|l| *l.transaction.id()).collect();
        assert_eq!(own, row.iter().map(|w| *w.tx.id()).collect::<Vec<_>>());
    }
    for id in ever {
        let waits = model.waiting.iter().any(|w| w.tx.id() == id);
        assert_eq!(
            matches!(pool.status(id), Status::Departed(_)),
            !waits,
            "in the pool or gone, never both"
        );
    }
}

fn play(steps: Vec<Step>, met: &mut BTreeMap<String, u64>) {
    let mut meet = |what: &str| *met.entry(what.to_owned()).or_default() += 1;
    let bytes_max = tx_charge() * (COUNT_MAX + 4);
    let config = MempoolConfig {
        count_max: COUNT_MAX,
        bytes_max,
        sender_count_max: SENDER_MAX,
        nonce_gap_max: GAP_MAX,
        ttl_ms: TTL_MS,
        replacement_percent: 10,
        expired_step_max: 512,
        fates_max: 10_000,
    };
    let mut pool = pool(config);
    let accounts = (0..SENDERS)
        .map(|i| (user(i), (0, 150 + 100 * u64::from(i))))
        .collect();
    let mut model = Model {
        waiting: vec![],
        accounts,
        arrivals: 0,
        height: 1,
        now: 0,
        bytes_max,
        pinned: BTreeMap::new(),
    };
    let mut selection = Selection::default();
    let mut taken: BTreeMap<Address, Option<u64>> = BTreeMap::new();
    let mut block: Vec<Tx> = vec![];
    let mut began: Option<u64> = None;
    let mut ever = BTreeSet::new();
    let mut seen = 0;
    for step in steps {
        let mut expected = BTreeMap::new();
        match step {
            Step::Insert {
                sender,
                follows,
                ahead,
                fee,
                long,
                valid_for,
            } => {
                let address = user(sender);
                let (nonce, _) = model.accounts[&address];
                let nonce = match follows {
                    true => model.next_nonce(address),
                    false => (nonce + ahead).saturating_sub(1),
                };
                let mut body = body(sender, nonce, fee);
                body.valid_until = Height((model.height + valid_for).saturating_sub(1));
                body.operations =
                    vec![transfer(if fee % 4 == 0 && !long { 30 } else { 1 }); if long { 40 } else { 1 }];
                let mut tx = sign(sender, body);
                if fee == 59
                    && let Some(known) = model.waiting.first()
                {
                    tx = Arc::clone(&known.tx);
                }
                let (nonce, balance) = model.accounts[&tx.sender()];
                let got = pool.insert(
                    Arc::clone(&tx),
                    Some(&account(nonce, balance)),
                    Height(model.height),
                    model.now,
                );
                if let Err(MempoolError::PoolFull { least, .. } | MempoolError::QueueFull { least, .. }) =
                    &got
                {
                    let nonce = tx.body().nonce.0;
                    assert!(model.is_least(
                        *least,
                        (tx.sender(), nonce),
                        tx.body().valid_until.0,
                        (tx.byte_len() as usize, charge(&tx))
                    ));
                }
                let before: Vec<_> = model.waiting.clone();
                let (queued, queued_bytes) = model.queued();
                let queued_ids: BTreeSet<_> = before
                    .iter()
                    .filter(|w| !model.is_pending(w))
                    .map(|w| *w.tx.id())
                    .collect();
                match (model.insert(&tx), got) {
                    (Ok(gone), Ok(inserted)) => {
                        assert_eq!(inserted.status, pool.status(tx.id()));
                        let evicted: BTreeSet<_> = inserted.evicted.into_iter().collect();
                        assert_eq!(
                            evicted,
                            gone.iter()
                                .filter(|(_, w)| **w == "Evicted")
                                .map(|(id, _)| *id)
                                .collect()
                        );
                        if inserted.status != Status::Pending {
                            assert!(evicted.is_subset(&queued_ids));
                            let (count, bytes) = model.queued();
                            assert!(count <= QUEUED_MAX.max(queued));
                            assert!(bytes <= bytes_max.div_ceil(8).max(queued_bytes));
                        } else if !evicted.is_empty() {
                            let spared = queued_ids.difference(&evicted);
                            let spared: Vec<_> = spared.filter(|id| !gone.contains_key(*id)).collect();
                            let made_way = evicted.iter().any(|id| !queued_ids.contains(id));
                            if queued_ids.intersection(&evicted).count() > 0 {
                                meet("queued left for pending");
                            }
                            if made_way && spared.is_empty() {
                                meet("pending left with nothing queued");
                            }
                        }
                        assert_eq!(
                            inserted.replaced.is_some(),
                            gone.values().any(|w| *w == "Replaced")
                        );
                        ever.insert(*tx.id());
                        expected = gone;
                    }
                    (Err(name), Err(error)) => {
                        assert_eq!(refusal(&error), name);
                        if model.is_brief(tx.body().valid_until.0) && name.ends_with("Full") {
                            meet("refused as brief");
                        }
                        meet(if name == "Invalid" {
                            "refused as Invalid"
                        } else {
                            name
                        });
                    }
                    (model, pool) => panic!("model {model:?}, pool {pool:?}"),
                }
            }
            Step::Take { most, skip_one } => {
                let first_late = *began.get_or_insert(model.arrivals);
                for index in 0..most {
                    let got = pool.next(&mut selection);
                    assert_eq!(got, model.next(&taken));
                    let Some(tx) = got else { break };
                    if skip_one && index == 1 {
                        pool.skip_sender(&mut selection, &tx.sender());
                        taken.insert(tx.sender(), None);
                    } else {
                        taken.insert(tx.sender(), Some(tx.body().nonce.0 + 1));
                        // Arrived after the selection had begun.
                        if model
                            .waiting
                            .iter()
                            .any(|w| w.tx == tx && w.arrival >= first_late)
                        {
                            meet("taken late");
                        }
                        pool.pin(&tx);
                        model.pinned.insert(tx.sender(), tx.body().nonce.0);
                        block.push(tx);
                    }
                }
            }
            Step::Commit { also } => {
                for tx in &block {
                    let account = model.accounts.get_mut(&tx.sender()).unwrap();
                    *account = (account.0 + 1, account.1.saturating_sub(tx.body().fee.0));
                }
                for (sender, used, gained) in also {
                    let account = model.accounts.get_mut(&user(sender)).unwrap();
                    *account = (account.0 + used, (account.1 + gained).saturating_sub(220));
                }
                let included: Vec<Hash> = block.iter().map(|tx| *tx.id()).collect();
                let accounts: Vec<_> = model
                    .accounts
                    .iter()
                    .map(|(a, (nonce, balance))| (*a, Some(account(*nonce, *balance))))
                    .collect();
                let commit = Committed {
                    height: Height(model.height),
                    included: &included,
                    accounts: &accounts,
                };
                let got = pool.on_committed(&commit, model.now);
                expected = model.commit(&included);
                assert_eq!(names(&got), expected);
                (selection, taken, block, began) = Default::default();
            }
            Step::Remove { at } => {
                let id = model.waiting.get(at).map(|w| *w.tx.id());
                if let Some(id) = id {
                    assert!(pool.remove(&id));
                    model.leave(&mut expected, "Cleared", |w| *w.tx.id() == id);
                }
            }
            Step::Wait { ms } => {
                model.now += ms;
                model.expire(&mut expected);
                assert_eq!(names(&pool.expire(Height(model.height), model.now)), expected);
            }
            Step::Clear => {
                model.leave(&mut expected, "Cleared", |_| true);
                assert_eq!(names(&pool.clear()), expected);
            }
        }
        let (departures, next) = pool.departures_since(seen);
        let departures: Vec<Departure> = departures.copied().collect();
        seen = next;
        expected.values().for_each(|name| meet(name));
        assert_eq!(
            names(&departures),
            expected,
            "each step's departures, each with its one reason"
        );
        compare(&pool, &model, &ever);
    }
}

#[test]
fn pool_and_model_agree() {
    let config = ProptestConfig {
        cases: 600,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    };
    let met = RefCell::new(BTreeMap::new());
    let steps = prop::collection::vec(step(), 1..120);
    let played = TestRunner::new(config).run(&steps, |steps| {
        play(steps, &mut met.borrow_mut());
        Ok(())
    });
    played.unwrap();
    // A run with too few events proves nothing.
    for what in [
        "Included",
        "Replaced",
        "Evicted",
        "Expired",
        "TooOld",
        "Invalid",
        "Unaffordable",
        "Cleared",
        "AlreadyKnown",
        "refused as Invalid",
        "ReplacementUnderpriced",
        "NonceGap",
        "SenderLimit",
        "InsufficientFunds",
        "PoolFull",
        "QueueFull",
        "InBlock",
        "queued left for pending",
        "pending left with nothing queued",
        "taken late",
        "refused as brief",
    ] {
        assert!(
            met.borrow().get(what).is_some_and(|count| *count >= 40),
            "{what} was hardly met: {met:?}"
        );
    }
}

/// A selection that is far behind the arrivals starts over and still offers each transaction once.
#[test]
fn a_selection_that_missed_much_offers_everything_once() {
    let mut pool = pool(MempoolConfig {
        count_max: 100,
        ..MempoolConfig::default()
    });
    put(&mut pool, &tx(1, 0, 50)).unwrap();
    put(&mut pool, &tx(2, 0, 40)).unwrap();
    let mut selection = Selection::default();
    assert_eq!(pool.next(&mut selection), Some(tx(1, 0, 50)));
    let early = tx(3, 0, 90);
    for _ in 0..17_000 {
        put(&mut pool, &early).unwrap();
        pool.remove(early.id());
    }
    put(&mut pool, &tx(1, 1, 70)).unwrap();
    put(&mut pool, &tx(4, 0, 60)).unwrap();
    put(&mut pool, &early).unwrap();
    let fees: Vec<_> = std::iter::from_fn(|| pool.next(&mut selection))
        .map(|tx| tx.body().fee)
        .collect();
    assert_eq!(fees, [90, 70, 60, 40].map(Amount));
}
