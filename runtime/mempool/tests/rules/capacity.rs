//! A full pool: the share of what waits behind gaps, the least fee, evictions.

use super::*;

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
