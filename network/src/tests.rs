//! Networks of a few nodes on loopback sockets. Every wait is for an event.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vibecoin_messages::{GossipId, Message, PeerId, Severity, Verdict};
use vibecoin_primitives::{
    Address, Encoded as _, Hash, Height, Power, PublicKey, SecretKey, Signature, Transaction, Validator,
    ValidatorSet, decode, encode,
};

use super::*;
use crate::handshake::Hello;
use crate::lanes::{DIRECT_QUEUE_BYTES_MAX, Lane};
use crate::wire::Envelope;

/// Far beyond the duration of any step here; only a broken test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
mod hostile;

const GENESIS: Hash = Hash([7; 32]);

struct Tell(Sender<NetworkEvent>);

impl Sink for Tell {
    fn deliver(&self, event: NetworkEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

struct Node {
    network: Network,
    guard: Option<NetworkGuard>,
    events: Receiver<NetworkEvent>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
    }
}

fn validator_key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn validators() -> ValidatorSet {
    let validator = |number| Validator {
        key: validator_key(number).public_key(),
        power: Power(1),
        payout: Address([number; 32]),
    };
    ValidatorSet::new((1..=4).map(validator).collect()).unwrap()
}

fn config(number: u8) -> NetworkConfig {
    NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        per_ip_max: 1,
        per_subnet_max: 1,
        agent: "test".to_owned(),
        head: Height(u64::from(number)),
        ..NetworkConfig::unconnected(GENESIS, [number; 32], validators())
    }
}

/// Adds the proof of a validator to the configuration.
fn proven(mut config: NetworkConfig, number: u8) -> NetworkConfig {
    let proof = ValidatorProof::make(&config.genesis, &config.node_key, &validator_key(number));
    config.validator_proof = Some(proof);
    config
}

fn to(mut config: NetworkConfig, nodes: &[&Node]) -> NetworkConfig {
    config.peers = nodes.iter().map(|node| node.address()).collect();
    config
}

impl Node {
    fn start(config: NetworkConfig) -> Self {
        let (tell, events) = channel();
        let (network, guard) = Network::start(config, Arc::new(Tell(tell))).unwrap();
        Self {
            network,
            guard: Some(guard),
            events,
        }
    }

    fn address(&self) -> String {
        self.network.info().addresses.first().unwrap().clone()
    }

    fn id(&self) -> String {
        self.network.info().peer_id
    }

    /// The first event that `pick` accepts; others are skipped.
    fn wait<T>(&self, what: &str, mut pick: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            if let Some(found) = pick(event.unwrap_or_else(|_| panic!("no {what} came"))) {
                return found;
            }
        }
    }

    fn connected(&self) -> (PeerId, Height, Option<PublicKey>) {
        self.wait("connection", |event| match event {
            NetworkEvent::Connected {
                peer,
                head,
                validator,
                ..
            } => Some((peer, head, validator)),
            _ => None,
        })
    }

    fn disconnected(&self) -> PeerId {
        self.wait("disconnection", |event| match event {
            NetworkEvent::Disconnected { peer } => Some(peer),
            _ => None,
        })
    }

    fn message(&self) -> (PeerId, Message, Option<GossipId>) {
        self.wait("message", |event| match event {
            NetworkEvent::Message {
                from,
                message,
                gossip,
            } => Some((from, message, gossip)),
            _ => None,
        })
    }

    /// Events received so far that no call took.
    fn rest(&self) -> Vec<NetworkEvent> {
        self.events.try_iter().collect()
    }

    /// Publishes until `other` has received it once: a subscription may still be in flight.
    fn publish_to(&self, other: &Node, message: &Message) -> GossipId {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.network.publish(message);
            if let Ok(NetworkEvent::Message {
                message: got, gossip, ..
            }) = other.events.recv_timeout(Duration::from_millis(100))
            {
                assert_eq!(&got, message);
                return gossip.unwrap();
            }
        }
        panic!("no gossip came")
    }
}

/// Polls a condition that has no event.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::yield_now();
    }
}

