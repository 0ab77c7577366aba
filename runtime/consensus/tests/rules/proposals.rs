//! Proposals: those that are checked, and the votes for them.

use super::*;

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
    // The forwarders may be a height behind: they are not to blame for a turn that they cannot know.
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
fn a_proposal_of_no_validator_is_rejected_without_a_signature_check() {
    let mut bench = Bench::started(4, 3);
    let stranger = SecretKey::from_seed(&[99; 32]);
    for round in 0..3 {
        let mut proposal = bench.proposal(round, 1);
        proposal.proposer = stranger.public_key();
        proposal.header.proposer = stranger.public_key();
        let before = signature_checks();
        let signed = ConsensusMessage::Proposal(Box::new(proposal.sign(&GENESIS, &stranger)));
        let (verdict, outputs) = bench.give(signed);
        assert_eq!(
            (verdict, outputs),
            (Verdict::Rejected("proposal of no validator"), vec![])
        );
        assert_eq!(signature_checks() - before, 0);
    }
}

#[test]
fn proposals_out_of_turn_are_checked_twice_for_each_validator_and_round() {
    let mut bench = Bench::started(4, 3);
    let key = bench.proposer(1);
    let before = signature_checks();
    for salt in 0..50 {
        let mut proposal = bench.proposal(0, salt);
        proposal.proposer = key.public_key();
        proposal.header.proposer = key.public_key();
        let (verdict, outputs) = bench.propose(proposal);
        assert_eq!((verdict, outputs), (Verdict::Ignored, vec![]));
    }
    assert_eq!(signature_checks() - before, 2);
}
