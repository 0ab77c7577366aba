//! Slots, whose price is no bid.

use super::*;

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
