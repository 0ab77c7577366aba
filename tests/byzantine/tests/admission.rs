//! The client against the node's own network service: the node decodes what the client encodes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_util::AsyncWriteExt as _;
use vibecoin_byzantine::session::Session;
use vibecoin_byzantine::wire::{Rpc, frame};
use vibecoin_byzantine::{Attack, Setting, Stage};
use vibecoin_network::service::{Network, NetworkConfig, NetworkEvent, NetworkGuard, Sink};
use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, Power, SecretKey, TransactionBody, Validator,
    ValidatorSet,
};
use vibecoin_replica::Message;

const GENESIS: Hash = Hash([3; 32]);

struct Events(Sender<NetworkEvent>);

impl Sink for Events {
    fn deliver(&self, event: NetworkEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

fn validator() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

fn node(sink: Arc<dyn Sink>) -> (SocketAddr, NetworkGuard) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_admits_the_client_as_the_validator_that_it_proves_to_be_and_reads_its_messages() {
    let (sender, events) = channel();
    let (target, guard) = node(Arc::new(Events(sender)));
    let stage = Stage::new(
        Attack::Status,
        Setting {
            genesis: GENESIS,
            targets: vec![target],
            sources: Vec::new(),
            strangers: 1,
            time: Duration::from_secs(1),
            key: Some(validator()),
            validators: Vec::new(),
        },
    );
    let identity = stage.identity(0);
    let session = Session::join(&stage, 0, &identity, stage.hello()).await.unwrap();
    assert_eq!(stage.head(), 11, "the node's greeting was read");

    let mut lane = session.direct().await.unwrap();
    let status = Message::Status { height: Height(77) };
    lane.write_all(&frame(&stage.envelope.pack(&status)))
        .await
        .unwrap();
    lane.flush().await.unwrap();

    let key = SecretKey::from_seed(&[6; 32]);
    let body = TransactionBody {
        chain: GENESIS.prefix(),
        sender: key.public_key(),
        nonce: Nonce(0),
        fee: Amount(1),
        valid_until: Height(9),
        operations: vec![Operation::Transfer {
            to: Address([1; 32]),
            amount: Amount(1),
        }],
    };
    let transactions = Message::Transactions(vec![body.sign(&GENESIS, &key)]);
    let data = [&[0, 0][..], &stage.envelope.pack(&transactions)].concat();
    let mut gossip = session.gossip().await.unwrap();
    let rpc = Rpc::default().publish(&stage.names.transactions, &data);
    gossip.write_all(&rpc.frame()).await.unwrap();
    gossip.flush().await.unwrap();

    let (mut told, mut gossiped, mut proven) = (false, false, false);
    while !(told && gossiped && proven) {
        match events.recv_timeout(Duration::from_secs(20)).unwrap() {
            NetworkEvent::Connected { validator: shown, .. } => {
                proven = shown == Some(validator().public_key());
                assert!(proven, "the proof does not hold");
            }
            NetworkEvent::Message { message, gossip, .. } => {
                told |= message == status && gossip.is_none();
                gossiped |= message == transactions && gossip.is_some();
            }
            NetworkEvent::Disconnected { .. } => panic!("the node closed the connection"),
        }
    }
    drop(session);
    guard.stop();
}
