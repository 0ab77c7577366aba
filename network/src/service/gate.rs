//! Nobody but the address book decides whom this node dials, and no address takes every place where
//! connections are negotiated.
//!
//! Parts of the swarm dial on their own: opening a stream to a peer that has just been sent away dials it
//! back, and it would come in as one that we chose, past every bound for strangers.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId as LibPeer};

#[derive(Debug, thiserror::Error)]
#[error("the address book has not asked for this dial")]
struct NotAsked;

#[derive(Debug, thiserror::Error)]
#[error("{0} connections are being negotiated already")]
struct TooManyPending(usize);

/// Most connections from one place that are being negotiated, over QUIC and over TCP; loopback is free.
const PENDING_PER_PLACE_MAX: usize = 8;
/// The same for all addresses of a subnet.
const PENDING_PER_SUBNET_MAX: usize = 24;
/// Most connections that are being negotiated from machines of validators and named peers, over QUIC and over TCP.
const PENDING_FRIENDS_MAX: usize = 64;
/// Most such machines that are remembered.
const FRIENDS_MAX: usize = 1_024;

/// The IP address in a network address.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

/// The address that stands for a machine: all of an IPv6 /64 are one machine's, all of loopback are this one,
/// and an IPv4 address in an IPv6 address is itself.
pub fn machine(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip if ip.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

/// The address that stands for a provider's network, of which many addresses are cheap to have: the first 16 bits of
/// an IPv4 address, the first 32 of an IPv6 address. All of loopback are this machine.
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

/// Denies every dial but the one that was announced, and negotiations beyond the bounds.
#[derive(Debug)]
pub struct Gate {
    open_for: Option<ConnectionId>,
    pending: HashMap<ConnectionId, Pending>,
    pending_max: usize,
    /// Machines of validators and named peers, which have places of their own.
    friends: HashSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    place: Place,
    is_friend: bool,
}

/// Where a connection comes from, and whether over QUIC, whose first packet anybody may send in another's name.
type Place = (IpAddr, bool);

fn place_of(from: &Multiaddr) -> Option<Place> {
    let is_quic = from.iter().any(|part| part == Protocol::QuicV1);
    Some((machine(ip_of(from)?), is_quic))
}

impl Gate {
    /// A gate that lets so many connections of strangers be negotiated at once.
    pub fn new(pending_max: u32) -> Self {
        Self {
            open_for: None,
            pending: HashMap::new(),
            pending_max: usize::try_from(pending_max).unwrap_or(usize::MAX),
            friends: HashSet::new(),
        }
    }

    /// The next dial with this number may pass.
    pub const fn open_for(&mut self, dial: ConnectionId) {
        self.open_for = Some(dial);
    }

    /// A validator or a peer that the operator named is at this address. This one's loopback is everybody's.
    pub fn befriend(&mut self, address: &Multiaddr) {
        let ip = ip_of(address).map(machine).filter(|ip| !ip.is_loopback());
        if let Some(ip) = ip
            && self.friends.len() < FRIENDS_MAX
        {
            self.friends.insert(ip);
        }
    }

    /// Admits one more pending connection. `true`: it uses the quota of validators and named peers, which is separate for
    /// QUIC, whose source addresses can be spoofed, and TCP. Beyond that quota the general one applies.
    fn admit(&self, place: Place, is_friend: bool) -> Result<bool, TooManyPending> {
        let count = |of: &dyn Fn(&Pending) -> bool| self.pending.values().filter(|other| of(other)).count();
        let within = |count: usize, most: usize| {
            if count < most {
                Ok(())
            } else {
                Err(TooManyPending(count))
            }
        };
        let (ip, quic) = place;
        if is_friend {
            let friends = |other: &Pending| other.is_friend && other.place.1 == quic;
            let own = |other: &Pending| other.is_friend && other.place == place;
            if count(&friends) < PENDING_FRIENDS_MAX && count(&own) < PENDING_PER_PLACE_MAX {
                return Ok(true);
            }
        }
        within(count(&|other| !other.is_friend), self.pending_max)?;
        if ip.is_loopback() {
            return Ok(false);
        }
        let strange = |other: &Pending| !other.is_friend && other.place == place;
        within(count(&strange), PENDING_PER_PLACE_MAX)?;
        let near = |other: &Pending| {
            !other.is_friend && subnet(other.place.0) == subnet(ip) && other.place.1 == quic
        };
        within(count(&near), PENDING_PER_SUBNET_MAX).map(|()| false)
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
        let Some(place) = place_of(from) else {
            return Ok(());
        };
        let is_friend = self.friends.contains(&place.0);
        let is_friend = self.admit(place, is_friend).map_err(ConnectionDenied::new)?;
        self.pending.insert(connection, Pending { place, is_friend });
        Ok(())
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
                self.pending.remove(&established.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.pending.remove(&failure.connection_id);
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
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_dial_passes_and_only_once() {
        let [asked, other] = [1, 2].map(ConnectionId::new_unchecked);
        let mut gate = Gate::new(1_000);
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
        let mut gate = Gate::new(1_000);
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
        let mut gate = Gate::new(10);
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
        let mut gate = Gate::new(10);
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
}
