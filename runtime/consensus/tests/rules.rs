//! One orderer against hand-made messages: every rule that keeps a message, a vote or a signature out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

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

    /// A new process over what the old one left.
    fn restart(&mut self) -> Vec<Output> {
        self.orderer = BftOrderer::new(OrdererConfig {
            genesis: GENESIS,
            key: Some(self.me.clone()),
        });
        let (params, log, guard) = (self.params(1), self.log.clone(), self.guard.clone());
        self.orderer.replay(params, log, guard, T0);
        self.drain()
    }

    /// Takes the outputs; log and guard file are kept up.
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
        let verdict = self.orderer.on_message(message, T0);
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

    /// All others vote the same; what the last vote caused.
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

#[test]
fn the_scheduled_proposers_block_is_checked_once_and_voted_for() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let (verdict, outputs) = bench.propose(proposal.clone());
    assert_eq!((verdict, checks(&outputs)), (Verdict::Fresh, 1));
    let (verdict, outputs) = bench.propose(proposal.clone());
    assert_eq!((verdict, outputs), (Verdict::Known, vec![]));
    let outputs = bench.check(&proposal.header, true);
    assert_eq!(
        own_votes(&outputs),
        vec![(VoteKind::Prevote, Some(proposal.header.hash()))]
    );
    assert!(
        bench.check(&proposal.header, false).is_empty(),
        "a verdict never changes"
    );
}

#[test]
fn a_body_may_be_checked_before_its_proposal_comes() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    assert_eq!(own_votes(&bench.check(&proposal.header, true)), vec![]);
    let (_, outputs) = bench.propose(proposal.clone());
    assert_eq!(checks(&outputs), 0);
    assert_eq!(
        own_votes(&outputs),
        vec![(VoteKind::Prevote, Some(proposal.header.hash()))]
    );
}

#[test]
fn an_invalid_block_gets_a_vote_for_no_block_at_once() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    bench.propose(proposal.clone());
    assert_eq!(
        own_votes(&bench.check(&proposal.header, false)),
        vec![(VoteKind::Prevote, None)]
    );
}

#[test]
fn proposals_that_no_honest_validator_makes_never_reach_the_core() {
    let mut bench = Bench::started(4, 3);
    let good = bench.proposal(0, 1);
    let other = bench.proposer(1).public_key();
    let mut out_of_turn = bench.proposal(0, 1);
    out_of_turn.proposer = other;
    out_of_turn.header.proposer = other;
    let mut others_block = good.clone();
    others_block.header.proposer = other;
    let mut later_block = good.clone();
    later_block.header.round = Round(1);
    let mut other_height = good.clone();
    other_height.header.height = Height(2);
    let mut lock_from_now = good.clone();
    lock_from_now.lock_round = Some(Round(0));
    let mut block_after_lock = bench.proposal(2, 1);
    block_after_lock.lock_round = Some(Round(0));
    block_after_lock.header.round = Round(1);
    block_after_lock.header.proposer = other;
    let mut stolen_block = bench.proposal(2, 1);
    stolen_block.lock_round = Some(Round(1));
    stolen_block.header.round = Round(1);
    let shapes = [
        others_block,
        later_block,
        other_height,
        lock_from_now,
        block_after_lock,
    ];
    for (i, wrong) in shapes.into_iter().enumerate() {
        let (verdict, outputs) = bench.propose(wrong);
        assert!(matches!(verdict, Verdict::Rejected(_)), "case {i}: {verdict:?}");
        assert_eq!(outputs, vec![], "case {i}");
    }
    // Whoever passed these on may be a height behind: it is not to blame for a turn it cannot know.
    let turns = [out_of_turn.clone(), stolen_block];
    for (i, wrong) in turns.into_iter().enumerate() {
        let (verdict, outputs) = bench.propose(wrong);
        assert_eq!((verdict, outputs), (Verdict::Ignored, vec![]), "turn {i}");
    }
    let mut forged = out_of_turn.sign(&GENESIS, &bench.proposer(1));
    forged.signature.0[40] ^= 1;
    let (verdict, outputs) = bench.give(ConsensusMessage::Proposal(Box::new(forged)));
    assert_eq!(
        (verdict, outputs),
        (Verdict::Rejected("bad signature of a proposal"), vec![])
    );
    let mut unsigned = good.clone().sign(&GENESIS, &bench.proposer(0));
    unsigned.signature.0[40] ^= 1;
    let (verdict, outputs) = bench.give(ConsensusMessage::Proposal(Box::new(unsigned)));
    assert_eq!(
        (verdict, outputs),
        (Verdict::Rejected("bad signature of a proposal"), vec![])
    );
    let other_chain = good.sign(&Hash([8; 32]), &bench.proposer(0));
    let (verdict, _) = bench.give(ConsensusMessage::Proposal(Box::new(other_chain)));
    assert_eq!(verdict, Verdict::Rejected("bad signature of a proposal"));
}

