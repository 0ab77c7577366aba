//! Bounds on a block's demand: builders stay within it, validators check it before anything expensive, and
//! differing pools spend no nonce twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]
#![allow(missing_docs)]

use std::sync::Arc;

use vibecoin_consensus::MonoTime;
use vibecoin_execution::{MemoryState, StateReader};
use vibecoin_mempool::{Committed, Mempool, MempoolConfig};
use vibecoin_primitives::*;
use vibecoin_replica::BlockError;
use vibecoin_replica::assembly::{Assembly, Taken};
use vibecoin_replica::build::{Built, Step};
use vibecoin_tests_support::{self as support, ChainBuilder, address, key, sign_part, transfer};

const USERS: u8 = 12;

fn bounded() -> ChainParams {
    let params = ChainParams {
        hashes_per_tick: 4,
        operations_max: 8,
        transaction_slots_max: 8,
        block_slots_max: 20,
        block_operations_max: 34,
        block_evidence_bytes_max: 400,
        slot_value_bytes_max: 64,
        transaction_state_bytes_max: 4_000,
        block_state_bytes_max: 9_000,
        ..support::params()
    };
    params.check().unwrap();
    params
}

/// A chain with the pools of its validators.
struct Net {
    blocks: ChainBuilder,
    pools: Vec<Mempool>,
}

impl Net {
    fn new(validators: u8) -> Self {
        let blocks = ChainBuilder::new(bounded(), 200..200 + validators, 0..USERS);
        let pool = Mempool::new(MempoolConfig::default(), blocks.chain.params.clone());
        Self {
            pools: vec![pool; usize::from(validators)],
            blocks,
        }
    }

    fn params(&self) -> &ChainParams {
        &self.blocks.chain.params
    }

    fn account(&self, address: &Address) -> Option<Account> {
        self.blocks.parent.state.account(address).unwrap()
    }

    fn sign(&self, sender: u8, nonce: u64, operations: Vec<Operation>) -> VerifiedTransaction {
        let (genesis, key) = (&self.blocks.chain.genesis, key(sender));
        let body = TransactionBody {
            fee: Amount(100_000),
            valid_until: Height(60),
            ..support::body(genesis, &key, nonce, operations)
        };
        body.sign(genesis, &key).verify(genesis).unwrap()
    }

    fn offer(&mut self, pool: usize, transaction: VerifiedTransaction) {
        let account = self.account(&transaction.sender());
        self.pools[pool]
            .insert(Arc::new(transaction), account.as_ref(), self.blocks.height(), 0)
            .unwrap();
    }

    /// The proposer in turn, with its position in the set.
    fn turn(&self) -> (usize, PublicKey) {
        let proposer = self.blocks.proposer(Round(0));
        let (index, _) = self.blocks.chain.validators.find(&proposer).unwrap();
        (index, proposer)
    }

    /// Builds the next block from the proposer's pool.
    fn build(&mut self, evidence: Vec<Evidence>) -> Built<MemoryState> {
        let (index, _) = self.turn();
        self.blocks
            .build(&mut self.pools[index], Round(0), evidence)
            .unwrap()
    }

    /// Checks the block as every validator does, and makes it the head.
    fn commit(&mut self, built: Built<MemoryState>) {
        let changed = built.executed.outcome.changes.accounts.iter();
        let accounts: Vec<_> = changed.map(|(at, account)| (*at, Some(*account))).collect();
        let decided = self.blocks.commit(built);
        for pool in &mut self.pools {
            let block = Committed {
                height: decided.header.height,
                included: &decided.ids,
                accounts: &accounts,
            };
            pool.on_committed(&block, 0);
        }
    }
}

fn set(slot: u8, bytes: usize) -> Operation {
    Operation::SetStorage {
        slot: Hash([slot; 32]),
        value: vec![slot; bytes],
    }
}

fn demand(params: &ChainParams, body: &Body) -> Demand {
    body.transactions().fold(Demand::default(), |sum, transaction| {
        sum.plus(Demand::of(transaction.body(), params))
    })
}

fn slots(net: &Net) -> usize {
    let own = |((owner, _), _): &(&(Address, Hash), &Vec<u8>)| *owner != Address::system();
    net.blocks.parent.state.slots().iter().filter(own).count()
}

