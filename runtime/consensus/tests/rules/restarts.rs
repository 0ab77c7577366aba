//! Contents of log and guard at a restart, and the messages allowed after it.

use super::*;

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
fn a_proposer_whose_guard_may_have_lost_its_newest_entry_begins_no_block_in_the_round_in_progress() {
    let mut bench = Bench::new(4, 0);
    bench.orderer.doubt_newest();
    bench.orderer.replay(bench.params(1), vec![], None, T0);
    let outputs = bench.drain();
    let build = |round, rebuild| Output::Build {
        height: Height(1),
        round: Round(round),
        rebuild,
    };
    assert!(outputs.contains(&build(0, true)) && !outputs.contains(&build(0, false)));
    assert_eq!(bench.guard.as_ref().unwrap().step, GuardStep::Building);
    // It votes as always; a lone validator has no peer to send parts to and builds.
    bench.orderer.start_propose_timer(T0);
    bench.orderer.on_time(T0.after(600_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);
    let mut alone = Bench::new(1, 0);
    alone.orderer.doubt_newest();
    alone.orderer.replay(alone.params(1), vec![], None, T0);
    assert!(alone.drain().contains(&build(0, false)));
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
    // A guard that agrees with the forged log, so that only the replay can detect it.
    bench.guard = None;
    let outputs = bench.restart();
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::ReplayDivergence {
            height: Height(1),
            ..
        })
    ));
    assert_eq!(halted(&outputs).unwrap().class(), FaultClass::Safety);
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
        bench.orderer.start_propose_timer(T0);
        bench.orderer.on_time(T0.after(300_000 * height));
        let outputs = bench.drain();
        assert_eq!(own_votes(&outputs).is_empty(), silent, "height {height}");
        assert_eq!(outputs.iter().any(|o| matches!(o, Output::Guard(_))), !silent);
    }
    assert!(bench.orderer.status().counters.refused > 0);
}

#[test]
fn a_home_that_asks_for_silence_is_silent_through_that_height_and_then_signs() {
    let mut bench = Bench::new(4, 3);
    bench.orderer.abstain_through(Height(2));
    bench.orderer.replay(bench.params(1), vec![], None, T0);
    bench.drain();
    for height in 1..=3 {
        let silent = height <= 2;
        if height > 1 {
            bench.orderer.start_height(bench.params(height), T0);
            bench.drain();
        }
        assert_eq!(bench.orderer.status().abstaining, silent);
        bench.orderer.start_propose_timer(T0);
        bench.orderer.on_time(T0.after(300_000 * height));
        let outputs = bench.drain();
        assert_eq!(own_votes(&outputs).is_empty(), silent, "height {height}");
    }
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
    assert_eq!(halted(&outputs).unwrap().class(), FaultClass::Corruption);
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
fn an_abstention_outlasts_the_next_start_whatever_comes_back_meanwhile() {
    let mut bench = Bench::started(4, 3);
    let first = bench.proposal(0, 1);
    let block = Some(first.header.hash());
    bench.propose(first.clone());
    bench.check(&first.header, true);
    bench.votes(VoteKind::Prevote, 0, block);
    let own = bench.log.iter().rev().find_map(|record| match record {
        LogRecord::Vote(vote) if vote.vote.validator == bench.me.public_key() => Some(vote.clone()),
        _ => None,
    });
    let own = own.unwrap();
    assert_eq!(
        (own.vote.kind, own.vote.block),
        (VoteKind::Precommit, block),
        "it is locked"
    );
    // With the log the lock is lost. A peer returns the key's precommit, so that the log has it at the second start.
    bench.log.clear();
    bench.restart();
    assert!(bench.orderer.status().abstaining);
    assert_eq!(bench.give(ConsensusMessage::Vote(own)).0, Verdict::Fresh);
    bench.restart();
    assert!(bench.orderer.status().abstaining);
    // In the next round the others want another block, without a proof of lock.
    bench.votes(VoteKind::Precommit, 0, None);
    bench.orderer.on_time(T0.after(600_000));
    let mut said = bench.drain();
    let second = bench.proposal(1, 2);
    let other = Some(second.header.hash());
    said.extend(bench.propose(second.clone()).1);
    said.extend(bench.check(&second.header, true));
    said.extend(bench.votes(VoteKind::Prevote, 1, other));
    assert_eq!(own_votes(&said), vec![]);
}

#[test]
fn a_silence_that_was_asked_for_once_outlasts_the_next_start() {
    let mut bench = Bench::new(4, 3);
    bench.orderer.abstain_through(Height(1));
    bench.orderer.replay(bench.params(1), vec![], None, T0);
    bench.drain();
    bench.restart();
    assert!(bench.orderer.status().abstaining);
    let own = vote(&bench.me.clone(), VoteKind::Prevote, 1, 0, None);
    let (_, outputs) = bench.give(ConsensusMessage::Vote(own));
    assert_eq!(halted(&outputs), None, "an earlier process may have signed it");
}
