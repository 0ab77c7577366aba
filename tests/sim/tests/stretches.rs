//! A proposer that delays its parts to the end of the others' timeouts: it costs half a propose timeout, and
//! its turn where it goes further.

use vibecoin_tests_sim::{Behaviour, Config, Report, check_all};

#[test]
fn a_proposer_that_stretches_its_turns_slows_the_chain_within_the_bound_or_loses_them() {
    // The rule `Pace` checks every height once faults are off.
    let configs: Vec<Config> = (7300..7316)
        .map(|seed| Config::lying(4, seed, Behaviour::Stretches))
        .collect();
    let mut sum = Report::default();
    let mut slowest = 0;
    for report in check_all(&configs) {
        sum.add(&report);
        slowest = slowest.max(report.slowest);
    }
    println!("{:?}, slowest height {slowest} µs", sum.stretched);
    let stretched = sum.stretched;
    assert!(stretched.allowed > 0, "void: {stretched:?}");
    assert!(stretched.dribbled_lost > 0, "void: {stretched:?}");
    assert_eq!(
        stretched.dribbled, 0,
        "parts that come one propose timeout after the other get no block through"
    );
}
