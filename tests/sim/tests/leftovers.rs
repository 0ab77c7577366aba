//! Failed and refused transactions have no side effects; see `src/leftovers.rs`.

use vibecoin_tests_sim::Leftovers;

#[test]
fn blocks_with_failed_and_refused_transactions_equal_execution_from_scratch() {
    let (mut failed, mut left_out) = (0, 0);
    for seed in 0..20 {
        let mut run = Leftovers::new(seed, false);
        for _ in 0..8 {
            run.height()
                .map_err(|found| format!("seed {seed}: {found}"))
                .unwrap();
        }
        failed = run.failed.max(failed);
        left_out = run.left_out.max(left_out);
    }
    assert!(
        failed >= 50 && left_out >= 20,
        "a run met {failed} failed and {left_out} that were left out"
    );
}
