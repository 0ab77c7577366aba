//! A node's network service on loopback, for the client to attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use vibecoin_byzantine::{Attack, Setting, Stage, open_config};
use vibecoin_network::{Network, NetworkConfig, NetworkEvent, NetworkGuard, Sink};
use vibecoin_primitives::{Hash, Height, SecretKey};

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

/// An attack on one node that has not begun.
pub fn stage(target: SocketAddr, key: Option<SecretKey>) -> Arc<Stage> {
    let setting = Setting {
        genesis: GENESIS,
        targets: vec![target],
        sources: Vec::new(),
        strangers: 1,
        time: Duration::from_secs(1),
        key,
        validators: Vec::new(),
    };
    Stage::new(Attack::Status, setting)
}

pub fn node(sink: Arc<dyn Sink>) -> (SocketAddr, NetworkGuard) {
    let config = NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        head: Height(11),
        ..open_config(GENESIS, [1; 32], &[validator().public_key()])
    };
    let (network, guard) = Network::start(config, sink).unwrap();
    let listening = network.info().addresses;
    let text = listening.first().unwrap().to_owned();
    let port = text.split("/tcp/").nth(1).unwrap();
    let port = port.split('/').next().unwrap().parse().unwrap();
    (SocketAddr::from(([127, 0, 0, 1], port)), guard)
}
