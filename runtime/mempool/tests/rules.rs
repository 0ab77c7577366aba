//! Every rule of the pool, at its edge and just past it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod support;

use std::sync::Arc;

use support::*;
use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::memory::charge;
use vibecoin_mempool::{
    BlockSpace, Committed, Departure, FeeRate, Inserted, Mempool, MempoolConfig, MempoolError, Reason,
    Selection, Status,
};
use vibecoin_primitives::{Amount, ChainParams, Hash, Height, Nonce, Operation};

fn pending() -> Inserted {
    Inserted {
        status: Status::Pending,
        replaced: None,
        evicted: vec![],
    }
}

fn queued(expected: u64) -> Inserted {
    Inserted {
        status: Status::Queued {
            expected: Nonce(expected),
        },
        ..pending()
    }
}

fn take_all(pool: &Mempool, selection: &mut Selection) -> Vec<(u8, u64)> {
    let name = |tx: Tx| {
        (
            (0..50).find(|i| user(*i) == tx.sender()).unwrap(),
            tx.body().nonce.0,
        )
    };
    std::iter::from_fn(|| pool.next(selection)).map(name).collect()
}

fn id(tx: &Tx) -> Hash {
    *tx.id()
}

fn departure(tx: &Tx, reason: Reason) -> Departure {
    Departure {
        id: id(tx),
        sender: tx.sender(),
        nonce: tx.body().nonce,
        valid_until: tx.body().valid_until,
        reason,
    }
}

fn commit(pool: &mut Mempool, height: u64, included: &[&Tx], accounts: &[(u8, u64, u64)]) -> Vec<Departure> {
    let included: Vec<_> = included.iter().map(|tx| id(tx)).collect();
    let accounts: Vec<_> = accounts
        .iter()
        .map(|(who, nonce, balance)| (user(*who), Some(account(*nonce, *balance))))
        .collect();
    pool.on_committed(
        &Committed {
            height: Height(height),
            included: &included,
            accounts: &accounts,
        },
        0,
    )
}

#[test]
fn nonces_in_a_row_are_pending_and_those_behind_a_gap_are_queued_until_it_closes() {
    let mut pool = pool(small(10));
    assert_eq!(put(&mut pool, &tx(1, 0, 10)), Ok(pending()));
    assert_eq!(put(&mut pool, &tx(1, 2, 10)), Ok(queued(1)));
    assert_eq!(
        pool.status(tx(1, 2, 10).id()),
        Status::Queued { expected: Nonce(1) }
    );
    assert_eq!(pool.pending_next(&user(1)), Some(Nonce(1)));
    assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 0)]);
    assert_eq!(put(&mut pool, &tx(1, 1, 10)), Ok(pending()));
    assert_eq!(pool.status(tx(1, 2, 10).id()), Status::Pending);
    assert_eq!(pool.pending_next(&user(1)), Some(Nonce(3)));
    assert_eq!(
        take_all(&pool, &mut Selection::default()),
        [(1, 0), (1, 1), (1, 2)]
    );
    assert_eq!(pool.pending_next(&user(2)), None);
}

#[test]
fn a_nonce_may_be_so_far_ahead_and_no_further() {
    let mut pool = pool(small(10));
    put(&mut pool, &tx(1, 0, 10)).unwrap();
    assert_eq!(put(&mut pool, &tx(1, 5, 10)), Ok(queued(1)));
    let error = MempoolError::NonceGap {
        expected: Nonce(1),
        got: Nonce(6),
        gap_max: 4,
    };
    assert_eq!(put(&mut pool, &tx(1, 6, 10)), Err(error));
}

#[test]
fn a_used_nonce_is_refused_with_the_next_one() {
    let mut pool = pool(small(10));
    let error = pool.insert(tx(1, 4, 10), Some(&account(5, 1_000)), Height(1), 0);
    let reason = InvalidTransaction::NonceTooLow {
        expected: Nonce(5),
        got: Nonce(4),
    };
    assert_eq!(error, Err(MempoolError::Invalid(reason)));
    assert_eq!(pool.stats(), Default::default());
}

#[test]
fn the_same_transaction_twice_is_known() {
    let mut pool = pool(small(10));
    let one = tx(1, 0, 10);
    put(&mut pool, &one).unwrap();
    assert_eq!(
        put(&mut pool, &one),
        Err(MempoolError::AlreadyKnown { id: id(&one) })
    );
    assert_eq!(pool.get_by_hash(one.hash()), Some(&one));
    assert_eq!(pool.get(one.id()), Some(&one));
}

#[test]
fn a_replacement_pays_a_tenth_more_rounded_up() {
    for (old, least) in [(10, 11), (11, 13), (100, 110), (101, 112)] {
        let mut pool = pool(small(10));
        let (first, second) = (tx(1, 0, old), tx(1, 0, least));
        put(&mut pool, &first).unwrap();
        put(&mut pool, &tx(1, 1, 10)).unwrap();
        let (existing, got) = (id(&first), Amount(least - 1));
        let error = MempoolError::ReplacementUnderpriced {
            existing,
            least: Amount(least),
            got,
        };
        let mut cheap = body(1, 0, least - 1);
        cheap.operations = vec![transfer(2)];
        assert_eq!(put(&mut pool, &sign(1, cheap)), Err(error));
        let inserted = Inserted {
            replaced: Some(existing),
            ..pending()
        };
        assert_eq!(put(&mut pool, &second), Ok(inserted));
        assert_eq!(
            pool.status(&existing),
            Status::Departed(Reason::Replaced { by: id(&second) })
        );
        assert_eq!(pool.get_by_hash(first.hash()), None);
        assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 0), (1, 1)]);
        assert_eq!(pool.stats().bytes, 2 * tx_charge());
    }
}