#[test]
fn a_builder_does_not_look_at_what_its_block_has_no_space_for() {
    let mut net = Net::new(1);
    for sender in 1..USERS {
        let slots = (0..8).map(|n| set(n, 0)).collect();
        let large = net.sign(sender, 0, slots);
        net.offer(0, large);
    }
    // Larger, so that it bids less per byte and is last in order.
    let transfers = vec![transfer(50, 5); 8];
    let last = net.sign(0, 0, transfers);
    net.offer(0, last);
    let (mut now, mut builder) = (MonoTime(0), net.blocks.begin(Round(0), vec![]).unwrap());
    let pool = &mut net.pools[0];
    loop {
        now = builder.due(!pool.has_pending()).unwrap_or(now).max(now);
        if builder.step(pool, now).unwrap() == Step::Complete {
            break;
        }
    }
    // Two with 8 of the block's 20 slots each, and the transfers.
    assert_eq!(builder.looked_at(), 3);
    assert_eq!(builder.finish(TimeMs(0)).unwrap().body.transaction_count(), 3);
}

#[test]
fn what_a_block_has_no_room_for_waits_and_every_block_stays_within_its_bounds() {
    let mut net = Net::new(1);
    for bytes in [64, 0] {
        for sender in 0..USERS {
            let account = net.account(&address(sender)).unwrap();
            let (nonce, operations) = (account.nonce.0, (0..8).map(|n| set(n, bytes)));
            let large = net.sign(sender, nonce, operations.collect());
            net.offer(0, large);
            let small = net.sign(sender, nonce + 1, vec![transfer(50, 5)]);
            net.offer(0, small);
        }
        let mut blocks = 0;
        while net.pools[0].has_pending() {
            let built = net.build(Vec::new());
            let found = demand(net.params(), &built.body);
            assert_eq!(found.exceeds_block(net.params()), None);
            assert_eq!(found.slots, 16, "as many whole transactions as there is room for");
            let rows = built.executed.diff.entries.iter();
            let rows: usize = rows
                .map(|row| row.old.as_ref().map_or(0, Vec::len) + row.new.as_ref().map_or(0, Vec::len))
                .sum();
            let own = 3 * 2 * 200;
            assert!(rows <= found.state_bytes as usize + own, "{rows} of {found:?}");
            net.commit(built);
            blocks += 1;
        }
        assert_eq!(blocks, 6, "two of twelve in each block");
        assert_eq!(slots(&net), if bytes > 0 { 96 } else { 0 });
    }
}

#[test]
fn a_tick_that_ends_late_says_how_late() {
    let mut net = Net::new(1);
    let mut builder = net.blocks.begin(Round(0), Vec::new()).unwrap();
    let mut step = |late: u64| {
        let due = builder.due(true).unwrap();
        builder.step(&mut net.pools[0], MonoTime(due.0 + late)).unwrap();
        builder.behind_us()
    };
    // Each tick has a burst of hashes and an end.
    assert_eq!((step(0), step(0)), (0, 0));
    assert_eq!((step(5), step(70)), (0, 70), "the end counts");
    assert_eq!((step(0), step(0)), (70, 0), "and the next one again");
}

