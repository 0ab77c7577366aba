//! Addresses of peers: parsing, and the groups that bounds are set for.

use std::net::{IpAddr, Ipv4Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::error::NetworkError;

/// Parses the identity of a peer.
pub fn peer_id(id: &str) -> Result<LibPeer, NetworkError> {
    id.parse()
        .map_err(|error: libp2p::identity::ParseError| NetworkError::PeerId {
            id: id.to_owned(),
            detail: error.to_string(),
        })
}

/// Parses a multiaddress.
pub fn multiaddr(text: &str) -> Result<Multiaddr, NetworkError> {
    text.parse()
        .map_err(|error: libp2p::multiaddr::Error| NetworkError::Address {
            address: text.to_owned(),
            detail: error.to_string(),
        })
}

/// Parses a multiaddress that ends in `/p2p/ID`; returns the identity and the address without it.
pub fn peer_address(text: &str) -> Result<(LibPeer, Multiaddr), NetworkError> {
    let mut address = multiaddr(text)?;
    match address.pop() {
        Some(Protocol::P2p(peer)) if !address.is_empty() => Ok((peer, address)),
        _ => Err(NetworkError::Address {
            address: text.to_owned(),
            detail: "it must end in /p2p/ID".to_owned(),
        }),
    }
}

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