#[test]
fn a_replacement_costs_at_least_one_more_and_may_be_impossible() {
    let mut pool = pool(MempoolConfig {
        replacement_percent: 0,
        ..small(10)
    });
    put(&mut pool, &tx(1, 0, 10)).unwrap();
    assert!(matches!(
        put(
            &mut pool,
            &sign(1, {
                let mut b = body(1, 0, 10);
                b.operations = vec![transfer(2)];
                b
            })
        ),
        Err(MempoolError::ReplacementUnderpriced {
            least: Amount(11),
            ..
        })
    ));
    let rich = account(0, u64::MAX);
    pool.insert(tx(2, 0, u64::MAX - 1), Some(&rich), Height(1), 0)
        .unwrap();
    let mut other = body(2, 0, u64::MAX - 1);
    other.valid_until = Height(999);
    let error = pool.insert(sign(2, other), Some(&rich), Height(1), 0);
    assert!(matches!(
        error,
        Err(MempoolError::ReplacementUnderpriced {
            least: Amount(u64::MAX),
            ..
        })
    ));
}

#[test]
fn the_bound_per_sender_holds_and_replacement_stays_possible() {
    let mut pool = pool(small(20));
    for nonce in 0..8 {
        put(&mut pool, &tx(1, nonce, 10)).unwrap();
    }
    assert_eq!(
        put(&mut pool, &tx(1, 8, 10)),
        Err(MempoolError::SenderLimit { limit: 8 })
    );
    put(&mut pool, &tx(1, 7, 20)).unwrap();
    put(&mut pool, &tx(2, 0, 10)).unwrap();
}

#[test]
fn queued_transactions_never_keep_out_the_one_they_wait_for() {
    let mut pool = pool(MempoolConfig {
        sender_count_max: 4,
        nonce_gap_max: 100,
        ..small(20)
    });
    assert_eq!(pool.config().nonce_gap_max, 3);
    for nonce in 1..4 {
        put(&mut pool, &tx(1, nonce, 10)).unwrap();
    }
    assert_eq!(put(&mut pool, &tx(1, 0, 10)), Ok(pending()));
}

#[test]
fn a_sender_must_afford_everything_that_it_has_in_the_pool() {
    let mut pool = pool(small(20));
    let mut put = |tx: Tx, balance| pool.insert(tx, Some(&account(0, balance)), Height(1), 0);
    let moving = |nonce, amount| {
        let mut body = body(1, nonce, 10);
        let to_self = Operation::Transfer {
            to: user(1),
            amount: Amount(500),
        };
        body.operations = vec![transfer(amount), to_self];
        sign(1, body)
    };
    let refused = |needed, available| {
        Err(MempoolError::InsufficientFunds {
            needed: Amount(needed),
            available: Amount(available),
        })
    };
    assert_eq!(put(moving(0, 91), 100), refused(101, 100));
    assert_eq!(put(moving(0, 60), 100), Ok(pending()));
    assert_eq!(put(moving(1, 21), 100), refused(101, 100));
    assert_eq!(put(moving(1, 10), 100), Ok(pending()));
    assert_eq!(put(moving(2, u64::MAX), 100), refused(u64::MAX, 100));
    // The one that is replaced does not count.
    assert_eq!(put(tx(1, 1, 30), 100), refused(101, 100));
    assert!(put(tx(1, 1, 29), 100).is_ok());
    // Queued transactions count for the one that closes the gap.
    assert_eq!(put(tx(2, 1, 50), 100), Ok(queued(0)));
    assert_eq!(put(tx(2, 0, 49), 100), refused(101, 100));
    assert_eq!(put(tx(2, 0, 48), 100), Ok(pending()));
}

#[test]
fn the_price_of_storage_counts_towards_what_a_sender_must_afford() {
    let mut pool = pool(small(20));
    let mut set = body(1, 0, 10);
    set.operations = [vec![1; 8], vec![]]
        .map(|value| Operation::SetStorage {
            slot: Hash([1; 32]),
            value,
        })
        .to_vec();
    let set = sign(1, set);
    let needed = 10 + params().storage_byte_price.0 * (32 + 8);
    let mut put = |balance| pool.insert(Arc::clone(&set), Some(&account(0, balance)), Height(1), 0);
    let refused = MempoolError::InsufficientFunds {
        needed: Amount(needed),
        available: Amount(needed - 1),
    };
    assert_eq!(put(needed - 1), Err(refused));
    assert_eq!(put(needed), Ok(pending()));
}

/// Found in review: the first transaction of a row takes the funds that the others promise as fees.
#[test]
fn no_transaction_takes_the_fees_of_those_behind_it() {
    let balance = 100_000;
    let drain = |nonce| {
        let mut body = body(1, nonce, 10);
        body.operations = vec![transfer(balance - 10)];
        sign(1, body)
    };
    // The drain is first, or it closes the gap afterwards.
    for order in [[0, 1, 2, 3], [1, 2, 3, 0]] {
        let mut pool = pool(small(40));
        let mut declared = 0;
        for nonce in order {
            let tx = if nonce == 0 { drain(0) } else { tx(1, nonce, 900) };
            let inserted = pool.insert(Arc::clone(&tx), Some(&account(0, balance)), Height(1), 0);
            declared += inserted.map_or(0, |_| tx.body().fee.0);
        }
        let drained = pool.get(drain(0).id()).is_some();
        assert_eq!(declared, if drained { 10 } else { 2_700 }, "one or the other");
    }
    // An account emptied by another transaction: the transfer that it can no longer pay leaves too, before it
    // takes the fees of the rest.
    let mut pool = pool(small(40));
    pool.insert(tx(1, 0, 900), Some(&account(0, balance)), Height(1), 0)
        .unwrap();
    let mut half = body(1, 1, 10);
    half.operations = vec![transfer(balance / 2)];
    let half = sign(1, half);
    pool.insert(Arc::clone(&half), Some(&account(0, balance)), Height(1), 0)
        .unwrap();
    let gone = commit(&mut pool, 1, &[], &[(1, 0, balance / 2)]);
    let reason = Reason::Unaffordable {
        needed: Amount(901 + balance / 2 + 10),
        available: Amount(balance / 2),
    };
    assert_eq!(gone, [departure(&half, reason)]);
}

