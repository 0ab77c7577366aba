//! A database that lost its last blocks under a current guard, with real processes and a passive
//! peer.

use vibecoin_tests_faults::healing::run;

#[test]
fn a_home_that_lost_blocks_follows_in_silence_and_then_signs_again() {
    run(&[1, 20], 1);
}
