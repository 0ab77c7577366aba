//! The node's own key in another process: detected at once, without mistaking the node's own old messages for it.

use super::*;

fn elsewhere(what: &'static str, height: u64, round: u32) -> HaltReason {
    HaltReason::KeyUsedElsewhere {
        what,
        height: Height(height),
        round: Round(round),
    }
}

#[test]
fn a_vote_of_ours_that_we_did_not_sign_stops_the_node_with_30() {
    for (height, round) in [(1, 0), (1, 3), (2, 0), (4, 1), (900, 0)] {
        let mut bench = Bench::started(4, 3);
        let twin = vote(&bench.me.clone(), VoteKind::Prevote, height, round, None);
        let (verdict, outputs) = bench.give(ConsensusMessage::Vote(twin));
        assert_eq!(verdict, Verdict::Ignored, "the sender did nothing wrong");
        let reason = elsewhere("prevote", height, round);
        assert_eq!(halted(&outputs), Some(&reason));
        assert_eq!(reason.class(), FaultClass::Safety);
        let text = reason.to_string();
        assert!(text.contains(&format!("height {height} round {round}")), "{text}");
        assert!(text.contains("stop the other process"), "{text}");
    }
}

#[test]
fn a_proposal_of_ours_that_we_did_not_sign_stops_the_node() {
    let mut bench = Bench::started(4, 0);
    let (_, outputs) = bench.propose(bench.proposal(0, 9));
    assert_eq!(halted(&outputs), Some(&elsewhere("proposal", 1, 0)));
}

#[test]
fn a_forged_message_in_our_name_costs_its_sender_and_stops_nobody() {
    let mut bench = Bench::started(4, 3);
    let mut forged = vote(&bench.me.clone(), VoteKind::Prevote, 1, 0, None);
    forged.signature = vote(&bench.others()[0], VoteKind::Prevote, 1, 0, None).signature;
    let checked = bench.orderer.status().counters.verified;
    let (verdict, outputs) = bench.give(ConsensusMessage::Vote(forged));
    assert!(matches!(verdict, Verdict::Rejected(_)));
    assert_eq!(outputs, vec![]);
    assert_eq!(bench.orderer.status().counters.verified, checked + 1);
}

#[test]
fn what_we_signed_may_come_back_before_and_after_a_restart() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = proposal.header.hash();
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let mine = vote(&bench.me.clone(), VoteKind::Prevote, 1, 0, Some(block));
    let give = |bench: &mut Bench| bench.give(ConsensusMessage::Vote(mine.clone())).1;
    assert_eq!(halted(&give(&mut bench)), None);
    bench.restart();
    assert_eq!(halted(&give(&mut bench)), None);
    // A message that contradicts the guard, or is ahead of it, was signed elsewhere.
    let other = vote(&bench.me.clone(), VoteKind::Prevote, 1, 0, None);
    let (_, outputs) = bench.give(ConsensusMessage::Vote(other));
    assert_eq!(halted(&outputs), Some(&elsewhere("prevote", 1, 0)));
    bench.restart();
    let later = vote(&bench.me.clone(), VoteKind::Precommit, 1, 0, Some(block));
    let (_, outputs) = bench.give(ConsensusMessage::Vote(later));
    assert_eq!(halted(&outputs), Some(&elsewhere("precommit", 1, 0)));
    // The log is lost: the key abstains, and any vote of this height may be ours.
    bench.log.clear();
    for _ in 0..2 {
        bench.restart();
        assert_eq!(halted(&give(&mut bench)), None);
        let other = vote(&bench.me.clone(), VoteKind::Precommit, 1, 0, None);
        assert_eq!(halted(&bench.give(ConsensusMessage::Vote(other)).1), None);
        assert!(bench.orderer.status().abstaining);
    }
}

#[test]
fn evidence_against_us_stops_the_node_only_where_this_process_signed() {
    let mut bench = Bench::started(4, 3);
    let me = bench.me.clone();
    let evidence = |height| {
        Evidence::votes(
            vote(&me, VoteKind::Precommit, height, 0, None),
            vote(&me, VoteKind::Precommit, height, 0, Some(GENESIS)),
        )
    };
    bench.orderer.on_own_evidence(&evidence(1));
    assert_eq!(bench.drain(), vec![], "it has not signed anything");
    let proposal = bench.proposal(0, 1);
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    bench.restart();
    bench.orderer.on_own_evidence(&evidence(1));
    assert_eq!(halted(&bench.drain()), None, "an earlier process signed there");
    let mut bench = Bench::started(4, 3);
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    bench.orderer.on_own_evidence(&evidence(1));
    let reason = elsewhere("one of two votes", 1, 0);
    assert_eq!(halted(&bench.drain()), Some(&reason));
}