/// Found in review: many accounts send high-fee transactions with nonces from 1 and none with 0.
#[test]
fn what_waits_behind_gaps_neither_fills_the_pool_nor_sets_its_price() {
    let mut pool = pool(small(40));
    let mut taken = 0;
    for sender in 100..140 {
        for nonce in 1..5 {
            taken += usize::from(put(&mut pool, &tx(sender, nonce, 34_000)).is_ok());
        }
    }
    assert_eq!((taken, pool.stats().queued), (5, 5), "an eighth of 40");
    let bytes = u32::try_from(tx_bytes()).unwrap();
    for sender in 0..40 {
        assert_eq!(pool.least_fee(bytes), Amount(10));
        assert_eq!(
            put(&mut pool, &tx(sender, 0, 10)).unwrap().status,
            Status::Pending
        );
    }
    assert_eq!((pool.len(), pool.stats().queued), (40, 0));
    assert_eq!(pool.least_fee(bytes), Amount(11));
    let refused = put(&mut pool, &tx(100, 1, 34_000));
    let full = MempoolError::QueueFull {
        count: 0,
        bytes: 0,
        least: Amount::MAX,
    };
    assert_eq!(refused, Err(full), "pending ones never leave for it");
}

#[test]
fn behind_gaps_the_higher_bid_per_byte_gets_the_share() {
    let mut pool = pool(MempoolConfig {
        bytes_max: 16 * tx_charge(),
        ..small(100)
    });
    let (cheap, dear) = (tx(1, 1, 20), tx(2, 1, 30));
    put(&mut pool, &cheap).unwrap();
    put(&mut pool, &dear).unwrap();
    let full = MempoolError::QueueFull {
        count: 2,
        bytes: 2 * tx_charge(),
        least: Amount(21),
    };
    assert_eq!(
        put(&mut pool, &tx(3, 1, 20)),
        Err(full),
        "two fill an eighth of the bytes"
    );
    assert_eq!(put(&mut pool, &tx(3, 1, 21)).unwrap().evicted, [id(&cheap)]);
    // A gap that closes makes its place free.
    put(&mut pool, &tx(2, 0, 10)).unwrap();
    assert_eq!(pool.status(dear.id()), Status::Pending);
    assert_eq!(put(&mut pool, &cheap), Ok(queued(0)));
    assert_eq!(pool.stats().queued, 2);
}

#[test]
fn what_a_gap_has_opened_before_may_exceed_the_share_but_leaves_first() {
    let mut pool = pool(small(8));
    for nonce in 0..6 {
        put(&mut pool, &tx(1, nonce, 500)).unwrap();
    }
    assert!(pool.remove(tx(1, 0, 500).id()));
    assert_eq!((pool.stats().queued, pool.config().queued_count_max()), (5, 1));
    for sender in 2..5 {
        put(&mut pool, &tx(sender, 0, 10)).unwrap();
    }
    assert_eq!(
        put(&mut pool, &tx(5, 0, 10)).unwrap().evicted,
        [id(&tx(1, 5, 500))]
    );
    // A transaction behind another gap must not add to them.
    assert_eq!(
        put(&mut pool, &tx(6, 1, 501)).unwrap().evicted,
        [id(&tx(1, 4, 500))]
    );
    // The row's own gap closes: those behind it are pending again, but one was evicted for it.
    assert_eq!(
        put(&mut pool, &tx(1, 0, 10)).unwrap().evicted,
        [id(&tx(1, 3, 500))]
    );
    assert_eq!(pool.status(tx(1, 2, 500).id()), Status::Pending);
    assert_eq!(pool.stats().queued, 1);
}

#[test]
fn the_least_fee_outbids_what_can_leave_and_not_what_is_in_a_block() {
    let mut pool = pool(small(2));
    let (pinned, other) = (tx(1, 0, 10), tx(2, 0, 50));
    put(&mut pool, &pinned).unwrap();
    put(&mut pool, &other).unwrap();
    pool.pin(&pinned);
    let least = pool.least_fee(u32::try_from(tx_bytes()).unwrap());
    assert_eq!(least, Amount(51));
    assert_eq!(put(&mut pool, &tx(3, 0, 51)).unwrap().evicted, [id(&other)]);
    pool.pin(&tx(3, 0, 51));
    assert_eq!(pool.least_fee(1), Amount::MAX);
}

