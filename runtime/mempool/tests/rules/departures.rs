//! Commits, expiry, departures and pages.

use super::*;

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
