//! Whole networks of orderers, each run from one seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use support::*;
use vibecoin_consensus::Orderer as _;
use vibecoin_primitives::*;

fn run(config: Config, heights: u64, limit: u64) -> Net {
    let mut net = Net::new(config);
    let done = net.run(heights, limit);
    net.assert_one_chain();
    assert!(
        done,
        "stuck at height {} after {limit} virtual seconds",
        net.lowest()
    );
    net
}

#[test]
fn one_four_and_seven_validators_decide_fifty_heights_in_round_0() {
    for n in [1, 4, 7] {
        let net = run(Config::new(n, 1), 50, 60);
        assert_eq!(net.conflicts, 0);
        for node in &net.nodes {
            assert!(node.disk.chain.iter().all(|(header, _)| header.round == Round(0)));
            assert!(node.evidence.is_empty());
            assert_eq!(node.orderer.status().counters.timeouts, 0);
        }
        let quorum = n * 2 / 3 + 1;
        assert!(
            net.longest()
                .disk
                .chain
                .iter()
                .all(|(_, cert)| cert.signatures.len() >= quorum)
        );
    }
}

#[test]
fn every_validator_proposes_its_share() {
    let net = run(Config::new(4, 2), 40, 60);
    for validator in net.set.members() {
        let blocks = net
            .longest()
            .disk
            .chain
            .iter()
            .take(40)
            .filter(|(h, _)| h.proposer == validator.key);
        assert_eq!(blocks.count(), 10);
    }
}

#[test]
fn a_silent_validator_costs_turns_but_stops_nothing() {
    let mut config = Config::new(4, 3);
    config.faults[1] = Fault::Silent;
    let net = run(config, 50, 60);
    let late = net
        .longest()
        .disk
        .chain
        .iter()
        .filter(|(header, _)| header.round > Round(0))
        .count();
    assert!(
        (1..=8).contains(&late),
        "{late} heights needed more than one round"
    );
}

#[test]
fn two_silent_validators_of_four_stop_the_chain_without_a_fork() {
    let mut config = Config::new(4, 4);
    config.faults[0] = Fault::Silent;
    config.faults[1] = Fault::Silent;
    let mut net = Net::new(config);
    assert!(!net.run(1, 20));
    assert_eq!(net.lowest(), 0);
}

#[test]
fn a_tenth_of_all_messages_lost_is_made_good_by_resending_and_fetching() {
    for seed in 0..5 {
        let mut config = Config::new(4, 100 + seed);
        config.loss_permille = 100;
        let net = run(config, 50, 300);
        assert_eq!(net.conflicts, 0);
    }
}

#[test]
fn crashes_between_any_two_outputs_never_make_a_key_contradict_itself() {
    let (mut crashes, mut refused) = (0, 0);
    for seed in 0..12 {
        let mut config = Config::new(4, 200 + seed);
        config.crash_every = 2;
        config.loss_permille = 50;
        let net = run(config, 30, 600);
        assert_eq!(net.conflicts, 0, "seed {seed}");
        assert!(net.nodes.iter().all(|node| node.halted.is_none()));
        assert!(
            !net.nodes.iter().any(|node| node.abstained),
            "the log always holds what the guard knows"
        );
        crashes += net.crashes;
        refused += net
            .nodes
            .iter()
            .map(|n| n.orderer.status().counters.refused)
            .sum::<u64>();
    }
    assert!(crashes > 100, "only {crashes} crashes");
    println!("{crashes} crashes, {refused} refusals by nodes that lived to the end");
}

#[test]
fn a_lone_validator_comes_back_from_crashes_with_the_same_chain() {
    for seed in 0..10 {
        let mut config = Config::new(1, 300 + seed);
        config.crash_every = 1;
        let net = run(config, 30, 600);
        assert_eq!(net.conflicts, 0, "seed {seed}");
        assert!(net.nodes[0].halted.is_none(), "{:?}", net.nodes[0].halted);
        assert!(net.crashes > 10);
    }
}

#[test]
fn with_the_log_lost_the_guard_abstains_and_nothing_is_contradicted() {
    let mut abstained = 0;
    for seed in 0..8 {
        let mut config = Config::new(4, 400 + seed);
        // One at a time: the height waits for a quorum, to which a node that lost its log does not belong.
        config.crash_every = 5;
        config.lose_log = true;
        let net = run(config, 60, 600);
        assert_eq!(net.conflicts, 0, "seed {seed}");
        abstained += net.nodes.iter().filter(|node| node.abstained).count();
    }
    assert!(
        abstained > 0,
        "no crash hit a node that had signed: the test has no teeth"
    );
}

