//! Transactions that expire many at a time, and those that expire too soon to evict others.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::*;
use vibecoin_mempool::capacity::EVICTING_HEIGHTS_MIN;
use vibecoin_mempool::{
    Committed, Departure, Mempool, MempoolConfig, MempoolError, Reason, Selection, Status,
};
use vibecoin_primitives::{Account, Address, Amount, Hash, Height, Nonce};

fn valid_until(sender: u8, nonce: u64, fee: u64, height: u64) -> Tx {
    let mut body = body(sender, nonce, fee);
    body.valid_until = Height(height);
    sign(sender, body)
}

fn expired(height: u64) -> Reason {
    Reason::Expired {
        valid_until: Height(height),
    }
}

fn commit(pool: &mut Mempool, height: u64) -> Vec<Departure> {
    let block = Committed {
        height: Height(height),
        included: &[],
        accounts: &[],
    };
    pool.on_committed(&block, 0)
}

fn in_steps_of(expired_step_max: usize, count_max: usize) -> Mempool {
    pool(MempoolConfig {
        expired_step_max,
        ..small(count_max)
    })
}

fn take_all(pool: &Mempool) -> Vec<Tx> {
    let mut selection = Selection::default();
    std::iter::from_fn(|| pool.next(&mut selection)).collect()
}

#[test]
fn many_that_expire_at_one_height_leave_in_bounded_steps_and_count_for_nothing_at_once() {
    let mut pool = in_steps_of(16, 200);
    let brief: Vec<Tx> = (0..100).map(|sender| valid_until(sender, 0, 90, 5)).collect();
    for one in &brief {
        put(&mut pool, one).unwrap();
    }
    let follower = tx(0, 1, 10);
    put(&mut pool, &follower).unwrap();
    put(&mut pool, &tx(150, 0, 10)).unwrap();
    assert_eq!(commit(&mut pool, 4), []);
    assert!(!pool.has_expired());

    let mut gone = commit(&mut pool, 5);
    assert_eq!(gone.len(), 16);
    for one in &brief {
        assert_eq!(pool.status(one.id()), Status::Departed(expired(5)));
        assert_eq!(pool.get(one.id()), None);
    }
    assert_eq!(pool.status(follower.id()), Status::Queued { expected: Nonce(0) });
    assert_eq!(pool.pending_next(&user(99)), None);
    assert_eq!(pool.pending_next(&user(0)), Some(Nonce(0)));
    assert_eq!(pool.list(None, 200).len(), 2);
    assert_eq!(pool.of_sender(&user(99)).count(), 0);
    assert_eq!(take_all(&pool), [tx(150, 0, 10)]);
    assert!(!pool.remove(brief.last().unwrap().id()), "it has left already");

    for count in [16, 16, 16, 16, 16, 4, 0] {
        assert_eq!(pool.has_expired(), count > 0);
        let more = pool.expire_more();
        assert_eq!(more.len(), count);
        gone.extend(more);
    }
    let ids: Vec<_> = brief.iter().map(|one| (*one.id(), expired(5))).collect();
    assert_eq!(
        gone.iter().map(|one| (one.id, one.reason)).collect::<Vec<_>>(),
        ids
    );
    assert_eq!(pool.len(), 2);
}

/// Found in review: one block of a payer made 40,000 transactions unaffordable, which left at once.
#[test]
fn what_a_block_makes_unaffordable_leaves_in_bounded_steps_and_at_once_before_a_new_one_of_its_sender() {
    let mut pool = in_steps_of(16, 200);
    for sender in 0..10 {
        for nonce in 0..8 {
            put(&mut pool, &tx(sender, nonce, 90)).unwrap();
        }
    }
    // Enough for one each.
    let poor: Vec<_> = (0..10)
        .map(|sender| (user(sender), Some(account(0, 95))))
        .collect();
    let block = Committed {
        height: Height(1),
        included: &[],
        accounts: &poor,
    };
    // The block's own step, and that of the transactions that expire with it.
    let mut gone = pool.on_committed(&block, 0);
    assert_eq!(gone.len(), 32);
    for count in [16, 16] {
        assert!(pool.has_expired());
        let more = pool.expire_more();
        assert_eq!(more.len(), count);
        gone.extend(more);
    }
    // The last sender's own leave before its next one is looked at.
    let last = (0..10)
        .find(|sender| pool.of_sender(&user(*sender)).count() > 2)
        .unwrap();
    let again = pool.insert(tx(last, 0, 94), Some(&account(0, 95)), Height(2), 0);
    assert!(
        matches!(again, Err(MempoolError::ReplacementUnderpriced { .. })),
        "{again:?}"
    );
    assert_eq!(pool.of_sender(&user(last)).count(), 1);
    while pool.has_expired() {
        pool.expire_more();
    }
    assert_eq!(pool.len(), 10);
    assert!(
        gone.iter()
            .all(|one| matches!(one.reason, Reason::Unaffordable { .. }))
    );
    assert_eq!(take_all(&pool).len(), 10);
}

