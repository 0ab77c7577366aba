#![allow(clippy::unwrap_used, clippy::panic)]

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
        gossip: Some(GossipId(from)),
        transactions,
    })
}

/// A stage that notes whom it blames and what it forwards.
struct Bench {
    stage: Stage,
    blamed: Arc<Mutex<Vec<(PeerId, Refusal)>>>,
    told: Arc<Mutex<Vec<(GossipId, Verdict)>>>,
    keys: KnownKeys,
    tainted: Tainted,
}

fn bench() -> Bench {
    let (blamed, told) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
    let (blame, tell): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = (Arc::clone(&blamed), Arc::clone(&told));
    let (_, submissions) = crossbeam_channel::bounded(1);
    let stage = Stage {
        genesis: GENESIS,
        queues: Queues {
            submissions,
            gossiped: Arc::new(FairQueue::new(crate::network::GOSSIPED)),
        },
        tickets: Arc::default(),
        report: Arc::new(move |peer, refusal| blame.lock().push((peer, *refusal))),
        forward: Box::new(move |gossip, verdict| tell.lock().push((gossip, verdict))),
    };
    Bench {
        stage,
        blamed,
        told,
        keys: KnownKeys::default(),
        tainted: Tainted::default(),
    }
}

impl Bench {
    /// How many transactions of each entry are offered to the pool.
    fn check(&mut self, waiting: Vec<Waiting>) -> Vec<usize> {
        let checked = self.stage.check(waiting, &mut self.keys, &mut self.tainted);
        checked.iter().map(|(_, offered)| offered.len()).collect()
    }
}

#[test]
fn a_gossiped_message_with_a_bad_signature_is_refused_whole_and_at_once() {
    let mut bench = bench();
    let spoilt = gossip(1, vec![transaction(1, 1), transaction(2, 1)]);
    let offered = bench.check(vec![spoilt, gossip(2, vec![transaction(3, 3)])]);
    assert_eq!(offered, [1], "what others sent is offered to the pool");
    let blamed = std::mem::take(&mut *bench.blamed.lock());
    let [(peer, refusal)] = blamed.as_slice() else {
        panic!("{blamed:?}");
    };
    assert_eq!(
        (*peer, refusal.kind, refusal.checks),
        (PeerId(1), Refused::Transactions, 1)
    );
    let told = std::mem::take(&mut *bench.told.lock());
    assert!(
        matches!(told.as_slice(), [(GossipId(1), Verdict::Rejected(_))]),
        "{told:?}"
    );
    assert!(bench.tainted.has(Some(PeerId(1))) && !bench.tainted.has(Some(PeerId(2))));
    assert_eq!(bench.check(vec![gossip(1, vec![transaction(4, 4)])]), [1]);
    assert!(
        !bench.tainted.has(Some(PeerId(1))),
        "a good message clears its name"
    );
    assert!(bench.blamed.lock().is_empty());
}

#[test]
fn a_client_gets_a_verdict_for_each_transaction_whatever_peers_send_beside_it() {
    let mut bench = bench();
    let (reply, _receiver) = oneshot::channel();
    let client = Waiting::from(Submission {
        transactions: vec![transaction(5, 5), transaction(6, 5), transaction(7, 7)],
        reply,
    });
    let checked = bench.stage.check(
        vec![gossip(1, vec![transaction(1, 2)]), client],
        &mut bench.keys,
        &mut bench.tainted,
    );
    let [(pending, offered)] = checked.as_slice() else {
        panic!("{} entries", checked.len());
    };
    let bad: Vec<bool> = pending.verdicts.iter().map(Option::is_some).collect();
    assert_eq!((bad.as_slice(), offered.len()), (&[false, true, false][..], 2));
}

#[test]
fn only_so_many_peers_are_remembered() {
    let mut tainted = Tainted::default();
    for peer in 0..1_000 {
        tainted.note(PeerId(peer));
    }
    assert_eq!(tainted.peers.len(), Tainted::MAX);
}
