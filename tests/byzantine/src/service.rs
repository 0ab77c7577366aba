//! The node's own network service with open limits: for the tests of the client, and for strangers that implement
//! the whole protocol.

use vibecoin_network::NetworkConfig;
use vibecoin_primitives::{Address, Hash, Height, Power, PublicKey, Validator, ValidatorSet};

/// A node of a chain with these validators that listens nowhere and dials no peer.
#[must_use]
pub fn open_config(genesis: Hash, node_key: [u8; 32], validators: &[PublicKey]) -> NetworkConfig {
    let members = validators.iter().map(|key| Validator {
        key: *key,
        power: Power(1),
        payout: Address([0; 32]),
    });
    NetworkConfig {
        genesis,
        node_key,
        listen: Vec::new(),
        external: Vec::new(),
        peers: Vec::new(),
        bootnodes: Vec::new(),
        reserved: Vec::new(),
        exchange: false,
        inbound_max: 8,
        outbound_max: 8,
        per_ip_max: 8,
        per_subnet_max: 8,
        bytes_per_s_per_peer: 1 << 30,
        memory_max_bytes: 1 << 40,
        peers_file: None,
        validator_proof: None,
        validators: ValidatorSet::new(members.collect()).expect("a validator set"),
        agent: "node".to_owned(),
        head: Height(0),
    }
}
