//! A devnet of four passes through partitions, loss, cuts, pauses, garbage and kills while clients
//! transfer funds; afterwards one chain must explain all their answers.

use vibecoin_tests_faults::suites::{Length, network};

#[test]
fn four_validators_survive_the_network() {
    network(Length::Short, 1);
}
