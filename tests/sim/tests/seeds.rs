//! Honest networks under faults: every rule holds, whatever the faults.
//!
//! `SIM_SEEDS=20000 cargo test --release -p vibecoin-tests-sim --test seeds` runs that many seeds of four
//! validators, from `SIM_FIRST` on. `SIM_FRESH` repeats the fresh ones of an earlier run, which prints it.

use std::time::{SystemTime, UNIX_EPOCH};

use vibecoin_tests_sim::{Behaviour, Config, Report, check_all};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs seeds and sums up their statistics.
fn run_all(nodes: usize, seeds: impl Iterator<Item = u64>) -> Report {
    let configs: Vec<Config> = seeds.map(|seed| Config::new(nodes, seed)).collect();
    let mut sum = Report::default();
    for report in check_all(&configs) {
        sum.add(&report);
    }
    sum
}

#[test]
fn five_hundred_seeds_of_four_validators_keep_every_rule() {
    let (first, count) = (number("SIM_FIRST", 0), number("SIM_SEEDS", 500));
    let sum = run_all(4, first..first + count);
    println!("{count} seeds from {first}: {sum:?}");
    // A run with few faults proves nothing.
    for (what, found, least) in [
        ("heights", sum.heights, 10 * count),
        ("lost messages", sum.lost, 300 * count),
        ("messages that came twice", sum.duplicated, 200 * count),
        ("damaged messages", sum.damaged, count / 10),
        ("messages passed on", sum.relayed, 10 * count),
        ("crashes", sum.crashes, 5 * count),
        ("torn crashes", sum.torn, 2 * count),
        ("starts without an end", sum.torn_starts, count / 5),
        (
            "starts between commit and reset of the log",
            sum.commits_found,
            count / 20,
        ),
        ("blocks of a later round", sum.late_rounds, count),
        ("untimely proposals", sum.untimely, count / 10),
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

/// Seeds that were never run before, so that coverage grows with every run.
#[test]
fn fresh_seeds_keep_every_rule() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let fresh = number("SIM_FRESH", now.map_or(0, |now| now.as_secs()));
    println!("fresh seeds of this run: SIM_FRESH={fresh} repeats them");
    let base = fresh.wrapping_mul(1 << 20) & (u64::MAX >> 1);
    let honest = (0..40).map(|index| Config::new(4, base + index));
    let lies = Behaviour::SIMULATED.into_iter().zip(base + 100..);
    let lying = lies.map(|(behaviour, seed)| Config::lying(4, seed, behaviour));
    let sevens = (0..2).map(|index| Config::new(7, base + 200 + index));
    let threes = (0..8)
        .zip([1, 2].into_iter().cycle())
        .map(|(index, dead)| Config::crashing(3, base + 300 + index, dead));
    let configs: Vec<Config> = honest.chain(lying).chain(sevens).chain(threes).collect();
    let reports = check_all(&configs);
    println!("{} fresh seeds from {base} on", reports.len());
}

/// Seeds that broke a rule once, each with its finding.
#[test]
fn seeds_that_found_something_keep_every_rule() {
    let found = [
        // The liar had missed its turns in the storm: it had nothing to sign before its next one.
        Config::lying(4, 1_882_762_205_200_487, Behaviour::EquivocatingProposals),
        // A validator that had missed a block stayed ten blocks behind for ever and never had a turn.
        Config::lying(4, 3_000_003_495, Behaviour::EquivocatingProposals),
        // A twin received a different precommit of its own key and abstained after a crash, as it
        // should.
        Config::lying(4, 3_000_001_315, Behaviour::Twins),
        // A twin relayed a body that the other one had made, and was blamed for a statement without a guard.
        Config::lying(4, 2_026_117_555, Behaviour::Twins),
        // A short answer was counted for the longer of two questions, and the longer answer was then too long.
        Config::crashing(3, 2_026_130_263, 2),
        // A block was in the log, not yet synced, while its verdict was held back, and older votes were
        // repeated.
        Config::new(4, 2_026_113_917),
        // A power failure tore the guard and undid the cut of the log at the new height: the remains of the
        // height before counted as damage, and the key was silent for a height.
        Config::new(4, 2_026_303_688),
    ];
    for (report, config) in check_all(&found).iter().zip(&found) {
        assert!(report.heights > 0, "void: {}", config.replay_command());
    }
}

#[test]
fn seven_validators_keep_every_rule() {
    let sum = run_all(7, 1000..1012);
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
fn a_hundred_seeds_twice_give_the_same_traces() {
    let honest = (0..67).map(|seed| Config::new(4, 6000 + seed));
    let lying = Behaviour::SIMULATED
        .into_iter()
        .zip(6100..)
        .map(|(behaviour, seed)| Config::lying(4, seed, behaviour));
    let others = [(1, 6200), (1, 6201), (7, 6202), (7, 6203)].map(|(nodes, seed)| Config::new(nodes, seed));
    let threes = (6300..6302).map(|seed| Config::crashing(3, seed, 1));
    let configs: Vec<Config> = honest.chain(lying).chain(others).chain(threes).collect();
    assert_eq!(configs.len(), 100);
    let (once, again) = (check_all(&configs), check_all(&configs));
    for ((once, again), config) in once.iter().zip(&again).zip(&configs) {
        assert_eq!(once, again, "{}", config.replay_command());
    }
    let mut traces: Vec<_> = once.iter().map(|report| report.trace).collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 100, "different seeds have different traces");
}
