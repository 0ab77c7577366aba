//! Tests of the tests: each broken promise is detected, by the rule for it.

use vibecoin_primitives::FaultClass;
use vibecoin_tests_sim::{Config, Report, Rule, SABOTEUR, Sabotage, Violation, check_all, run_all};

const SEEDS: std::ops::Range<u64> = 3000..3015;

fn configs(sabotage: Sabotage) -> Vec<Config> {
    SEEDS.map(|seed| Config::sabotaged(4, seed, sabotage)).collect()
}

fn reports(sabotage: Sabotage) -> Vec<Report> {
    check_all(&configs(sabotage))
}

fn results(sabotage: Sabotage) -> Vec<Result<Report, Violation>> {
    run_all(&configs(sabotage))
}

fn broken(results: &[Result<Report, Violation>], rule: Rule) -> usize {
    results
        .iter()
        .filter(|result| result.as_ref().is_err_and(|violation| violation.rule == rule))
        .count()
}

#[test]
fn a_validator_that_lost_its_log_abstains_and_the_chain_goes_on() {
    let reports = reports(Sabotage::LogLost);
    let abstentions: u64 = reports.iter().map(|report| report.abstentions).sum();
    assert!(abstentions >= 10, "{abstentions} abstentions");
}

#[test]
fn a_validator_whose_database_lost_blocks_follows_in_silence_and_the_chain_goes_on() {
    let reports = reports(Sabotage::TailLost);
    let lost: u64 = reports.iter().map(|report| report.tails_lost).sum();
    let abstentions: u64 = reports.iter().map(|report| report.abstentions).sum();
    assert!(
        lost >= 5 && abstentions >= 5,
        "{lost} losses, {abstentions} abstentions"
    );
}

#[test]
fn a_validator_whose_guard_and_log_are_damaged_at_rest_does_not_sign_where_it_had_signed() {
    let reports = reports(Sabotage::GuardAndLogDamaged);
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (lost, torn) = (
        sum(|report| report.signatures_lost),
        sum(|report| report.torn_starts),
    );
    let abstentions = sum(|report| report.abstentions);
    assert!(
        lost >= 5 && abstentions >= 5 && torn >= 1,
        "{lost} signatures lost, {abstentions} abstentions, {torn} torn starts"
    );
}

#[test]
fn a_validator_that_lost_log_and_guard_votes_twice_and_the_observer_sees_it() {
    let results = results(Sabotage::LogAndGuardLost);
    let doubles = broken(&results, Rule::NoEquivocation);
    assert!(doubles >= 3, "{doubles} double votes in {results:?}");
    // One Byzantine node of four breaks nothing else; the lost votes may also have been a lock.
    let locks = broken(&results, Rule::Locking);
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, doubles + locks, "{results:?}");
}

#[test]
fn a_validator_whose_log_cannot_be_written_halts_with_an_io_fault_and_signs_nothing_more() {
    for report in reports(Sabotage::LogFails) {
        assert_eq!(report.halted, vec![Some(FaultClass::Io), None, None, None]);
        assert_eq!(report.signed_after_fault, 0);
    }
}

#[test]
fn a_signature_without_a_durable_guard_entry_is_noticed() {
    for result in results(Sabotage::GuardUnsaved) {
        let violation = result.expect_err("nothing may leave");
        assert_eq!(
            (violation.rule, violation.node),
            (Rule::DurableOrder, SABOTEUR),
            "{violation}"
        );
    }
}

#[test]
fn a_commit_that_the_disk_forgets_is_noticed_by_the_node_itself_or_as_a_head_that_goes_back() {
    let results = results(Sabotage::CommitForgotten);
    for violation in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(violation.node, SABOTEUR, "{violation}");
    }
    // The guard or the witness is ahead of the database, if the node had signed further or synced
    // since.
    let itself = broken(&results, Rule::Recovery);
    let back = broken(&results, Rule::MonotonicHead);
    assert!(
        itself >= 3 && back >= 1,
        "{itself} by itself, {back} by the rule: {results:?}"
    );
    assert!(itself + back >= 8, "{results:?}");
}

#[test]
fn an_equivocating_validator_ends_up_as_evidence_in_blocks_and_the_others_agree() {
    let reports = reports(Sabotage::Equivocation);
    let with_evidence = reports.iter().filter(|report| report.evidence > 0).count();
    assert!(with_evidence >= 12, "evidence in {with_evidence} runs");
}