#[test]
fn a_full_pool_gives_the_cheapest_tail_for_a_dearer_newcomer() {
    let mut pool = pool(small(3));
    let (head, tail, other) = (tx(1, 0, 20), tx(1, 1, 30), tx(2, 0, 40));
    for tx in [&head, &tail, &other] {
        put(&mut pool, tx).unwrap();
    }
    // No block includes the tail before its head, so it pays no more than that.
    let newcomer = tx(3, 0, 21);
    let error = put(&mut pool, &tx(3, 0, 20));
    assert_eq!(
        error,
        Err(MempoolError::PoolFull {
            count: 3,
            bytes: 3 * tx_charge(),
            least: Amount(21)
        })
    );
    assert_eq!(pool.least_fee(newcomer.byte_len()), Amount(21));
    assert_eq!(
        put(&mut pool, &newcomer),
        Ok(Inserted {
            evicted: vec![id(&tail)],
            ..pending()
        })
    );
    assert_eq!(
        pool.status(tail.id()),
        Status::Departed(Reason::Evicted { by: id(&newcomer) })
    );
    assert_eq!(
        put(&mut pool, &tx(4, 0, 21)),
        Ok(Inserted {
            evicted: vec![id(&head)],
            ..pending()
        })
    );
}

#[test]
fn of_two_equally_cheap_tails_the_later_arrival_leaves() {
    let mut pool = pool(small(2));
    let (early, late) = (tx(1, 0, 20), tx(2, 0, 20));
    put(&mut pool, &early).unwrap();
    put(&mut pool, &late).unwrap();
    assert_eq!(put(&mut pool, &tx(3, 0, 21)).unwrap().evicted, [id(&late)]);
}

#[test]
fn a_newcomer_never_evicts_what_it_builds_on() {
    let mut pool = pool(small(2));
    put(&mut pool, &tx(1, 0, 20)).unwrap();
    put(&mut pool, &tx(2, 0, 500)).unwrap();
    assert!(matches!(
        put(&mut pool, &tx(1, 1, 100)),
        Err(MempoolError::PoolFull { .. })
    ));
    // But it may evict its own successors.
    let mut pool = support::pool(small(2));
    let behind = tx(1, 1, 20);
    put(&mut pool, &behind).unwrap();
    put(&mut pool, &tx(2, 0, 500)).unwrap();
    assert_eq!(put(&mut pool, &tx(1, 0, 30)).unwrap().evicted, [id(&behind)]);
}

#[test]
fn a_large_newcomer_evicts_as_many_as_it_needs_or_none() {
    let bytes = tx_charge();
    let mut pool = pool(MempoolConfig {
        bytes_max: 4 * bytes,
        ..small(10)
    });
    for (sender, nonce, fee) in [(1, 0, 10), (1, 1, 20), (2, 0, 30), (3, 0, 1_000)] {
        put(&mut pool, &tx(sender, nonce, fee)).unwrap();
    }
    let large = |fee| {
        let mut body = body(4, 0, fee);
        body.operations = vec![transfer(1); 45];
        sign(4, body)
    };
    assert!((2 * bytes..3 * bytes).contains(&charge(&large(0))));
    let before = pool.stats();
    assert!(matches!(
        put(&mut pool, &large(50)),
        Err(MempoolError::PoolFull { .. })
    ));
    assert_eq!(pool.stats(), before, "all or none");
    let evicted = put(&mut pool, &large(400)).unwrap().evicted;
    assert_eq!(evicted, [id(&tx(1, 1, 20)), id(&tx(1, 0, 10)), id(&tx(2, 0, 30))]);
    assert!(pool.stats().bytes <= 4 * bytes);
    let most = large(1_000_000 - 45);
    let mut tiny = support::pool(MempoolConfig {
        bytes_max: bytes,
        ..small(10)
    });
    assert!(matches!(
        put(&mut tiny, &most),
        Err(MempoolError::PoolFull {
            least: Amount(u64::MAX),
            ..
        })
    ));
}

#[test]
fn selection_goes_by_bid_per_byte_then_arrival_and_keeps_each_senders_order() {
    let mut pool = pool(small(10));
    for (sender, nonce, fee) in [(1, 0, 10), (1, 1, 99), (2, 0, 30), (3, 0, 30), (4, 1, 500)] {
        put(&mut pool, &tx(sender, nonce, fee)).unwrap();
    }
    assert_eq!(
        take_all(&pool, &mut Selection::default()),
        [(2, 0), (3, 0), (1, 0), (1, 1)]
    );
    let mut long = body(5, 0, 59);
    long.operations = vec![transfer(1); 8];
    put(&mut pool, &sign(5, long)).unwrap();
    // More than any other in total, less than the first per byte.
    assert_eq!(
        take_all(&pool, &mut Selection::default())[..3],
        [(2, 0), (3, 0), (5, 0)]
    );
    assert_eq!(pool.len(), 6, "selecting leaves the pool as it is");
}

#[test]
fn a_selection_goes_on_where_it_stopped_and_sees_what_is_new() {
    let mut pool = pool(small(20));
    let mut selection = Selection::default();
    for (sender, nonce, fee) in [(1, 0, 50), (1, 1, 50), (2, 0, 40)] {
        put(&mut pool, &tx(sender, nonce, fee)).unwrap();
    }
    assert_eq!(take_all(&pool, &mut selection), [(1, 0), (1, 1), (2, 0)]);
    assert_eq!(take_all(&pool, &mut selection), []);
    for (sender, nonce, fee) in [(2, 1, 40), (3, 0, 90), (4, 1, 99), (1, 0, 80), (1, 2, 95)] {
        put(&mut pool, &tx(sender, nonce, fee)).unwrap();
    }
    assert_eq!(take_all(&pool, &mut selection), [(1, 2), (3, 0), (2, 1)]);
    put(&mut pool, &tx(4, 0, 20)).unwrap();
    assert_eq!(take_all(&pool, &mut selection), [(4, 0), (4, 1)]);
}