#[test]
fn a_locked_block_may_be_proposed_again_by_the_next_proposer() {
    let mut bench = Bench::started(4, 3);
    let mut again = bench.proposal(1, 1);
    again.header = bench.header(0, 1);
    again.lock_round = Some(Round(0));
    let (verdict, outputs) = bench.propose(again);
    assert_eq!((verdict, checks(&outputs)), (Verdict::Fresh, 1));
}

#[test]
fn votes_of_strangers_and_forged_votes_are_rejected_before_they_cost_much() {
    let mut bench = Bench::started(4, 3);
    let stranger = SecretKey::from_seed(&[99; 32]);
    let (verdict, outputs) = bench.vote(&stranger, VoteKind::Prevote, 0, None);
    assert_eq!(
        (verdict, outputs),
        (Verdict::Rejected("vote of no validator"), vec![])
    );
    assert_eq!(
        bench.orderer.status().counters.verified,
        0,
        "no signature was checked for that"
    );
    let mut forged = vote(&bench.others()[0], VoteKind::Prevote, 1, 0, None);
    forged.vote.validator = bench.others()[1].public_key();
    let (verdict, outputs) = bench.give(ConsensusMessage::Vote(forged));
    assert_eq!(
        (verdict, outputs),
        (Verdict::Rejected("bad signature of a vote"), vec![])
    );
    assert_eq!(bench.orderer.status().counters.rejected, 2);
}

#[test]
fn an_absurd_round_is_rejected_and_a_far_one_ignored_without_a_signature_check() {
    let mut bench = Bench::started(4, 3);
    let other = bench.others()[0].clone();
    assert!(matches!(
        bench.vote(&other, VoteKind::Prevote, u32::MAX, None).0,
        Verdict::Rejected(_)
    ));
    assert_eq!(
        bench.vote(&other, VoteKind::Prevote, 11, None).0,
        Verdict::Ignored
    );
    assert_eq!(bench.orderer.status().counters.verified, 0);
    assert_eq!(bench.vote(&other, VoteKind::Prevote, 10, None).0, Verdict::Fresh);
}

#[test]
fn messages_for_later_heights_are_bounded_per_validator_and_height() {
    let mut bench = Bench::started(4, 3);
    let others = bench.others();
    let mut kept = 0;
    for height in 0..100 {
        for round in 0..100 {
            let message = ConsensusMessage::Vote(vote(&others[0], VoteKind::Prevote, height, round, None));
            let (verdict, outputs) = bench.give(message);
            kept += usize::from(height > 1 && verdict == Verdict::Fresh);
            assert!(height <= 1 || outputs.is_empty());
        }
    }
    assert_eq!(kept, 4 * 8);
    // Another validator still has room, and a stranger has none.
    let message = ConsensusMessage::Vote(vote(&others[1], VoteKind::Prevote, 2, 0, None));
    assert_eq!(bench.give(message).0, Verdict::Fresh);
    let stranger = SecretKey::from_seed(&[99; 32]);
    let message = ConsensusMessage::Vote(vote(&stranger, VoteKind::Prevote, 2, 0, None));
    assert_eq!(bench.give(message).0, Verdict::Ignored);
    // A validator at height 99 counts as one just beyond what is kept: enough to fetch blocks, and no more.
    assert_eq!(bench.orderer.status().highest_seen, Height(2 + FUTURE_HEIGHTS));
}

