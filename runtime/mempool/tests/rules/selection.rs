//! Selection of a block's transactions.

use super::*;

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