#[test]
fn a_skipped_sender_is_left_alone_for_the_rest_of_the_block() {
    let mut pool = pool(small(20));
    let mut selection = Selection::default();
    put(&mut pool, &tx(1, 0, 50)).unwrap();
    put(&mut pool, &tx(1, 1, 50)).unwrap();
    assert_eq!(pool.next(&mut selection), Some(tx(1, 0, 50)));
    pool.skip_sender(&mut selection, &user(1));
    put(&mut pool, &tx(1, 2, 50)).unwrap();
    put(&mut pool, &tx(2, 0, 10)).unwrap();
    assert_eq!(take_all(&pool, &mut selection), [(2, 0)]);
    assert_eq!(take_all(&pool, &mut Selection::default()).len(), 4);
}

#[test]
fn what_does_not_fit_into_the_block_makes_way_for_what_does() {
    let mut pool = pool(small(20));
    let mut long = body(1, 0, 900);
    long.operations = vec![transfer(1); 8];
    put(&mut pool, &sign(1, long)).unwrap();
    put(&mut pool, &tx(1, 1, 900)).unwrap();
    put(&mut pool, &tx(2, 0, 10)).unwrap();
    let mut selection = Selection::default();
    let space = BlockSpace::needed(&tx(2, 0, 10), &params());
    let smaller = BlockSpace {
        bytes: space.bytes - 1,
        ..space
    };
    assert_eq!(pool.next_within(&mut selection, &smaller), None);
    let mut selection = Selection::default();
    assert_eq!(pool.next_within(&mut selection, &space), Some(tx(2, 0, 10)));
    assert_eq!(pool.next_within(&mut selection, &space), None);
}

#[test]
fn a_commit_takes_out_what_was_included_and_what_it_rules_out() {
    let mut pool = pool(small(20));
    let (zero, one, two) = (tx(1, 0, 10), tx(1, 1, 10), tx(1, 2, 10));
    let (rival, poor, poorer) = (tx(2, 0, 10), tx(3, 0, 10), tx(3, 1, 10));
    for tx in [&zero, &one, &two, &rival, &poor, &poorer] {
        put(&mut pool, tx).unwrap();
    }
    let mut departures = commit(
        &mut pool,
        1,
        &[&zero, &one],
        &[(1, 2, 1_000), (2, 1, 1_000), (3, 0, 11), (9, 5, 5)],
    );
    departures.sort_by_key(|departure| departure.id);
    let height = Height(1);
    let stale = InvalidTransaction::NonceTooLow {
        expected: Nonce(1),
        got: Nonce(0),
    };
    let mut expected = [
        departure(&zero, Reason::Included { height }),
        departure(&one, Reason::Included { height }),
        departure(&rival, Reason::Invalid(stale)),
        departure(
            &poorer,
            Reason::Unaffordable {
                needed: Amount(22),
                available: Amount(11),
            },
        ),
    ];
    expected.sort_by_key(|departure| departure.id);
    assert_eq!(departures, expected);
    assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 2), (3, 0)]);
    assert_eq!(pool.pending_next(&user(1)), Some(Nonce(3)));
    let stats = pool.stats();
    assert_eq!(
        (stats.count, stats.pending, stats.queued, stats.senders),
        (2, 2, 0, 2)
    );
}

#[test]
fn a_commit_closes_a_gap_that_the_pool_never_saw_filled() {
    let mut pool = pool(small(20));
    put(&mut pool, &tx(1, 2, 10)).unwrap();
    assert!(!pool.has_pending() && !pool.is_empty());
    commit(&mut pool, 1, &[], &[(1, 2, 1_000)]);
    assert_eq!(pool.status(tx(1, 2, 10).id()), Status::Pending);
    assert!(pool.has_pending());
}

#[test]
fn an_included_sender_without_an_account_in_the_notice_moves_on_all_the_same() {
    let mut pool = pool(small(20));
    for nonce in 0..3 {
        put(&mut pool, &tx(1, nonce, 10)).unwrap();
    }
    commit(&mut pool, 1, &[&tx(1, 1, 10), &tx(1, 0, 10)], &[]);
    assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 2)]);
}

#[test]
fn what_expires_leaves_and_what_builds_on_it_is_queued() {
    let mut pool = pool(small(20));
    let short = sign(1, {
        let mut body = body(1, 0, 10);
        body.valid_until = Height(5);
        body
    });
    put(&mut pool, &short).unwrap();
    put(&mut pool, &tx(1, 1, 10)).unwrap();
    assert_eq!(commit(&mut pool, 4, &[], &[]), []);
    let expired = Reason::Expired {
        valid_until: Height(5),
    };
    assert_eq!(commit(&mut pool, 5, &[], &[]), [departure(&short, expired)]);
    assert_eq!(
        pool.status(tx(1, 1, 10).id()),
        Status::Queued { expected: Nonce(0) }
    );
    assert_eq!(take_all(&pool, &mut Selection::default()), []);
    assert_eq!(put(&mut pool, &tx(1, 0, 10)), Ok(pending()));
    assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 0), (1, 1)]);
}

#[test]
fn what_waits_too_long_leaves_even_when_the_clock_jumps_back() {
    let mut pool = pool(small(20));
    let insert = |pool: &mut Mempool, tx: &Tx, now| {
        pool.insert(Arc::clone(tx), Some(&account(0, 1_000)), Height(1), now)
            .unwrap();
    };
    let (first, second) = (tx(1, 0, 10), tx(2, 0, 10));
    insert(&mut pool, &first, 5_000);
    insert(&mut pool, &second, 100);
    assert_eq!(pool.stats().oldest_ms, Some(5_000));
    assert_eq!(pool.expire(Height(1), 6_000), []);
    let reason = Reason::TooOld {
        waited_ms: 1_001,
        limit_ms: 1_000,
    };
    let gone: Vec<_> = [&first, &second].iter().map(|tx| departure(tx, reason)).collect();
    assert_eq!(pool.expire(Height(1), 6_001), gone);
    assert!(pool.is_empty());
}

