//! Tests of the address book.

use std::collections::HashSet;

use super::entry::FAILED_DIALS_BEFORE_EVICTION;
use super::*;

fn book() -> AddressBook {
    AddressBook::new(LibPeer::random(), None, Scopes::all(), Arc::default())
}

/// An announcer on this machine.
fn by(peer: LibPeer) -> Announcer {
    Announcer {
        peer,
        ip: Some([127, 0, 0, 1].into()),
    }
}

fn address(peer: &LibPeer) -> String {
    format!("/ip4/127.0.0.1/tcp/4000/p2p/{peer}")
}

#[test]
fn hearsay_is_tried_beside_what_is_known_once_that_was_dialled_in_vain() {
    let peer = LibPeer::random();
    let mut book = book();
    let at = |port: u16| format!("/ip4/10.0.0.9/tcp/{port}/p2p/{peer}");
    book.learn(by(LibPeer::random()), &[at(1)]);
    book.learn(by(LibPeer::random()), &[at(2)]);
    assert_eq!(book.addresses(9), vec![at(1)]);
    book.learn_from_itself(by(peer), &[at(3)]);
    assert_eq!(book.addresses(9), vec![at(3)]);
    let mut now = Instant::now();
    let mut dialled = |book: &mut AddressBook| {
        now = now.checked_add(Duration::from_secs(3600)).unwrap();
        let due = book.due(now, 1, |_| false);
        due.first()
            .map(|(peer, way)| format!("{way}/p2p/{peer}"))
            .unwrap()
    };
    (0..FAILED_DIALS_BEFORE_EVICTION).for_each(|_| assert_eq!(dialled(&mut book), at(3)));
    book.on_hello(&peer);
    book.learn(by(LibPeer::random()), &[at(4)]);
    assert_eq!(dialled(&mut book), at(3), "it was met, so its address is right");
    (1..FAILED_DIALS_BEFORE_EVICTION).for_each(|_| assert_eq!(dialled(&mut book), at(3)));
    book.learn(by(LibPeer::random()), &[at(3), at(4)]);
    book.learn(by(LibPeer::random()), &[at(5)]);
    let next: Vec<String> = (0..4).map(|_| dialled(&mut book)).collect();
    assert_eq!(
        next,
        [at(3), at(5), at(3), at(5)],
        "the newest of unverified, and the known one"
    );
    assert_eq!(
        book.addresses(9),
        vec![at(3)],
        "what may be lies is not passed on"
    );
    book.learn_from_itself(by(peer), &[at(6)]);
    assert_eq!([dialled(&mut book), dialled(&mut book)], [at(6), at(6)]);
}

#[test]
fn a_dial_that_was_not_begun_takes_no_turn() {
    let peer = LibPeer::random();
    let mut book = book();
    let way = |port: u16| -> Multiaddr { format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap() };
    (1..=2).for_each(|port| book.add(peer, way(port)));
    let mut now = Instant::now();
    let mut dialled = |book: &mut AddressBook| {
        now = now.checked_add(Duration::from_secs(3600)).unwrap();
        book.due(now, 0, |_| false)
    };
    assert_eq!(dialled(&mut book), [(peer, way(1))]);
    assert_eq!(dialled(&mut book), [(peer, way(2))]);
    book.dial_not_started(&peer);
    assert_eq!(dialled(&mut book), [(peer, way(2))]);
    assert_eq!(dialled(&mut book), [(peer, way(1))]);
}

