//! Unknown peers that break the rules of the network, against a real node on a loopback socket. Such a peer
//! is a libp2p swarm without any of this crate's code above the streams.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use futures_util::{AsyncWriteExt as _, StreamExt as _};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Stream, StreamProtocol, Swarm, noise, tcp, yamux};
use libp2p_stream::Control;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;
use crate::behaviour::{GOSSIP_BYTES_MAX, Names};
use crate::handshake::{HELLO_PROTOCOL, keypair};
use crate::lanes::write_frame;
use crate::wire::{REQUEST_BYTES_MAX, SYNC_BYTES_MAX, WIRE_VERSION, kind};

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Raw {
    streams: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

/// An event of the hostile peer.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Connected,
    Closed,
    Refused,
    Listens,
}

struct Stranger {
    runtime: Runtime,
    control: Control,
    id: libp2p::PeerId,
    victim: libp2p::PeerId,
    names: Names,
    seen: Receiver<Seen>,
    publish: mpsc::UnboundedSender<Vec<u8>>,
    dial: mpsc::UnboundedSender<Multiaddr>,
    address: Multiaddr,
}

fn gossip(names: &Names) -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .heartbeat_interval(Duration::from_millis(100))
        .message_id_fn(|message: &gossipsub::Message| {
            gossipsub::MessageId::new(blake3::hash(&message.data).as_bytes())
        })
        .max_transmit_size(GOSSIP_BYTES_MAX + 1024)
        .flood_publish(true)
        .connection_handler_queue_len(100_000)
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(&names.transactions).unwrap();
    gossip
}

async fn live(
    mut swarm: Swarm<Raw>,
    topic: IdentTopic,
    seen: std::sync::mpsc::Sender<Seen>,
    mut publish: mpsc::UnboundedReceiver<Vec<u8>>,
    mut dial: mpsc::UnboundedReceiver<Multiaddr>,
) {
    loop {
        let event = tokio::select! {
            event = swarm.select_next_some() => event,
            Some(data) = publish.recv() => {
                let _nobody_listens = swarm.behaviour_mut().gossip.publish(topic.clone(), data);
                continue;
            }
            Some(address) = dial.recv() => {
                if swarm.dial(address).is_err() {
                    let _test_is_over = seen.send(Seen::Refused);
                }
                continue;
            }
        };
        let noted =
            match event {
                SwarmEvent::ConnectionEstablished { .. } => Seen::Connected,
                SwarmEvent::ConnectionClosed { .. } => Seen::Closed,
                SwarmEvent::OutgoingConnectionError { .. } => Seen::Refused,
                SwarmEvent::Behaviour(RawEvent::Gossip(gossipsub::Event::Subscribed {
                    topic: of, ..
                })) if of == topic.hash() => Seen::Listens,
                _ => continue,
            };
        if seen.send(noted).is_err() {
            return;
        }
    }
}

impl Stranger {
    /// Creates one that is connected.
    fn new(victim: &Node, number: u8) -> Self {
        let stranger = Self::far(victim, [number; 32]);
        stranger.dial();
        assert_eq!(stranger.next(), Seen::Connected);
        stranger
    }