#[test]
fn taking_one_out_by_hand_queues_what_builds_on_it() {
    let mut pool = pool(small(20));
    for nonce in 0..3 {
        put(&mut pool, &tx(1, nonce, 10)).unwrap();
    }
    assert!(pool.remove(tx(1, 1, 10).id()));
    assert!(!pool.remove(tx(1, 1, 10).id()));
    assert_eq!(pool.status(tx(1, 1, 10).id()), Status::Departed(Reason::Cleared));
    assert_eq!(pool.stats().queued, 1);
    assert!(pool.reject(tx(1, 0, 10).id(), InvalidTransaction::SystemSender));
    let reason = Reason::Invalid(InvalidTransaction::SystemSender);
    assert_eq!(pool.status(tx(1, 0, 10).id()), Status::Departed(reason));
    assert_eq!(pool.clear().len(), 1);
    assert_eq!(pool.stats(), Default::default());
}

#[test]
fn departures_can_be_followed_by_number_and_are_forgotten_in_the_end() {
    let mut pool = pool(small(4));
    let (_, start) = pool.departures_since(0);
    put(&mut pool, &tx(1, 0, 10)).unwrap();
    put(&mut pool, &tx(1, 0, 20)).unwrap();
    let (mut news, next) = pool.departures_since(start);
    assert_eq!(news.next().unwrap().id, id(&tx(1, 0, 10)));
    assert_eq!((news.len(), next), (0, 1));
    drop(news);
    for fee in 0..64 {
        put(&mut pool, &tx(2, 0, 10 + fee)).unwrap();
        pool.remove(tx(2, 0, 10 + fee).id());
    }
    assert_eq!(
        pool.status(tx(1, 0, 10).id()),
        Status::Unknown,
        "64 have left since"
    );
    assert_eq!(pool.departures_since(0).0.len(), 64);
    assert_eq!(pool.departures_since(1_000).0.len(), 0);
}

#[test]
fn what_leaves_twice_is_remembered_for_the_last_time() {
    let mut pool = pool(MempoolConfig {
        fates_max: 2,
        ..small(2)
    });
    let one = tx(1, 0, 10);
    for _ in 0..3 {
        put(&mut pool, &one).unwrap();
        assert_eq!(pool.status(one.id()), Status::Pending);
        assert!(pool.remove(one.id()));
    }
    assert_eq!(pool.status(one.id()), Status::Departed(Reason::Cleared));
}

#[test]
fn the_list_has_pages_in_the_order_of_arrival() {
    let mut pool = pool(small(20));
    for (sender, nonce) in [(3, 0), (1, 2), (2, 0), (1, 0)] {
        put(&mut pool, &tx(sender, nonce, 10)).unwrap();
    }
    let first = pool.list(None, 3);
    assert_eq!(
        first
            .iter()
            .map(|l| l.transaction.body().nonce.0)
            .collect::<Vec<_>>(),
        [0, 2, 0]
    );
    assert_eq!(first[1].status, Status::Queued { expected: Nonce(1) });
    let rest = pool.list(Some(first[2].arrival), 3);
    assert_eq!(rest.len(), 1);
    assert_eq!(pool.list(Some(u64::MAX), 3), []);
    let own: Vec<_> = pool
        .of_sender(&user(1))
        .map(|l| l.transaction.body().nonce.0)
        .collect();
    assert_eq!(own, [0, 2]);
    assert_eq!(pool.of_sender(&user(9)).count(), 0);
}

#[test]
fn an_account_that_moved_on_is_noticed_with_the_next_transaction() {
    let mut pool = pool(small(20));
    put(&mut pool, &tx(1, 0, 10)).unwrap();
    put(&mut pool, &tx(1, 1, 10)).unwrap();
    pool.insert(tx(1, 2, 10), Some(&account(1, 1_000)), Height(2), 0)
        .unwrap();
    assert_eq!(take_all(&pool, &mut Selection::default()), [(1, 1), (1, 2)]);
    // A chain that was rewound: everything is ahead of the account again.
    pool.insert(tx(1, 3, 10), Some(&account(0, 1_000)), Height(2), 0)
        .unwrap();
    assert_eq!(pool.stats().queued, 3);
}

#[test]
fn the_bids_that_outbid_and_reach_a_rate_are_the_least_ones() {
    for (fee, bytes) in [
        (1u64, 3u32),
        (10, 200),
        (12_345, 201),
        (u64::MAX / 2, 199),
        (7, 7),
    ] {
        let rate = FeeRate::new(Amount(fee), bytes);
        for size in [100, 200, 65_536] {
            let least = rate.outbid(size);
            // A rate that no 64-bit fee reaches at this size.
            if least == Amount::MAX {
                assert!(fee > u64::MAX / 4);
                continue;
            }
            assert!(FeeRate::new(least, size) > rate);
            assert!(FeeRate::new(least.saturating_sub(1), size) <= rate);
            let same = rate.reach(size);
            assert!(FeeRate::new(same, size) >= rate && same <= least);
            assert!(same == Amount::ZERO || FeeRate::new(same.saturating_sub(1), size) < rate);
        }
    }
    assert_eq!(FeeRate::new(Amount(1), 100).outbid(100), Amount(2));
}

