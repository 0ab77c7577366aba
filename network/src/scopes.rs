//! Kinds of networks, and the filter for announced addresses of unknown peers.
//!
//! An unknown peer that announces `127.0.0.1`, a private address or a DNS name makes this node connect to
//! machines behind its own firewall, or query a name server for an arbitrary name. So an address of such a
//! kind is dialled only by a node whose operator configured one of that kind: to listen on, to announce, or
//! of a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::address::peer_address;

/// Kind of network that an address is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The public network.
    Public,
    /// Loopback.
    Loopback,
    /// A private network.
    Private,
    /// The same link.
    LinkLocal,
    /// A DNS name.
    Name,
    /// Not dialable.
    Nowhere,
}

fn scope_of_v4(ip: Ipv4Addr) -> Scope {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        (0 | 224.., _, _) | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => Scope::Nowhere,
        (127, _, _) => Scope::Loopback,
        (169, 254, _) => Scope::LinkLocal,
        (10, _, _) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18 | 19, _) => {
            Scope::Private
        }
        _ => Scope::Public,
    }
}

fn scope_of_v6(ip: Ipv6Addr) -> Scope {
    // Also 0.0.0.1 in an IPv6 address, which is an alternative form of loopback.
    if let Some(ip) = ip.to_ipv4_mapped() {
        return scope_of_v4(ip);
    }
    let [first, second, ..] = ip.segments();
    match (first, second) {
        _ if ip.is_loopback() => Scope::Loopback,
        _ if ip.is_unspecified() || ip.is_multicast() => Scope::Nowhere,
        (0xfc00..=0xfdff, _) => Scope::Private,
        (0xfe80..=0xfebf, _) => Scope::LinkLocal,
        // Translations of IPv4 addresses, which may be of any scope.
        (0x64, 0xff9b) | (0x2002, _) | (0x2001, 0) => Scope::Nowhere,
        (0x2001, 0xdb8) => Scope::Nowhere,
        (0x2000..=0x3fff, _) => Scope::Public,
        _ => Scope::Nowhere,
    }
}

fn scope_of(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => scope_of_v4(ip),
        IpAddr::V6(ip) => scope_of_v6(ip),
    }
}

/// The scope of an address with a port that can be dialled: IP or name, then TCP or QUIC.
pub fn dialable(address: &Multiaddr) -> Option<(Scope, Option<IpAddr>)> {
    let mut parts = address.iter();
    let (scope, ip) = match parts.next()? {
        Part::Ip4(ip) => (scope_of_v4(ip), Some(IpAddr::V4(ip))),
        Part::Ip6(ip) => (scope_of_v6(ip), Some(IpAddr::V6(ip))),
        Part::Dns(_) | Part::Dns4(_) | Part::Dns6(_) => (Scope::Name, None),
        _ => return None,
    };
    let has_port = match (parts.next(), parts.next()) {
        (Some(Part::Tcp(port)), None) => port != 0,
        (Some(Part::Udp(port)), Some(Part::QuicV1)) => port != 0,
        _ => false,
    };
    (has_port && parts.next().is_none()).then_some((scope, ip))
}

/// Kinds of networks, beside the public one, that this node is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    loopback: bool,
    private: bool,
    link_local: bool,
    name: bool,
}

