//! A node's network service on loopback, for the client to attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use vibecoin_network::{Network, NetworkConfig, NetworkEvent, NetworkGuard, Sink};
use vibecoin_primitives::{Address, Hash, Height, Power, SecretKey, Validator, ValidatorSet};

pub const GENESIS: Hash = Hash([3; 32]);

pub struct Events(pub Sender<NetworkEvent>);

impl Sink for Events {
    fn deliver(&self, event: NetworkEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

pub fn validator() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

pub fn node(sink: Arc<dyn Sink>) -> (SocketAddr, NetworkGuard) {
    let member = Validator {
        key: validator().public_key(),
        power: Power(1),
        payout: Address([0; 32]),
    };
    let config = NetworkConfig {
        genesis: GENESIS,
        node_key: [1; 32],
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
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
        validators: ValidatorSet::new(vec![member]).unwrap(),
        agent: "node".to_owned(),
        head: Height(11),
    };
    let (network, guard) = Network::start(config, sink).unwrap();
    let listening = network.info().addresses;
    let text = listening.first().unwrap().to_owned();
    let port = text.split("/tcp/").nth(1).unwrap();
    let port = port.split('/').next().unwrap().parse().unwrap();
    (SocketAddr::from(([127, 0, 0, 1], port)), guard)
}