#[test]
fn what_is_in_a_block_under_construction_is_neither_replaced_nor_evicted() {
    let mut pool = pool(small(2));
    let (first, second) = (tx(1, 0, 10), tx(1, 1, 10));
    for tx in [&first, &second] {
        put(&mut pool, tx).unwrap();
    }
    pool.pin(&first);
    let taken = MempoolError::InBlock {
        existing: id(&first),
        nonce: Nonce(0),
    };
    assert_eq!(put(&mut pool, &tx(1, 0, 1_000)), Err(taken));
    // The tail is not in the block: it is evicted, and then no other can be.
    assert_eq!(put(&mut pool, &tx(2, 0, 500)).unwrap().evicted, [id(&second)]);
    let full = put(&mut pool, &tx(3, 0, 400));
    assert!(matches!(full, Err(MempoolError::PoolFull { .. })), "{full:?}");
    assert_eq!(pool.status(&id(&first)), Status::Pending);
    // The block is abandoned.
    pool.unpin_all();
    let replaced = put(&mut pool, &tx(1, 0, 1_000)).unwrap().replaced;
    assert_eq!(replaced, Some(id(&first)));
}

/// Both ways: a high-fee tail does not keep its predecessors, and does not evict others for them.
#[test]
fn a_dear_tail_is_worth_no_more_than_the_cheap_head_that_it_waits_for() {
    let mut pool = pool(small(4));
    let (head, tail) = (tx(1, 0, 10), tx(1, 1, 100_000));
    let honest = [tx(2, 0, 20), tx(3, 0, 20)];
    for tx in [&head, &tail, &honest[0], &honest[1]] {
        put(&mut pool, tx).unwrap();
    }
    // More of the same row evicts no other, whatever it pays.
    let never = MempoolError::PoolFull {
        count: 3,
        bytes: 9,
        least: Amount::MAX,
    };
    assert!(never.to_string().ends_with("no fee gets in before others leave"));
    let more = MempoolError::PoolFull {
        count: 4,
        bytes: 4 * tx_charge(),
        least: Amount::MAX,
    };
    assert_eq!(put(&mut pool, &tx(1, 2, 500_000)), Err(more));
    // The row is evicted, from its end, by any transaction that pays more than its head.
    assert_eq!(put(&mut pool, &tx(4, 0, 15)).unwrap().evicted, [id(&tail)]);
    assert_eq!(put(&mut pool, &tx(5, 0, 15)).unwrap().evicted, [id(&head)]);
    // A head that is replaced by a high-fee one raises the standing of those behind it.
    let mut pool = support::pool(small(2));
    put(&mut pool, &head).unwrap();
    put(&mut pool, &tail).unwrap();
    let least = |pool: &Mempool| pool.least_fee(u32::try_from(tx_bytes()).unwrap());
    assert_eq!(least(&pool), Amount(11));
    put(&mut pool, &tx(1, 0, 50)).unwrap();
    assert_eq!(least(&pool), Amount(51));
    // So does an included one.
    commit(&mut pool, 1, &[&tx(1, 0, 50)], &[(1, 1, 1_000_000)]);
    put(&mut pool, &tx(2, 0, 60)).unwrap();
    assert_eq!(least(&pool), Amount(61));
}

/// Parameters whose minimum fee has a price per byte and per slot.
fn priced() -> ChainParams {
    let devnet = ChainParams::devnet();
    ChainParams {
        fee_min: devnet.fee_min,
        fee_per_byte: devnet.fee_per_byte,
        fee_per_slot: devnet.fee_per_slot,
        ..params()
    }
}

fn priced_pool(config: MempoolConfig) -> Mempool {
    Mempool::new(config, Arc::new(priced()))
}

/// The minimum fee of this transaction.
fn least_of(tx: &Tx) -> u64 {
    priced().fee_for(tx.byte_len(), tx.body().slot_count()).0
}

/// A transfer that pays `bid` above its minimum fee.
fn bidding(sender: u8, nonce: u64, bid: u64) -> Tx {
    tx(sender, nonce, least_of(&tx(sender, nonce, 0)) + bid)
}

/// A transaction that clears many slots and pays `bid` above its minimum fee.
fn clearing(sender: u8, nonce: u64, bid: u64) -> Tx {
    let clears = |fee| {
        let mut body = body(sender, nonce, fee);
        let clear = |slot| Operation::SetStorage {
            slot: Hash([slot; 32]),
            value: vec![],
        };
        body.operations = (0..20).map(clear).collect();
        sign(sender, body)
    };
    clears(least_of(&clears(0)) + bid)
}

#[test]
fn transactions_at_their_least_fees_rank_alike_whatever_slots_they_have() {
    for order in [[1, 2], [2, 1]] {
        let mut pool = priced_pool(small(10));
        let made = order.map(|sender| match sender {
            1 => clearing(1, 0, 0),
            _ => bidding(2, 0, 0),
        });
        for tx in &made {
            assert_eq!(FeeRate::of(tx, &priced()), FeeRate(0));
            put(&mut pool, tx).unwrap();
        }
        let taken = take_all(&pool, &mut Selection::default());
        assert_eq!(taken, order.map(|sender| (sender, 0)), "by arrival");
    }
}

#[test]
fn blocks_take_the_higher_bid_per_byte_not_the_higher_price_of_slots() {
    let mut pool = priced_pool(small(10));
    let bids = [
        clearing(1, 0, 0),
        clearing(2, 0, 10),
        bidding(3, 0, 1),
        bidding(4, 0, 10),
    ];
    for tx in &bids {
        put(&mut pool, tx).unwrap();
    }
    // Ten for a thousand bytes are more than nothing, and less than one for two hundred.
    assert!(bids[1].byte_len() > 4 * bids[2].byte_len());
    let taken = take_all(&pool, &mut Selection::default());
    assert_eq!(taken, [(4, 0), (2, 0), (3, 0), (1, 0)]);
}