#[test]
fn what_was_kept_for_a_height_is_used_when_it_begins() {
    let mut bench = Bench::started(4, 3);
    let others = bench.others();
    let proposer = bench
        .schedule
        .proposer(&bench.set, Height(2), Round(0))
        .unwrap()
        .key;
    let block = header(Height(2), Round(0), proposer, GENESIS, 1);
    let key = bench
        .keys
        .iter()
        .find(|k| k.public_key() == proposer)
        .unwrap()
        .clone();
    let proposal = Proposal {
        height: Height(2),
        round: Round(0),
        header: block.clone(),
        lock_round: None,
        proposer,
    };
    bench.give(ConsensusMessage::Proposal(Box::new(
        proposal.sign(&GENESIS, &key),
    )));
    for kind in [VoteKind::Prevote, VoteKind::Precommit] {
        for other in &others {
            bench.give(ConsensusMessage::Vote(vote(
                other,
                kind,
                2,
                0,
                Some(block.hash()),
            )));
        }
    }
    let before = bench.orderer.status().counters.verified;
    bench.orderer.start_height(bench.params(2), T0);
    assert_eq!(checks(&bench.drain()), 1);
    let outputs = bench.check(&block, true);
    assert!(matches!(outputs.last(), Some(Output::Decided { .. })));
    assert_eq!(
        bench.orderer.status().counters.verified,
        before,
        "signatures are checked once"
    );
}

#[test]
fn an_idle_chain_waits_in_round_0_until_it_is_told_not_to() {
    let mut bench = Bench::started(4, 3);
    let idle = bench.orderer.next_deadline().unwrap();
    assert_eq!(idle, T0.after(500_000), "only the rebroadcast timer runs");
    bench.orderer.on_time(idle);
    assert_eq!(own_votes(&bench.drain()), vec![]);
    let now = idle.after(1);
    bench.orderer.arm_propose(now);
    assert_eq!(bench.orderer.next_deadline(), Some(now.after(300_000)));
    bench.orderer.arm_propose(now.after(100_000));
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(now.after(300_000)),
        "later calls change nothing"
    );
    bench.orderer.on_time(now.after(300_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);
}

#[test]
fn votes_of_an_honest_validator_start_the_wait_for_a_proposal_that_was_missed() {
    let mut bench = Bench::started(4, 3);
    let others = bench.others();
    bench.vote(&others[0], VoteKind::Prevote, 0, Some(Hash([1; 32])));
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(500_000)),
        "one may be lying"
    );
    bench.vote(&others[1], VoteKind::Prevote, 0, Some(Hash([1; 32])));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(300_000)));
}

#[test]
fn a_proposal_for_a_later_round_does_not_start_the_wait_of_an_idle_one() {
    let mut bench = Bench::started(4, 3);
    let idle = bench.orderer.next_deadline();
    let later = bench.proposal(2, 1);
    let (verdict, _) = bench.propose(later);
    assert_eq!(verdict, Verdict::Fresh);
    assert_eq!(bench.orderer.next_deadline(), idle, "nobody had a turn yet");
    let first = bench.proposal(0, 1);
    bench.propose(first);
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(300_000)));
}

#[test]
fn parts_that_come_move_the_wait_for_their_proposal_but_not_for_ever() {
    let mut bench = Bench::started(4, 3);
    bench.orderer.proposal_comes(Round(0), T0);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(500_000)),
        "no wait, none to move"
    );
    bench.orderer.arm_propose(T0);
    bench.orderer.proposal_comes(Round(1), T0.after(50_000));
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(300_000)),
        "another round's"
    );
    bench.orderer.proposal_comes(Round(0), T0.after(100_000));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(400_000)));
    for at in (200_000..1_200_000).step_by(100_000) {
        bench.orderer.proposal_comes(Round(0), T0.after(at));
        bench.orderer.on_time(T0.after(at));
    }
    assert_eq!(own_votes(&bench.drain()), vec![], "it still comes");
    bench.orderer.on_time(T0.after(1_200_000));
    assert_eq!(
        own_votes(&bench.drain()),
        vec![(VoteKind::Prevote, None)],
        "four times the wait is the most"
    );
}