#[test]
fn what_was_learnt_is_remembered_over_a_restart_and_what_was_given_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.json");
    let (own, given, told) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
    let mut book = AddressBook::new(own, Some(path.clone()), Scopes::all(), Arc::default());
    book.add(given, "/ip4/10.0.0.1/tcp/1".parse().unwrap());
    book.learn(
        by(LibPeer::random()),
        &[
            address(&given),
            address(&told),
            address(&own),
            "nonsense".to_owned(),
        ],
    );
    book.save().unwrap();
    assert_eq!(book.addresses(9).len(), 2);
    let mut booted = AddressBook::new(own, Some(path.clone()), Scopes::all(), Arc::default());
    booted.add_bootnode(told, "/ip4/10.0.0.7/tcp/7".parse().unwrap());
    assert!(
        booted
            .addresses(9)
            .contains(&format!("/ip4/10.0.0.7/tcp/7/p2p/{told}")),
        "the operator's word counts"
    );
    let again = AddressBook::new(own, Some(path), Scopes::all(), Arc::default());
    let mut found = again.addresses(9);
    found.sort();
    let mut expected = vec![format!("/ip4/10.0.0.1/tcp/1/p2p/{given}"), address(&told)];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_peer_to_stay_with_is_dialled_again_and_others_only_while_wanted() {
    let (own, stay, other) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
    let mut book = AddressBook::new(own, None, Scopes::all(), Arc::default());
    book.add(stay, "/ip4/10.0.0.1/tcp/1".parse().unwrap());
    book.learn(by(LibPeer::random()), &[address(&other)]);
    // The peer with the greater identity lets the other one dial first.
    let now = Instant::now().checked_add(SIMULTANEOUS_DIAL_DELAY).unwrap();
    let dialled = |due: Vec<(LibPeer, Multiaddr)>| due.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>();
    assert_eq!(dialled(book.due(now, 0, |_| false)), vec![stay]);
    assert_eq!(dialled(book.due(now, 0, |_| false)), vec![], "its backoff runs");
    assert_eq!(dialled(book.due(now, 1, |_| false)), vec![other]);
    let later = now.checked_add(Duration::from_secs(10)).unwrap();
    assert_eq!(dialled(book.due(later, 0, |_| false)), vec![stay]);
    assert_eq!(dialled(book.due(later, 0, |peer| *peer == stay)), vec![]);
}

#[test]
fn all_ways_to_a_peer_are_dialled_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.json");
    let (own, given, told) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
    let way = |port: usize| -> Multiaddr { format!("/ip4/10.0.0.1/udp/{port}/quic-v1").parse().unwrap() };
    let mut book = AddressBook::new(own, Some(path.clone()), Scopes::all(), Arc::default());
    (1..=2).for_each(|port| book.add(given, way(port)));
    book.add(given, way(2));
    let of = |peer: LibPeer| move |port: usize| format!("{}/p2p/{peer}", way(port));
    let stranger = of(LibPeer::random())(9);
    let own_words: Vec<String> = (3..5).map(of(told)).chain([stranger]).collect();
    book.learn_from_itself(by(told), &own_words);
    let dialled = |book: &mut AddressBook, hours: u64| {
        let later = Duration::from_secs(3600).saturating_mul(u32::try_from(hours).unwrap());
        let mut due = book.due(Instant::now().checked_add(later).unwrap(), 8, |_| false);
        due.sort_by_key(|(peer, _)| *peer != given);
        due
    };
    // Best first, then the others in turn.
    assert_eq!(dialled(&mut book, 1), [(given, way(1)), (told, way(3))]);
    assert_eq!(dialled(&mut book, 2), [(given, way(2)), (told, way(4))]);
    assert_eq!(dialled(&mut book, 3), [(given, way(1)), (told, way(3))]);
    book.reset(&given);
    book.save().unwrap();
    let mut again = AddressBook::new(own, Some(path), Scopes::all(), Arc::default());
    assert_eq!(dialled(&mut again, 1), [(given, way(1)), (told, way(3))]);
    assert_eq!(dialled(&mut again, 2), [(given, way(2)), (told, way(4))]);
    // The oldest are evicted.
    (5..9).for_each(|port| book.add(given, way(port)));
    assert_eq!(
        book.addresses(ADDRESSES_PER_PEER_MAX.saturating_add(2)).len(),
        ADDRESSES_PER_PEER_MAX.saturating_add(2)
    );
    assert!(!book.addresses(9).contains(&of(given)(1)));
}

/// The announcer with this number, on a separate machine; those with near numbers are at different providers.
fn far(number: u32) -> Announcer {
    const PROVIDERS: u32 = 0x3000;
    let high = 0x0800 + number % PROVIDERS;
    let low = (number / PROVIDERS) << 9;
    Announcer {
        peer: LibPeer::random(),
        ip: Some(IpAddr::from(((high << 16) | low).to_be_bytes())),
    }
}

fn at(from: Announcer) -> String {
    format!("/ip4/{}/tcp/4000/p2p/{}", from.ip.unwrap(), from.peer)
}