/// A flood of transactions with many slots, each at its minimum fee.
#[test]
fn a_pool_full_of_slots_makes_room_for_a_transfer_that_bids_one_more() {
    let mut pool = priced_pool(small(2));
    let flood = [clearing(1, 0, 0), clearing(2, 0, 0)];
    for tx in &flood {
        put(&mut pool, tx).unwrap();
    }
    let (plain, dearer) = (bidding(3, 0, 0), bidding(3, 0, 1));
    let full = |pool: &Mempool, tx: &Tx| MempoolError::PoolFull {
        count: 2,
        bytes: pool.stats().bytes,
        least: Amount(least_of(tx) + 1),
    };
    assert_eq!(put(&mut pool, &plain), Err(full(&pool, &plain)));
    // The fee named by the refusal and the suggestion is enough.
    assert_eq!(pool.least_fee(plain.byte_len()), dearer.body().fee);
    assert_eq!(put(&mut pool, &dearer).unwrap().evicted, [id(&flood[1])]);
    assert_eq!(
        put(&mut pool, &bidding(4, 0, 1)).unwrap().evicted,
        [id(&flood[0])]
    );
    // Slots do not buy the place back.
    let clears = clearing(1, 0, 0);
    let refused = put(&mut pool, &clears);
    let enough = match refused {
        Err(MempoolError::PoolFull { least, .. }) => least.0 - least_of(&clears),
        other => panic!("{other:?}"),
    };
    assert!(put(&mut pool, &clearing(1, 0, enough - 1)).is_err());
    assert_eq!(
        put(&mut pool, &clearing(1, 0, enough)).unwrap().evicted,
        [id(&bidding(4, 0, 1))]
    );
}

#[test]
fn behind_gaps_slots_are_no_bid_either() {
    let mut pool = priced_pool(small(8));
    let flood = clearing(1, 1, 0);
    put(&mut pool, &flood).unwrap();
    assert_eq!(pool.config().queued_count_max(), 1);
    assert_eq!(put(&mut pool, &bidding(2, 1, 1)).unwrap().evicted, [id(&flood)]);
    assert!(matches!(
        put(&mut pool, &clearing(1, 1, 0)),
        Err(MempoolError::QueueFull { .. })
    ));
}

/// Otherwise a transfer with a high bid evicts others, and is then replaced by slots at their minimum fee,
/// which blocks include last: the bid is never charged.
#[test]
fn a_replacement_takes_no_bid_back() {
    let mut pool = priced_pool(small(2));
    let (bid, evicted) = (bidding(1, 0, 1_000), bidding(2, 0, 0));
    put(&mut pool, &evicted).unwrap();
    put(&mut pool, &bidding(3, 0, 5)).unwrap();
    assert_eq!(put(&mut pool, &bid).unwrap().evicted, [id(&evicted)]);
    let slots = clearing(1, 0, 0);
    assert!(slots.body().fee.0 > 2 * bid.body().fee.0);
    let least = match put(&mut pool, &slots) {
        Err(MempoolError::ReplacementUnderpriced { existing, least, got }) => {
            assert_eq!((existing, got), (id(&bid), slots.body().fee));
            least.0 - slots.body().fee.0
        }
        other => panic!("{other:?}"),
    };
    assert!(put(&mut pool, &clearing(1, 0, least - 1)).is_err());
    assert_eq!(
        put(&mut pool, &clearing(1, 0, least)).unwrap().replaced,
        Some(id(&bid))
    );
    assert!(FeeRate::of(&clearing(1, 0, least), &priced()) >= FeeRate::of(&bid, &priced()));
    assert!(FeeRate::of(&clearing(1, 0, least - 1), &priced()) < FeeRate::of(&bid, &priced()));
}

fn promoted(pool: &Mempool, seen: &mut u64) -> Vec<Hash> {
    let (promoted, next) = pool.promoted_since(*seen);
    *seen = next;
    promoted.map(|tx| *tx.id()).collect()
}

#[test]
fn what_becomes_pending_later_is_told_once_in_the_order_of_nonces() {
    let mut pool = pool(small(20));
    let mut seen = 0;
    for nonce in [3, 1, 2] {
        put(&mut pool, &tx(1, nonce, 20)).unwrap();
    }
    assert_eq!(promoted(&pool, &mut seen), []);
    // The one that closes the gap is reported by its status.
    assert_eq!(put(&mut pool, &tx(1, 0, 20)), Ok(pending()));
    let expected: Vec<Hash> = (1..4).map(|nonce| id(&tx(1, nonce, 20))).collect();
    assert_eq!(promoted(&pool, &mut seen), expected);
    put(&mut pool, &tx(1, 5, 20)).unwrap();
    // A pending transaction and its replacement are reported by their status too.
    put(&mut pool, &tx(2, 0, 20)).unwrap();
    put(&mut pool, &tx(2, 0, 40)).unwrap();
    assert_eq!(promoted(&pool, &mut seen), []);
    // A gap that opened again causes no new report when it closes.
    assert!(pool.remove(tx(1, 1, 20).id()));
    put(&mut pool, &tx(1, 1, 20)).unwrap();
    assert_eq!(promoted(&pool, &mut seen), []);
    // A block may close one that the pool never saw filled.
    commit(&mut pool, 1, &[], &[(1, 5, 1_000_000)]);
    assert_eq!(promoted(&pool, &mut seen), [id(&tx(1, 5, 20))]);
    assert_eq!(promoted(&pool, &mut seen), []);
}