#[test]
fn a_proposer_whose_connection_ended_is_waited_for_half_as_long() {
    let mut bench = Bench::started(4, 3);
    let proposer = bench.proposer(0).public_key();
    bench.orderer.arm_propose(T0);
    bench
        .orderer
        .gone(bench.proposer(1).public_key(), T0.after(10_000));
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(300_000)),
        "another's"
    );
    bench.orderer.gone(proposer, T0.after(20_000));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(170_000)));
    bench.orderer.gone(proposer, T0.after(90_000));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(170_000)), "no news");
    bench.orderer.on_time(T0.after(170_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);

    let mut bench = Bench::started(4, 3);
    bench.orderer.gone(proposer, T0);
    bench.orderer.arm_propose(T0);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(150_000)),
        "gone before"
    );

    let mut bench = Bench::started(4, 3);
    bench.orderer.gone(proposer, T0);
    bench.orderer.back(proposer, T0);
    bench.orderer.arm_propose(T0);
    bench.orderer.on_time(T0.after(299_999));
    assert_eq!(own_votes(&bench.drain()), vec![], "back again");
    bench.orderer.on_time(T0.after(300_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);
}

#[test]
fn a_validator_that_is_back_is_soon_told_again_what_was_said() {
    let mut bench = Bench::started(4, 3);
    bench.orderer.arm_propose(T0);
    let now = T0.after(300_000);
    bench.orderer.on_time(now);
    let nil = vec![(VoteKind::Prevote, None)];
    assert_eq!(own_votes(&bench.drain()), nil);
    bench.orderer.back(bench.proposer(1).public_key(), now);
    bench.orderer.on_time(now.after(99_999));
    assert_eq!(own_votes(&bench.drain()), vec![], "not yet");
    for time in 1..=10 {
        bench.orderer.on_time(now.after(time * 100_000));
        assert_eq!(own_votes(&bench.drain()), nil, "for the {time}th time");
    }
    bench.orderer.on_time(now.after(1_499_999));
    assert_eq!(
        own_votes(&bench.drain()),
        vec![],
        "as often as always from then on"
    );
    bench.orderer.on_time(now.after(1_500_000));
    assert_eq!(own_votes(&bench.drain()), nil);
}

#[test]
fn a_dead_turn_ends_as_soon_as_a_quorum_precommitted_no_block() {
    let mut bench = Bench::started(4, 3);
    bench.orderer.arm_propose(T0);
    let now = T0.after(300_000);
    bench.orderer.on_time(now);
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);
    let outputs = bench.votes(VoteKind::Prevote, 0, None);
    assert_eq!(own_votes(&outputs), vec![(VoteKind::Precommit, None)]);
    bench.votes(VoteKind::Precommit, 0, None);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(now),
        "nothing is left to wait for"
    );
    bench.orderer.on_time(now);
    assert!(
        bench
            .drain()
            .iter()
            .any(|o| matches!(o, Output::RoundStarted { round: Round(1), .. }))
    );
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(now.after(400_000)),
        "round 1 waits longer"
    );
}

#[test]
fn from_round_2_on_the_precommit_wait_is_kept() {
    let mut bench = Bench::started(4, 3);
    bench.votes(VoteKind::Prevote, 2, None);
    assert_eq!(bench.orderer.status().round, Round(2));
    bench.votes(VoteKind::Precommit, 2, None);
    assert!(bench.orderer.next_deadline().unwrap() > T0);
}

#[test]
fn a_split_vote_waits_for_the_rest() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = Some(proposal.header.hash());
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let others = bench.others();
    bench.vote(&others[0], VoteKind::Prevote, 0, block);
    bench.vote(&others[1], VoteKind::Prevote, 0, None);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(100_000)),
        "the prevote wait"
    );
    bench.orderer.on_time(T0.after(100_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Precommit, None)]);
}

#[test]
fn a_quorum_for_a_block_that_is_invalid_here_is_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = proposal.header.hash();
    bench.propose(proposal.clone());
    bench.check(&proposal.header, false);
    let outputs = bench.votes(VoteKind::Precommit, 0, Some(block));
    let reason = HaltReason::InvalidDecision {
        height: Height(1),
        block,
    };
    assert_eq!(outputs.last(), Some(&Output::Halt(reason.clone())));
    assert_eq!(reason.exit_code(), 30);
    // Nothing comes after it.
    assert_eq!(bench.propose(proposal).0, Verdict::Ignored);
    bench.orderer.start_height(bench.params(2), T0);
    bench.orderer.on_time(T0.after(10_000_000));
    assert_eq!(bench.drain(), vec![]);
    assert_eq!(bench.orderer.next_deadline(), None);
}