impl Scopes {
    /// The networks of the addresses that the operator configured.
    pub fn of<'a>(addresses: impl Iterator<Item = &'a String>) -> Self {
        let mut scopes = Self::default();
        for address in addresses.filter_map(|text| text.parse::<Multiaddr>().ok()) {
            match address.iter().next() {
                Some(Part::Ip4(ip)) => scopes.add(scope_of(ip.into())),
                Some(Part::Ip6(ip)) => scopes.add(scope_of(ip.into())),
                Some(Part::Dns(_) | Part::Dns4(_) | Part::Dns6(_)) => scopes.add(Scope::Name),
                _ => {}
            }
        }
        scopes
    }

    const fn add(&mut self, scope: Scope) {
        match scope {
            Scope::Loopback => self.loopback = true,
            Scope::Private => self.private = true,
            Scope::LinkLocal => self.link_local = true,
            Scope::Name => self.name = true,
            Scope::Public | Scope::Nowhere => {}
        }
    }

    const fn has(self, scope: Scope) -> bool {
        match scope {
            Scope::Public => true,
            Scope::Loopback => self.loopback,
            Scope::Private => self.private,
            Scope::LinkLocal => self.link_local,
            Scope::Name => self.name,
            Scope::Nowhere => false,
        }
    }

    /// The peer and the address of an announcement, if it may be dialled. `here` is an address that its
    /// announcer is connected from.
    pub fn usable(self, address: &str, here: Option<IpAddr>) -> Option<(LibPeer, Multiaddr)> {
        let (peer, address) = peer_address(address).ok()?;
        let (scope, ip) = dialable(&address)?;
        let is_here = ip.is_some() && ip == here && scope != Scope::Nowhere;
        (is_here || self.has(scope)).then_some((peer, address))
    }

    /// All networks.
    #[cfg(test)]
    pub const fn all() -> Self {
        Self {
            loopback: true,
            private: true,
            link_local: true,
            name: true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scopes(addresses: &[&str]) -> Scopes {
        let addresses: Vec<String> = addresses.iter().map(|&text| text.to_owned()).collect();
        Scopes::of(addresses.iter())
    }

    fn dials(scopes: Scopes, address: &str) -> bool {
        let text = format!("{address}/p2p/{}", LibPeer::random());
        scopes.usable(&text, None).is_some()
    }

    const LOOPBACK: [&str; 3] = [
        "/ip4/127.0.0.9/tcp/1",
        "/ip6/::1/tcp/1",
        "/ip6/::ffff:127.0.0.1/tcp/1",
    ];
    const PRIVATE: [&str; 5] = [
        "/ip4/10.1.2.3/tcp/1",
        "/ip4/172.31.0.1/udp/1/quic-v1",
        "/ip4/192.168.1.1/tcp/1",
        "/ip4/100.64.0.1/tcp/1",
        "/ip6/fd00::1/tcp/1",
    ];
    const LINK_LOCAL: [&str; 2] = ["/ip4/169.254.169.254/tcp/80", "/ip6/fe80::1/tcp/1"];
    const NAMES: [&str; 3] = [
        "/dns4/example.org/tcp/1",
        "/dns6/example.org/tcp/1",
        "/dns/localhost/tcp/1",
    ];
    const PUBLIC: [&str; 3] = [
        "/ip4/8.8.8.8/tcp/1",
        "/ip6/2a00::1/tcp/1",
        "/ip4/172.32.0.1/udp/1/quic-v1",
    ];
    const NOWHERE: [&str; 12] = [
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/0.0.0.1/tcp/1",
        "/ip4/224.0.0.1/tcp/1",
        "/ip4/255.255.255.255/tcp/1",
        "/ip6/::/tcp/1",
        "/ip6/ff02::1/tcp/1",
        "/ip6/64:ff9b::7f00:1/tcp/1",
        "/ip6/2002:7f00:1::/tcp/1",
        "/ip4/8.8.8.8/tcp/0",
        "/ip4/8.8.8.8/udp/1",
        "/ip4/8.8.8.8/tcp/1/ws",
        "/memory/1",
    ];

    #[test]
    fn on_a_strangers_word_a_public_node_dials_public_addresses_alone() {
        let public = scopes(&["/ip4/0.0.0.0/tcp/27656", "/ip6/::/tcp/27656"]);
        assert_eq!(public, Scopes::default());
        assert!(PUBLIC.iter().all(|address| dials(public, address)));
        for address in LOOPBACK
            .iter()
            .chain(&PRIVATE)
            .chain(&LINK_LOCAL)
            .chain(&NAMES)
            .chain(&NOWHERE)
        {
            assert!(!dials(public, address), "{address}");
        }
        assert!(NOWHERE.iter().all(|address| !dials(Scopes::all(), address)));
    }

    #[test]
    fn a_node_on_another_network_dials_what_is_on_it() {
        let cases: [(&str, &[&str]); 4] = [
            ("/ip4/127.0.0.1/tcp/0", &LOOPBACK),
            ("/ip4/10.9.0.2/tcp/27656", &PRIVATE),
            ("/ip6/fe80::9/tcp/27656", &LINK_LOCAL),
            ("/dns4/peer.example/tcp/27656", &NAMES),
        ];
        for (own, dialled) in cases {
            let scopes = scopes(&[own]);
            for address in LOOPBACK.iter().chain(&PRIVATE).chain(&LINK_LOCAL).chain(&NAMES) {
                assert_eq!(
                    dials(scopes, address),
                    dialled.contains(address),
                    "{own} and {address}"
                );
            }
        }
    }

    #[test]
    fn a_peer_that_is_connected_from_an_address_may_announce_it() {
        let peer = LibPeer::random();
        let here = Some([10, 0, 0, 9].into());
        let usable = |text: &str, here| Scopes::default().usable(&format!("{text}/p2p/{peer}"), here);
        assert!(usable("/ip4/10.0.0.9/tcp/1", here).is_some());
        assert!(usable("/ip4/10.0.0.8/tcp/1", here).is_none());
        assert!(usable("/ip4/10.0.0.9/tcp/1", None).is_none());
    }
}
