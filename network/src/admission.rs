//! Only the address book decides which peers this node dials, and no group of addresses fills every slot for
//! connections being negotiated: when all are taken, the largest group loses one to others (`displace`).
//!
//! Parts of the swarm dial without a request: opening a stream to a peer that has just been disconnected
//! dials it again, and it would count as an outbound peer of our choice, past every bound for unknown peers.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::AbortHandle;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::arrivals::Arrivals;
use crate::counters::{Refusal, Tally};
use crate::displace::{Holder, Origin, displaced};
use crate::lanes::Bucket;

#[derive(Debug, thiserror::Error)]
#[error("the address book has not asked for this dial")]
struct NotAsked;

#[derive(Debug, thiserror::Error)]
#[error("{0} connections are being negotiated already")]
struct TooManyPending(usize);

/// Maximum number of connections from one address being negotiated, over QUIC and over TCP; loopback is
/// exempt.
const PENDING_PER_PLACE_MAX: usize = 8;
/// The same for all addresses of a subnet.
const PENDING_PER_SUBNET_MAX: usize = 24;
/// Age at which a negotiation may be displaced by a connection whose address has as many. A handshake takes
/// two round trips.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of connections being negotiated from machines of validators and configured peers, over QUIC
/// and over TCP.
const PENDING_FRIENDS_MAX: usize = 64;
/// Maximum number of such machines kept.
const FRIENDS_MAX: usize = 1_024;

/// The IP address in a network address.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

/// The address that represents a machine: all addresses of an IPv6 /64 are one machine, all of loopback are
/// this one, and an IPv4 address in an IPv6 address is itself.
pub fn machine(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip if ip.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

/// The address that represents a provider's network, in which many addresses are cheap to obtain: the first
/// 16 bits of an IPv4 address, the first 32 of an IPv6 address. All of loopback are this machine.
pub fn provider(ip: IpAddr) -> IpAddr {
    match machine(ip) {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() >> 16 << 16).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 96 << 96).into()),
    }
}

/// The first 24 bits of an IPv4 address, the first 48 of an IPv6 address.
pub const fn subnet(ip: IpAddr) -> [u8; 7] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [4, a, b, c, 0, 0, 0]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            [a, b, c, d, e, f, 6]
        }
    }
}

/// Rate limit of negotiations from one machine, over QUIC and over TCP: burst and interval. A handshake costs
/// this node more than its sender, and is short; loopback is exempt.
const ARRIVALS_BURST: u32 = 16;
const ARRIVALS_EACH: Duration = Duration::from_millis(500);
/// Maximum number of machines with a rate limit; beyond it all limits are reset.
const ARRIVALS_COUNTED_MAX: usize = 8_192;

/// Denies every dial that was not announced to it, and negotiations beyond the bounds.
pub struct Gate {
    open_for: Option<ConnectionId>,
    pending: HashMap<ConnectionId, Pending>,
    /// Displaced connections that have not ended yet.
    ending: HashSet<ConnectionId>,
    pending_max: usize,
    /// Machines of validators and configured peers, which have separate slots.
    friends: HashSet<IpAddr>,
    arrivals: Arrivals,
    /// Rate limits of recent connections.
    paces: HashMap<(IpAddr, bool), Bucket>,
    tally: Arc<Tally>,
}

/// Returns true if two connections count together.
type Among = fn(Origin, Origin) -> bool;

#[derive(Debug)]
struct Pending {
    origin: Origin,
    is_friend: bool,
    since: Instant,
    /// Aborts the negotiation. One without it is never displaced.
    end: Option<AbortHandle>,
}

impl Gate {
    /// A gate for up to `pending_max` concurrent negotiations of unknown peers.
    pub fn new(pending_max: u32, arrivals: Arrivals, tally: Arc<Tally>) -> Self {
        Self {
            open_for: None,
            pending: HashMap::new(),
            ending: HashSet::new(),
            pending_max: usize::try_from(pending_max).unwrap_or(usize::MAX),
            friends: HashSet::new(),
            arrivals,
            paces: HashMap::new(),
            tally,
        }
    }

    /// Permits the dial with this connection id.
    pub const fn open_for(&mut self, dial: ConnectionId) {
        self.open_for = Some(dial);
    }

    /// Records that a validator or a configured peer is at this address. Loopback is ignored, since any local
    /// program shares it.
    pub fn befriend(&mut self, address: &Multiaddr) {
        let ip = ip_of(address).map(machine).filter(|ip| !ip.is_loopback());
        if let Some(ip) = ip
            && self.friends.len() < FRIENDS_MAX
        {
            self.friends.insert(ip);
        }
    }