#[test]
fn a_certified_block_decides_the_height_and_a_bad_certificate_nothing() {
    let mut bench = Bench::started(4, 3);
    let block = bench.header(0, 1);
    let good = bench.certificate(&block, 0);
    let synced = |certificate: &CommitCertificate| BlockEvent::Synced {
        header: Box::new(block.clone()),
        certificate: certificate.clone(),
        valid: true,
    };
    let mut few = good.clone();
    few.signatures.truncate(2);
    let mut forged = good.clone();
    forged.signatures[1].signature = forged.signatures[0].signature;
    let mut other_height = good.clone();
    other_height.height = Height(2);
    for wrong in [few, forged, other_height] {
        assert_eq!(bench.block(synced(&wrong)), vec![]);
    }
    let outputs = bench.block(synced(&good));
    assert_eq!(
        outputs,
        vec![Output::Decided {
            certificate: good.clone(),
            header: Box::new(block.clone()),
            evidence: vec![]
        }]
    );
    assert_eq!(bench.block(synced(&good)), vec![], "once");
    assert_eq!(bench.orderer.status().step, Step::Idle);
    assert_eq!(bench.orderer.next_deadline(), None);
}

#[test]
fn two_certified_blocks_at_one_height_are_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let (first, second) = (bench.header(0, 1), bench.header(0, 2));
    let synced = |bench: &Bench, header: &Header| BlockEvent::Synced {
        header: Box::new(header.clone()),
        certificate: bench.certificate(header, 0),
        valid: true,
    };
    let event = synced(&bench, &first);
    bench.block(event);
    let event = synced(&bench, &second);
    let outputs = bench.block(event);
    let (first, second) = (first.hash(), second.hash());
    assert_eq!(
        halted(&outputs),
        Some(&HaltReason::ConflictingCertificates {
            height: Height(1),
            first,
            second
        })
    );
}

#[test]
fn a_certified_block_that_is_invalid_is_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let block = bench.header(0, 1);
    let certificate = bench.certificate(&block, 0);
    let outputs = bench.block(BlockEvent::Synced {
        header: Box::new(block),
        certificate,
        valid: false,
    });
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::InvalidDecision { .. })
    ));
}

#[test]
fn a_proposer_builds_once_and_after_a_restart_only_what_it_had() {
    let mut bench = Bench::new(4, 0);
    let outputs = bench.restart();
    let build = |rebuild| Output::Build {
        height: Height(1),
        round: Round(0),
        rebuild,
    };
    assert!(outputs.contains(&build(false)));
    assert_eq!(bench.guard.as_ref().unwrap().step, GuardStep::Building);
    assert!(bench.restart().contains(&build(true)), "parts may have left");
    let block = bench.header(0, 1);
    let built = BlockEvent::Built {
        height: Height(1),
        round: Round(0),
        header: Box::new(block.clone()),
    };
    let outputs = bench.block(built);
    assert_eq!(own_votes(&outputs), vec![(VoteKind::Prevote, Some(block.hash()))]);
    let outputs = bench.restart();
    assert!(
        !outputs.iter().any(|o| matches!(o, Output::Build { .. })),
        "it has proposed"
    );
    let sent =
        |o: &Output| matches!(o, Output::Send(ConsensusMessage::Proposal(p)) if p.proposal.header == block);
    assert!(outputs.iter().any(sent), "the proposal may not have left");
    assert!(outputs.contains(&Output::Restream {
        height: Height(1),
        round: Round(0),
        block: block.hash()
    }));
    assert_eq!(own_votes(&outputs), vec![(VoteKind::Prevote, Some(block.hash()))]);
    assert!(
        !outputs
            .iter()
            .any(|o| matches!(o, Output::Append(_) | Output::Guard(_))),
        "nothing is new"
    );
}

#[test]
fn a_block_that_was_not_asked_for_is_not_proposed() {
    let mut bench = Bench::started(4, 0);
    let block = bench.header(0, 1);
    let mut foreign = block.clone();
    foreign.proposer = bench.others()[0].public_key();
    for (height, round, header) in [
        (2, 0, block.clone()),
        (1, 1, block.clone()),
        (1, 0, foreign),
        (1, 1, bench.header(1, 1)),
    ] {
        let (height, round) = (Height(height), Round(round));
        assert_eq!(
            bench.block(BlockEvent::Built {
                height,
                round,
                header: Box::new(header)
            }),
            vec![]
        );
    }
}