fn batch(number: u8) -> Message {
    let key = validator_key(number);
    let body = vibecoin_primitives::TransactionBody {
        chain: GENESIS.prefix(),
        sender: key.public_key(),
        nonce: vibecoin_primitives::Nonce(u64::from(number)),
        fee: vibecoin_primitives::Amount(1),
        valid_until: Height(9),
        operations: Vec::new(),
    };
    let transaction: Transaction = body.sign(&GENESIS, &key);
    Message::Transactions(vec![transaction])
}

fn part(sequence: u32) -> Message {
    use vibecoin_primitives::{BlockPart, PartContent, PartStatement, Round};
    let content = PartContent::Opening {
        last_commit: None,
        evidence: Vec::new(),
    };
    let key = validator_key(1);
    let statement = PartStatement {
        height: Height(1),
        round: Round(0),
        proposer: key.public_key(),
        parent: GENESIS,
        sequence,
        digest: content.digest(),
    };
    Message::Part(Box::new(BlockPart {
        signed: statement.sign(&GENESIS, &key),
        content,
    }))
}

#[test]
fn two_nodes_say_hello_and_talk_on_every_lane() {
    let a = Node::start(proven(config(11), 1));
    let b = Node::start(to(proven(config(12), 2), &[&a]));
    let (a_on_b, head, validator) = b.connected();
    assert_eq!(
        (head, validator),
        (Height(11), Some(validator_key(1).public_key()))
    );
    let (b_on_a, head, validator) = a.connected();
    assert_eq!(
        (head, validator),
        (Height(12), Some(validator_key(2).public_key()))
    );
    let request = Message::SyncRequest {
        from: Height(5),
        count: 2,
    };
    b.network.send(a_on_b, &request);
    assert_eq!(a.message(), (b_on_a, request, None));
    a.network.stream(&part(0));
    assert_eq!(b.message(), (a_on_b, part(0), None));
    a.network.send_all(&Message::Status { height: Height(30) });
    assert_eq!(b.message().1, Message::Status { height: Height(30) });
    let seen = b.network.peers();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen.first().map(|peer| peer.id.clone()), Some(a.id()));
    a.publish_to(&b, &batch(1));
}

#[test]
fn a_peer_that_comes_back_has_the_number_that_it_had() {
    let a = Node::start(config(150));
    let b = Node::start(to(config(151), &[&a]));
    let (first, ..) = a.connected();
    drop(b);
    assert_eq!(a.disconnected(), first);
    let c = Node::start(to(config(152), &[&a]));
    let (other, ..) = a.connected();
    assert_ne!(other, first);
    let b = Node::start(to(config(151), &[&a]));
    assert_eq!(a.connected().0, first);
    // The number is that of the present connection.
    let (a_on_b, ..) = b.connected();
    let status = Message::Status { height: Height(8) };
    b.network.send(a_on_b, &status);
    assert_eq!(a.message(), (first, status.clone(), None));
    a.network.send(first, &status);
    assert_eq!(b.message(), (a_on_b, status, None));
    drop(c);
}

#[test]
fn a_question_may_be_answered_on_the_next_connection() {
    let a = Node::start(config(157));
    let b = Node::start(to(config(158), &[&a]));
    let (b_on_a, ..) = a.connected();
    let (a_on_b, ..) = b.connected();
    let question = Message::SyncRequest {
        from: Height(1),
        count: 1,
    };
    a.network.send(b_on_a, &question);
    assert_eq!(b.message(), (a_on_b, question, None));
    drop(b);
    assert_eq!(a.disconnected(), b_on_a);
    let b = Node::start(to(config(158), &[&a]));
    assert_eq!(a.connected().0, b_on_a);
    let (a_on_b, ..) = b.connected();
    let answer = Message::SyncResponse {
        from: Height(1),
        blocks: Vec::new(),
    };
    b.network.send(a_on_b, &answer);
    assert_eq!(a.message(), (b_on_a, answer.clone(), None));
    // One response for each request, all the same.
    b.network.send(a_on_b, &answer);
    assert_eq!(a.disconnected(), b_on_a);
}