#[test]
fn with_log_and_guard_lost_keys_contradict_themselves() {
    // The negative control: it shows that the tests above could fail.
    let mut conflicts = 0;
    for seed in 0..8 {
        let mut config = Config::new(4, 400 + seed);
        config.crash_every = 2;
        config.lose_log = true;
        config.lose_guard = true;
        let mut net = Net::new(config);
        net.run(30, 600);
        conflicts += net.conflicts;
    }
    assert!(conflicts > 0, "losing everything was never noticed");
}

#[test]
fn a_lone_validator_whose_log_is_lost_stops_with_code_20() {
    let mut halted = 0;
    for seed in 0..10 {
        let mut config = Config::new(1, 500 + seed);
        config.crash_every = 1;
        config.lose_log = true;
        let mut net = Net::new(config);
        net.run(30, 60);
        assert_eq!(net.conflicts, 0);
        if let Some(reason) = &net.nodes[0].halted {
            assert_eq!(reason.class(), FaultClass::Corruption);
            halted += 1;
        }
    }
    assert!(halted > 0);
}

#[test]
fn two_prevotes_of_one_validator_become_evidence() {
    let mut config = Config::new(4, 6);
    config.faults[2] = Fault::DoublePrevote;
    let net = run(config, 20, 60);
    let liar = net.nodes[2].key.public_key();
    let honest: Vec<&Node> = net
        .nodes
        .iter()
        .filter(|node| node.key.public_key() != liar)
        .collect();
    for node in honest {
        assert!(node.evidence.len() > 5, "{} pieces", node.evidence.len());
        assert!(node.evidence.iter().all(|evidence| evidence.offender().0 == liar));
        assert!(
            node.evidence
                .iter()
                .all(|e| matches!(e, Evidence::DuplicateVote { .. }))
        );
    }
}

#[test]
fn two_proposals_of_one_validator_become_evidence() {
    let mut config = Config::new(4, 7);
    config.faults[0] = Fault::DoublePropose;
    let net = run(config, 40, 120);
    let liar = net.nodes[0].key.public_key();
    let pieces: Vec<&Evidence> = net.nodes.iter().skip(1).flat_map(|node| &node.evidence).collect();
    assert!(
        pieces
            .iter()
            .any(|evidence| matches!(evidence, Evidence::DuplicateProposal { .. }))
    );
    assert!(pieces.iter().all(|evidence| evidence.offender().0 == liar));
}

#[test]
fn invalid_blocks_get_no_votes_and_another_proposer_follows() {
    let mut config = Config::new(4, 8);
    config.faults[3] = Fault::BadBlocks;
    let net = run(config, 30, 120);
    let bad = net.nodes[3].key.public_key();
    let chain = &net.longest().disk.chain;
    assert!(
        chain
            .iter()
            .all(|(header, _)| header.proposer != bad && header.tx_root != BAD_ROOT)
    );
    assert!(
        chain.iter().any(|(header, _)| header.round > Round(0)),
        "it never had its turn"
    );
}

#[test]
fn a_partition_heals() {
    for seed in 0..5 {
        let mut config = Config::new(4, 600 + seed);
        config.partition = vec![0, 1];
        let net = run(config, 60, 120);
        assert!(net.now > 2_000_000, "it ended before the partition did");
        assert_eq!(net.conflicts, 0);
    }
}

#[test]
fn a_wire_that_loses_most_messages_leads_to_many_rounds_but_to_no_fork() {
    let mut highest = Round(0);
    for seed in 0..6 {
        let mut config = Config::new(4, 700 + seed);
        config.loss_permille = 700;
        let net = run(config, 10, 3_600);
        assert_eq!(net.conflicts, 0);
        let decided = net
            .nodes
            .iter()
            .flat_map(|node| &node.disk.chain)
            .map(|(_, cert)| cert.round);
        highest = highest.max(decided.max().unwrap());
    }
    assert!(
        highest >= Round(10),
        "no height needed more than round {highest}: the lock was never hidden"
    );
}

#[test]
fn three_nodes_of_a_crash_fault_chain_survive_the_loss_of_one_and_byzantine_ones_do_not() {
    let mut config = Config::new(3, 9);
    config.faults[1] = Fault::Silent;
    assert!(
        !Net::new(config.clone()).run(1, 20),
        "2 of 3 is no Byzantine quorum"
    );
    config.fault_model = FaultModel::Crash;
    config.crash_every = 3;
    config.loss_permille = 50;
    let net = run(config, 50, 300);
    assert_eq!(net.conflicts, 0);
}

#[test]
fn equal_seeds_give_equal_traces() {
    let fingerprint = |seed| {
        let mut config = Config::new(4, seed);
        config.loss_permille = 100;
        config.crash_every = 3;
        let mut net = Net::new(config);
        assert!(net.run(15, 600));
        net.fingerprint()
    };
    assert_eq!(fingerprint(77), fingerprint(77));
    assert_ne!(fingerprint(77), fingerprint(78));
}