#[test]
fn a_lone_validator_decides_in_one_cascade() {
    let mut bench = Bench::started(1, 0);
    let block = bench.header(0, 1);
    let built = BlockEvent::Built {
        height: Height(1),
        round: Round(0),
        header: Box::new(block),
    };
    let outputs = bench.block(built);
    assert!(matches!(outputs.last(), Some(Output::Decided { .. })));
    assert_eq!(outputs.iter().filter(|o| matches!(o, Output::SyncLog)).count(), 1);
    assert_eq!(
        outputs.iter().filter(|o| matches!(o, Output::Guard(_))).count(),
        1
    );
}

#[test]
fn a_decision_that_was_not_committed_is_derived_again_from_the_log() {
    let mut bench = Bench::started(1, 0);
    let block = bench.header(0, 1);
    let built = BlockEvent::Built {
        height: Height(1),
        round: Round(0),
        header: Box::new(block.clone()),
    };
    bench.block(built);
    let outputs = bench.restart();
    assert!(matches!(outputs.last(), Some(Output::Decided { header, .. }) if **header == block));
    assert_eq!(
        bench.orderer.status().counters.signed,
        0,
        "nothing is signed twice"
    );
}

#[test]
fn a_log_that_was_read_is_synced_before_anything_is_sent_because_of_it() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let outputs = bench.restart();
    assert!(!own_votes(&outputs).is_empty());
    assert_eq!(outputs.first(), Some(&Output::SyncLog));
}

#[test]
fn a_log_that_says_otherwise_than_the_code_is_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let forged = vote(&bench.me, VoteKind::Prevote, 1, 0, None);
    for record in &mut bench.log {
        if matches!(record, LogRecord::Vote(vote) if vote.vote.validator == forged.vote.validator) {
            *record = LogRecord::Vote(forged.clone());
        }
    }
    // A guard that agrees with the forged log, so that only the replay can notice.
    bench.guard = None;
    let outputs = bench.restart();
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::ReplayDivergence {
            height: Height(1),
            ..
        })
    ));
    assert_eq!(halted(&outputs).unwrap().exit_code(), 30);
}

#[test]
fn a_guard_ahead_of_the_chain_keeps_the_node_silent_until_it_has_caught_up() {
    let mut bench = Bench::new(4, 3);
    let mut guard = Guard::default();
    let statement = Vote {
        kind: VoteKind::Precommit,
        height: Height(2),
        round: Round(0),
        block: None,
        validator: bench.me.public_key(),
    };
    guard
        .sign(&Statement::vote(&statement, &GENESIS), &bench.me)
        .unwrap();
    bench.guard = guard.newest().cloned();
    bench.restart();
    for height in 1..=3 {
        let silent = height <= 2;
        if height > 1 {
            bench.orderer.start_height(bench.params(height), T0);
            bench.drain();
        }
        assert_eq!(bench.orderer.status().abstaining, silent);
        bench.orderer.arm_propose(T0);
        bench.orderer.on_time(T0.after(300_000 * height));
        let outputs = bench.drain();
        assert_eq!(own_votes(&outputs).is_empty(), silent, "height {height}");
        assert_eq!(outputs.iter().any(|o| matches!(o, Output::Guard(_))), !silent);
    }
    assert!(bench.orderer.status().counters.refused > 0);
}

#[test]
fn a_refused_signature_is_neither_sent_nor_resent_and_the_height_is_still_decided() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = Some(proposal.header.hash());
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    bench.log.clear();
    bench.restart();
    assert!(bench.orderer.status().abstaining);
    bench.propose(proposal.clone());
    assert_eq!(own_votes(&bench.check(&proposal.header, true)), vec![]);
    bench.orderer.on_time(T0.after(600_000));
    assert_eq!(own_votes(&bench.drain()), vec![]);
    bench.votes(VoteKind::Prevote, 0, block);
    let outputs = bench.votes(VoteKind::Precommit, 0, block);
    assert_eq!(own_votes(&outputs), vec![]);
    let Some(Output::Decided { certificate, .. }) = outputs.last() else {
        panic!("{outputs:?}")
    };
    assert!(!certificate.signers().contains(&bench.me.public_key()));
    bench.orderer.start_height(bench.params(2), T0.after(600_000));
    assert!(!bench.orderer.status().abstaining);
}

