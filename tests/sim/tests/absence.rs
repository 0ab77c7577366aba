//! Validators that are absent for long: the others continue, and one that returns gets its share and
//! no more.

use vibecoin_primitives::FaultClass;
use vibecoin_tests_sim::{Behaviour, Config, check_all};

#[test]
fn a_validator_that_comes_back_gets_no_more_than_its_turns() {
    // The rule `Schedule` checks every block.
    let configs: Vec<Config> = (7000..7004).map(|seed| Config::returning(4, seed)).collect();
    for report in check_all(&configs) {
        assert!(report.outage_heights >= 20, "void: {report:?}");
    }
}

#[test]
fn exactly_three_of_four_go_on_while_messages_are_lost() {
    let configs: Vec<Config> = (7100..7102)
        .map(|seed| Config::exactly_a_quorum(seed, 300))
        .collect();
    for report in check_all(&configs) {
        assert!(
            report.outage_heights >= 300 && report.lost > 0,
            "void: {report:?}"
        );
    }
}

#[test]
fn of_two_honest_processes_with_one_key_at_least_one_stops_with_30_and_the_others_go_on() {
    let configs: Vec<Config> = (7200..7212)
        .map(|seed| Config::lying(4, seed, Behaviour::Twins))
        .collect();
    for (config, report) in configs.iter().zip(check_all(&configs)) {
        let twins = [report.halted[0], report.halted[4]];
        assert!(
            twins.contains(&Some(FaultClass::Safety)),
            "seed {}: {report:?}",
            config.seed
        );
        assert_eq!(report.halted[1..4], [None; 3], "seed {}", config.seed);
    }
}