#[test]
fn a_block_past_a_bound_is_invalid_before_its_signatures_are_looked_at() {
    let mut net = Net::new(1);
    let built = net.build(Vec::new());
    let unsigned = |count: u8, operations: &dyn Fn(u8) -> Vec<Operation>| {
        let sign = |n: u8| {
            let Transaction::V1(inner) = net.sign(n % USERS, 0, operations(n)).transaction().clone();
            Transaction::V1(TransactionV1 {
                signature: Signature([1; 64]),
                ..inner
            })
        };
        (0..count).map(sign).collect::<Vec<_>>()
    };
    let slots = |count: u8| (0..count).map(|n| set(n, 0)).collect::<Vec<_>>();
    type Case<'a> = (&'a str, Vec<Transaction>);
    let cases: [Case<'_>; 4] = [
        ("number of slots", unsigned(3, &|_| slots(7))),
        ("number of operations", unsigned(6, &|_| vec![transfer(1, 1); 7])),
        ("bytes of rows", unsigned(20, &|_| vec![transfer(1, 1)])),
        ("operations of a transaction", unsigned(1, &|_| slots(9))),
    ];
    for (what, transactions) in cases {
        let Body::V1(mut body) = built.body.clone();
        body.ticks[0].transactions = transactions.clone();
        match net.blocks.verdict(&built.header, &Body::V1(body)) {
            Err(BlockError::Limit { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{what}: {other:?}"),
        }
        // The same in a part of the block: none of it is kept.
        let tick = Tick {
            hash: Hash::ZERO,
            transactions,
        };
        assert!(is_beyond(&net, 1, PartContent::Tick(tick)), "{what}");
    }
    let tick = Tick {
        hash: Hash::ZERO,
        transactions: unsigned(2, &|_| slots(8)),
    };
    assert!(!is_beyond(&net, 1, PartContent::Tick(tick)), "within all bounds");
}

fn is_beyond(net: &Net, sequence: u32, content: PartContent) -> bool {
    let (_, proposer) = net.turn();
    let Net { blocks, .. } = net;
    let statement = PartStatement {
        height: Height(1),
        round: Round(0),
        proposer,
        parent: blocks.parent.hash,
        sequence,
        digest: Hash::ZERO,
    };
    let part = sign_part(
        &blocks.chain.genesis,
        blocks.key_of(&proposer),
        statement,
        content,
    );
    let mut assembly = Assembly::new(&blocks.chain, &blocks.parent, Round(0), proposer).unwrap();
    let taken = assembly.take(&blocks.chain, part, &|_| {
        panic!("a transaction of it was looked for")
    });
    matches!(taken.unwrap(), Taken::Beyond)
}

#[test]
fn evidence_is_bounded_in_bytes_by_builders_and_validators() {
    let mut net = Net::new(1);
    let first = net.build(Vec::new());
    net.commit(first);
    let evidence =
        |round| support::double_vote(&net.blocks.chain.genesis, &key(200), Height(1), Round(round));
    let pieces: Vec<Evidence> = (0..4).map(evidence).collect();
    let bytes = encoded_len(&pieces[0]);
    assert!(bytes <= 400 && 2 * bytes > 400, "one fits: {bytes}");
    let opening = |pieces: &[Evidence]| PartContent::Opening {
        last_commit: None,
        evidence: pieces.to_vec(),
    };
    assert!(is_beyond(&net, 0, opening(&pieces[..2])));
    assert!(!is_beyond(&net, 0, opening(&pieces[..1])));
    let built = net.build(pieces.clone());
    assert_eq!(built.body.v1().evidence, pieces[..1]);
    let Body::V1(mut body) = built.body.clone();
    body.evidence = pieces;
    let found = net.blocks.verdict(&built.header, &Body::V1(body));
    let limit = BlockError::Limit {
        what: "bytes of evidence",
        got: 4 * bytes,
        limit: 400,
    };
    assert_eq!(found, Err(limit));
    net.commit(built);
}

#[test]
fn one_nonce_given_to_two_proposers_is_spent_once() {
    let mut net = Net::new(3);
    let mut proposers = std::collections::BTreeSet::new();
    for nonce in 0..9u64 {
        // Each validator has a different transaction of the same sender with the same nonce.
        let twins: Vec<_> = (0..3u8)
            .map(|n| net.sign(1, nonce, vec![transfer(60 + n, 1_000)]))
            .collect();
        for (pool, twin) in twins.iter().enumerate() {
            net.offer(pool, twin.clone());
        }
        let (index, proposer) = net.turn();
        proposers.insert(proposer);
        let built = net.build(Vec::new());
        assert_eq!(built.executed.ids, [*twins[index].id()]);
        // A proposer that includes a second one makes an invalid block.
        let Body::V1(mut body) = built.body.clone();
        body.ticks[1]
            .transactions
            .push(twins[(index + 1) % 3].transaction().clone());
        assert!(net.blocks.verdict(&built.header, &Body::V1(body)).is_err());
        net.commit(built);
        assert!(
            net.pools.iter().all(Mempool::is_empty),
            "the others cannot be in a block any more"
        );
    }
    assert_eq!(proposers.len(), 3);
    let account = |n| net.account(&address(n));
    assert_eq!(account(1).unwrap().nonce, Nonce(9));
    let paid = (60..63)
        .map(|n| account(n).map_or(0, |account| account.balance.0))
        .sum::<u64>();
    assert_eq!(paid, 9_000);
}
