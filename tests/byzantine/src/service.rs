//! The node's own network service with open limits: for the tests of the client, and for strangers that implement
//! the whole protocol.

use vibecoin_network::NetworkConfig;
use vibecoin_primitives::{Address, Hash, Power, PublicKey, Validator, ValidatorSet};

/// A node of a chain with these validators that listens nowhere and dials no peer.
#[must_use]
pub fn open_config(genesis: Hash, node_key: [u8; 32], validators: &[PublicKey]) -> NetworkConfig {
    let members = validators.iter().map(|key| Validator {
        key: *key,
        power: Power(1),
        payout: Address([0; 32]),
    });
    let validators = ValidatorSet::new(members.collect()).expect("a validator set");
    NetworkConfig::unconnected(genesis, node_key, validators)
}
