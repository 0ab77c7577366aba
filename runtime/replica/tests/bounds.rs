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
use vibecoin_execution::{MemoryState, State, StateReader, read_schedule};
use vibecoin_mempool::{Committed, Mempool, MempoolConfig};
use vibecoin_primitives::*;
use vibecoin_replica::assembly::{Assembly, Taken};
use vibecoin_replica::build::{Builder, Built, Extras, Step};
use vibecoin_replica::check::judge;
use vibecoin_replica::{BlockError, Chain, Parent, Validation};

const USERS: u8 = 12;

fn user(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn address(n: u8) -> Address {
    Address::from(user(n).public_key())
}

fn chain(validators: u8) -> Chain {
    let params = ChainParams {
        hashes_per_tick: 4,
        ticks_per_block: 4,
        quiet_ticks: 1,
        operations_max: 8,
        transaction_slots_max: 8,
        block_slots_max: 20,
        block_operations_max: 34,
        block_evidence_bytes_max: 400,
        slot_value_bytes_max: 64,
        transaction_state_bytes_max: 4_000,
        block_state_bytes_max: 9_000,
        ..ChainParams::devnet()
    };
    params.check().unwrap();
    let mut set: Vec<Validator> = (0..validators)
        .map(|n| Validator {
            key: user(200 + n).public_key(),
            power: Power(1),
            payout: address(100),
        })
        .collect();
    set.sort_by_key(|validator| validator.key);
    Chain::new(Hash([9; 32]), params, ValidatorSet::new(set).unwrap())
}

/// A chain with the pools of its validators.
struct Net {
    chain: Chain,
    parent: Parent<MemoryState>,
    certificate: Option<CommitCertificate>,
    pools: Vec<Mempool>,
}

impl Net {
    fn new(validators: u8) -> Self {
        let chain = chain(validators);
        let schedule = ProposerSchedule::genesis(&chain.validators);
        let balances = (0..USERS).map(|n| (address(n), Amount(1_000_000_000)));
        let state = MemoryState::with_balances(balances, &schedule);
        let header = Header {
            version: BLOCK_VERSION,
            height: Height(0),
            round: Round(0),
            proposer: PublicKey([0; 32]),
            parent: Hash::ZERO,
            time: TimeMs(1_000_000),
            ticks: 0,
            poh_seq: 0,
            poh_hash: Hash::ZERO,
            body_hash: Hash::ZERO,
            tx_root: Hash::ZERO,
            receipt_root: Hash::ZERO,
            evidence_root: Hash::ZERO,
            state_root: state.root(),
            validators_hash: chain.validators_hash,
            next_validators_hash: chain.validators_hash,
            params_hash: chain.params_hash,
            last_commit_hash: Hash::ZERO,
        };
        let pool = Mempool::new(MempoolConfig::default(), chain.params.clone());
        Self {
            parent: Parent {
                hash: chain.genesis,
                header,
                state,
                schedule,
            },
            certificate: None,
            pools: vec![pool; usize::from(validators)],
            chain,
        }
    }

    fn sign(&self, sender: u8, nonce: u64, operations: Vec<Operation>) -> VerifiedTransaction {
        let body = TransactionBody {
            chain: self.chain.genesis.prefix(),
            sender: user(sender).public_key(),
            nonce: Nonce(nonce),
            fee: Amount(100_000),
            valid_until: Height(60),
            operations,
        };
        let genesis = &self.chain.genesis;
        body.sign(genesis, &user(sender)).verify(genesis).unwrap()
    }

    fn offer(&mut self, pool: usize, transaction: VerifiedTransaction) {
        let account = self.parent.state.account(&transaction.sender()).unwrap();
        let height = self.parent.header.height.saturating_add(1);
        self.pools[pool]
            .insert(Arc::new(transaction), account.as_ref(), height, 0)
            .unwrap();
    }

    /// The proposer in turn, with its position in the set.
    fn turn(&self) -> (usize, PublicKey) {
        let height = self.parent.header.height.saturating_add(1);
        let schedule = &self.parent.schedule;
        let member = schedule
            .proposer(&self.chain.validators, height, Round(0))
            .unwrap();
        let (index, _) = self.chain.validators.find(&member.key).unwrap();
        (index, member.key)
    }

    /// Begins the next block, at time 0.
    fn begin(&self, evidence: Vec<Evidence>) -> Builder<MemoryState> {
        let (_, proposer) = self.turn();
        let extras = Extras {
            last_commit: self.certificate.clone(),
            evidence,
        };
        let now = MonoTime(0);
        Builder::new(
            self.chain.clone(),
            self.parent.clone(),
            self.parent.header.height.saturating_add(1),
            Round(0),
            proposer,
            extras,
            now,
            Some(now),
            1_000,
        )
        .unwrap()
    }

    /// Builds the next block from the proposer's pool.
    fn build(&mut self, evidence: Vec<Evidence>) -> Built<MemoryState> {
        let (index, _) = self.turn();
        let (mut now, mut builder) = (MonoTime(0), self.begin(evidence));
        let pool = &mut self.pools[index];
        loop {
            now = builder.due(!pool.has_pending()).unwrap_or(now).max(now);
            if builder.step(pool, now).unwrap() == Step::Complete {
                return builder.finish(TimeMs(0)).unwrap();
            }
        }
    }

    fn verdict(&self, header: &Header, body: &Body) -> Result<(), BlockError> {
        match judge(&self.chain, &self.parent, header, body, &|_| None) {
            Validation::Valid(_) => Ok(()),
            Validation::Invalid(error) => Err(error),
            Validation::Fault(error) => panic!("{error}"),
        }
    }

    /// Checks the block as every validator does, and makes it the head.
    fn commit(&mut self, built: Built<MemoryState>) {
        let Built {
            header,
            body,
            executed,
        } = built;
        self.verdict(&header, &body).unwrap();
        let mut certificate = CommitCertificate {
            height: header.height,
            round: Round(0),
            block: header.hash(),
            signatures: Vec::new(),
        };
        for member in self.chain.validators.members() {
            let key = (200..210)
                .map(user)
                .find(|key| key.public_key() == member.key)
                .unwrap();
            let vote = certificate.precommit(member.key).sign(&self.chain.genesis, &key);
            certificate.signatures.push(CommitSignature {
                validator: member.key,
                signature: vote.signature,
            });
        }
        let changed = executed.outcome.changes.accounts.iter();
        let accounts: Vec<_> = changed.map(|(at, account)| (*at, Some(*account))).collect();
        for pool in &mut self.pools {
            let block = Committed {
                height: header.height,
                included: &executed.ids,
                accounts: &accounts,
            };
            pool.on_committed(&block, 0);
        }
        self.certificate = Some(certificate);
        self.parent = Parent {
            hash: header.hash(),
            header,
            schedule: read_schedule(&executed.state).unwrap(),
            state: executed.state,
        };
    }
}

fn set(slot: u8, bytes: usize) -> Operation {
    Operation::SetStorage {
        slot: Hash([slot; 32]),
        value: vec![slot; bytes],
    }
}

fn transfer(to: Address, amount: u64) -> Operation {
    Operation::Transfer {
        to,
        amount: Amount(amount),
    }
}

fn demand(chain: &Chain, body: &Body) -> Demand {
    body.transactions().fold(Demand::default(), |sum, transaction| {
        sum.plus(Demand::of(transaction.body(), &chain.params))
    })
}

fn slots(net: &Net) -> usize {
    let own = |((owner, _), _): &(&(Address, Hash), &Vec<u8>)| *owner != Address::system();
    net.parent.state.slots().iter().filter(own).count()
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
    let transfers = vec![transfer(address(50), 5); 8];
    let last = net.sign(0, 0, transfers);
    net.offer(0, last);
    let (mut now, mut builder) = (MonoTime(0), net.begin(vec![]));
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
            let account = net.parent.state.account(&address(sender)).unwrap().unwrap();
            let (nonce, operations) = (account.nonce.0, (0..8).map(|n| set(n, bytes)));
            let large = net.sign(sender, nonce, operations.collect());
            net.offer(0, large);
            let small = net.sign(sender, nonce + 1, vec![transfer(address(50), 5)]);
            net.offer(0, small);
        }
        let mut blocks = 0;
        while net.pools[0].has_pending() {
            let built = net.build(Vec::new());
            let found = demand(&net.chain, &built.body);
            assert_eq!(found.exceeds_block(&net.chain.params), None);
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
    let mut builder = net.begin(Vec::new());
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
        (
            "number of operations",
            unsigned(6, &|_| vec![transfer(address(1), 1); 7]),
        ),
        ("bytes of rows", unsigned(20, &|_| vec![transfer(address(1), 1)])),
        ("operations of a transaction", unsigned(1, &|_| slots(9))),
    ];
    for (what, transactions) in cases {
        let Body::V1(mut body) = built.body.clone();
        body.ticks[0].transactions = transactions.clone();
        match net.verdict(&built.header, &Body::V1(body)) {
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
    let key = (200..210)
        .map(user)
        .find(|key| key.public_key() == proposer)
        .unwrap();
    let statement = PartStatement {
        height: Height(1),
        round: Round(0),
        proposer,
        parent: net.parent.hash,
        sequence,
        digest: content.digest(),
    };
    let signed = statement.sign(&net.chain.genesis, &key);
    let mut assembly = Assembly::new(&net.chain, &net.parent, Round(0), proposer).unwrap();
    let taken = assembly.take(&net.chain, BlockPart { signed, content }, &|_| {
        panic!("a transaction of it was looked for")
    });
    matches!(taken.unwrap(), Taken::Beyond)
}

#[test]
fn evidence_is_bounded_in_bytes_by_builders_and_validators() {
    let mut net = Net::new(1);
    let first = net.build(Vec::new());
    net.commit(first);
    let key = user(200);
    let evidence = |round: u32| {
        let vote = |block: u8| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: Height(1),
                round: Round(round),
                block: Some(Hash([block; 32])),
                validator: key.public_key(),
            };
            vote.sign(&net.chain.genesis, &key)
        };
        Evidence::votes(vote(1), vote(2))
    };
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
    let found = net.verdict(&built.header, &Body::V1(body));
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
            .map(|n| net.sign(1, nonce, vec![transfer(address(60 + n), 1_000)]))
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
        assert!(net.verdict(&built.header, &Body::V1(body)).is_err());
        net.commit(built);
        assert!(
            net.pools.iter().all(Mempool::is_empty),
            "the others cannot be in a block any more"
        );
    }
    assert_eq!(proposers.len(), 3);
    let account = |n| net.parent.state.account(&address(n)).unwrap();
    assert_eq!(account(1).unwrap().nonce, Nonce(9));
    let paid = (60..63)
        .map(|n| account(n).map_or(0, |account| account.balance.0))
        .sum::<u64>();
    assert_eq!(paid, 9_000);
}
