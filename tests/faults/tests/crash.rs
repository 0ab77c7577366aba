//! Crash-fault mode with real processes.

use vibecoin_tests_faults::suites::crash;

#[test]
fn three_survive_the_loss_of_one_and_stop_without_two() {
    crash(1);
}
