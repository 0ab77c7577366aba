//! A devnet of four goes through partitions, loss, cuts, pauses, garbage and kills while clients move
//! money; afterwards one chain must explain everything that they were told.

#![allow(missing_docs)]

use vibecoin_tests_faults::suites::{Length, network};

#[test]
fn four_validators_survive_the_network() {
    network(Length::Short, 1);
}