#[test]
fn the_book_does_not_grow_beyond_its_bound() {
    let mut book = book();
    let many = u32::try_from(BOOK_MAX).unwrap() + 50;
    for number in 0..many {
        book.learn(far(number), &[at(far(number))]);
    }
    assert_eq!(book.addresses(usize::MAX).len(), UNVERIFIED_MAX);
    let met: Vec<Announcer> = (0..many).map(|number| far(many + number)).collect();
    for peer in &met {
        book.learn_from_itself(*peer, &[at(*peer)]);
    }
    // Peers that announced themselves replace all that were announced by others; then the book is full.
    let known: HashSet<String> = book.addresses(usize::MAX).into_iter().collect();
    assert_eq!(known, met.iter().take(BOOK_MAX).copied().map(at).collect());
}

#[test]
fn a_machine_with_many_identities_takes_a_few_places_whatever_it_announces() {
    for ip in ["8.8.8.8", "127.0.0.1", "2a00::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let mut book = book();
        let protocol = if ip.is_ipv4() { "ip4" } else { "ip6" };
        for number in 0..620 {
            let from = Announcer {
                peer: LibPeer::random(),
                ip: Some(ip),
            };
            let own = format!("/{protocol}/{ip}/tcp/{}/p2p/{}", 1000 + number, from.peer);
            book.learn_from_itself(from, &[own]);
            let others: Vec<String> = (0..32).map(|_| at(far(number))).collect();
            book.learn(from, &others);
        }
        let taken = book.entries.len();
        assert!(taken <= PER_ORIGIN_MAX, "{taken} of {BOOK_MAX} from {ip}");
        assert!(book.tally.read().refused(Refusal::Source) > 500);
    }
}

#[test]
fn machines_of_one_provider_take_the_places_of_one() {
    let networks = ["198.18.{}.{}", "2a01:4f8:{}:{}::1"];
    for network in networks {
        let mut book = book();
        for number in 0..620 {
            let ip = network.replacen("{}", &(number % 8).to_string(), 1).replacen(
                "{}",
                &(10 + number / 8 % 2).to_string(),
                1,
            );
            let ip: IpAddr = ip.parse().unwrap();
            let from = Announcer {
                peer: LibPeer::random(),
                ip: Some(ip),
            };
            let others: Vec<String> = (0..32).map(|other| at(far(number * 32 + other))).collect();
            book.learn(from, &others);
        }
        assert_eq!(book.entries.len(), PER_ORIGIN_MAX, "{network}");
    }
}

#[test]
fn many_machines_do_not_fill_the_book_with_peers_at_one_address() {
    let mut book = book();
    for number in 0..400 {
        let told: Vec<String> = (0..4)
            .map(|port| format!("/ip4/9.9.9.9/tcp/{}/p2p/{}", 1 + port, LibPeer::random()))
            .collect();
        book.learn(far(number), &told);
    }
    assert_eq!(book.entries.len(), PER_TARGET_MAX);
}

#[test]
fn an_announcement_displaces_no_peer_that_was_reached() {
    let mut book = book();
    let reached: Vec<Announcer> = (0..100).map(far).collect();
    for peer in &reached {
        book.learn_from_itself(*peer, &[at(*peer)]);
        let address: Multiaddr = at(*peer).parse().unwrap();
        book.verified(&peer.peer, &address);
    }
    for number in 200..3_000 {
        book.learn_from_itself(far(number), &[at(far(number))]);
        let from = far(number);
        book.learn_from_itself(from, &[at(from)]);
        book.learn(from, &[at(far(4_000 + number))]);
    }
    assert_eq!(book.entries.len(), BOOK_MAX);
    let known: HashSet<String> = book.addresses(100).into_iter().collect();
    assert_eq!(
        known,
        reached.iter().copied().map(at).collect(),
        "and they are told first"
    );
    // Its new address is kept beside the one at which it was reached.
    let peer = reached[0];
    let moved = Announcer {
        ip: far(99_000).ip,
        ..peer
    };
    book.learn_from_itself(peer, &[at(moved)]);
    let entry = book.entries.get(&peer.peer).unwrap();
    assert_eq!(entry.addresses.len(), 2);
    assert_eq!(entry.addresses.first(), entry.verified.as_ref());
    // They are also dialled first.
    let now = Instant::now() + Duration::from_secs(3600);
    let due: HashSet<LibPeer> = book
        .due(now, 100, |_| false)
        .into_iter()
        .map(|(peer, _)| peer)
        .collect();
    assert_eq!(due, reached.iter().map(|peer| peer.peer).collect());
    // A peer that is never reached again loses that status.
    for hour in 1..20 {
        book.due(now + Duration::from_secs(3600 * hour), usize::MAX, |_| false);
    }
    assert!(book.entries.values().all(|entry| entry.verified.is_none()));
}
