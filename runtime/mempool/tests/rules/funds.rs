//! Funds: what a sender must afford.

use super::*;

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