    fn far(victim: &Node, seed: [u8; 32]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let names = Names::new(&GENESIS).unwrap();
        let behaviour = Raw {
            streams: libp2p_stream::Behaviour::new(),
            gossip: gossip(&names),
        };
        let control = behaviour.streams.new_control();
        let key = keypair(&seed).unwrap();
        let id = key.public().to_peer_id();
        let swarm = {
            let _inside = runtime.enter();
            libp2p::SwarmBuilder::with_existing_identity(key)
                .with_tokio()
                .with_tcp(
                    tcp::Config::default().nodelay(true),
                    noise::Config::new,
                    yamux::Config::default,
                )
                .unwrap()
                .with_quic()
                .with_behaviour(|_| behaviour)
                .unwrap()
                .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(PATIENCE))
                .build()
        };
        let (tell, seen) = channel();
        let (publish, published) = mpsc::unbounded_channel();
        let (dial, dialled) = mpsc::unbounded_channel();
        runtime.spawn(live(swarm, names.transactions.clone(), tell, published, dialled));
        Self {
            runtime,
            control,
            id,
            victim: victim.id().parse().unwrap(),
            names,
            seen,
            publish,
            dial,
            address: victim.address().parse().unwrap(),
        }
    }

    fn dial(&self) {
        self.dial.send(self.address.clone()).unwrap();
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until it is disconnected.
    fn closed(&self) {
        while self.next() != Seen::Closed {}
    }

    /// Waits until a node bans it.
    fn banned(&self, node: &Node) {
        let id = self.id.to_string();
        until("the ban", || node.network.bans().iter().any(|ban| ban.id == id));
    }

    fn open(&self, protocol: &StreamProtocol) -> Stream {
        let mut control = self.control.clone();
        let opening = control.open_stream(self.victim, protocol.clone());
        self.runtime.block_on(opening).unwrap()
    }

    fn say_hello(&self) {
        let hello = Hello::of_stranger(GENESIS);
        let mut stream = self.open(&StreamProtocol::new(HELLO_PROTOCOL));
        self.runtime
            .block_on(async { write_frame(&mut stream, &encode(&hello), true).await })
            .unwrap();
    }

    /// Writes bytes on a lane; the stream stays open.
    fn write(&self, protocol: &StreamProtocol, bytes: &[u8]) -> Stream {
        let mut stream = self.open(protocol);
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        self.runtime.block_on(writing).unwrap();
        stream
    }
}

/// Length and envelope of a frame.
fn announced(kind: u8, message: usize) -> Vec<u8> {
    let len = u32::try_from(message + crate::wire::ENVELOPE_BYTES).unwrap();
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([WIRE_VERSION, 7, 7, 7, 7, kind]);
    bytes
}

fn refused(node: &Node, reason: Refusal) -> u64 {
    node.network.counters().refused(reason)
}

#[test]
fn a_connection_that_never_says_hello_is_closed() {
    let a = Node::start(config(100));
    let stranger = Stranger::new(&a, 101);
    stranger.closed();
    assert_eq!(refused(&a, Refusal::Silent), 1);
    assert!(a.rest().is_empty());
}

#[test]
fn what_breaks_a_rule_disconnects_its_sender_the_second_time_for_long() {
    let direct = Names::new(&GENESIS).unwrap().direct;
    let cases = [
        (102, announced(kind::SYNC_RESPONSE, 1 << 20), Refusal::Unasked),
        (
            103,
            announced(kind::STATUS, REQUEST_BYTES_MAX + 1),
            Refusal::Oversize,
        ),
        (104, announced(kind::BODY, SYNC_BYTES_MAX + 1), Refusal::Oversize),
        (105, announced(200, 10), Refusal::Undecodable),
        (106, announced(0, 10), Refusal::WrongLane),
    ];
    for (number, bytes, reason) in cases {
        let a = Node::start(config(number));
        let stranger = Stranger::new(&a, number + 20);
        for time in 1..=2 {
            stranger.say_hello();
            a.connected();
            let _open = stranger.write(&direct, &bytes);
            stranger.closed();
            a.disconnected();
            assert_eq!(refused(&a, reason), time, "{reason:?}");
            if time == 1 {
                stranger.dial();
                while stranger.next() != Seen::Connected {}
            }
        }
        stranger.banned(&a);
        // It reconnects and is disconnected before anything is read.
        let before = refused(&a, Refusal::Connection);
        stranger.dial();
        until("the refusal", || refused(&a, Refusal::Connection) > before);
        assert!(a.network.peers().is_empty());
    }
}

#[test]
fn statuses_without_end_are_passed_on_a_few_times_and_cost_their_sender_the_connection() {
    let a = Node::start(config(110));
    let stranger = Stranger::new(&a, 111);
    stranger.say_hello();
    a.connected();
    let envelope = Envelope::new(&GENESIS);
    let mut flood = Vec::new();
    for height in 0..10_000 {
        let status = envelope.pack(&Message::Status {
            height: Height(height),
        });
        flood.extend(u32::try_from(status.len()).unwrap().to_le_bytes());
        flood.extend(status);
    }
    let mut stream = stranger.open(&stranger.names.direct);
    let _closed_meanwhile = stranger.runtime.block_on(stream.write_all(&flood));
    let mut passed = 0;
    a.wait("disconnection", |event| match event {
        NetworkEvent::Disconnected { .. } => Some(()),
        _ => {
            passed += 1;
            None
        }
    });
    assert!(passed < 100, "{passed} were passed on");
    assert!(refused(&a, Refusal::Status) > 64);
}

