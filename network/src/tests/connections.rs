//! Slots, further peers, proofs, transports, addresses.

use super::*;

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
