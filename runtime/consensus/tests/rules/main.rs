//! One orderer against hand-made messages: every rule that keeps a message, a vote or a signature out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod halts;
mod messages;
mod own_key;
mod proposals;
mod restarts;
mod stretch;
mod waits;

use std::sync::Arc;

use support::*;
use vibecoin_consensus::*;
use vibecoin_primitives::*;

const T0: MonoTime = MonoTime(1_000_000);

/// Four validators; the orderer under test is `me`.
struct Bench {
    keys: Vec<SecretKey>,
    set: Arc<ValidatorSet>,
    schedule: ProposerSchedule,
    me: SecretKey,
    orderer: BftOrderer,
    log: Vec<LogRecord>,
    guard: Option<GuardEntry>,
}

impl Bench {
    /// `turn`: the round of height 1 in which the orderer proposes.
    fn new(n: usize, turn: u32) -> Self {
        let (keys, set) = validators(n);
        let schedule = ProposerSchedule::genesis(&set);
        let proposer = schedule.proposer(&set, Height(1), Round(turn)).unwrap().key;
        let me = keys
            .iter()
            .find(|key| key.public_key() == proposer)
            .unwrap()
            .clone();
        let orderer = BftOrderer::new(OrdererConfig {
            genesis: GENESIS,
            key: Some(me.clone()),
        });
        Self {
            keys,
            set,
            schedule,
            me,
            orderer,
            log: vec![],
            guard: None,
        }
    }

    fn started(n: usize, turn: u32) -> Self {
        let mut bench = Self::new(n, turn);
        bench.restart();
        bench
    }

    fn params(&self, height: u64) -> HeightParams {
        params(height, &self.set, &self.schedule)
    }

    /// A new process over the files of the old one.
    fn restart(&mut self) -> Vec<Output> {
        self.orderer = BftOrderer::new(OrdererConfig {
            genesis: GENESIS,
            key: Some(self.me.clone()),
        });
        let (params, log, guard) = (self.params(1), self.log.clone(), self.guard.clone());
        self.orderer.replay(params, log, guard, T0);
        self.drain()
    }

    /// Takes the outputs; updates log and guard file.
    fn drain(&mut self) -> Vec<Output> {
        let outputs = drain(&mut self.orderer);
        for output in &outputs {
            match output {
                Output::Append(record) => self.log.push(record.clone()),
                Output::Guard(entry) => self.guard = Some(entry.clone()),
                _ => {}
            }
        }
        outputs
    }

    fn proposer(&self, round: u32) -> SecretKey {
        let key = self
            .schedule
            .proposer(&self.set, Height(1), Round(round))
            .unwrap()
            .key;
        self.keys.iter().find(|k| k.public_key() == key).unwrap().clone()
    }

    fn others(&self) -> Vec<SecretKey> {
        let me = self.me.public_key();
        self.keys
            .iter()
            .filter(|key| key.public_key() != me)
            .cloned()
            .collect()
    }

    fn header(&self, round: u32, salt: u64) -> Header {
        header(
            Height(1),
            Round(round),
            self.proposer(round).public_key(),
            GENESIS,
            salt,
        )
    }

    fn proposal(&self, round: u32, salt: u64) -> Proposal {
        Proposal {
            height: Height(1),
            round: Round(round),
            header: self.header(round, salt),
            lock_round: None,
            proposer: self.proposer(round).public_key(),
        }
    }

    fn give(&mut self, message: ConsensusMessage) -> (Verdict, Vec<Output>) {
        let before = signature_checks();
        let verdict = self.orderer.on_message(message, T0);
        let cost = signature_checks() - before;
        // A certificate is checked as one batch.
        let is_refused = matches!(verdict, Verdict::Rejected(_));
        assert!(
            !is_refused || cost <= 1,
            "{verdict:?} after {cost} signature checks"
        );
        (verdict, self.drain())
    }

    fn propose(&mut self, proposal: Proposal) -> (Verdict, Vec<Output>) {
        let key = self
            .keys
            .iter()
            .find(|k| k.public_key() == proposal.proposer)
            .unwrap()
            .clone();
        self.give(ConsensusMessage::Proposal(Box::new(
            proposal.sign(&GENESIS, &key),
        )))
    }

    fn vote(
        &mut self,
        key: &SecretKey,
        kind: VoteKind,
        round: u32,
        block: Option<Hash>,
    ) -> (Verdict, Vec<Output>) {
        self.give(ConsensusMessage::Vote(vote(key, kind, 1, round, block)))
    }

    /// All others vote the same; returns the outputs of the last vote.
    fn votes(&mut self, kind: VoteKind, round: u32, block: Option<Hash>) -> Vec<Output> {
        let others = self.others();
        others
            .iter()
            .flat_map(|key| self.vote(key, kind, round, block).1)
            .collect()
    }

    fn block(&mut self, event: BlockEvent) -> Vec<Output> {
        self.orderer.on_block(event, T0);
        self.drain()
    }

    fn check(&mut self, header: &Header, valid: bool) -> Vec<Output> {
        self.block(BlockEvent::Checked {
            header: Box::new(header.clone()),
            valid,
        })
    }

    fn certificate(&self, header: &Header, round: u32) -> CommitCertificate {
        let mut certificate = CommitCertificate {
            height: header.height,
            round: Round(round),
            block: header.hash(),
            signatures: vec![],
        };
        for key in &self.keys {
            let SignedVote { vote, signature } = certificate.precommit(key.public_key()).sign(&GENESIS, key);
            certificate.signatures.push(CommitSignature {
                validator: vote.validator,
                signature,
            });
        }
        certificate
    }
}

fn vote(key: &SecretKey, kind: VoteKind, height: u64, round: u32, block: Option<Hash>) -> SignedVote {
    let (height, round, validator) = (Height(height), Round(round), key.public_key());
    Vote {
        kind,
        height,
        round,
        block,
        validator,
    }
    .sign(&GENESIS, key)
}

fn own_votes(outputs: &[Output]) -> Vec<(VoteKind, Option<Hash>)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(ConsensusMessage::Vote(vote)) => Some((vote.vote.kind, vote.vote.block)),
            _ => None,
        })
        .collect()
}

fn checks(outputs: &[Output]) -> usize {
    outputs
        .iter()
        .filter(|output| matches!(output, Output::Check { .. }))
        .count()
}

fn halted(outputs: &[Output]) -> Option<&HaltReason> {
    match outputs {
        [Output::Halt(reason)] => Some(reason),
        _ => None,
    }
}