#[test]
fn validators_and_named_peers_are_shown_as_known_and_strangers_are_not() {
    let a = Node::start(NetworkConfig {
        reserved: vec![peer_id_of(&[154; 32])],
        ..config(153)
    });
    let known = |node: &Node| {
        node.wait("connection", |event| match event {
            NetworkEvent::Connected { known, .. } => Some(known),
            _ => None,
        })
    };
    let named = Node::start(to(config(154), &[&a]));
    assert!(known(&a));
    assert!(known(&named), "it was told to stay connected with that one");
    let _validator = Node::start(to(proven(config(155), 2), &[&a]));
    assert!(known(&a));
    let _stranger = Node::start(to(config(156), &[&a]));
    assert!(!known(&a));
}

#[test]
fn a_peer_of_another_chain_is_refused_with_both_hashes_in_the_reason() {
    let a = Node::start(config(13));
    let other = Hash([9; 32]);
    let b = Node::start(to(
        NetworkConfig {
            genesis: other,
            ..config(14)
        },
        &[&a],
    ));
    until("the refusal", || {
        !a.network.bans().is_empty() || !b.network.bans().is_empty()
    });
    let bans = [a.network.bans(), b.network.bans()].concat();
    for ban in bans {
        assert!(ban.reason.contains(&GENESIS.to_string()), "{}", ban.reason);
        assert!(ban.reason.contains(&other.to_string()), "{}", ban.reason);
    }
    assert!(a.rest().is_empty() && b.rest().is_empty());
}

#[test]
fn gossip_goes_on_only_after_the_verdict_and_never_when_rejected() {
    let a = Node::start(config(15));
    let b = Node::start(to(config(16), &[&a]));
    let c = Node::start(to(config(17), &[&b]));
    let (_, _) = (a.connected(), c.connected());
    let (_, _) = (b.connected(), b.connected());
    // Ensures that c is subscribed to b: it received a message of b.
    b.publish_to(&c, &batch(9));
    let rejected = a.publish_to(&b, &batch(1));
    b.network.forward(rejected, Verdict::Rejected("test"));
    let passed = a.publish_to(&b, &batch(2));
    let waiting = a.publish_to(&b, &batch(3));
    assert_ne!(passed, waiting);
    b.network.forward(passed, Verdict::Fresh);
    // c receives it by the mesh, at the latest when b announces its messages; and it receives nothing else.
    let (_, message, _) = c.message();
    assert_eq!(message, batch(2));
    let unexpected = |event: &NetworkEvent| matches!(event, NetworkEvent::Message { message, .. } if *message == batch(1) || *message == batch(3));
    assert!(!c.rest().iter().any(unexpected));
}

#[test]
fn the_same_message_published_twice_arrives_twice() {
    let a = Node::start(config(18));
    let b = Node::start(to(config(19), &[&a]));
    let (_, _) = (a.connected(), b.connected());
    let first = a.publish_to(&b, &batch(1));
    let second = a.publish_to(&b, &batch(1));
    assert_ne!(first, second);
}

#[test]
fn a_ban_disconnects_at_once_and_an_unban_brings_the_peer_back() {
    let a = Node::start(config(20));
    let b = Node::start(to(config(21), &[&a]));
    let (peer, ..) = a.connected();
    b.connected();
    a.network.ban(&b.id(), "partition", None).unwrap();
    assert_eq!(a.disconnected(), peer);
    b.disconnected();
    until("the ban", || !a.network.bans().is_empty());
    let bans = a.network.bans();
    assert_eq!(
        bans.first().map(|ban| (ban.id.clone(), ban.reason.clone())),
        Some((b.id(), "partition".to_owned()))
    );
    // b keeps dialling and is refused.
    let before = b.network.counters().dials;
    until("another dial", || b.network.counters().dials > before + 2);
    assert!(a.network.peers().is_empty());
    a.network.unban(&b.id()).unwrap();
    a.connected();
    assert!(a.network.bans().is_empty());
}

#[test]
fn too_much_blame_is_a_ban_with_the_last_reason() {
    let a = Node::start(config(22));
    let b = Node::start(to(config(23), &[&a]));
    let (peer, ..) = a.connected();
    b.connected();
    for _ in 0..10 {
        a.network.blame(peer, Severity::Minor, "a false certificate");
    }
    assert_eq!(a.disconnected(), peer);
    until("the ban", || !a.network.bans().is_empty());
    let reasons: Vec<String> = a.network.bans().into_iter().map(|ban| ban.reason).collect();
    assert_eq!(reasons, vec!["a false certificate".to_owned()]);
}

