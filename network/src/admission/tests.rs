//! Tests of the bounds on connections that are being negotiated.

use futures_util::future::Abortable;

use super::*;

fn admission(pending_max: u32) -> Admission {
    Admission::new(pending_max, Arrivals::default(), Arc::default())
}

#[test]
fn only_the_announced_dial_passes_and_only_once() {
    let [asked, other] = [1, 2].map(ConnectionId::new_unchecked);
    let mut admission = admission(1_000);
    let passes = |admission: &mut Admission, dial| {
        let peer = Some(LibPeer::random());
        admission
            .handle_pending_outbound_connection(dial, peer, &[], Endpoint::Dialer)
            .is_ok()
    };
    assert!(!passes(&mut admission, asked), "nobody asked");
    admission.permit_dial(asked);
    assert!(!passes(&mut admission, other), "another one was asked for");
    assert!(passes(&mut admission, asked));
    assert!(!passes(&mut admission, asked), "it has passed already");
}

#[test]
fn one_address_takes_a_few_of_the_places_where_connections_are_negotiated() {
    let mut admission = admission(1_000);
    let mut ids = (1..).map(ConnectionId::new_unchecked);
    let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
    let mut comes = |admission: &mut Admission, from: &str| {
        let (id, from) = (ids.next().unwrap(), from.parse::<Multiaddr>().unwrap());
        let taken = admission
            .handle_pending_inbound_connection(id, &own, &from)
            .is_ok();
        taken.then_some(id)
    };
    let first = comes(&mut admission, "/ip4/10.0.0.2/tcp/1").unwrap();
    for port in 1..PENDING_PER_MACHINE_MAX {
        assert!(comes(&mut admission, &format!("/ip4/10.0.0.2/tcp/{port}")).is_some());
    }
    assert_eq!(comes(&mut admission, "/ip4/10.0.0.2/tcp/99"), None);
    assert!(
        comes(&mut admission, "/ip4/10.0.0.3/tcp/99").is_some(),
        "another address"
    );
    assert!(
        comes(&mut admission, "/ip4/10.0.0.2/udp/99/quic-v1").is_some(),
        "packets in its name do not shut it out of TCP, nor the other way round"
    );
    for host in 1..=PENDING_PER_MACHINE_MAX {
        assert!(comes(&mut admission, &format!("/ip6/2001:db8::{host}/tcp/1")).is_some());
    }
    assert_eq!(
        comes(&mut admission, "/ip6/2001:db8::ffff:9/tcp/1"),
        None,
        "one machine"
    );
    assert!(comes(&mut admission, "/ip6/2001:db8:0:1::1/tcp/1").is_some());
    let error = libp2p::swarm::ListenError::Aborted;
    let far: Multiaddr = "/ip4/10.0.0.2/tcp/1".parse().unwrap();
    admission.on_swarm_event(FromSwarm::ListenFailure(libp2p::swarm::ListenFailure {
        local_addr: &own,
        send_back_addr: &far,
        error: &error,
        connection_id: first,
        peer_id: None,
    }));
    assert!(
        comes(&mut admission, "/ip4/10.0.0.2/tcp/98").is_some(),
        "one has ended"
    );
    for host in 0..100 {
        let taken = comes(&mut admission, &format!("/ip4/10.9.9.{host}/tcp/1")).is_some();
        assert_eq!(taken, host < PENDING_PER_SUBNET_MAX, "one subnet");
    }
    for port in 1..100 {
        assert!(comes(&mut admission, &format!("/ip4/127.0.0.1/tcp/{port}")).is_some());
    }
}

