//! A hostile sender against honest transactions in a full pool.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::{pool, put, small, tx, tx_bytes};
use vibecoin_mempool::{FeeRate, Selection};
use vibecoin_primitives::{Amount, Hash};

/// Number of transactions that fit.
const COUNT_MAX: usize = 24;
const STRANGERS: u8 = 3;
/// The first honest sender.
const HONEST: u8 = 100;

fn rate(fee: u64) -> FeeRate {
    FeeRate::new(Amount(fee), u32::try_from(tx_bytes()).unwrap())
}

/// Honest senders have one transaction each. Hostile ones then offer anything in any order, and replace their
/// transactions.
///
/// Of the maximum that blocks could ever charge a hostile sender for its transactions in the pool, none may be
/// less per byte than any honest transaction that was evicted for it: a row pays for the part that blocks
/// include, in the order of its nonces, and no block includes its next one while the fees of others are higher.
fn play(honest: &[u64], offers: &[(u8, u64, u64)], met: &mut BTreeMap<&'static str, u64>) {
    let mut pool = pool(small(COUNT_MAX));
    let mut by_id: BTreeMap<Hash, u64> = BTreeMap::new();
    for (sender, fee) in (HONEST..).zip(honest) {
        let one = tx(sender, 0, *fee);
        by_id.insert(*one.id(), *fee);
        put(&mut pool, &one).unwrap();
    }
    for (sender, nonce, fee) in offers {
        let one = tx(*sender, *nonce, *fee);
        let Ok(inserted) = put(&mut pool, &one) else {
            *met.entry("refused").or_default() += 1;
            continue;
        };
        let sender = &one.sender();
        let own = pool.of_sender(sender).map(|listed| listed.transaction);
        let before = own.filter(|tx| tx.body().nonce <= one.body().nonce);
        let worth = before.map(|tx| rate(tx.body().fee.0)).min().unwrap();
        for gone in inserted.evicted.iter().filter_map(|id| by_id.get(id)) {
            *met.entry("an honest one left").or_default() += 1;
            assert!(
                rate(*gone) < worth,
                "{gone} left for {sender:?}/{nonce} with {fee}"
            );
        }
    }
    // Transactions that blocks include from the rest: none of a hostile sender ranks above the cheapest
    // before it in its row.
    let mut selection = Selection::default();
    let mut last = u64::MAX;
    while let Some(one) = pool.next(&mut selection) {
        if by_id.contains_key(one.id()) {
            assert!(one.body().fee.0 <= last, "honest ones come out by their fees");
            last = one.body().fee.0;
        }
    }
}

#[test]
fn who_pays_less_per_byte_displaces_no_honest_transaction() {
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    };
    let fee = prop_oneof![3 => 10..60u64, 1 => 1_000..40_000u64];
    let honest = prop::collection::vec(10..60u64, COUNT_MAX);
    let offers = prop::collection::vec((0..STRANGERS, 0..6u64, fee), 1..80);
    let met = std::cell::RefCell::new(BTreeMap::new());
    let played = TestRunner::new(config).run(&(honest, offers), |(honest, offers)| {
        play(&honest, &offers, &mut met.borrow_mut());
        Ok(())
    });
    played.unwrap();
    for what in ["refused", "an honest one left"] {
        assert!(
            met.borrow().get(what).is_some_and(|count| *count >= 400),
            "{what}: {met:?}"
        );
    }
}
