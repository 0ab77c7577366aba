#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use vibecoin_primitives::{Address, Amount, Height, Nonce, Operation, SecretKey, TransactionBody};

use crossbeam_channel::Receiver;
use tokio::sync::oneshot;

use super::*;
use crate::submissions::{SubmissionSender, submissions};

const GENESIS: Hash = Hash([9; 32]);

/// A connection of a local program.
const LOCAL: Caller = Caller {
    address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    connection: 1,
};

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

/// A stage that records the peers that it blames and the messages that it forwards.
struct Bench {
    stage: Stage,
    blamed: Arc<Mutex<Vec<(PeerId, Refusal)>>>,
    forwarded: Arc<Mutex<Vec<(GossipId, Verdict)>>>,
    proofs: Proofs,
    /// Contents of the pool.
    pool: Arc<Mutex<HashMap<Hash, Arc<VerifiedTransaction>>>>,
    tainted: Tainted,
    submissions: SubmissionSender,
    driver: Sender<NodeEvent>,
    offered: Receiver<NodeEvent>,
}

fn bench() -> Bench {
    let (blamed, forwarded) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
    let (blame, forward_to): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) =
        (Arc::clone(&blamed), Arc::clone(&forwarded));
    let (submissions, receiver) = submissions();
    let (driver, offered) = crossbeam_channel::unbounded();
    let pool: Arc<Mutex<HashMap<_, _>>> = Arc::default();
    let looked_up = Arc::clone(&pool);
    let stage = Stage {
        genesis: GENESIS,
        queues: Queues {
            submissions: receiver,
            gossiped: Arc::new(FairQueue::new(crate::network::GOSSIPED)),
        },
        tickets: Arc::default(),
        pool: Box::new(move |id| looked_up.lock().get(id).cloned()),
        report: Arc::new(move |peer, refusal| blame.lock().push((peer, *refusal))),
        forward: Box::new(move |gossip, verdict| forward_to.lock().push((gossip, verdict))),
    };
    Bench {
        stage,
        blamed,
        forwarded,
        proofs: Proofs::default(),
        pool,
        tainted: Tainted::default(),
        submissions,
        driver,
        offered,
    }
}

impl Bench {
    /// Number of transactions of each entry that are offered to the pool.
    fn check(&mut self, waiting: Vec<Waiting>) -> Vec<usize> {
        let checked = self.stage.check(waiting, &mut self.proofs, &mut self.tainted);
        checked.iter().map(|(_, offered)| offered.len()).collect()
    }

    /// One round of the stage: number of transactions of each entry that were offered to the pool.
    fn round(&mut self) -> Vec<usize> {
        let begun = self
            .stage
            .round(&mut self.proofs, &mut self.tainted, &self.driver)
            .unwrap();
        assert!(begun, "nothing waited");
        let offered = |input| match input {
            NodeEvent::Transactions { transactions, .. } => transactions.len(),
            _ => panic!("nothing else is offered"),
        };
        self.offered.try_iter().map(offered).collect()
    }

    fn submit(&self, from: Caller, transactions: Vec<Transaction>) -> oneshot::Receiver<Vec<Outcome>> {
        let (reply, answer) = oneshot::channel();
        self.submissions.push(from, transactions, reply).unwrap();
        answer
    }