#[test]
fn an_unaffordable_transaction_in_a_block_under_construction_stays_until_that_is_over() {
    let mut pool = in_steps_of(1, 20);
    for nonce in 0..4 {
        put(&mut pool, &tx(1, nonce, 90)).unwrap();
    }
    let block = Committed {
        height: Height(1),
        included: &[],
        accounts: &[(user(1), Some(account(0, 95)))],
    };
    assert_eq!(pool.on_committed(&block, 0).len(), 2, "three have to leave");
    pool.pin(&tx(1, 0, 90));
    pool.pin(&tx(1, 1, 90));
    assert!(!pool.has_expired());
    assert_eq!(pool.expire_more(), []);
    pool.unpin_all();
    assert!(pool.has_expired());
    assert_eq!(pool.expire_more().len(), 1);
    assert!(!pool.has_expired());
    assert_eq!(take_all(&pool), [tx(1, 0, 90)]);
}

#[test]
fn what_waited_too_long_leaves_in_bounded_steps_but_not_out_of_a_block_under_construction() {
    let mut pool = in_steps_of(2, 20);
    for sender in 0..5 {
        put(&mut pool, &tx(sender, 0, 10)).unwrap();
    }
    pool.pin(&tx(3, 0, 10));
    assert_eq!(pool.expire(Height(1), 1_001).len(), 2);
    assert_eq!(pool.expire_more().len(), 1);
    assert_eq!(pool.status(tx(3, 0, 10).id()), Status::Pending);
    assert!(
        !pool.has_expired(),
        "nothing more is to be done before the block is there"
    );
    pool.unpin_all();
    assert!(pool.has_expired());
    assert_eq!(pool.expire_more().len(), 2);
    assert!(pool.is_empty());
}

#[test]
fn the_sender_of_an_expired_transaction_uses_its_nonce_again_before_it_is_taken_out() {
    let mut pool = in_steps_of(1, 20);
    let old = [valid_until(1, 0, 90, 5), valid_until(1, 1, 90, 5)];
    put(&mut pool, &valid_until(2, 0, 90, 5)).unwrap();
    put(&mut pool, &old[0]).unwrap();
    put(&mut pool, &old[1]).unwrap();
    assert_eq!(commit(&mut pool, 5).len(), 1);
    let new = tx(1, 0, 10);
    let rich = account(0, 1_000);
    let inserted = pool.insert(Arc::clone(&new), Some(&rich), Height(6), 0).unwrap();
    assert_eq!((inserted.status, inserted.replaced), (Status::Pending, None));
    assert_eq!(pool.of_sender(&user(1)).count(), 1);
    assert_eq!(pool.departures_since(0).0.len(), 3);
    let again = pool.insert(Arc::clone(&old[1]), Some(&rich), Height(6), 0);
    assert!(matches!(again, Err(MempoolError::Invalid(_))), "{again:?}");
}

#[test]
fn what_is_behind_an_expired_one_is_promoted_when_that_is_replaced() {
    let mut pool = in_steps_of(1, 20);
    let tail = tx(1, 2, 10);
    put(&mut pool, &valid_until(2, 0, 10, 5)).unwrap();
    put(&mut pool, &valid_until(1, 1, 10, 5)).unwrap();
    put(&mut pool, &tail).unwrap();
    commit(&mut pool, 5);
    // Another transaction closes the gap before the expired one.
    let moved = account(1, 1_000);
    let block = Committed {
        height: Height(6),
        included: &[],
        accounts: &[(user(1), Some(moved))],
    };
    pool.on_committed(&block, 0);
    let (promoted, seen) = pool.promoted_since(0);
    assert_eq!(promoted.count(), 0);
    pool.insert(tx(1, 1, 10), Some(&moved), Height(7), 0).unwrap();
    let promoted: Vec<Tx> = pool.promoted_since(seen).0.cloned().collect();
    assert_eq!(promoted, [tail]);
}

