//! The client against the node's own network service: the node decodes what the client encodes.

mod support;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::AsyncWriteExt as _;
use vibecoin_byzantine::session::Session;
use vibecoin_byzantine::wire::{Rpc, frame};
use vibecoin_network::NetworkEvent;
use vibecoin_primitives::{Height, SecretKey};
use vibecoin_replica::Message;
use vibecoin_tests_support as values;

use support::{Events, GENESIS, node, stage, validator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_admits_the_client_as_the_validator_that_it_proves_to_be_and_reads_its_messages() {
    let (sender, events) = channel();
    let (target, guard) = node(Arc::new(Events(sender)));
    let stage = stage(target, Some(validator()));
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
    let body = values::body(&GENESIS, &key, 0, vec![values::transfer(1, 1)]);
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