    /// Returns true if a slot for known machines is free at this address: those for QUIC, whose source
    /// addresses can be spoofed, are separate from those for TCP. Beyond them the machine counts as unknown.
    fn has_place_of_friends(&self, origin: Origin) -> bool {
        let friends = || self.pending.values().filter(|other| other.is_friend);
        let all = friends().filter(|other| other.origin.is_quic() == origin.is_quic());
        let own = friends().filter(|other| other.origin == origin);
        self.friends.contains(&origin.machine())
            && all.count() < PENDING_FRIENDS_MAX
            && own.count() < PENDING_PER_PLACE_MAX
    }

    fn on_arrival(
        &mut self,
        connection: ConnectionId,
        from: &Multiaddr,
        now: Instant,
    ) -> Result<(), TooManyPending> {
        let end = self.arrivals.take(from);
        let Some(origin) = Origin::of(from) else {
            return Ok(());
        };
        let is_friend = self.has_place_of_friends(origin);
        if !is_friend {
            if !self.is_in_pace(origin, now) {
                return Err(TooManyPending(self.pending.len()));
            }
            self.make_place(origin, now)?;
        }
        self.pending.insert(
            connection,
            Pending {
                origin,
                is_friend,
                since: now,
                end,
            },
        );
        Ok(())
    }

    fn is_in_pace(&mut self, from: Origin, now: Instant) -> bool {
        if from.machine().is_loopback() {
            return true;
        }
        let now = tokio::time::Instant::from_std(now);
        if self.paces.len() >= ARRIVALS_COUNTED_MAX {
            self.paces.retain(|_, pace| !pace.is_full(now));
            if self.paces.len() >= ARRIVALS_COUNTED_MAX {
                self.paces.clear();
            }
        }
        let fresh = || Bucket::new(ARRIVALS_EACH, ARRIVALS_BURST, now);
        let pace = self.paces.entry((from.machine(), from.is_quic()));
        pace.or_insert_with(fresh).take(now)
    }

    /// Finds a slot for an unknown peer's connection, by displacing another if necessary.
    fn make_place(&mut self, newcomer: Origin, now: Instant) -> Result<(), TooManyPending> {
        let strangers = || self.pending.iter().filter(|(_, other)| !other.is_friend);
        let is_free = newcomer.machine().is_loopback();
        let bounds: [(Among, usize); 3] = [
            (|own, other| own == other, PENDING_PER_PLACE_MAX),
            (Origin::is_near, PENDING_PER_SUBNET_MAX),
            (|_, _| true, self.pending_max),
        ];
        // The narrowest of the bounds that are reached: a slot freed within it is free within the others,
        // too.
        let mut bounds = bounds.into_iter().skip(if is_free { 2 } else { 0 });
        let reached = bounds.find(|(among, most)| {
            let others = strangers().filter(|(_, other)| among(newcomer, other.origin));
            others.count() >= *most
        });
        let Some((among, most)) = reached else {
            return Ok(());
        };
        // Displaced connections hold their sockets until their tasks have run.
        if self.ending.len() >= self.pending_max {
            return Err(TooManyPending(most));
        }
        let holders: Vec<Holder<ConnectionId>> = strangers()
            .filter(|(_, other)| other.end.is_some() && among(newcomer, other.origin))
            .map(|(id, other)| Holder {
                key: *id,
                origin: other.origin,
                age: now.saturating_duration_since(other.since),
            })
            .collect();
        let out = displaced(newcomer, &holders, SETTLED_AFTER).ok_or(TooManyPending(most))?;
        if let Some(end) = self.pending.remove(&out).and_then(|pending| pending.end) {
            end.abort();
        }
        self.ending.insert(out);
        self.tally.refuse(Refusal::Pending);
        Ok(())
    }