#[test]
fn machines_of_validators_have_places_when_strangers_have_taken_all() {
    let mut admission = admission(10);
    let mut ids = (1..).map(ConnectionId::new_unchecked);
    let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
    let mut comes = |admission: &mut Admission, from: String| {
        let from: Multiaddr = from.parse().unwrap();
        let id = ids.next().unwrap();
        admission
            .handle_pending_inbound_connection(id, &own, &from)
            .is_ok()
    };
    admission.add_known_machine(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
    let strangers = (0..100).filter(|host| comes(&mut admission, format!("/ip4/8.8.{host}.8/tcp/1")));
    assert_eq!(strangers.count(), 10);
    let friends = (0..100).filter(|port| comes(&mut admission, format!("/ip4/9.9.9.9/tcp/{port}")));
    assert_eq!(friends.count(), PENDING_PER_MACHINE_MAX);
    (0..100)
        .for_each(|host| admission.add_known_machine(&format!("/ip4/9.9.8.{host}/tcp/1").parse().unwrap()));
    let others = (0..100).filter(|host| comes(&mut admission, format!("/ip4/9.9.8.{host}/tcp/1")));
    assert_eq!(
        others.count(),
        PENDING_KNOWN_MAX - PENDING_PER_MACHINE_MAX,
        "all friends together"
    );
}

#[test]
fn packets_in_a_friends_name_take_neither_its_places_over_tcp_nor_those_of_other_friends() {
    let mut admission = admission(10);
    let mut ids = (1..).map(ConnectionId::new_unchecked);
    let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
    let mut comes = |admission: &mut Admission, from: &str| {
        let id = ids.next().unwrap();
        admission
            .handle_pending_inbound_connection(id, &own, &from.parse().unwrap())
            .is_ok()
    };
    for friend in ["/ip4/9.9.9.9/tcp/1", "/ip4/7.7.7.7/tcp/1"] {
        admission.add_known_machine(&friend.parse().unwrap());
    }
    let packets = (0..1_000).filter(|_| comes(&mut admission, "/ip4/9.9.9.9/udp/1/quic-v1"));
    assert_eq!(packets.count(), 2 * PENDING_PER_MACHINE_MAX);
    for friend in [
        "/ip4/9.9.9.9/tcp/1",
        "/ip4/7.7.7.7/tcp/1",
        "/ip4/7.7.7.7/udp/1/quic-v1",
    ] {
        assert!(comes(&mut admission, friend), "{friend}");
    }
}

/// An admission whose clock stands still unless a test moves it.
struct Timed {
    admission: Admission,
    now: Instant,
    next: usize,
}

impl Timed {
    fn new(pending_max: u32) -> Self {
        Self {
            admission: admission(pending_max),
            now: Instant::now(),
            next: 1,
        }
    }

    /// The connection's number and its negotiation, or `None` where it is refused.
    fn comes(&mut self, from: &str) -> Option<(ConnectionId, Abortable<std::future::Pending<()>>)> {
        let from: Multiaddr = from.parse().unwrap();
        let id = ConnectionId::new_unchecked(self.next);
        self.next += 1;
        let registration = self.admission.arrivals.announce(from.clone());
        let taken = self.admission.on_incoming(id, &from, self.now).is_ok();
        taken.then(|| (id, Abortable::new(std::future::pending(), registration)))
    }

    /// Reports the ends of displaced connections, as the swarm does.
    fn ends(&mut self) {
        let ending: Vec<ConnectionId> = self.admission.ending.iter().copied().collect();
        ending.into_iter().for_each(|id| self.admission.on_end(id));
    }

    fn refused(&self) -> u64 {
        self.admission.tally.read().refused(Refusal::Pending)
    }
}

#[test]
fn a_stranger_finds_a_place_and_keeps_it_while_sixteen_addresses_reconnect_without_pause() {
    let mut timed = Timed::new(64);
    let mut crowd = Vec::new();
    for number in 0..1_000 {
        let from = format!("/ip4/198.18.{}.{}/tcp/1", number % 8, 10 + number / 8 % 2);
        crowd.extend(timed.comes(&from));
    }
    assert_eq!(crowd.len(), 64);
    for from in ["/ip4/203.0.113.1/tcp/1", "/ip4/198.18.0.99/tcp/1"] {
        let (_, honest) = timed.comes(from).expect("a place for the stranger");
        for step in 1..500 {
            timed.now += SETTLED_AFTER / 500;
            for number in 0..16 {
                let from = format!("/ip4/198.18.{}.{}/tcp/1", (step + number) % 8, 10 + number / 8);
                crowd.extend(timed.comes(&from));
            }
            timed.ends();
            assert!(timed.admission.pending.len() <= 64);
        }
        assert!(!honest.is_aborted(), "{from} was displaced");
    }
    let ended = crowd.iter().filter(|(_, negotiation)| negotiation.is_aborted());
    let ended = u64::try_from(ended.count()).unwrap();
    assert_eq!(timed.refused(), ended, "each one is counted");
    assert!(ended >= 2);
}

#[test]
fn a_stranger_in_a_subnet_that_has_all_its_places_displaces_one_of_the_largest_machine() {
    let mut timed = Timed::new(64);
    let crowd: Vec<_> = (0..100)
        .filter_map(|number| timed.comes(&format!("/ip4/198.18.0.{}/tcp/1", 10 + number % 4)))
        .collect();
    assert_eq!(crowd.len(), PENDING_PER_SUBNET_MAX);
    assert!(timed.comes("/ip4/198.18.0.99/tcp/1").is_some());
    let ended = crowd.iter().filter(|(_, negotiation)| negotiation.is_aborted());
    assert_eq!(ended.count(), 1);
    assert_eq!(timed.admission.pending.len(), PENDING_PER_SUBNET_MAX);
}

#[test]
fn a_machine_with_all_its_places_displaces_its_own_settled_connections_alone() {
    let mut timed = Timed::new(64);
    let other = timed.comes("/ip4/9.9.9.9/tcp/1").expect("a place");
    let own: Vec<_> = (0..PENDING_PER_MACHINE_MAX)
        .filter_map(|_| timed.comes("/ip4/8.8.8.8/tcp/1"))
        .collect();
    timed.now += SETTLED_AFTER - Duration::from_millis(1);
    assert!(timed.comes("/ip4/8.8.8.8/tcp/1").is_none());
    timed.now += Duration::from_millis(1);
    assert!(timed.comes("/ip4/8.8.8.8/tcp/1").is_some());
    let ended = own.iter().filter(|(_, negotiation)| negotiation.is_aborted());
    assert_eq!(ended.count(), 1);
    assert!(!other.1.is_aborted());
}

#[test]
fn displaced_connections_that_have_not_ended_are_bounded() {
    let mut timed = Timed::new(16);
    let (mut taken, mut all) = (0, Vec::new());
    for _ in 0..16 {
        all.extend(timed.comes("/ip4/127.0.0.1/tcp/1"));
    }
    for _ in 0..100 {
        timed.now += SETTLED_AFTER;
        let came = timed.comes("/ip4/127.0.0.1/tcp/1");
        taken += usize::from(came.is_some());
        all.extend(came);
        assert!(timed.admission.pending.len() + timed.admission.ending.len() <= 32);
    }
    assert_eq!(taken, 16);
    timed.ends();
    assert!(timed.comes("/ip4/127.0.0.1/tcp/1").is_some());
    assert_eq!(timed.admission.ending.len(), 1);
}

#[test]
fn a_machine_begins_a_few_handshakes_a_second_and_takes_none_from_others() {
    let mut timed = Timed::new(64);
    timed
        .admission
        .add_known_machine(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
    let begun = |timed: &mut Timed, from: &str| {
        let arrivals = (0..100).filter(|_| {
            let came = timed.comes(from);
            // An aborted handshake.
            came.is_some_and(|(id, _)| {
                timed.admission.on_end(id);
                true
            })
        });
        arrivals.count()
    };
    assert_eq!(begun(&mut timed, "/ip4/8.8.8.8/tcp/1"), 16);
    assert_eq!(begun(&mut timed, "/ip4/8.8.8.8/udp/1/quic-v1"), 16);
    assert_eq!(begun(&mut timed, "/ip4/8.8.8.9/tcp/1"), 16, "another machine");
    assert_eq!(begun(&mut timed, "/ip4/9.9.9.9/tcp/1"), 100, "a friend");
    assert_eq!(begun(&mut timed, "/ip4/127.0.0.1/tcp/1"), 100, "loopback");
    timed.now += Duration::from_secs(3);
    assert_eq!(begun(&mut timed, "/ip4/8.8.8.8/tcp/1"), 6);
    for host in 0..20_000u32 {
        let ip = std::net::Ipv4Addr::from(0x0b00_0000 + host);
        let _begun = timed.comes(&format!("/ip4/{ip}/tcp/1"));
    }
    assert!(timed.admission.rates.len() <= RATES_MAX);
}

#[test]
fn strangers_displace_no_friend() {
    let mut timed = Timed::new(4);
    timed
        .admission
        .add_known_machine(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
    let friends: Vec<_> = (0..PENDING_PER_MACHINE_MAX)
        .filter_map(|_| timed.comes("/ip4/9.9.9.9/tcp/1"))
        .collect();
    assert_eq!(friends.len(), PENDING_PER_MACHINE_MAX);
    let mut strangers = Vec::new();
    for number in 0..100 {
        timed.now += SETTLED_AFTER;
        strangers.extend(timed.comes(&format!("/ip4/{}.1.1.1/tcp/1", 10 + number)));
        timed.ends();
    }
    assert_eq!(strangers.len(), 100);
    assert!(friends.iter().all(|(_, negotiation)| !negotiation.is_aborted()));
}
