//! Selection within the space of a block: its result, and its cost.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::*;
use vibecoin_mempool::selection::MISFITS_MAX;
use vibecoin_mempool::{BlockSpace, FeeRate, Mempool, MempoolConfig, Selection};
use vibecoin_primitives::{
    Address, Amount, Demand, Hash, Height, Nonce, Operation, SecretKey, TransactionBody,
};

fn sender(number: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed.split_at_mut(8).0.copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(&seed)
}

/// A transaction that clears so many slots, or otherwise transfers an amount.
fn offer(number: u64, nonce: u64, fee: u64, slots: usize) -> Tx {
    let clear = Operation::SetStorage {
        slot: Hash([1; 32]),
        value: vec![],
    };
    let key = sender(number);
    let body = TransactionBody {
        chain: GENESIS.prefix(),
        sender: key.public_key(),
        nonce: Nonce(nonce),
        fee: Amount(fee),
        valid_until: Height(1_000),
        operations: if slots == 0 {
            vec![transfer(1)]
        } else {
            vec![clear; slots]
        },
    };
    Arc::new(body.sign(&GENESIS, &key).verify(&GENESIS).unwrap())
}

fn with_slots(slots: u64) -> BlockSpace {
    BlockSpace {
        demand: Demand {
            slots,
            ..BlockSpace::UNLIMITED.demand
        },
        ..BlockSpace::UNLIMITED
    }
}

/// Takes all that fit into `space`; returns the slots of each.
fn take(pool: &Mempool, selection: &mut Selection, mut space: BlockSpace) -> Vec<u64> {
    let mut taken = Vec::new();
    while let Some(next) = pool.next_within(selection, &space) {
        let need = BlockSpace::needed(&next, &params());
        space = space.less(need);
        taken.push(need.demand.slots);
    }
    taken
}

/// A pool of `misfits` transactions with high bids and of `slots` slots each, and three transfers with low bids.
fn crowded(misfits: u64, slots: usize) -> Mempool {
    let mut pool = pool(MempoolConfig::default());
    for number in 0..misfits {
        put(&mut pool, &offer(number, 0, 900_000, slots)).unwrap();
    }
    for number in 0..3 {
        put(&mut pool, &offer(1_000_000 + number, 0, 10, 0)).unwrap();
    }
    pool
}

#[test]
fn transactions_without_space_in_the_block_are_not_looked_at_however_many_there_are() {
    for misfits in [20, 2_000] {
        let pool = crowded(misfits, 20);
        let mut selection = Selection::default();
        // Behind one of 20 slots no other of 16 to 31 fits.
        assert_eq!(take(&pool, &mut selection, with_slots(35)), [20, 0, 0, 0]);
        assert_eq!(selection.looked_at(), 4, "of {misfits}");
    }
}

#[test]
fn of_a_class_that_could_still_fit_few_are_looked_at_in_vain() {
    for misfits in [20, 2_000] {
        let pool = crowded(misfits, 20);
        let mut selection = Selection::default();
        // Behind one of 20 slots a transaction of 16 would fit, which has the class of 20.
        assert_eq!(take(&pool, &mut selection, with_slots(36)), [20, 0, 0, 0]);
        assert_eq!(selection.looked_at(), 4 + u64::from(MISFITS_MAX), "of {misfits}");
        // The next block has them all before it.
        assert_eq!(
            take(&pool, &mut Selection::default(), with_slots(40)),
            [20, 20, 0, 0, 0]
        );
    }
}

#[test]
fn what_arrives_while_a_block_is_made_is_taken_though_its_class_is_closed() {
    let mut pool = crowded(20, 20);
    let mut selection = Selection::default();
    assert_eq!(take(&pool, &mut selection, with_slots(36)), [20, 0, 0, 0]);
    put(&mut pool, &offer(2_000_000, 0, 10, 16)).unwrap();
    put(&mut pool, &offer(2_000_001, 0, 10, 0)).unwrap();
    assert_eq!(take(&pool, &mut selection, with_slots(16)), [16, 0]);
}

/// Result of a scan of all candidates: the best that fits, each time; a sender whose next does not fit is skipped.
fn scan(offers: &[Tx], mut space: BlockSpace) -> Vec<Hash> {
    let mut rows: BTreeMap<Address, Vec<(usize, &Tx)>> = BTreeMap::new();
    for (arrival, one) in offers.iter().enumerate() {
        rows.entry(one.sender()).or_default().push((arrival, one));
    }
    let (mut skipped, mut taken) = (BTreeSet::new(), Vec::new());
    loop {
        let heads = rows.iter().filter(|(sender, _)| !skipped.contains(*sender));
        let heads = heads.filter_map(|(sender, row)| Some((*sender, *row.first()?)));
        let best = heads
            .max_by_key(|(_, (arrival, one))| (FeeRate::of(one, &params()), std::cmp::Reverse(*arrival)));
        let Some((sender, (_, one))) = best else {
            return taken;
        };
        let need = BlockSpace::needed(one, &params());
        if space.holds(&need) {
            space = space.less(need);
            taken.push(*one.id());
            rows.get_mut(&sender).unwrap().remove(0);
        } else {
            skipped.insert(sender);
        }
    }
}

#[test]
fn few_senders_get_what_a_scan_of_all_transactions_gives_them() {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    };
    // No more senders than misfits that close a class.
    let offer_of = (0..u64::from(MISFITS_MAX), 10..200u64, 0..12usize);
    let all = (
        prop::collection::vec(offer_of, 1..40),
        100..3_000u64,
        1..40u64,
        0..40u64,
    );
    let (mut full, mut cases) = (0u32, 0u32);
    let mut play = |offers: Vec<(u64, u64, usize)>, bytes, operations, slots| {
        let (mut pool, mut nonces) = (pool(MempoolConfig::default()), BTreeMap::new());
        let mut made = Vec::new();
        for (number, fee, slot_count) in offers {
            let nonce: &mut u64 = nonces.entry(number).or_default();
            made.push(offer(number, *nonce, fee * 100, slot_count));
            *nonce += 1;
        }
        for one in &made {
            put(&mut pool, one).unwrap();
        }
        let space = BlockSpace {
            bytes,
            demand: Demand {
                operations,
                slots,
                state_bytes: bytes * 30,
            },
        };
        let (mut selection, mut left, mut taken) = (Selection::default(), space, Vec::new());
        while let Some(next) = pool.next_within(&mut selection, &left) {
            left = left.less(BlockSpace::needed(&next, &params()));
            taken.push(*next.id());
        }
        assert_eq!(taken, scan(&made, space));
        cases += 1;
        full += u32::from(taken.len() < made.len());
    };
    let mut runner = TestRunner::new(config);
    let cell = std::cell::RefCell::new(&mut play);
    let played = runner.run(&all, |(offers, bytes, operations, slots)| {
        (cell.borrow_mut())(offers, bytes, operations, slots);
        Ok(())
    });
    played.unwrap();
    assert!(full >= 100, "{full} of {cases} blocks were full");
}
