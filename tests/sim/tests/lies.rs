//! One Byzantine validator: the others stay safe and live, and double signatures are included in
//! blocks.

use vibecoin_tests_sim::{Behaviour, Config, Report, check_all};

const FOURS: std::ops::Range<u64> = 4000..4008;
const SEVENS: std::ops::Range<u64> = 4500..4501;

fn sum(reports: &[Report]) -> Report {
    reports.iter().fold(Report::default(), |mut sum, report| {
        sum.add(report);
        sum
    })
}

#[test]
fn whatever_one_of_four_or_seven_says_the_others_keep_every_rule() {
    for behaviour in Behaviour::SIMULATED
        .into_iter()
        .filter(|behaviour| *behaviour != Behaviour::None)
    {
        let fours = FOURS.map(|seed| Config::lying(4, seed, behaviour));
        let sevens = SEVENS.map(|seed| Config::lying(7, seed, behaviour));
        let configs: Vec<Config> = fours.chain(sevens).collect();
        let reports = check_all(&configs);
        let sum = sum(&reports);
        println!(
            "{:<24} {} runs, {} heights, {} lies, {} in a later round, {} pieces of evidence",
            behaviour.name(),
            reports.len(),
            sum.heights,
            sum.lies,
            sum.late_rounds,
            sum.evidence
        );
        assert!(behaviour == Behaviour::Twins || sum.lies >= 10, "void: {sum:?}");
        assert!(
            behaviour != Behaviour::FutureTime || sum.untimely > 0,
            "void: {sum:?}"
        );
        let evident = matches!(
            behaviour,
            Behaviour::EquivocatingPrevotes
                | Behaviour::EquivocatingPrecommits
                | Behaviour::EquivocatingProposals
        );
        if evident {
            for (config, report) in configs.iter().zip(&reports) {
                assert!(report.evidence > 0, "seed {}: {report:?}", config.seed);
            }
        }
    }
}