#[test]
fn a_message_on_the_wrong_lane_drops_the_peer() {
    let a = Node::start(config(24));
    let b = Node::start(to(config(25), &[&a]));
    a.connected();
    let (a_on_b, ..) = b.connected();
    b.network.send(a_on_b, &part(0));
    a.disconnected();
    b.disconnected();
}

#[test]
fn what_waits_for_a_peer_that_does_not_read_is_bounded() {
    // The budget of one byte per second models a peer that does not read.
    let a = Node::start(NetworkConfig {
        bytes_per_s_per_peer: 1,
        ..config(26)
    });
    let b = Node::start(to(config(27), &[&a]));
    a.connected();
    let (a_on_b, ..) = b.connected();
    let blocks = Message::Body {
        header: Box::new(header()),
        body: vec![0; 1 << 20],
    };
    let enough = 4 * DIRECT_QUEUE_BYTES_MAX / (1 << 20);
    for _ in 0..enough {
        b.network.send(a_on_b, &blocks);
    }
    let dropped = b
        .network
        .counters()
        .protocols
        .get("direct")
        .map_or(0, |direct| direct.dropped_out);
    assert!(dropped > 0, "nothing was dropped of {enough}");
}

fn header() -> vibecoin_primitives::Header {
    vibecoin_primitives::Header {
        height: Height(1),
        parent: GENESIS,
        ticks: 1,
        ..vibecoin_tests_support::header()
    }
}

#[test]
fn strangers_have_so_many_seats_and_a_validator_comes_in_beyond_them() {
    let a = Node::start(NetworkConfig {
        inbound_max: 1,
        ..config(28)
    });
    let b = Node::start(to(config(29), &[&a]));
    let (first, ..) = a.connected();
    b.connected();
    let c = Node::start(to(config(30), &[&a]));
    until("a second try of the stranger", || c.network.counters().dials > 2);
    assert!(a.rest().is_empty(), "a stranger got in beyond the bound");
    assert!(
        a.network.peers().iter().all(|peer| !peer.outbound),
        "a dialled a stranger back"
    );
    let d = Node::start(to(proven(config(31), 3), &[&a]));
    let (second, _, validator) = a.connected();
    assert_eq!(validator, Some(validator_key(3).public_key()));
    assert_ne!(first, second);
    d.connected();
    drop(b);
    assert_eq!(a.disconnected(), first);
    // Now a slot is free.
    let (third, _, validator) = a.connected();
    assert_eq!(validator, None);
    assert_ne!(third, first);
}

#[test]
fn peers_tell_each_other_of_a_third_one() {
    let exchanging = |number| NetworkConfig {
        exchange: true,
        ..config(number)
    };
    let a = Node::start(exchanging(32));
    let b = Node::start(to(exchanging(33), &[&a]));
    a.connected();
    b.connected();
    let c = Node::start(to(exchanging(34), &[&a]));
    c.connected();
    let (peer, head, _) = c.connected();
    assert_eq!(head, Height(33));
    assert!(
        c.network
            .peers()
            .iter()
            .any(|one| one.peer == peer && one.id == b.id())
            || c.network.peers().len() < 2
    );
}

#[test]
fn a_proof_counts_for_its_own_node_key_chain_and_set_only() {
    let (node, other) = ([40; 32], [41; 32]);
    let id = |key: &[u8; 32]| peer_id_of(key).parse().unwrap();
    let proof = ValidatorProof::make(&GENESIS, &node, &validator_key(1));
    let key = Some(validator_key(1).public_key());
    assert_eq!(proof.check(&GENESIS, &id(&node), &validators()), key);
    assert_eq!(proof.check(&GENESIS, &id(&other), &validators()), None);
    assert_eq!(proof.check(&Hash([1; 32]), &id(&node), &validators()), None);
    let stranger = ValidatorProof::make(&GENESIS, &node, &validator_key(9));
    assert_eq!(stranger.check(&GENESIS, &id(&node), &validators()), None);
}