#[test]
fn expired_transactions_make_way_before_others_are_evicted() {
    let mut pool = in_steps_of(1, 10);
    for sender in 0..8 {
        put(&mut pool, &valid_until(sender, 0, 90, 5)).unwrap();
    }
    put(&mut pool, &tx(20, 0, 10)).unwrap();
    put(&mut pool, &tx(21, 0, 10)).unwrap();
    commit(&mut pool, 5);
    assert_eq!(pool.len(), 9);
    for sender in 30..38 {
        let inserted = put(&mut pool, &tx(sender, 0, 10)).unwrap();
        assert_eq!(inserted.evicted, []);
    }
    assert!(matches!(
        put(&mut pool, &tx(40, 0, 10)),
        Err(MempoolError::PoolFull { .. })
    ));
    assert_eq!(pool.stats().pending, 10);
}

/// A full pool of ten transactions with no bids, at height 0.
fn full() -> Mempool {
    let mut pool = pool(small(10));
    for sender in 0..10 {
        put(&mut pool, &tx(sender, 0, 10)).unwrap();
    }
    pool
}

fn is_refused(got: &Result<vibecoin_mempool::Inserted, MempoolError>) -> bool {
    let no_fee = Amount::MAX;
    matches!(got, Err(MempoolError::PoolFull { least, .. }) if *least == no_fee)
}

#[test]
fn a_row_that_expires_within_a_few_heights_evicts_nobody() {
    let limit = 1 + EVICTING_HEIGHTS_MIN;
    let mut pool = full();
    assert!(is_refused(&put(
        &mut pool,
        &valid_until(20, 0, 90_000, limit - 1)
    )));
    let evicted = put(&mut pool, &valid_until(20, 0, 90_000, limit))
        .unwrap()
        .evicted;
    assert_eq!(evicted.len(), 1, "with one height more it does");
    // Behind a transaction that expires soon no fee is charged either, however long the transaction is valid.
    let mut pool = pool_with_brief_head();
    assert!(is_refused(&put(&mut pool, &tx(20, 1, 90_000))));
    assert_eq!(pool.stats().pending, 10);
}

/// A full pool in which the first transaction of sender 20 expires soon; it was accepted.
fn pool_with_brief_head() -> Mempool {
    let mut pool = pool(small(10));
    put(&mut pool, &valid_until(20, 0, 90_000, EVICTING_HEIGHTS_MIN)).unwrap();
    for sender in 0..9 {
        put(&mut pool, &tx(sender, 0, 10)).unwrap();
    }
    pool
}

#[test]
fn the_more_is_pending_the_longer_a_row_must_be_valid_to_evict_others() {
    let mut params = params();
    params.block_transactions_max = 1;
    let mut pool = Mempool::new(small(10), Arc::new(params));
    for sender in 0..10 {
        put(&mut pool, &tx(sender, 0, 10)).unwrap();
    }
    // Ten blocks of one transaction include all that is pending.
    assert!(is_refused(&put(&mut pool, &valid_until(20, 0, 90_000, 10))));
    assert!(put(&mut pool, &valid_until(20, 0, 90_000, 11)).is_ok());
}

