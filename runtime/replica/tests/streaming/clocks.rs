//! Clocks that disagree.

use super::*;

#[test]
fn who_dates_blocks_ahead_of_the_other_clocks_is_passed_over_and_follows() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 60_000, 0]);
    for node in 0..4 {
        net.until(node, 12);
    }
    net.all_agree(12);
    let now = net.clocks_of(0).wall;
    for commit in &net.nodes[0].commits {
        let Header {
            height,
            time,
            proposer,
            ..
        } = commit.header;
        assert!(
            time <= now,
            "height {height} is dated {time}, the clock shows {now}"
        );
        assert_ne!(proposer, key(3).public_key(), "height {height}");
    }
    for (node, untimely) in net.nodes.iter().map(|node| node.untimely).enumerate() {
        assert!(untimely > 0, "node {node}");
    }
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn a_lock_that_is_named_first_does_not_make_a_block_timely() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 60_000, 0]);
    let mut shown = 0;
    for _ in 0..20_000 {
        if let Some((2, _, Message::Consensus(ConsensusMessage::Proposal(first)))) = net.wire.front().cloned()
            && first.proposal.lock_round.is_none()
        {
            // Its next turn at this height is four rounds later: there it claims a quorum of this round.
            let again = Proposal {
                round: Round(first.proposal.round.0 + 4),
                lock_round: Some(first.proposal.round),
                ..first.proposal
            };
            let again = Box::new(again.sign(&net.chain.genesis, &key(3)));
            for to in [0, 1, 3] {
                net.deliver(
                    2,
                    to,
                    Message::Consensus(ConsensusMessage::Proposal(again.clone())),
                );
            }
            shown += 1;
        }
        net.pass();
    }
    assert!(shown > 0);
    assert!(net.nodes[0].commits.len() > 12, "{}", net.nodes[0].commits.len());
    let now = net.clocks_of(0).wall;
    for commit in &net.nodes[0].commits {
        let Header { height, time, .. } = commit.header;
        assert!(
            time <= now,
            "height {height} is dated {time}, the clock shows {now}"
        );
    }
}

#[test]
fn clocks_within_the_chains_tolerance_cost_no_round() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 1_000, 2_000, 2_490]);
    net.until(0, 12);
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}

#[test]
fn a_chain_that_is_ahead_of_every_clock_goes_on_at_its_earliest_times() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(0), &[]);
    net.until(0, 12);
    let mut before = TimeMs(1_000_000);
    for commit in &net.nodes[0].commits {
        let Header {
            time, ticks, round, ..
        } = commit.header;
        assert_eq!(time.0, before.0 + net.chain.params.ticks_ms(ticks));
        assert_eq!(round, Round(0));
        before = time;
    }
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}

#[test]
fn clocks_that_disagree_cost_rounds_and_stop_nobody() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 9_000, 9_000]);
    for node in 0..4 {
        net.until(node, 3);
    }
    net.all_agree(3);
    // 500 ms for the clocks and 2,000 ms for the message, once more with each round.
    assert_eq!(net.nodes[0].commits[0].header.round, Round(4));
}

#[test]
fn a_node_without_a_key_does_not_ask_its_clock() {
    let keys = [Some(1), Some(2), Some(3), Some(4), None];
    let mut net = Net::with_clocks(&keys, TimeMs(2_000_000), &[0, 0, 0, 0, 1_000_000]);
    net.until(4, 12);
    net.all_agree(11);
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}