#[test]
fn a_lone_validator_with_a_guard_ahead_of_its_log_stops_with_code_20() {
    let mut bench = Bench::started(1, 0);
    let block = bench.header(0, 1);
    bench.block(BlockEvent::Built {
        height: Height(1),
        round: Round(0),
        header: Box::new(block),
    });
    bench.log.clear();
    let outputs = bench.restart();
    assert!(matches!(halted(&outputs), Some(HaltReason::GuardAhead { .. })));
    assert_eq!(halted(&outputs).unwrap().exit_code(), 20);
}

#[test]
fn records_of_other_heights_are_passed_over() {
    let mut bench = Bench::started(4, 3);
    for height in [0, 2, 9] {
        bench.log.push(LogRecord::Vote(vote(
            &bench.others()[0],
            VoteKind::Prevote,
            height,
            0,
            None,
        )));
        bench.log.push(LogRecord::Timeout {
            height: Height(height),
            round: Round(0),
            step: TimeoutStep::Propose,
        });
    }
    let outputs = bench.restart();
    assert!(matches!(
        outputs.as_slice(),
        [Output::RoundStarted { round: Round(0), .. }]
    ));
}

#[test]
fn a_proposal_whose_body_was_not_checked_is_asked_for_again_after_a_restart() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    bench.propose(proposal.clone());
    let outputs = bench.restart();
    assert_eq!(checks(&outputs), 1);
    bench.check(&proposal.header, true);
    assert_eq!(checks(&bench.restart()), 0);
}

#[test]
fn a_node_without_a_key_follows_and_says_nothing() {
    let mut bench = Bench::started(4, 3);
    bench.orderer = BftOrderer::new(OrdererConfig {
        genesis: GENESIS,
        key: None,
    });
    bench.orderer.replay(bench.params(1), vec![], None, T0);
    let proposal = bench.proposal(0, 1);
    let block = Some(proposal.header.hash());
    let mut outputs = bench.drain();
    outputs.extend(bench.propose(proposal.clone()).1);
    outputs.extend(bench.check(&proposal.header, true));
    for kind in [VoteKind::Prevote, VoteKind::Precommit] {
        for key in bench.keys.clone() {
            outputs.extend(bench.vote(&key, kind, 0, block).1);
        }
    }
    assert!(outputs.iter().any(|o| matches!(o, Output::Decided { .. })));
    assert!(
        !outputs
            .iter()
            .any(|o| matches!(o, Output::Send(_) | Output::Guard(_) | Output::Build { .. }))
    );
}

#[test]
fn parameters_that_contradict_each_other_are_a_halt_not_a_panic() {
    let mut bench = Bench::new(4, 3);
    let mut params = bench.params(1);
    params.schedule = ProposerSchedule::default();
    bench.orderer.start_height(params, T0);
    let outputs = bench.drain();
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::BadHeightParams { .. })
    ));
}

#[test]
fn a_certificate_moves_the_round_only_when_everything_in_it_is_right() {
    let mut bench = Bench::started(4, 3);
    let votes = |bench: &Bench, kind, n: usize| -> Vec<RoundVote> {
        let others = bench.others();
        let mut votes: Vec<RoundVote> = others
            .iter()
            .take(n)
            .map(|key| RoundVote {
                kind,
                block: None,
                validator: key.public_key(),
                signature: vote(key, kind, 1, 5, None).signature,
            })
            .collect();
        votes.sort_by_key(|vote| vote.validator);
        votes
    };
    let certificate = |kind, votes| {
        ConsensusMessage::Round(RoundCertificate {
            height: Height(1),
            round: Round(5),
            kind,
            votes,
        })
    };
    let (skip, precommit) = (RoundCertificateKind::Skip, RoundCertificateKind::Precommit);
    let mut forged = votes(&bench, VoteKind::Prevote, 3);
    forged[0].block = Some(Hash([1; 32]));
    let mut reversed = votes(&bench, VoteKind::Prevote, 3);
    reversed.reverse();
    for wrong in [
        certificate(skip, votes(&bench, VoteKind::Prevote, 0)),
        certificate(skip, votes(&bench, VoteKind::Prevote, 1)),
        certificate(skip, forged),
        certificate(skip, reversed),
        certificate(precommit, votes(&bench, VoteKind::Prevote, 3)),
        certificate(precommit, votes(&bench, VoteKind::Precommit, 2)),
    ] {
        let (verdict, outputs) = bench.give(wrong.clone());
        assert!(matches!(verdict, Verdict::Rejected(_)), "{wrong:?}");
        assert_eq!(outputs, vec![]);
    }
    assert_eq!(bench.orderer.status().round, Round(0));
    let good = certificate(skip, votes(&bench, VoteKind::Prevote, 2));
    assert_eq!(bench.give(good.clone()).0, Verdict::Fresh);
    assert_eq!(bench.orderer.status().round, Round(5));
    assert_eq!(bench.give(good).0, Verdict::Known);
}