#[test]
fn a_replacement_does_not_expire_within_a_few_heights_when_the_other_does_not() {
    let mut pool = full();
    put(&mut pool, &tx(20, 0, 90_000)).unwrap();
    let brief = valid_until(20, 0, 500_000, EVICTING_HEIGHTS_MIN);
    let got = put(&mut pool, &brief);
    let no_fee = Amount::MAX;
    assert!(
        matches!(got, Err(MempoolError::ReplacementUnderpriced { least, .. }) if least == no_fee),
        "{got:?}"
    );
    let longer = valid_until(20, 0, 500_000, EVICTING_HEIGHTS_MIN + 1);
    assert!(put(&mut pool, &longer).unwrap().replaced.is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        sender: u8,
        ahead: u64,
        fee: u64,
        valid_for: u64,
    },
    Commit {
        count: usize,
    },
    Remove {
        at: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let insert =
        (0..5u8, 0..4u64, 10..60u64, 0..5u64).prop_map(|(sender, ahead, fee, valid_for)| Step::Insert {
            sender,
            ahead,
            fee,
            valid_for,
        });
    prop_oneof![
        10 => insert,
        3 => (0..3usize).prop_map(|count| Step::Commit { count }),
        1 => (0..10usize).prop_map(|at| Step::Remove { at }),
    ]
}

/// Two effectively unbounded pools: one removes all expired transactions at once, the other one per step.
struct Twins {
    quick: Mempool,
    slow: Mempool,
    height: u64,
    nonces: BTreeMap<Address, u64>,
    ever: Vec<Hash>,
    promotions: (u64, u64),
    /// Number of comparisons while the slow one was behind.
    behind: u64,
}

impl Twins {
    fn new() -> Self {
        let with = |expired_step_max| {
            pool(MempoolConfig {
                expired_step_max,
                fates_max: 10_000,
                ..small(1_000)
            })
        };
        Self {
            quick: with(usize::MAX),
            slow: with(1),
            height: 0,
            nonces: BTreeMap::new(),
            ever: vec![],
            promotions: (0, 0),
            behind: 0,
        }
    }

    fn both<T: PartialEq + std::fmt::Debug>(&mut self, mut ask: impl FnMut(&mut Mempool) -> T) -> T {
        let (quick, slow) = (ask(&mut self.quick), ask(&mut self.slow));
        assert_eq!(quick, slow);
        quick
    }

    fn play(&mut self, step: Step) {
        let next = self.height + 1;
        match step {
            Step::Insert {
                sender,
                ahead,
                fee,
                valid_for,
            } => {
                let nonce = self.nonces.get(&user(sender)).copied().unwrap_or(0);
                let one = valid_until(sender, nonce + ahead, fee, next + valid_for);
                let rich = account(nonce, 1_000_000);
                let _answer = self.both(|pool| pool.insert(Arc::clone(&one), Some(&rich), Height(next), 0));
                self.ever.push(*one.id());
            }
            Step::Commit { count } => {
                self.height = next;
                let taken: Vec<Tx> = take_all(&self.quick).into_iter().take(count).collect();
                for one in &taken {
                    self.nonces.insert(one.sender(), one.body().nonce.0 + 1);
                }
                let included: Vec<Hash> = taken.iter().map(|one| *one.id()).collect();
                let accounts: Vec<(Address, Option<Account>)> = self
                    .nonces
                    .iter()
                    .map(|(address, nonce)| (*address, Some(account(*nonce, 1_000_000))))
                    .collect();
                let block = Committed {
                    height: Height(next),
                    included: &included,
                    accounts: &accounts,
                };
                self.quick.on_committed(&block, 0);
                self.slow.on_committed(&block, 0);
            }
            Step::Remove { at } => {
                if let Some(id) = self.ever.get(at).copied() {
                    self.both(|pool| pool.remove(&id));
                }
            }
        }
        self.compare();
    }

    fn compare(&mut self) {
        self.behind += u64::from(self.slow.has_expired());
        assert!(!self.quick.has_expired());
        for id in self.ever.clone() {
            self.both(|pool| (pool.status(&id), pool.get(&id).cloned()));
        }
        for sender in 0..5 {
            let own = |pool: &Mempool| {
                pool.of_sender(&user(sender))
                    .map(|it| it.status)
                    .collect::<Vec<_>>()
            };
            self.both(|pool| (pool.pending_next(&user(sender)), own(&*pool)));
        }
        self.both(|pool| take_all(pool));
        self.both(|pool| {
            let listed = pool.list(None, 100).into_iter();
            listed.map(|it| (it.transaction, it.status)).collect::<Vec<_>>()
        });
        let promoted = |pool: &Mempool, seen: &mut u64| -> Vec<Tx> {
            let (promoted, next) = pool.promoted_since(*seen);
            let promoted = promoted.cloned().collect();
            *seen = next;
            promoted
        };
        let quick = promoted(&self.quick, &mut self.promotions.0);
        assert_eq!(quick, promoted(&self.slow, &mut self.promotions.1));
    }

    fn end(&mut self) {
        while self.slow.has_expired() {
            assert_eq!(self.slow.expire_more().len(), 1);
            self.compare();
        }
        self.both(|pool| pool.stats());
        self.both(|pool| {
            let departed = pool
                .departures_since(0)
                .0
                .map(|it| (it.id, it.reason.to_string()));
            let mut departed: Vec<_> = departed.collect();
            departed.sort();
            departed
        });
    }
}

#[test]
fn a_pool_that_is_behind_with_what_expired_answers_like_one_that_is_not() {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    };
    let behind = RefCell::new(0);
    let steps = prop::collection::vec(step(), 1..80);
    let played = TestRunner::new(config).run(&steps, |steps| {
        let mut twins = Twins::new();
        steps.into_iter().for_each(|step| twins.play(step));
        twins.end();
        *behind.borrow_mut() += twins.behind;
        Ok(())
    });
    played.unwrap();
    assert!(
        *behind.borrow() >= 1_000,
        "{behind:?}: a run that met too little proves nothing"
    );
}
