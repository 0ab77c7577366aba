//! One validator over a state in memory: it produces blocks, and no altered block is valid.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]
#![allow(missing_docs)]

use std::sync::Arc;

use vibecoin_consensus::{BftOrderer, LogRecord, MonoTime};
use vibecoin_execution::{DecidedBlock, MemoryState, StateReader};
use vibecoin_primitives::*;
use vibecoin_replica::{Action, BlockError, Chain, Event, Message, Now, Parent, PeerId, Replica, Ticket};
use vibecoin_tests_support::{self as support, key, verdict};

type Lone = Replica<MemoryState, BftOrderer>;

fn chain() -> Chain {
    support::chain(support::params(), [200])
}

fn genesis(chain: &Chain) -> Parent<MemoryState> {
    support::genesis(chain, [1])
}

fn transfer(chain: &Chain, nonce: u64, to: u8) -> VerifiedTransaction {
    let body = support::body(&chain.genesis, &key(1), nonce, vec![support::transfer(to, 5)]);
    body.sign(&chain.genesis, &key(1)).verify(&chain.genesis).unwrap()
}

struct Run {
    replica: Lone,
    now: Now,
    log: Vec<LogRecord>,
    commits: Vec<DecidedBlock<MemoryState>>,
}

impl Run {
    fn new(chain: &Chain) -> Self {
        let key = key(200);
        // One test submits evidence against it.
        let orderer = support::orderer(chain, Some(&key)).with_unwatched_key();
        let replica = support::replica(chain, Some(&key), orderer, genesis(chain));
        let now = Now {
            mono: MonoTime(1),
            wall: TimeMs(2_000_000),
        };
        let mut run = Self {
            replica,
            now,
            log: Vec::new(),
            commits: Vec::new(),
        };
        run.step(Event::Start {
            records: Vec::new(),
            guard: None,
        });
        run
    }

    fn step(&mut self, event: Event<MemoryState>) {
        self.replica.step(self.now, event);
        while let Some(action) = self.replica.poll() {
            match action {
                Action::Append(record) => self.log.push(record),
                Action::Commit(commit) => {
                    self.commits.push((*commit).clone());
                    let event = Event::Committed {
                        height: commit.header.height,
                        state: commit.state.clone(),
                    };
                    self.replica.step(self.now, event);
                }
                Action::Halt(fault) => panic!("halted: {fault}"),
                _ => {}
            }
        }
    }

    /// Follows the replica's own deadlines until it has made `blocks` blocks.
    fn until(&mut self, blocks: usize) {
        while self.commits.len() < blocks {
            let at = self
                .replica
                .next_deadline()
                .expect("a lone validator always has something due");
            self.now.mono = self.now.mono.max(at);
            self.step(Event::Time);
        }
    }
}

#[test]
fn a_lone_validator_puts_a_transfer_into_a_final_block() {
    let chain = chain();
    let mut run = Run::new(&chain);
    let transactions = vec![Arc::new(transfer(&chain, 0, 2)), Arc::new(transfer(&chain, 1, 3))];
    run.step(Event::Transactions {
        ticket: Ticket(1),
        transactions,
    });
    run.until(1);
    let commit = &run.commits[0];
    assert_eq!(commit.receipts.0.len(), 2);
    assert!(
        commit
            .receipts
            .0
            .iter()
            .all(|receipt| receipt.v1().outcome == Outcome::Success)
    );
    let recipient = commit.state.account(&support::address(2)).unwrap().unwrap();
    assert_eq!(recipient.balance, Amount(5));
    assert!(run.replica.pool().is_empty());
    commit
        .certificate
        .verify(
            &chain.genesis,
            chain.fault_model(),
            &chain.validators,
            Height(1),
            &commit.header.hash(),
        )
        .unwrap();
}

#[test]
fn an_idle_chain_makes_an_empty_block_per_interval_and_every_block_carries_its_parents_certificate() {
    let chain = chain();
    let mut run = Run::new(&chain);
    let begun = run.now.mono.0;
    run.until(5);
    let took_ms = (run.now.mono.0 - begun) / 1000;
    assert!(
        (5_000..6_000).contains(&took_ms),
        "5 empty blocks took {took_ms} ms"
    );
    for pair in run.commits.windows(2) {
        let carried = pair[1].body.v1().last_commit.as_ref().unwrap();
        assert_eq!(*carried, pair[0].certificate);
        assert_eq!(pair[1].header.parent, pair[0].hash);
        assert_eq!(pair[1].header.poh_seq, pair[0].header.poh_seq + 4 * 8);
    }
}

