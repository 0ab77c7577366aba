//! The test of the tests: every planted bug is detected within 500 seeds, by one of the rules.
//!
//! `cargo test --release -p vibecoin-tests-sim --features planted --test planted -- --nocapture` prints
//! the number of seeds until each bug was detected, and the rule.

use vibecoin_primitives::planted::{Bug, Planted};
use vibecoin_tests_sim::{Behaviour, Config, Leftovers, Rule, Sabotage, Violation, check_all, run_all};

/// Maximum number of seeds until a bug must be detected.
const SEEDS_MAX: u64 = 500;
/// Number of seeds that are run together.
const STRIDE: usize = 4;
/// The first of them.
const FIRST: u64 = 50_000;

/// The conditions that expose a bug, and the rules of which one must detect it.
type Exposure = (Behaviour, Sabotage, &'static [Rule]);

const fn honest(rules: &'static [Rule]) -> Exposure {
    (Behaviour::None, Sabotage::None, rules)
}

const fn against(behaviour: Behaviour, rules: &'static [Rule]) -> Exposure {
    (behaviour, Sabotage::None, rules)
}

fn exposure(bug: Bug) -> Exposure {
    match bug {
        Bug::SignBeforeSync | Bug::GuardAfterSend => honest(&[Rule::DurableOrder]),
        // A power cut between the two leaves a signature without its causes: the node abstains.
        Bug::GuardBeforeLog => honest(&[Rule::NoAbstention, Rule::DurableOrder]),
        Bug::WitnessBeforeBlock => honest(&[Rule::Recovery]),
        // A start that a power cut ends erases the damage; the next one signs again.
        Bug::LogBeforeSilence => (
            Behaviour::None,
            Sabotage::GuardAndLogDamaged,
            &[Rule::NoEquivocation, Rule::Locking],
        ),
        // The node may detect it first: its replay derives another vote than the log has.
        Bug::LockForgotten => honest(&[Rule::Locking, Rule::NoEquivocation, Rule::NoHalt]),
        Bug::AbstentionForgotten => (
            Behaviour::None,
            Sabotage::LogLost,
            &[Rule::Locking, Rule::NoEquivocation],
        ),
        // A vote signed too early may be in a record that a power failure damages.
        Bug::SilenceForgotten => (
            Behaviour::None,
            Sabotage::TailLost,
            &[Rule::Locking, Rule::NoEquivocation, Rule::Recovery],
        ),
        Bug::QuorumOfTwoThirds => honest(&[Rule::Certificates, Rule::Locking]),
        Bug::DuplicateSigner => against(
            Behaviour::ForgedCertificates,
            &[Rule::Certificates, Rule::Agreement, Rule::NoHalt],
        ),
        Bug::OtherHeight => against(Behaviour::ForgedLastCommit, &[Rule::Certificates]),
        Bug::SignatureUnchecked => against(
            Behaviour::ForgedVotes,
            &[
                Rule::Certificates,
                Rule::Locking,
                Rule::Agreement,
                Rule::NoEquivocation,
                // A vote forged in the name of the node itself looks like a twin.
                Rule::NoHalt,
            ],
        ),
        Bug::StateRootUnchecked => against(Behaviour::WrongStateRoot, &[Rule::Validity, Rule::CommitFirst]),
        Bug::CachedHash => against(Behaviour::SwappedBody, &[Rule::Validity, Rule::Agreement]),
        Bug::TickUnchecked => against(Behaviour::WrongPoh, &[Rule::ProofOfHistory]),
        Bug::TimeUnchecked => against(Behaviour::WrongTime, &[Rule::Validity]),
        Bug::UntimelyTaken | Bug::LaterRoundTimely => against(Behaviour::FutureTime, &[Rule::Time]),
        Bug::EvidenceUnchecked => against(Behaviour::ForgedEvidence, &[Rule::Evidence]),
        Bug::EvidenceOverlooked => against(Behaviour::EquivocatingPrevotes, &[Rule::Evidence]),
        Bug::NonceUnchecked => against(Behaviour::TransactionTwice, &[Rule::NoDoubleEffect]),
        Bug::NonceOffByOne => honest(&[Rule::Inclusion]),
        Bug::AppliedTwice => honest(&[Rule::NoHalt, Rule::Validity, Rule::CommitFirst, Rule::Liveness]),
        Bug::CommitUnsynced => honest(&[Rule::CommitFirst, Rule::NoLoss, Rule::MonotonicHead]),
        // The observer's execution, which has no bugs, may detect it before the shares do.
        Bug::CreditUnbounded => honest(&[Rule::Schedule, Rule::Validity]),
        Bug::EvidenceRepeated => against(Behaviour::RepeatedEvidence, &[Rule::Evidence]),
        Bug::OffenderFavoured => against(
            Behaviour::EquivocatingProposals,
            &[Rule::Schedule, Rule::Validity],
        ),
        // An order that changes from run to run shows wherever a value is derived twice.
        Bug::HashMapOrder => honest(&[
            Rule::NoBlame,
            Rule::Validity,
            Rule::NoHalt,
            Rule::Liveness,
            Rule::NoAbstention,
        ]),
        Bug::TornRecord => honest(&[Rule::Recovery, Rule::NoHalt, Rule::NoAbstention]),
        Bug::NeverAgain => honest(&[Rule::Liveness]),
        Bug::QuestionForgotten | Bug::TurnStale => honest(&[Rule::NoBlame]),
        Bug::StretchUnbounded => against(Behaviour::Stretches, &[Rule::Pace]),
        // Not among `Bug::ALL`: see the tests below and those that the docs of each bug name.
        Bug::UndoForgotten
        | Bug::PoisonPanics
        | Bug::PanicUncontained
        | Bug::CandidatesKept
        | Bug::BatchTail => honest(&[]),
    }
}

fn config(bug: Bug, seed: u64) -> Config {
    let (behaviour, sabotage, _) = exposure(bug);
    let base = match bug {
        // A validator must be held back and return.
        Bug::CreditUnbounded => Config::returning(4, seed),
        _ => Config::new(4, seed),
    };
    Config {
        behaviour,
        sabotage,
        bug: Some(bug),
        ..base
    }
}

/// The first seed that detects the bug, counted from one, and its violation. A run that stalls without the
/// bug, too, is skipped: a silent key may be missing to every quorum.
fn find(bug: Bug) -> Option<(u64, Violation)> {
    let stalls = |seed: u64| {
        let without = Config {
            bug: None,
            ..config(bug, FIRST + seed)
        };
        let results = run_all(&[without]);
        results
            .into_iter()
            .any(|result| result.is_err_and(|found| found.rule == Rule::Liveness))
    };
    (0..SEEDS_MAX).step_by(STRIDE).find_map(|from| {
        let configs: Vec<Config> = (from..SEEDS_MAX)
            .take(STRIDE)
            .map(|seed| config(bug, FIRST + seed))
            .collect();
        run_all(&configs)
            .into_iter()
            .zip(from + 1..)
            .filter_map(|(result, count)| Some((count, result.err()?)))
            .find(|(count, found)| found.rule != Rule::Liveness || !stalls(count - 1))
    })
}

#[test]
fn every_planted_bug_is_found_within_500_seeds() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let (behaviour, sabotage, rules) = exposure(bug);
        let by = format!("lie {}, sabotage {}", behaviour.name(), sabotage.name());
        match find(bug) {
            Some((seeds, violation)) => {
                println!(
                    "{:<22} after {seeds:>3} seeds by {:<16} ({by})",
                    bug.name(),
                    format!("{:?}", violation.rule)
                );
                println!("    {}", violation.detail.chars().take(200).collect::<String>());
                if !rules.contains(&violation.rule) {
                    missed.push(format!("{} found by another rule: {violation}", bug.name()));
                }
            }
            None => {
                println!("{:<22} NOT FOUND in {SEEDS_MAX} seeds ({by})", bug.name());
                missed.push(bug.name().to_owned());
            }
        }
    }
    assert!(missed.is_empty(), "not found as expected: {missed:#?}");
}

