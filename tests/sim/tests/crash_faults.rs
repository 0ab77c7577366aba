//! Quorums of more than half, where nodes stop and none is Byzantine: three nodes survive the loss of one,
//! and stop cleanly when they lose two.

use vibecoin_tests_sim::{Config, Report, check_all};

fn run(configs: impl Iterator<Item = Config>) -> Vec<Report> {
    check_all(&configs.collect::<Vec<_>>())
}

#[test]
fn three_nodes_keep_every_rule_and_go_on_without_one() {
    for report in run((5000..5020).map(|seed| Config::crashing(3, seed, 1))) {
        assert!(report.outage_heights >= 3, "{report:?}");
    }
}

#[test]
fn three_nodes_stop_without_two_and_recover() {
    for report in run((5100..5120).map(|seed| Config::crashing(3, seed, 2))) {
        assert!(report.outage_heights <= 1, "{report:?}");
    }
}

#[test]
fn four_nodes_go_on_without_one_and_stop_without_two() {
    let outage = |seed, outage| Config {
        outage,
        ..Config::new(4, seed)
    };
    for report in run((5200..5210).map(|seed| outage(seed, 1))) {
        assert!(
            report.outage_heights <= 1 || report.outage_heights >= 3,
            "{report:?}"
        );
    }
    for report in run((5300..5310).map(|seed| outage(seed, 2))) {
        assert!(report.outage_heights <= 4, "{report:?}");
    }
}