#[test]
fn a_known_message_under_a_thousand_numbers_is_passed_on_a_few_times_and_its_sender_banned() {
    let a = Node::start(config(112));
    let b = Node::start(to(config(113), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    b.publish_to(&a, &batch(9));
    a.publish_to(&b, &batch(8));
    let stranger = Stranger::new(&a, 114);
    stranger.say_hello();
    while stranger.next() != Seen::Listens {}
    a.connected();
    let envelope = Envelope::new(&GENESIS).pack(&batch(1));
    let before = |node: &Node| {
        node.network
            .counters()
            .protocols
            .get("transactions")
            .unwrap()
            .messages_in
    };
    let (known, numbers) = (before(&b), 1_000_u16);
    for number in 0..numbers {
        let mut data = number.to_le_bytes().to_vec();
        data.extend_from_slice(&envelope);
        stranger.publish.send(data).unwrap();
    }
    // As the replica does, which accepts known messages, all pass.
    let mut passed = 0u64;
    a.wait("ban", |event| match event {
        NetworkEvent::Message {
            gossip: Some(gossip), ..
        } => {
            passed += 1;
            a.network.forward(gossip, Verdict::Known);
            None
        }
        NetworkEvent::Disconnected { .. } => Some(()),
        _ => None,
    });
    stranger.banned(&a);
    assert!(refused(&a, Refusal::Copy) > 256);
    assert!((1..=16).contains(&passed), "{passed} copies were handed on");
    assert!(before(&b) - known <= passed, "no more than that came to others");
}

#[test]
fn streams_that_are_opened_and_dropped_cost_their_sender_the_connection_and_then_a_ban() {
    let a = Node::start(config(132));
    let stranger = Stranger::new(&a, 133);
    // One that the node supports and one that it refuses.
    let ping = StreamProtocol::new("/ipfs/ping/1.0.0");
    let unknown = StreamProtocol::new("/ipfs/id/push/1.0.0");
    stranger.say_hello();
    a.connected();
    for time in 1..=2 {
        let (mut control, victim) = (stranger.control.clone(), stranger.victim);
        let protocols = [ping.clone(), unknown.clone()];
        let opening = stranger.runtime.spawn(async move {
            for protocol in protocols.iter().cycle().take(10_000) {
                let _dropped_or_refused = control.open_stream(victim, protocol.clone()).await;
            }
        });
        stranger.closed();
        opening.abort();
        until("the refusal", || refused(&a, Refusal::Opened) == time);
        if time == 1 {
            a.disconnected();
            assert!(a.network.bans().is_empty());
            stranger.dial();
            while stranger.next() != Seen::Connected {}
        }
    }
    stranger.banned(&a);
}

#[test]
fn hellos_without_end_are_read_a_few_at_a_time_and_end_with_a_disconnection() {
    let a = Node::start(config(115));
    let stranger = Stranger::new(&a, 116);
    let protocol = StreamProtocol::new(HELLO_PROTOCOL);
    let control = stranger.control.clone();
    let victim = stranger.victim;
    stranger.runtime.spawn(async move {
        let mut open = Vec::new();
        let mut control = control;
        while let Ok(stream) = control.open_stream(victim, protocol.clone()).await {
            open.push(stream);
        }
    });
    stranger.closed();
    assert!(refused(&a, Refusal::Hello) > 0);
    assert!(a.rest().is_empty());
}

#[test]
fn a_stranger_that_takes_nothing_is_sent_away_with_what_waits_for_it() {
    let a = Node::start(config(117));
    let stranger = Stranger::new(&a, 118);
    let mut control = stranger.control.clone();
    // It accepts the stream and never reads.
    let mut taken = control.accept(stranger.names.direct.clone()).unwrap();
    stranger.runtime.spawn(async move {
        let mut open = Vec::new();
        while let Some(stream) = taken.next().await {
            open.push(stream);
        }
    });
    stranger.say_hello();
    let (peer, ..) = a.connected();
    let body = Message::Body {
        header: Box::new(header()),
        body: vec![0; 1 << 20],
    };
    (0..8).for_each(|_| a.network.send(peer, &body));
    assert_eq!(a.disconnected(), peer);
    assert_eq!(refused(&a, Refusal::SlowReader), 1);
}

#[test]
fn a_validator_is_heard_though_strangers_that_say_nothing_have_taken_every_seat() {
    let a = Node::start(config(119));
    let strangers: Vec<Stranger> = (0..70_u8)
        .map(|number| {
            let mut seed = [120; 32];
            seed[0] = number;
            Stranger::far(&a, seed)
        })
        .collect();
    // The bounds on negotiations would deny more at once.
    for crowd in strangers.chunks(35) {
        crowd.iter().for_each(Stranger::dial);
        for stranger in crowd {
            let _in_or_refused = stranger.next();
        }
    }
    until("a full room", || refused(&a, Refusal::Guest) > 0);
    let b = Node::start(to(proven(config(121), 2), &[&a]));
    let (_, _, validator) = a.connected();
    assert_eq!(validator, Some(validator_key(2).public_key()));
    b.connected();
}

#[test]
fn one_validator_has_two_seats_of_a_validator_and_no_more() {
    let a = Node::start(config(122));
    let nodes: Vec<Node> = (123..126)
        .map(|number| Node::start(to(proven(config(number), 1), &[&a])))
        .collect();
    let key = Some(validator_key(1).public_key());
    let met: Vec<Option<PublicKey>> = nodes.iter().map(|_| a.connected().2).collect();
    assert_eq!(met.iter().filter(|validator| **validator == key).count(), 2);
    assert_eq!(met.iter().filter(|validator| validator.is_none()).count(), 1);
}

/// One gossip frame of these control messages.
fn control(messages: &[u8]) -> Vec<u8> {
    let rpc = field(3, messages);
    let mut frame = varint(u64::try_from(rpc.len()).unwrap());
    frame.extend(rpc);
    frame
}

#[test]
fn a_hundred_thousand_unknown_topics_and_a_backoff_without_end_change_nothing() {
    let a = Node::start(config(127));
    let b = Node::start(to(config(128), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    let stranger = Stranger::new(&a, 129);
    stranger.say_hello();
    let (peer, ..) = a.connected();
    let mut bytes = Vec::new();
    for chunk in 0..100 {
        let grafts = (0..1_000).flat_map(|number| {
            let topic = format!("{}", chunk * 1_000 + number);
            field(3, &field(1, topic.as_bytes()))
        });
        bytes.extend(control(&grafts.collect::<Vec<u8>>()));
    }
    for topic in [
        stranger.names.transactions.clone(),
        stranger.names.consensus.clone(),
    ] {
        let mut prune = field(1, topic.hash().as_str().as_bytes());
        prune.push(3 << 3);
        prune.extend(varint(1 << 63));
        bytes.extend(control(&field(4, &prune)));
    }
    let _open = stranger.write(&StreamProtocol::new("/meshsub/1.1.0"), &bytes);
    // It is still connected, and gossip goes on.
    let status = Envelope::new(&GENESIS).pack(&Message::Status { height: Height(9) });
    let mut frame = u32::try_from(status.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(status);
    let _open_too = stranger.write(&stranger.names.direct, &frame);
    assert_eq!(a.message(), (peer, Message::Status { height: Height(9) }, None));
    a.publish_to(&b, &batch(1));
    b.publish_to(&a, &batch(2));
}

#[test]
fn gossip_that_does_not_decode_is_refused_and_its_sender_disconnected() {
    let a = Node::start(config(136));
    let b = Node::start(to(config(137), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    let stranger = Stranger::new(&a, 138);
    stranger.say_hello();
    let (_peer, ..) = a.connected();
    let gossip = StreamProtocol::new("/meshsub/1.1.0");
    // A valid frame, and a stream closed by its sender, are not faults.
    let decodes = stranger.write(&gossip, &control(&field(3, &field(1, b"topic"))));
    drop(decodes);
    let _open = stranger.write(&gossip, &[4, 0xff, 0xff, 0xff, 0xff]);
    stranger.closed();
    until("the refusal", || refused(&a, Refusal::Undecodable) == 1);
    a.publish_to(&b, &batch(1));
    b.publish_to(&a, &batch(2));
}

/// A relay that receives the gossip of validators, and forwards it over connections without a hello, stopped
/// four of them: each message was known, and ignored, before the copy of an admitted peer arrived.
#[test]
fn what_is_gossiped_before_a_hello_is_not_taken_and_keeps_out_no_copy_of_it() {
    let a = Node::start(config(139));
    let guest = Stranger::new(&a, 140);
    let admitted = Stranger::new(&a, 141);
    admitted.say_hello();
    while admitted.next() != Seen::Listens {}
    a.connected();
    let data = [&[0, 0][..], &Envelope::new(&GENESIS).pack(&batch(1))].concat();
    let topic = guest.names.transactions.hash();
    let message = [field(2, &data), field(4, topic.as_str().as_bytes())].concat();
    let publish = field(2, &message);
    let mut frames = varint(publish.len() as u64);
    frames.extend(publish);
    // The malformed frame after the message in the same stream shows that the message was processed.
    frames.extend([4, 0xff, 0xff, 0xff, 0xff]);
    let _stream = guest.write(&StreamProtocol::new("/meshsub/1.1.0"), &frames);
    guest.closed();
    admitted.publish.send(data).unwrap();
    let (_peer, message, _) = a.message();
    assert_eq!(message, batch(1));
}

#[test]
fn half_open_connections_end_and_others_are_let_in() {
    let a = Node::start(config(130));
    let address = a.address();
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    let open: Vec<std::net::TcpStream> = (0..100)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    until("a refusal", || refused(&a, Refusal::Pending) > 0);
    let b = Node::start(to(config(131), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    drop(open);
}

#[test]
fn a_stranger_is_let_in_at_once_though_silent_sockets_hold_every_place() {
    let mut config = config(134);
    config.listen.push("/ip4/127.0.0.1/udp/0/quic-v1".to_owned());
    let a = Node::start(config);
    let addresses = a.network.info().addresses;
    let at = |part: &str| addresses.iter().find(|address| address.contains(part)).unwrap();
    let port: u16 = at("/tcp/").split('/').nth(4).unwrap().parse().unwrap();
    let mut stranger = Stranger::far(&a, [135; 32]);
    // On loopback, only the transport can differ between origins.
    stranger.address = at("/quic-v1").parse().unwrap();
    let open: Vec<std::net::TcpStream> = (0..100)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    until("a refusal", || refused(&a, Refusal::Pending) > 0);
    stranger.dial();
    assert_eq!(stranger.next(), Seen::Connected, "its first dial");
    drop(open);
}

#[test]
fn full_messages_in_a_row_decode_and_those_of_other_topics_are_dropped() {
    let a = Node::start(config(201));
    let b = Node::start(to(config(202), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    let stranger = Stranger::new(&a, 203);
    stranger.say_hello();
    let (peer, ..) = a.connected();
    let message = [field(2, &vec![7; GOSSIP_BYTES_MAX]), field(4, b"other")].concat();
    let rpc = field(2, &message);
    let frame = [varint(u64::try_from(rpc.len()).unwrap()), rpc].concat();
    let _open = stranger.write(&StreamProtocol::new("/meshsub/1.1.0"), &frame.repeat(4));
    // It is connected still, and gossip continues.
    let status = Envelope::new(&GENESIS).pack(&Message::Status { height: Height(9) });
    let mut frame = u32::try_from(status.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(status);
    let _open_too = stranger.write(&stranger.names.direct, &frame);
    assert_eq!(a.message(), (peer, Message::Status { height: Height(9) }, None));
    assert!(a.network.bans().is_empty());
    a.publish_to(&b, &batch(1));
}
