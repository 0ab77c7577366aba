//! Honest networks under faults: every rule holds, whatever goes wrong.
//!
//! `SIM_SEEDS=20000 cargo test --release -p vibecoin-tests-sim --test seeds` runs that many seeds of four
//! validators, from `SIM_FIRST` on.

#![allow(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "tests stop at the first surprise"
)]

use vibecoin_tests_sim::{Config, Report, check};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs seeds and adds up what they went through.
fn run_all(nodes: usize, seeds: impl Iterator<Item = u64>) -> Report {
    seeds
        .map(|seed| check(&Config::new(nodes, seed)))
        .fold(Report::default(), |sum, report| Report {
            heights: sum.heights + report.heights,
            lost: sum.lost + report.lost,
            duplicated: sum.duplicated + report.duplicated,
            damaged: sum.damaged + report.damaged,
            crashes: sum.crashes + report.crashes,
            torn: sum.torn + report.torn,
            commits_found: sum.commits_found + report.commits_found,
            late_rounds: sum.late_rounds + report.late_rounds,
            served: sum.served + report.served,
            far_behind: sum.far_behind + report.far_behind,
            transactions: sum.transactions + report.transactions,
            failed: sum.failed + report.failed,
            ..sum
        })
}

#[test]
fn fifty_seeds_of_four_validators_keep_every_rule() {
    let (first, count) = (number("SIM_FIRST", 0), number("SIM_SEEDS", 50));
    let sum = run_all(4, first..first + count);
    println!("{count} seeds from {first}: {sum:?}");
    // A run in which little went wrong shows nothing.
    for (what, found, least) in [
        ("heights", sum.heights, 10 * count),
        ("lost messages", sum.lost, 300 * count),
        ("messages that came twice", sum.duplicated, 300 * count),
        ("damaged messages", sum.damaged, count / 10),
        ("crashes", sum.crashes, 5 * count),
        ("torn crashes", sum.torn, 2 * count),
        (
            "starts between commit and reset of the log",
            sum.commits_found,
            count / 10,
        ),
        ("blocks of a later round", sum.late_rounds, count),
        ("answers with blocks", sum.served, count),
        ("nodes far behind", sum.far_behind, count / 50),
        ("transactions in blocks", sum.transactions, 20 * count),
        ("failed transactions", sum.failed, count),
    ] {
        assert!(
            found >= least,
            "void: {found} {what} in {count} seeds, wanted {least}"
        );
    }
}

#[test]
fn seven_validators_keep_every_rule() {
    let sum = run_all(7, 1000..1004);
    assert!(sum.crashes > 0 && sum.transactions > 0, "void: {sum:?}");
}

#[test]
fn one_validator_keeps_every_rule() {
    let sum = run_all(1, 2000..2020);
    assert!(
        sum.crashes > 20 && sum.torn > 5 && sum.transactions > 100,
        "void: {sum:?}"
    );
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let mut traces = Vec::new();
    for (nodes, seed) in [(4, 1), (4, 2), (4, 3), (4, 4), (4, 5), (1, 6), (7, 7)] {
        let config = Config::new(nodes, seed);
        let (once, again) = (check(&config), check(&config));
        assert_eq!(once, again, "seed {seed} of {nodes} validators");
        traces.push(once.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 7, "different seeds have different traces");
}