#[test]
fn a_step_that_is_not_undone_is_found_by_the_second_opinion() {
    let _planted = Planted::new(Some(Bug::UndoForgotten));
    let found = (0..5).find_map(|seed| {
        let mut run = Leftovers::new(seed, false);
        (0..4).find_map(|_| run.height().err())
    });
    assert!(found.is_some());
}

#[test]
fn a_transaction_that_panics_the_executor_is_set_aside_and_blocks_go_on_without_it() {
    std::panic::set_hook(Box::new(|panic| {
        if !vibecoin_execution::is_contained() {
            eprintln!("{panic}");
        }
    }));
    let _planted = Planted::new(Some(Bug::PoisonPanics));
    let mut met = false;
    for seed in 0..5 {
        let mut run = Leftovers::new(seed, true);
        for height in 1..=6u64 {
            if let Err(found) = run.height() {
                panic!("seed {seed}: {found}");
            }
            assert_eq!(run.head().0, height);
        }
        met |= run.set_aside > 0;
    }
    assert!(met, "no run met a poisonous transaction");
}

#[test]
fn the_same_seeds_without_bugs_break_no_rule() {
    for bug in Bug::ALL {
        let configs: Vec<Config> = (FIRST..FIRST + 1)
            .map(|seed| Config {
                bug: None,
                ..config(bug, seed)
            })
            .collect();
        let _reports = check_all(&configs);
    }
}