/// The second block of a run, with its parent: it has a certificate and a transaction.
fn second_block() -> (Chain, Parent<MemoryState>, Header, Body) {
    let chain = chain();
    let mut run = Run::new(&chain);
    run.until(1);
    let transactions = vec![Arc::new(transfer(&chain, 0, 2))];
    run.step(Event::Transactions {
        ticket: Ticket(1),
        transactions,
    });
    let parent = run.replica.head().parent.clone();
    run.until(2);
    let commit = run.commits.pop().unwrap();
    (chain, parent, commit.header, commit.body)
}

#[test]
fn a_block_with_any_header_field_altered_is_invalid_and_the_field_is_named() {
    let (chain, parent, header, body) = second_block();
    assert_eq!(verdict(&chain, &parent, &header, &body), Ok(()));
    type Alter = fn(&mut Header);
    let cases: &[(&str, Alter)] = &[
        ("version", |h| h.version = 2),
        ("height", |h| h.height = Height(3)),
        ("parent", |h| h.parent = h.body_hash),
        ("ticks", |h| h.ticks = u16::MAX),
        ("ticks", |h| h.round = Round(1)),
        ("poh_seq", |h| h.poh_seq += 1),
        ("proposer", |h| h.proposer = key(7).public_key()),
        ("params_hash", |h| h.params_hash = Hash::ZERO),
        ("validators_hash", |h| h.validators_hash = Hash::ZERO),
        ("next_validators_hash", |h| h.next_validators_hash = Hash::ZERO),
        ("time", |h| h.time = TimeMs(1)),
        ("last_commit_hash", |h| h.last_commit_hash = Hash::ZERO),
        ("evidence_root", |h| h.evidence_root = Hash([1; 32])),
        ("tx_root", |h| h.tx_root = Hash::ZERO),
        ("poh_hash", |h| h.poh_hash = Hash::ZERO),
        ("receipt_root", |h| h.receipt_root = Hash::ZERO),
        ("state_root", |h| h.state_root = Hash::ZERO),
    ];
    for (name, alter) in cases {
        let mut altered = header.clone();
        alter(&mut altered);
        match verdict(&chain, &parent, &altered, &body) {
            Err(BlockError::Field { field, .. }) => assert_eq!(field, *name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_block_with_any_part_of_its_body_altered_is_invalid() {
    let (chain, parent, header, body) = second_block();
    let Body::V1(good) = body;
    type Alter = fn(&mut BodyV1);
    let cases: &[(&str, Alter)] = &[
        ("a tick hash", |b| b.ticks[1].hash.0[0] ^= 1),
        ("a tick less", |b| drop(b.ticks.pop())),
        ("a tick more", |b| b.ticks.push(b.ticks[0].clone())),
        ("no transaction", |b| {
            b.ticks.iter_mut().for_each(|t| t.transactions.clear())
        }),
        ("a transaction in another tick", |b| {
            let moved: Vec<_> = b
                .ticks
                .iter_mut()
                .flat_map(|t| std::mem::take(&mut t.transactions))
                .collect();
            b.ticks[2].transactions = moved;
        }),
        ("another signature", |b| {
            let transaction = b
                .ticks
                .iter_mut()
                .flat_map(|t| t.transactions.iter_mut())
                .next()
                .unwrap();
            let Transaction::V1(inner) = transaction;
            inner.signature.0[40] ^= 1;
        }),
        ("no certificate", |b| b.last_commit = None),
        ("a certificate without signers", |b| {
            b.last_commit.as_mut().unwrap().signatures.clear()
        }),
        ("a certificate of another round", |b| {
            b.last_commit.as_mut().unwrap().round = Round(1)
        }),
    ];
    for (name, alter) in cases {
        let mut altered = good.clone();
        alter(&mut altered);
        assert_ne!(altered, good, "{name} changes nothing");
        let found = verdict(&chain, &parent, &header, &Body::V1(altered));
        assert!(found.is_err(), "{name} was found valid");
    }
}

#[test]
fn a_restart_from_the_log_decides_the_very_block_that_was_built() {
    let chain = chain();
    let mut run = Run::new(&chain);
    let transactions = vec![Arc::new(transfer(&chain, 0, 2))];
    run.step(Event::Transactions {
        ticket: Ticket(1),
        transactions,
    });
    run.until(1);
    let first = run.commits[0].hash;
    // The process stops after the log was synced and before the commit: only the log remains.
    let records: Vec<LogRecord> = run
        .log
        .iter()
        .filter(|record| record.height() == Height(1))
        .cloned()
        .collect();
    let mut again = Run::new(&chain);
    let orderer = support::orderer(&chain, Some(&key(200)));
    again.replica = support::replica(&chain, Some(&key(200)), orderer, genesis(&chain));
    again.commits.clear();
    again.step(Event::Start { records, guard: None });
    again.until(1);
    assert_eq!(again.commits[0].hash, first);
}

/// Evidence against the validator for a height, made in a round.
fn evidence(chain: &Chain, height: u64, round: u32) -> Evidence {
    support::double_vote(&chain.genesis, &key(200), Height(height), Round(round))
}

fn give_evidence(run: &mut Run, evidence: Evidence) {
    run.step(Event::Message {
        from: PeerId(1),
        message: Box::new(Message::Evidence(Box::new(evidence))),
        verified: Vec::new(),
        gossip: None,
    });
}

fn evidence_of(commit: &DecidedBlock<MemoryState>) -> &[Evidence] {
    &commit.body.v1().evidence
}

/// The block with this evidence, and everything in the header that follows from it except the state root.
fn with_evidence(commit: &DecidedBlock<MemoryState>, evidence: Vec<Evidence>) -> (Header, Body) {
    let body = Body::V1(BodyV1 {
        evidence,
        ..commit.body.v1().clone()
    });
    let header = Header {
        evidence_root: body.evidence_root(),
        body_hash: body.hash(),
        ..commit.header.clone()
    };
    (header, body)
}

#[test]
fn an_offence_is_recorded_once_and_a_block_that_repeats_it_is_invalid() {
    let mut chain = chain();
    let params = ChainParams {
        evidence_age_max: 4,
        ..chain.params.as_ref().clone()
    };
    chain = Chain::new(chain.genesis, params, chain.validators.as_ref().clone());
    let mut run = Run::new(&chain);
    // The block under construction has its first part already: the next one includes it.
    give_evidence(&mut run, evidence(&chain, 1, 0));
    run.until(3);
    assert_eq!(evidence_of(&run.commits[0]), []);
    assert_eq!(evidence_of(&run.commits[1]), [evidence(&chain, 1, 0)]);
    for again in [0, 1] {
        give_evidence(&mut run, evidence(&chain, 1, again));
        assert_eq!(run.replica.evidence_waiting(), [], "of round {again}");
    }
    run.until(7);
    assert!(
        run.commits[2..]
            .iter()
            .all(|commit| evidence_of(commit).is_empty())
    );

    // Round 1 of the same height and kind is the same offence.
    let parent = |commit: &DecidedBlock<MemoryState>| Parent {
        header: commit.header.clone(),
        hash: commit.hash,
        state: commit.state.clone(),
        schedule: vibecoin_execution::read_schedule(&commit.state).unwrap(),
    };
    let judged = |at: usize, evidence: Vec<Evidence>| {
        let (header, body) = with_evidence(&run.commits[at], evidence);
        verdict(&chain, &parent(&run.commits[at - 1]), &header, &body)
    };
    for round in [0, 1] {
        let fault = judged(2, vec![evidence(&chain, 1, round)]);
        assert!(
            matches!(fault, Err(BlockError::Evidence { index: 0, .. })),
            "{fault:?}"
        );
    }
    let twice = judged(1, vec![evidence(&chain, 1, 0), evidence(&chain, 1, 1)]);
    assert!(
        matches!(twice, Err(BlockError::Evidence { index: 1, .. })),
        "{twice:?}"
    );
    // Another height is another offence: only the state root differs from the one of that block.
    let other = judged(2, vec![evidence(&chain, 2, 0)]);
    assert!(
        matches!(
            other,
            Err(BlockError::Field {
                field: "state_root",
                ..
            })
        ),
        "{other:?}"
    );

    // The record exists while evidence about height 1 may be in a block, up to height 5, and is then deleted.
    let recorded = |commit: &DecidedBlock<MemoryState>| {
        vibecoin_execution::read_offences(&commit.state, Height(1))
            .unwrap()
            .is_some()
    };
    let found: Vec<bool> = run.commits[..7].iter().map(recorded).collect();
    assert_eq!(found, [false, true, true, true, true, false, false]);
    let old = judged(5, vec![evidence(&chain, 1, 0)]);
    assert!(
        matches!(old, Err(BlockError::Evidence { index: 0, .. })),
        "{old:?}"
    );
}
