//! Nonces: rows, gaps, duplicates, replacements, the bound per sender.

use super::*;

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
