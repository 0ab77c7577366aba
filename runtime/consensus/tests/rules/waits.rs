//! Waits: their begin, their end, and the halved wait for a disconnected validator.

use super::*;

#[test]
fn an_idle_chain_waits_in_round_0_until_it_is_told_not_to() {
    let mut bench = Bench::started(4, 3);
    let idle = bench.orderer.next_deadline().unwrap();
    assert_eq!(idle, T0.after(500_000), "only the rebroadcast timer runs");
    bench.orderer.on_time(idle);
    assert_eq!(own_votes(&bench.drain()), vec![]);
    let now = idle.after(1);
    bench.orderer.start_propose_timer(now);
    assert_eq!(bench.orderer.next_deadline(), Some(now.after(300_000)));
    bench.orderer.start_propose_timer(now.after(100_000));
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
fn a_proposer_whose_connection_ended_is_waited_for_half_as_long() {
    let mut bench = Bench::started(4, 3);
    let proposer = bench.proposer(0).public_key();
    bench.orderer.start_propose_timer(T0);
    bench
        .orderer
        .on_peer_disconnected(bench.proposer(1).public_key(), T0.after(10_000));
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(300_000)),
        "another's"
    );
    bench.orderer.on_peer_disconnected(proposer, T0.after(20_000));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(170_000)));
    bench.orderer.on_peer_disconnected(proposer, T0.after(90_000));
    assert_eq!(bench.orderer.next_deadline(), Some(T0.after(170_000)), "no news");
    bench.orderer.on_time(T0.after(170_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);

    let mut bench = Bench::started(4, 3);
    bench.orderer.on_peer_disconnected(proposer, T0);
    bench.orderer.start_propose_timer(T0);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(150_000)),
        "gone before"
    );

    let mut bench = Bench::started(4, 3);
    bench.orderer.on_peer_disconnected(proposer, T0);
    bench.orderer.on_peer_connected(proposer, T0);
    bench.orderer.start_propose_timer(T0);
    bench.orderer.on_time(T0.after(299_999));
    assert_eq!(own_votes(&bench.drain()), vec![], "back again");
    bench.orderer.on_time(T0.after(300_000));
    assert_eq!(own_votes(&bench.drain()), vec![(VoteKind::Prevote, None)]);
}

#[test]
fn a_validator_that_is_back_is_soon_told_again_what_was_said() {
    let mut bench = Bench::started(4, 3);
    bench.orderer.start_propose_timer(T0);
    let now = T0.after(300_000);
    bench.orderer.on_time(now);
    let nil = vec![(VoteKind::Prevote, None)];
    assert_eq!(own_votes(&bench.drain()), nil);
    bench
        .orderer
        .on_peer_connected(bench.proposer(1).public_key(), now);
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
    bench.orderer.start_propose_timer(T0);
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
