//! Messages on every lane, gossip, blame and bans.

use super::*;

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
