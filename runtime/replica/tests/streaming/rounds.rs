//! Rounds that fail.

use super::*;

/// Lets `rounds` rounds fail, each without a proposal; returns the highest number of blocks that the first node held.
fn fail_rounds(net: &mut Net, rounds: u32) -> usize {
    net.loses =
        Box::new(|_, _, message| matches!(message, Message::Consensus(ConsensusMessage::Proposal(_))));
    (0..4).for_each(|node| net.give(node, 0));
    let round = |net: &Net| net.nodes[0].replica.orderer().status().round.0;
    let mut held_max = 0;
    for _ in 0..4_000_000 {
        if round(net) >= rounds {
            break;
        }
        net.pass();
        held_max = held_max.max(net.nodes[0].replica.candidates_held().0);
    }
    assert!(round(net) >= rounds, "only {} rounds", round(net));
    held_max
}

#[test]
fn rounds_that_go_on_failing_hold_few_blocks_and_fill_no_log() {
    let mut net = Net::new(&VALIDATORS);
    let held_max = fail_rounds(&mut net, 1_000);
    assert!(held_max <= CANDIDATES_MAX + 1, "{held_max} blocks");
    let logged = net.nodes.iter().flat_map(|node| &node.logged);
    let (mut late, mut bytes) = (0, 0);
    for (round, transactions, size) in logged {
        if *round >= EMPTY_FROM {
            assert_eq!(*transactions, 0, "a block of {round} has transactions");
            (late, bytes) = (late + 1, bytes + size);
        }
    }
    assert!(late > 50, "{late} blocks of late rounds");
    assert!(bytes / late < 4_096, "{bytes} bytes in {late} blocks");
    // Once proposals arrive, the first block is empty. With it the transaction leaves, which has waited for
    // longer than the pool keeps any; sent again, it is committed.
    net.loses = Box::new(|_, _, _| false);
    (0..4).for_each(|node| net.until(node, 1));
    (0..4).for_each(|node| net.give(node, 0));
    net.until(0, 3);
    let transactions: usize = net.nodes[0].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
}

#[test]
fn a_proposal_that_never_follows_its_parts_is_waited_for_one_and_a_half_propose_timeouts() {
    let mut net = Net::new(&VALIDATORS);
    net.loses =
        Box::new(|_, _, message| matches!(message, Message::Consensus(ConsensusMessage::Proposal(_))));
    let begins = net.now.mono;
    (0..4).for_each(|node| net.give(node, 0));
    let round = |net: &Net| net.nodes[0].replica.orderer().status().round;
    for _ in 0..2_000 {
        if round(&net) > Round::ZERO {
            break;
        }
        net.pass();
    }
    assert_eq!(round(&net), Round(1));
    assert_eq!(net.now.mono, begins.after(450_000));
}

#[test]
fn only_parts_without_a_gap_and_without_fault_count_as_progress() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 1);
    let parts: Vec<BlockPart> = net
        .sent
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Part(part) if part.signed.statement.height == Height(1) => Some((**part).clone()),
            _ => None,
        })
        .collect();
    let chain = net.chain.clone();
    let proposer = parts[0].signed.statement.proposer;
    let mut assembly = Assembly::new(&chain, &genesis(&chain), Round::ZERO, proposer).unwrap();
    let mut parts_after = |part: &BlockPart| {
        let taken = assembly.take(&chain, part.clone(), &|_| None);
        assert!(matches!(taken, Ok(Taken::Fresh)));
        let Progress { parts, of } = assembly.progress();
        assert_eq!(of, 5, "the opening and four ticks");
        parts
    };
    assert_eq!(parts_after(&parts[0]), 1);
    assert_eq!(parts_after(&parts[2]), 1, "the first tick is missing");
    assert_eq!(parts_after(&parts[1]), 3);
    let secret = (1..=4).map(key).find(|key| key.public_key() == proposer).unwrap();
    let content = PartContent::Tick(Tick {
        hash: Hash([77; 32]),
        transactions: vec![transfer(&chain, 7).transaction().clone()],
    });
    let odd = sign_part(
        &chain.genesis,
        &secret,
        parts[3].signed.statement.clone(),
        content,
    );
    assert_eq!(parts_after(&odd), 0, "a transaction that may not be in the block");
}