#[test]
fn nodes_over_quic_say_hello() {
    let quic = |number| NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()],
        ..config(number)
    };
    let a = Node::start(quic(42));
    let b = Node::start(to(quic(43), &[&a]));
    a.connected();
    b.connected();
    assert!(
        a.network
            .peers()
            .iter()
            .all(|peer| peer.address.contains("quic-v1"))
    );
}

#[test]
fn where_udp_does_not_get_through_tcp_is_the_second_dial() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let b = Node::start(config(50));
    let first = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", b.id());
    let a = Node::start(NetworkConfig {
        peers: vec![first, b.address()],
        ..config(51)
    });
    a.connected();
    assert_eq!(a.network.counters().dials, 2);
    assert_eq!(a.network.counters().dials_failed, 1);
}

#[test]
fn a_peer_that_was_started_anew_is_met_anew_though_its_old_connection_seems_to_live() {
    let before = Node::start(config(45));
    let a = Node::start(to(config(46), &[&before]));
    let (first, ..) = a.connected();
    // The same node again: the previous process sends nothing any more, as after a kill over QUIC.
    let after = Node::start(to(config(45), &[&a]));
    assert_eq!(a.disconnected(), first);
    // Much later the age of the old connection would be sufficient; here it is the hello.
    assert_eq!(a.network.counters().restarted, 1);
    let (second, ..) = a.connected();
    assert_eq!(second, first, "it is the same identity");
    drop(after);
}

#[test]
fn an_address_without_identity_or_with_nonsense_is_refused_by_name() {
    let a = Node::start(config(44));
    for text in ["/ip4/127.0.0.1/tcp/1", "nonsense", ""] {
        let error = a.network.add_peer(text).unwrap_err();
        assert!(matches!(&error, NetworkError::Address { address, .. } if address == text));
    }
    assert!(matches!(
        a.network.ban("nobody", "", None),
        Err(NetworkError::PeerId { .. })
    ));
}