#[test]
fn a_polka_that_was_missed_lets_the_node_precommit() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = proposal.header.hash();
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let mut signatures: Vec<VoteSignature> = bench
        .others()
        .iter()
        .map(|key| VoteSignature {
            validator: key.public_key(),
            signature: vote(key, VoteKind::Prevote, 1, 0, Some(block)).signature,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    let polka = PolkaCertificate {
        height: Height(1),
        round: Round(0),
        block,
        signatures,
    };
    let mut forged = polka.clone();
    forged.block = Hash([1; 32]);
    assert!(matches!(
        bench.give(ConsensusMessage::Polka(forged)).0,
        Verdict::Rejected(_)
    ));
    let (verdict, outputs) = bench.give(ConsensusMessage::Polka(polka));
    assert_eq!(verdict, Verdict::Fresh);
    assert_eq!(own_votes(&outputs), vec![(VoteKind::Precommit, Some(block))]);
}

#[test]
fn no_message_of_a_faulty_validator_makes_it_panic_or_break_the_order() {
    for seed in 0..4 {
        let mut bench = Bench::started(4, (seed % 4) as u32);
        let mut rng = Rng::new(seed + 1);
        let others = bench.others();
        let mut sent: Vec<Vec<u8>> = vec![];
        for _ in 0..3_000 {
            let key = &others[rng.below(2) as usize];
            let (height, round) = (rng.below(4), rng.below(14) as u32);
            let block = [None, Some(bench.header(0, rng.below(3)).hash())][rng.below(2) as usize];
            let kind = [VoteKind::Prevote, VoteKind::Precommit][rng.below(2) as usize];
            let message = match rng.below(10) {
                0..=4 => ConsensusMessage::Vote(vote(key, kind, height, round, block)),
                5..=6 => {
                    let round = rng.below(4) as u32;
                    let mut proposal = bench.proposal(round, rng.below(3));
                    proposal.lock_round = [None, Some(Round(rng.below(4) as u32))][rng.below(2) as usize];
                    proposal.header.round = Round(rng.below(4) as u32);
                    proposal.header.proposer = bench.proposer(proposal.header.round.0).public_key();
                    let key = bench.proposer(round);
                    ConsensusMessage::Proposal(Box::new(proposal.sign(&GENESIS, &key)))
                }
                _ if !sent.is_empty() => {
                    // Bytes seen before, with a few bits turned.
                    let mut bytes = sent[rng.below(sent.len() as u64) as usize].clone();
                    for _ in 0..=rng.below(3) {
                        let at = rng.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << rng.below(8);
                    }
                    let Ok(message) = decode(&bytes) else { continue };
                    message
                }
                _ => continue,
            };
            sent.push(encode(&message));
            let (_, outputs) = bench.give(message);
            for output in outputs {
                match output {
                    Output::Check { header, .. } if rng.below(2) == 0 => {
                        bench.check(&header, true);
                    }
                    Output::Build { height, round, .. } => {
                        let header = Box::new(bench.header(round.0, rng.below(3)));
                        bench.block(BlockEvent::Built {
                            height,
                            round,
                            header,
                        });
                    }
                    Output::Decided { .. } => bench.orderer.start_height(bench.params(1), T0),
                    _ => {}
                }
            }
            if rng.below(20) == 0 {
                let at = bench.orderer.next_deadline().unwrap_or(T0);
                bench.orderer.on_time(at);
                bench.drain();
            }
        }
    }
}