/// Bugs that these tests find.
#[cfg(feature = "planted")]
mod planted_bugs {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use vibecoin_execution::planted::POISON;
    use vibecoin_primitives::planted::Bug;

    use super::*;

    #[test]
    fn candidates_that_are_never_dropped_are_found() {
        let _planted = Planted::new(Some(Bug::CandidatesKept));
        // A node holds its own blocks, one in four rounds.
        let rounds = 4 * (CANDIDATES_MAX as u32 + 4);
        let held_max = fail_rounds(&mut Net::new(&VALIDATORS), rounds);
        assert!(held_max > CANDIDATES_MAX + 1, "{held_max} blocks");
    }

    /// Height and round of a part with a transaction: the only one is that which panics the executor.
    fn poisoned(message: &Message) -> Option<(Height, Round)> {
        let Message::Part(part) = message else { return None };
        let PartContent::Tick(tick) = &part.content else {
            return None;
        };
        let statement = &part.signed.statement;
        (!tick.transactions.is_empty()).then_some((statement.height, statement.round))
    }

    /// The first node, which has no bug, alone has a transaction that panics the executor of the others.
    fn with_poison() -> Net {
        let mut net = Net::new(&VALIDATORS);
        net.unaffected = Some(0);
        net.loses = Box::new(|_, _, message| matches!(message, Message::Transactions(_)));
        let poison = transfer_of(&net.chain, 0, POISON.0);
        net.submit(0, poison);
        net
    }

    #[test]
    fn a_proposed_block_that_panics_the_executor_is_invalid_and_the_next_proposer_goes_on() {
        let _planted = Planted::new(Some(Bug::PoisonPanics));
        let mut net = with_poison();
        (0..4).for_each(|node| net.until(node, 9));
        net.all_agree(9);
        let sent = net.sent.iter();
        let proposed: Vec<_> = sent
            .filter_map(|(from, message)| Some((*from, poisoned(message)?)))
            .collect();
        let mut rounds: Vec<_> = proposed.iter().map(|(_, round)| *round).collect();
        rounds.dedup();
        assert!(!rounds.is_empty());
        assert!(proposed.iter().all(|(from, _)| *from == 0), "{proposed:?}");
        let judges = (1..4).map(|n| net.nodes[n].replica.key().unwrap());
        let judges: Vec<PublicKey> = judges.collect();
        for (height, round) in rounds.into_iter().filter(|(height, _)| height.0 <= 9) {
            let prevotes: Vec<&Vote> = net
                .sent
                .iter()
                .filter_map(|(_, message)| match message {
                    Message::Consensus(ConsensusMessage::Vote(signed)) => Some(&signed.vote),
                    _ => None,
                })
                .filter(|vote| (vote.height, vote.round, vote.kind) == (height, round, VoteKind::Prevote))
                .filter(|vote| judges.contains(&vote.validator))
                .collect();
            assert!(prevotes.len() >= 3, "{height}/{round}: {prevotes:?}");
            assert!(prevotes.iter().all(|vote| vote.block.is_none()), "{prevotes:?}");
            let commit = &net.nodes[0].commits[height.0 as usize - 1];
            assert!(commit.header.round > round, "height {height}");
            assert_ne!(commit.header.proposer, key(1).public_key(), "height {height}");
        }
        for node in &net.nodes {
            // Judged, not only missed.
            assert!(node.logged.iter().any(|(_, transactions, _)| *transactions == 1));
            assert!(node.commits.iter().all(|commit| commit.ids.is_empty()));
        }
    }

    #[test]
    fn a_panic_that_is_not_contained_is_found() {
        let _planted = Planted::new(Some(Bug::PanicUncontained));
        let mut net = with_poison();
        let ended = catch_unwind(AssertUnwindSafe(|| net.until(1, 9)));
        let reason = ended.unwrap_err();
        assert_eq!(reason.downcast_ref::<&str>(), Some(&"planted"));
    }
}