#[test]
fn a_peer_is_told_the_addresses_that_it_can_reach_best_first() {
    let told = |peer: Option<&str>| {
        let own = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.5/tcp/1",
            "/ip4/192.168.1.5/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip4/10.0.0.5/udp/1/quic-v1",
            "/ip4/192.168.1.5/udp/1/quic-v1",
        ];
        let own = own.map(|address| address.parse().unwrap());
        let told = crate::handshake::reachable(own.to_vec(), peer.map(|ip| ip.parse().unwrap()));
        told.iter()
            .map(|address| address.to_string().replace("/quic-v1", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(Some("192.168.1.77")),
        [
            "/ip4/192.168.1.5/udp/1",
            "/ip4/192.168.1.5/tcp/1",
            "/ip4/10.0.0.5/udp/1",
            "/ip4/10.0.0.5/tcp/1"
        ]
    );
    assert_eq!(told(Some("1.2.3.4")).len(), 4);
    assert_eq!(told(Some("127.0.0.1")).first().unwrap(), "/ip4/127.0.0.1/udp/1");
    assert_eq!(told(None).len(), 6);
}

#[test]
fn a_hello_over_its_bounds_is_seen() {
    let hello = |agent: &str, addresses: usize| Hello {
        version: 1,
        genesis: GENESIS,
        head: Height(1),
        agent: agent.to_owned(),
        run: 7,
        proof: Some(ValidatorProof {
            key: PublicKey([1; 32]),
            signature: Signature([2; 64]),
        }),
        addresses: vec!["/ip4/1.2.3.4/tcp/5".to_owned(); addresses],
        others: Vec::new(),
    };
    let good = hello("agent", 32);
    assert!(good.is_bounded());
    assert_eq!(decode::<Hello>(&encode(&good)), Ok(good));
    assert!(!hello("agent", 33).is_bounded());
    assert!(!hello(&"a".repeat(65), 1).is_bounded());
    assert!(decode::<Hello>(&vec![0; Hello::BYTES_MAX + 1]).is_err());
}

/// Reads frames from bytes as the lanes do from a stream.
fn frames(bytes: &[u8], lane: Lane) -> (usize, Option<std::io::ErrorKind>) {
    let mut rest = futures_util::io::Cursor::new(bytes);
    let mut count = 0usize;
    loop {
        let read = crate::lanes::read_frame(&mut rest, lane.frame_bytes_max());
        match futures_util::FutureExt::now_or_never(read) {
            Some(Ok(frame)) => {
                let _ = Envelope::new(&GENESIS).open(&frame);
                count = count.saturating_add(1);
            }
            Some(Err(error)) => return (count, Some(error.kind())),
            None => return (count, None),
        }
    }
}

#[test]
fn a_frame_that_says_it_is_too_long_is_a_fault_before_any_of_it_has_come() {
    let max = u32::try_from(Lane::Parts.frame_bytes_max()).unwrap();
    let fault = |len: u32| frames(&len.to_le_bytes(), Lane::Parts).1;
    assert_eq!(fault(max + 1), Some(std::io::ErrorKind::InvalidData));
    assert_eq!(fault(max), Some(std::io::ErrorKind::UnexpectedEof));
    assert_eq!(fault(u32::MAX), Some(std::io::ErrorKind::InvalidData));
}

#[test]
fn the_first_copy_has_number_zero_and_nobody_knows_the_numbers_of_the_next_ones() {
    let now = tokio::time::Instant::now();
    let of = |copies: &mut crate::copies::Copies| -> Vec<u16> {
        (0..9).filter_map(|_| copies.next(b"vote", now)).collect()
    };
    let (mut one, mut other) = (crate::copies::Copies::default(), crate::copies::Copies::default());
    let (ours, theirs) = (of(&mut one), of(&mut other));
    assert_eq!((ours[0], theirs[0]), (0, 0));
    assert_ne!(ours[1..], theirs[1..]);
    let different: std::collections::HashSet<u16> = ours.iter().copied().collect();
    assert!(different.len() > 5, "{ours:?}");
    assert_eq!(one.next(b"another", now), Some(0));
}

#[test]
fn nothing_makes_a_node_publish_a_message_as_often_as_others_would_ban_it_for() {
    let (mut copies, start) = (crate::copies::Copies::default(), tokio::time::Instant::now());
    let in_a_second = |copies: &mut crate::copies::Copies, second: u64| {
        let at = |n: u64| start + Duration::from_secs(second) + Duration::from_micros(n * 100);
        (0..10_000)
            .filter(|n| copies.next(b"piece", at(*n)).is_some())
            .count()
    };
    let published: Vec<usize> = (0..3).map(|second| in_a_second(&mut copies, second)).collect();
    assert!((16..=27).contains(&published[0]), "{published:?}");
    assert!(
        published[1..].iter().all(|count| (9..=11).contains(count)),
        "{published:?}"
    );
}

proptest! {
    #[test]
    fn foreign_bytes_are_frames_or_an_error_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (count, fault) = frames(&bytes, Lane::Direct);
        prop_assert!(count <= bytes.len() / 4);
        prop_assert!(fault.is_some());
    }

    #[test]
    fn foreign_bytes_are_a_hello_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(hello) = decode::<Hello>(&bytes) {
            prop_assert_eq!(encode(&hello), bytes);
        }
    }

    #[test]
    fn a_damaged_hello_never_reads_as_another_chain_by_accident_of_length(cut in 0usize..200, flip in 0usize..200) {
        let hello = Hello {
            version: 1,
            genesis: GENESIS,
            head: Height(3),
            agent: "vibecoin".to_owned(),
            run: 7,
            proof: None,
            addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            others: Vec::new(),
        };
        let mut bytes = encode(&hello);
        let at = flip % bytes.len();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x80;
        }
        bytes.truncate(bytes.len().saturating_sub(cut % 3));
        if let Ok(read) = decode::<Hello>(&bytes) {
            prop_assert_ne!(read, hello);
        }
    }
}

/// A field of a protobuf message: a number below 16, and bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(u64::try_from(bytes.len()).unwrap()));
    out.extend_from_slice(bytes);
    out
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}
