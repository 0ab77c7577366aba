#![allow(clippy::unwrap_used)]

use vibecoin_primitives::{Address, Amount, Height, Nonce, Operation, SecretKey, TransactionBody};

use super::*;

const GENESIS: Hash = Hash([9; 32]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// A transaction of this sender, signed by that key.
fn transaction(sender: u8, signer: u8) -> Transaction {
    let body = TransactionBody {
        chain: GENESIS.prefix(),
        sender: key(sender).public_key(),
        nonce: Nonce(0),
        fee: Amount(1),
        valid_until: Height(9),
        operations: vec![Operation::Transfer {
            to: Address::from(key(77).public_key()),
            amount: Amount(1),
        }],
    };
    body.sign(&GENESIS, &key(signer))
}

fn gossip(from: u64, transactions: Vec<Transaction>) -> Waiting {
    Waiting::from(Gossiped {
        from: PeerId(from),
        gossip: None,
        transactions,
    })
}

#[test]
fn a_peer_with_a_bad_signature_is_checked_apart_until_it_sends_good_ones() {
    let (mut keys, mut tainted) = (KnownKeys::default(), Tainted::default());
    let origin = |from| Origin::Gossip {
        gossip: None,
        from: PeerId(from),
    };
    let waiting = vec![
        gossip(1, vec![transaction(1, 1), transaction(2, 1)]),
        gossip(2, vec![transaction(3, 3)]),
    ];
    let checked = check(&GENESIS, waiting, &mut keys, &mut tainted);
    let offered: Vec<usize> = checked.iter().map(|(_, offered)| offered.len()).collect();
    assert_eq!(offered, [1, 1], "the good ones are offered to the pool");
    assert!(tainted.has(&origin(1)) && !tainted.has(&origin(2)));
    check(
        &GENESIS,
        vec![gossip(1, vec![transaction(4, 4)])],
        &mut keys,
        &mut tainted,
    );
    assert!(!tainted.has(&origin(1)));
}

#[test]
fn only_so_many_peers_are_remembered() {
    let mut tainted = Tainted::default();
    for peer in 0..1_000 {
        tainted.note(PeerId(peer));
    }
    assert_eq!(tainted.peers.len(), Tainted::MAX);
}