    /// Queued transactions of clients.
    fn waiting(&self) -> usize {
        self.stage.queues.submissions.held().1
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
    let forwarded = std::mem::take(&mut *bench.forwarded.lock());
    assert!(
        matches!(forwarded.as_slice(), [(GossipId(1), Verdict::Rejected(_))]),
        "{forwarded:?}"
    );
    assert!(bench.tainted.has(Some(PeerId(1))) && !bench.tainted.has(Some(PeerId(2))));
    let again = gossip(1, vec![transaction(4, 4)]);
    assert!(
        bench
            .stage
            .look_at(again, &mut bench.proofs, &mut bench.tainted)
            .is_some()
    );
    assert!(
        !bench.tainted.has(Some(PeerId(1))),
        "a good message clears its name"
    );
    assert!(bench.blamed.lock().is_empty());
}

#[test]
fn a_client_gets_a_verdict_for_each_transaction_whatever_peers_send_beside_it() {
    let mut bench = bench();
    let _answer = bench.submit(
        LOCAL,
        vec![transaction(5, 5), transaction(6, 5), transaction(7, 7)],
    );
    let mut taken = bench.stage.queues.submissions.take(Line::Small);
    let client = Waiting::from(taken.pop().unwrap());
    let checked = bench.stage.check(
        vec![gossip(1, vec![transaction(1, 2)]), client],
        &mut bench.proofs,
        &mut bench.tainted,
    );
    let [(pending, offered)] = checked.as_slice() else {
        panic!("{} entries", checked.len());
    };
    let bad: Vec<bool> = pending.verdicts.iter().map(Option::is_some).collect();
    assert_eq!((bad.as_slice(), offered.len()), (&[false, true, false][..], 2));
}

impl Bench {
    /// Transactions offered to the pool for a message that this peer sends alone.
    fn offers(&mut self, from: u64, transactions: Vec<Transaction>) -> Vec<Arc<VerifiedTransaction>> {
        let checked = self.stage.check(
            vec![gossip(from, transactions)],
            &mut self.proofs,
            &mut self.tainted,
        );
        checked.into_iter().flat_map(|(_, offered)| offered).collect()
    }
}

/// Returns true if each of these is the same allocation, so that no signature was checked for another one.
fn are_same(some: &[Arc<VerifiedTransaction>], others: &[Arc<VerifiedTransaction>]) -> bool {
    some.len() == others.len()
        && some
            .iter()
            .zip(others)
            .all(|(one, other)| Arc::ptr_eq(one, other))
}

#[test]
fn a_copy_of_what_was_checked_is_offered_without_another_check() {
    let mut bench = bench();
    let copies = vec![transaction(1, 1), transaction(2, 2), transaction(1, 1)];
    let first = bench.offers(1, copies.clone());
    assert_eq!(first.len(), 3);
    assert!(Arc::ptr_eq(&first[0], &first[2]), "twice in one batch");
    let again = bench.offers(2, copies.clone());
    assert!(are_same(&first, &again), "checked lately");
    // Transactions in the pool are known for longer.
    bench.pool.lock().insert(*first[0].id(), Arc::clone(&first[0]));
    bench.proofs = Proofs::default();
    let later = bench.offers(3, copies);
    assert!(are_same(&first[..1], &later[..1]) && !are_same(&first[1..2], &later[1..2]));
    // A client's copy, beside an invalid one that makes all of them be checked one by one.
    let _answer = bench.submit(LOCAL, vec![transaction(6, 5), transaction(1, 1)]);
    let taken = bench.stage.queues.submissions.take(Line::Small).pop().unwrap();
    let checked = bench
        .stage
        .check(vec![taken.into()], &mut bench.proofs, &mut bench.tainted);
    assert!(are_same(&checked[0].1, &first[..1]));
    assert!(bench.blamed.lock().is_empty());
}

#[test]
fn a_bad_signature_on_a_known_transaction_is_found() {
    let mut bench = bench();
    assert_eq!(bench.offers(1, vec![transaction(1, 1)]).len(), 1);
    assert_eq!(transaction(1, 1).id(&GENESIS), transaction(1, 2).id(&GENESIS));
    assert!(bench.offers(2, vec![transaction(1, 2)]).is_empty());
    assert!(
        bench
            .offers(3, vec![transaction(2, 2), transaction(2, 1)])
            .is_empty()
    );
    let blamed: Vec<u64> = bench.blamed.lock().iter().map(|(peer, _)| peer.0).collect();
    assert_eq!(blamed, [2, 3]);
}

#[test]
fn only_so_many_peers_are_remembered() {
    let mut tainted = Tainted::default();
    for peer in 0..1_000 {
        tainted.note(PeerId(peer));
    }
    assert_eq!(tainted.peers.len(), Tainted::MAX);
}

#[test]
fn an_honest_submission_is_checked_before_a_flood_of_bad_ones_and_in_every_round() {
    let mut bench = bench();
    let bad = vec![transaction(6, 5); 100];
    let flood: Vec<_> = (0..20).map(|_| bench.submit(LOCAL, bad.clone())).collect();
    let other = Caller {
        connection: 2,
        ..LOCAL
    };
    let _first = bench.submit(other, vec![transaction(1, 1)]);
    assert_eq!(bench.round(), [1], "the only one that is good");
    let left = bench.waiting();
    assert!((1..2_000).contains(&left), "{left} of the flood wait");
    let _second = bench.submit(other, vec![transaction(2, 2)]);
    assert_eq!(bench.round(), [1]);
    assert_eq!(left - bench.waiting(), 32, "it has a bad name by now: one slice");
    while bench.waiting() > 0 {
        assert!(bench.round().is_empty(), "the driver hears nothing of bad ones");
    }
    for mut answer in flood {
        let verdicts = answer.try_recv().unwrap();
        assert_eq!(verdicts.len(), 100);
        assert!(verdicts.iter().all(|verdict| matches!(
            verdict,
            Err(Rejected {
                reason: rpc::Refusal::Transaction(_),
                ..
            })
        )));
    }
}

#[test]
fn good_transactions_beside_a_bad_one_of_another_caller_are_offered() {
    let mut bench = bench();
    let caller = |connection| Caller { connection, ..LOCAL };
    let mut bad = bench.submit(caller(1), vec![transaction(6, 5)]);
    let _good = [2, 3, 4].map(|n| bench.submit(caller(u32::from(n)), vec![transaction(n, n)]));
    assert_eq!(bench.round(), [1, 1, 1]);
    assert!(bad.try_recv().unwrap().iter().all(Result::is_err));
}

#[test]
fn the_stage_ends_when_no_more_can_be_submitted_and_all_is_checked() {
    let Bench {
        stage,
        submissions,
        driver,
        offered,
        ..
    } = bench();
    let (reply, _answer) = oneshot::channel();
    submissions.push(LOCAL, vec![transaction(1, 1)], reply).unwrap();
    drop(submissions);
    stage.run(&driver);
    assert_eq!(offered.len(), 1);
}

/// Origin of transactions.
enum Comes {
    Client,
    Peer(Option<GossipId>),
}

/// Result for two pending and, with `some_queued`, a queued transaction: the nonces that this node publishes
/// itself, and whether the message is forwarded.
fn answered(from: Comes, some_queued: bool) -> (Vec<u64>, Option<bool>) {
    let mut bench = bench();
    let mut transactions = vec![transaction(1, 1), transaction(2, 2)];
    transactions.extend(some_queued.then(|| transaction(3, 3)));
    let waiting = match from {
        Comes::Client => {
            let _answer = bench.submit(LOCAL, transactions);
            Waiting::from(bench.stage.queues.submissions.take(Line::Small).pop().unwrap())
        }
        Comes::Peer(gossip) => Waiting {
            transactions,
            source: Source::Peer {
                peer: PeerId(1),
                gossip,
            },
        },
    };
    let mut checked = bench
        .stage
        .check(vec![waiting], &mut bench.proofs, &mut bench.tainted);
    let (pending, offered) = checked.pop().unwrap();
    let ticket = bench.stage.tickets.open(pending).unwrap();
    let results = offered.iter().map(|transaction| {
        let is_queued = transaction.body().sender == key(3).public_key();
        Ok(Inserted {
            status: match is_queued {
                true => Status::Queued { expected: Nonce(0) },
                false => Status::Pending,
            },
            replaced: None,
            evicted: vec![],
        })
    });
    let mut answer = bench.stage.tickets.close(ticket, results.collect()).unwrap();
    assert_eq!(answer.taken, offered, "readers see all of them");
    let is_client = matches!(answer.origin, Origin::Client(..));
    let own = match answer.take_own() {
        Own::Any(_, own) => {
            assert!(is_client, "all that were given a message publish the same one");
            own
        }
        Own::Message(own) => {
            assert!(!is_client, "single ones travel together");
            own
        }
    };
    assert!(own.iter().all(|one| offered.contains(one)));
    let own = own.iter().map(|one| one.body().sender);
    let own = own.map(|sender| {
        (1..4)
            .find(|n| key(*n).public_key() == sender)
            .map_or(0, u64::from)
    });
    let own = own.collect();
    match answer.send() {
        Completion::Gossip { verdict, .. } => (own, Some(matches!(verdict, Verdict::Fresh))),
        Completion::Client | Completion::Nothing => (own, None),
    }
}

#[test]
fn queued_transactions_go_no_further_than_this_node() {
    let gossip = || Comes::Peer(Some(GossipId(1)));
    assert_eq!(answered(Comes::Client, false), (vec![1, 2], None));
    assert_eq!(answered(Comes::Client, true), (vec![1, 2], None));
    assert_eq!(answered(gossip(), false), (vec![], Some(true)));
    assert_eq!(answered(gossip(), true), (vec![1, 2], Some(false)));
    assert_eq!(answered(Comes::Peer(None), true), (vec![], None));
}
