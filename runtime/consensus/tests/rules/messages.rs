//! Messages: accepted senders and heights.

use super::*;

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
fn a_validator_that_contradicts_itself_is_heard_twice_and_then_costs_nothing() {
    let mut bench = Bench::started(4, 3);
    let other = bench.others()[0].clone();
    let votes = |bench: &mut Bench, kind, round| -> Vec<Verdict> {
        (0..50)
            .map(|block| bench.vote(&other, kind, round, Some(Hash([block; 32]))).0)
            .collect()
    };
    for (kind, round) in [
        (VoteKind::Prevote, 0),
        (VoteKind::Precommit, 0),
        (VoteKind::Prevote, 3),
    ] {
        let before = signature_checks();
        let verdicts = votes(&mut bench, kind, round);
        assert_eq!(
            verdicts[..2],
            [Verdict::Fresh, Verdict::Fresh],
            "the pair is evidence"
        );
        assert!(
            verdicts[2..].iter().all(|verdict| *verdict == Verdict::Ignored),
            "{verdicts:?}"
        );
        assert_eq!(signature_checks() - before, 2);
    }
    assert_eq!(
        bench.vote(&other, VoteKind::Prevote, 0, Some(Hash([1; 32]))).0,
        Verdict::Known
    );
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
    // Another validator still has capacity, and a node outside the set has none.
    let message = ConsensusMessage::Vote(vote(&others[1], VoteKind::Prevote, 2, 0, None));
    assert_eq!(bench.give(message).0, Verdict::Fresh);
    let stranger = SecretKey::from_seed(&[99; 32]);
    let message = ConsensusMessage::Vote(vote(&stranger, VoteKind::Prevote, 2, 0, None));
    assert_eq!(bench.give(message).0, Verdict::Ignored);
    // A validator at height 99 counts as one just beyond what is kept: enough to fetch blocks, and no more.
    assert_eq!(bench.orderer.status().highest_seen, Height(2 + FUTURE_HEIGHTS));
}

#[test]
fn messages_for_later_heights_beyond_capacity_cost_no_signature_check() {
    let mut bench = Bench::started(4, 3);
    let other = bench.others()[0].clone();
    let votes = |bench: &mut Bench, rounds: std::ops::Range<u32>| -> Vec<Verdict> {
        rounds
            .map(|round| ConsensusMessage::Vote(vote(&other, VoteKind::Prevote, 2, round, None)))
            .map(|message| bench.give(message).0)
            .collect()
    };
    assert_eq!(votes(&mut bench, 0..8), [Verdict::Fresh; 8]);
    let before = signature_checks();
    assert_eq!(votes(&mut bench, 8..200), [Verdict::Ignored; 192]);
    assert_eq!(votes(&mut bench, 0..8), [Verdict::Known; 8]);
    assert_eq!(signature_checks() - before, 0);
    let proposals = |bench: &mut Bench, salts: std::ops::Range<u64>| -> Vec<Verdict> {
        let of = |salt| {
            let proposal = Proposal {
                height: Height(2),
                round: Round(0),
                header: header(Height(2), Round(0), other.public_key(), GENESIS, salt),
                lock_round: None,
                proposer: other.public_key(),
            };
            ConsensusMessage::Proposal(Box::new(proposal.sign(&GENESIS, &other)))
        };
        salts.map(|salt| bench.give(of(salt)).0).collect()
    };
    assert_eq!(proposals(&mut bench, 0..2), [Verdict::Fresh; 2]);
    let before = signature_checks();
    assert_eq!(proposals(&mut bench, 2..100), [Verdict::Ignored; 98]);
    assert_eq!(signature_checks() - before, 0);
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