    fn on_end(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
        self.ending.remove(&connection);
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        dial: ConnectionId,
        _: Option<LibPeer>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.open_for != Some(dial) {
            return Err(ConnectionDenied::new(NotAsked));
        }
        self.open_for = None;
        Ok(Vec::new())
    }

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.on_arrival(connection, from, Instant::now())
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.on_end(established.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.on_end(failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: LibPeer, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use futures_util::future::Abortable;

    use super::*;

    fn gate(pending_max: u32) -> Gate {
        Gate::new(pending_max, Arrivals::default(), Arc::default())
    }

    #[test]
    fn only_the_announced_dial_passes_and_only_once() {
        let [asked, other] = [1, 2].map(ConnectionId::new_unchecked);
        let mut gate = gate(1_000);
        let passes = |gate: &mut Gate, dial| {
            let peer = Some(LibPeer::random());
            gate.handle_pending_outbound_connection(dial, peer, &[], Endpoint::Dialer)
                .is_ok()
        };
        assert!(!passes(&mut gate, asked), "nobody asked");
        gate.open_for(asked);
        assert!(!passes(&mut gate, other), "another one was asked for");
        assert!(passes(&mut gate, asked));
        assert!(!passes(&mut gate, asked), "it has passed already");
    }

    #[test]
    fn one_address_takes_a_few_of_the_places_where_connections_are_negotiated() {
        let mut gate = gate(1_000);
        let mut ids = (1..).map(ConnectionId::new_unchecked);
        let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
        let mut comes = |gate: &mut Gate, from: &str| {
            let (id, from) = (ids.next().unwrap(), from.parse::<Multiaddr>().unwrap());
            let taken = gate.handle_pending_inbound_connection(id, &own, &from).is_ok();
            taken.then_some(id)
        };
        let first = comes(&mut gate, "/ip4/10.0.0.2/tcp/1").unwrap();
        for port in 1..PENDING_PER_PLACE_MAX {
            assert!(comes(&mut gate, &format!("/ip4/10.0.0.2/tcp/{port}")).is_some());
        }
        assert_eq!(comes(&mut gate, "/ip4/10.0.0.2/tcp/99"), None);
        assert!(
            comes(&mut gate, "/ip4/10.0.0.3/tcp/99").is_some(),
            "another address"
        );
        assert!(
            comes(&mut gate, "/ip4/10.0.0.2/udp/99/quic-v1").is_some(),
            "packets in its name do not shut it out of TCP, nor the other way round"
        );
        for host in 1..=PENDING_PER_PLACE_MAX {
            assert!(comes(&mut gate, &format!("/ip6/2001:db8::{host}/tcp/1")).is_some());
        }
        assert_eq!(
            comes(&mut gate, "/ip6/2001:db8::ffff:9/tcp/1"),
            None,
            "one machine"
        );
        assert!(comes(&mut gate, "/ip6/2001:db8:0:1::1/tcp/1").is_some());
        let error = libp2p::swarm::ListenError::Aborted;
        let far: Multiaddr = "/ip4/10.0.0.2/tcp/1".parse().unwrap();
        gate.on_swarm_event(FromSwarm::ListenFailure(libp2p::swarm::ListenFailure {
            local_addr: &own,
            send_back_addr: &far,
            error: &error,
            connection_id: first,
            peer_id: None,
        }));
        assert!(
            comes(&mut gate, "/ip4/10.0.0.2/tcp/98").is_some(),
            "one has ended"
        );
        for host in 0..100 {
            let taken = comes(&mut gate, &format!("/ip4/10.9.9.{host}/tcp/1")).is_some();
            assert_eq!(taken, host < PENDING_PER_SUBNET_MAX, "one subnet");
        }
        for port in 1..100 {
            assert!(comes(&mut gate, &format!("/ip4/127.0.0.1/tcp/{port}")).is_some());
        }
    }

    #[test]
    fn machines_of_validators_have_places_when_strangers_have_taken_all() {
        let mut gate = gate(10);
        let mut ids = (1..).map(ConnectionId::new_unchecked);
        let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
        let mut comes = |gate: &mut Gate, from: String| {
            let from: Multiaddr = from.parse().unwrap();
            let id = ids.next().unwrap();
            gate.handle_pending_inbound_connection(id, &own, &from).is_ok()
        };
        gate.befriend(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
        let strangers = (0..100).filter(|host| comes(&mut gate, format!("/ip4/8.8.{host}.8/tcp/1")));
        assert_eq!(strangers.count(), 10);
        let friends = (0..100).filter(|port| comes(&mut gate, format!("/ip4/9.9.9.9/tcp/{port}")));
        assert_eq!(friends.count(), PENDING_PER_PLACE_MAX);
        (0..100).for_each(|host| gate.befriend(&format!("/ip4/9.9.8.{host}/tcp/1").parse().unwrap()));
        let others = (0..100).filter(|host| comes(&mut gate, format!("/ip4/9.9.8.{host}/tcp/1")));
        assert_eq!(
            others.count(),
            PENDING_FRIENDS_MAX - PENDING_PER_PLACE_MAX,
            "all friends together"
        );
    }

    #[test]
    fn packets_in_a_friends_name_take_neither_its_places_over_tcp_nor_those_of_other_friends() {
        let mut gate = gate(10);
        let mut ids = (1..).map(ConnectionId::new_unchecked);
        let own: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
        let mut comes = |gate: &mut Gate, from: &str| {
            let id = ids.next().unwrap();
            gate.handle_pending_inbound_connection(id, &own, &from.parse().unwrap())
                .is_ok()
        };
        for friend in ["/ip4/9.9.9.9/tcp/1", "/ip4/7.7.7.7/tcp/1"] {
            gate.befriend(&friend.parse().unwrap());
        }
        let packets = (0..1_000).filter(|_| comes(&mut gate, "/ip4/9.9.9.9/udp/1/quic-v1"));
        assert_eq!(packets.count(), 2 * PENDING_PER_PLACE_MAX);
        for friend in [
            "/ip4/9.9.9.9/tcp/1",
            "/ip4/7.7.7.7/tcp/1",
            "/ip4/7.7.7.7/udp/1/quic-v1",
        ] {
            assert!(comes(&mut gate, friend), "{friend}");
        }
    }

    /// A gate whose clock stands still unless a test moves it.
    struct Timed {
        gate: Gate,
        now: Instant,
        next: usize,
    }

    impl Timed {
        fn new(pending_max: u32) -> Self {
            Self {
                gate: gate(pending_max),
                now: Instant::now(),
                next: 1,
            }
        }

        /// The connection's number and its negotiation, or `None` where the gate refuses it.
        fn comes(&mut self, from: &str) -> Option<(ConnectionId, Abortable<std::future::Pending<()>>)> {
            let from: Multiaddr = from.parse().unwrap();
            let id = ConnectionId::new_unchecked(self.next);
            self.next += 1;
            let registration = self.gate.arrivals.announce(from.clone());
            let taken = self.gate.on_arrival(id, &from, self.now).is_ok();
            taken.then(|| (id, Abortable::new(std::future::pending(), registration)))
        }

        /// Reports the ends of displaced connections, as the swarm does.
        fn ends(&mut self) {
            let ending: Vec<ConnectionId> = self.gate.ending.iter().copied().collect();
            ending.into_iter().for_each(|id| self.gate.on_end(id));
        }

        fn refused(&self) -> u64 {
            self.gate.tally.read().refused(Refusal::Pending)
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
                assert!(timed.gate.pending.len() <= 64);
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
        assert_eq!(timed.gate.pending.len(), PENDING_PER_SUBNET_MAX);
    }

    #[test]
    fn a_machine_with_all_its_places_displaces_its_own_settled_connections_alone() {
        let mut timed = Timed::new(64);
        let other = timed.comes("/ip4/9.9.9.9/tcp/1").expect("a place");
        let own: Vec<_> = (0..PENDING_PER_PLACE_MAX)
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
            assert!(timed.gate.pending.len() + timed.gate.ending.len() <= 32);
        }
        assert_eq!(taken, 16);
        timed.ends();
        assert!(timed.comes("/ip4/127.0.0.1/tcp/1").is_some());
        assert_eq!(timed.gate.ending.len(), 1);
    }

    #[test]
    fn a_machine_begins_a_few_handshakes_a_second_and_takes_none_from_others() {
        let mut timed = Timed::new(64);
        timed.gate.befriend(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
        let begun = |timed: &mut Timed, from: &str| {
            let arrivals = (0..100).filter(|_| {
                let came = timed.comes(from);
                // An aborted handshake.
                came.is_some_and(|(id, _)| {
                    timed.gate.on_end(id);
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
        assert!(timed.gate.paces.len() <= ARRIVALS_COUNTED_MAX);
    }

    #[test]
    fn strangers_displace_no_friend() {
        let mut timed = Timed::new(4);
        timed.gate.befriend(&"/ip4/9.9.9.9/tcp/1".parse().unwrap());
        let friends: Vec<_> = (0..PENDING_PER_PLACE_MAX)
            .filter_map(|_| timed.comes("/ip4/9.9.9.9/tcp/1"))
            .collect();
        assert_eq!(friends.len(), PENDING_PER_PLACE_MAX);
        let mut strangers = Vec::new();
        for number in 0..100 {
            timed.now += SETTLED_AFTER;
            strangers.extend(timed.comes(&format!("/ip4/{}.1.1.1/tcp/1", 10 + number)));
            timed.ends();
        }
        assert_eq!(strangers.len(), 100);
        assert!(friends.iter().all(|(_, negotiation)| !negotiation.is_aborted()));
    }
}
