//! The rule by which a new connection displaces an existing one when all slots are taken.
//!
//! Slots are shared in turn between transports, providers' networks, subnets and machines. A new connection
//! displaces the oldest one of the largest group if that makes the shares more even, and otherwise only a
//! settled connection. So the first connection from an address keeps its slot until it is settled, whatever
//! arrives meanwhile from others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::address::{ip_of, machine, provider, subnet};

/// Source of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    machine: IpAddr,
    /// Set while the address may be spoofed: the first packet of QUIC can be sent with any source address.
    is_quic: bool,
}

/// Connections that share slots, see [`Origin::groups`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Transport,
    Provider(IpAddr),
    Subnet([u8; 7]),
    Machine(IpAddr),
}

impl Origin {
    /// Source of a connection that is being negotiated. `None` without an IP address.
    pub fn of(address: &Multiaddr) -> Option<Self> {
        let is_quic = address.iter().any(|part| part == Protocol::QuicV1);
        Some(Self {
            is_quic,
            ..Self::proven(address)?
        })
    }

    /// Source of an established connection, whose address is authentic over either transport.
    pub fn proven(address: &Multiaddr) -> Option<Self> {
        Some(Self {
            machine: machine(ip_of(address)?),
            is_quic: false,
        })
    }

    pub const fn machine(self) -> IpAddr {
        self.machine
    }

    pub const fn is_quic(self) -> bool {
        self.is_quic
    }

    /// Returns true for two machines of one subnet over the same transport.
    pub fn is_near(self, other: Self) -> bool {
        self.is_quic == other.is_quic && subnet(self.machine) == subnet(other.machine)
    }

    /// The groups of this connection, the widest first. Each lies within the previous one.
    fn groups(self) -> [(bool, Group); 4] {
        let groups = [
            Group::Transport,
            Group::Provider(provider(self.machine)),
            Group::Subnet(subnet(self.machine)),
            Group::Machine(self.machine),
        ];
        groups.map(|group| (self.is_quic, group))
    }
}

/// A connection that has a slot.
#[derive(Clone, Copy, Debug)]
pub struct Holder<K> {
    pub key: K,
    pub origin: Origin,
    pub age: Duration,
}

/// The connection that a new one displaces, if any.
///
/// The widest groups that are not shared are compared. A holder of age `settled` is displaced if its group is
/// larger than the newcomer's, a younger one if its group is larger by two: the shares become more even then,
/// so newcomers cannot displace each other in a circle. On the newcomer's own machine only a settled one is
/// displaced. Of the candidates, it is the oldest of the largest group. Linear in the number of holders.
pub fn displaced<K: Copy>(newcomer: Origin, holders: &[Holder<K>], settled: Duration) -> Option<K> {
    let mut sizes: HashMap<(bool, Group), usize> = HashMap::new();
    for group in holders.iter().flat_map(|holder| holder.origin.groups()) {
        let size = sizes.entry(group).or_default();
        *size = size.saturating_add(1);
    }
    let size = |group| sizes.get(&group).copied().unwrap_or(0);
    let makes_way = |holder: &Holder<K>| {
        let is_settled = holder.age >= settled;
        let mut pairs = holder.origin.groups().into_iter().zip(newcomer.groups());
        let differing = pairs.find(|(theirs, own)| theirs != own);
        differing.map_or(is_settled, |(theirs, own)| {
            let lead = if is_settled { 1 } else { 2 };
            size(theirs) >= size(own).saturating_add(lead)
        })
    };
    holders
        .iter()
        .filter(|holder| makes_way(holder))
        .max_by_key(|holder| (holder.origin.groups().map(size), holder.age))
        .map(|holder| holder.key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const SETTLED: Duration = Duration::from_secs(1);
    const PLACES: usize = 64;

    /// Slots under attack, in steps of a millisecond.
    #[derive(Default)]
    struct Places {
        holders: Vec<Holder<usize>>,
        arrived: usize,
    }

    impl Places {
        fn comes(&mut self, from: &str) -> Option<usize> {
            let origin = Origin::of(&from.parse().unwrap()).unwrap();
            if self.holders.len() >= PLACES {
                let out = displaced(origin, &self.holders, SETTLED)?;
                self.holders.retain(|holder| holder.key != out);
            }
            self.arrived += 1;
            self.holders.push(Holder {
                key: self.arrived,
                origin,
                age: Duration::ZERO,
            });
            Some(self.arrived)
        }

        fn pass(&mut self, time: Duration) {
            self.holders.iter_mut().for_each(|holder| holder.age += time);
        }

        fn has(&self, key: usize) -> bool {
            self.holders.iter().any(|holder| holder.key == key)
        }
    }

    fn sixteen(number: usize) -> String {
        format!("/ip4/198.18.{}.{}/tcp/1", number % 8, 10 + number / 8 % 2)
    }

    #[test]
    fn sixteen_addresses_that_reconnect_without_pause_neither_shut_out_a_stranger_nor_displace_it() {
        let honest = [
            "/ip4/203.0.113.1/tcp/1",
            "/ip4/198.18.0.99/tcp/1",  // in a subnet of theirs
            "/ip4/198.18.77.99/tcp/1", // in their provider's network
            "/ip4/203.0.113.1/udp/1/quic-v1",
        ];
        for address in honest {
            let mut places = Places::default();
            for number in 0..10_000 {
                let _refused = places.comes(&sixteen(number));
            }
            let key = places.comes(address).unwrap();
            for _ in 1..SETTLED.as_millis() {
                places.pass(Duration::from_millis(1));
                for number in 0..32 {
                    let _refused = places.comes(&sixteen(number));
                }
                assert!(places.has(key), "{address} was displaced");
                assert!(places.holders.len() <= PLACES);
            }
        }
    }

    #[test]
    fn a_newcomer_displaces_the_oldest_of_the_largest_group() {
        let mut places = Places::default();
        let alone = places.comes("/ip4/9.9.9.9/tcp/1").unwrap();
        let [mut small, mut large] = [Vec::new(), Vec::new()];
        for _ in 0..23 {
            places.pass(Duration::from_millis(1));
            small.push(places.comes("/ip4/10.0.0.1/tcp/1").unwrap());
        }
        for _ in 0..40 {
            places.pass(Duration::from_millis(1));
            large.push(places.comes("/ip4/20.0.0.1/tcp/1").unwrap());
        }
        assert!(places.comes("/ip4/30.0.0.1/tcp/1").is_some());
        assert_eq!(large.iter().filter(|key| !places.has(**key)).count(), 1);
        assert!(!places.has(*large.first().unwrap()), "the oldest");
        assert_eq!(places.comes("/ip4/20.0.0.1/tcp/1"), None, "the largest itself");
        for _ in 0..100 {
            let _refused = places.comes("/ip4/10.0.0.1/tcp/1");
        }
        let ten = places
            .holders
            .iter()
            .filter(|holder| holder.origin.machine().to_string() == "10.0.0.1");
        assert_eq!(ten.count(), 31, "it stops where the shares are even");
        assert!(places.has(alone));
    }

    #[test]
    fn between_equals_only_a_settled_one_makes_way() {
        let mut places = Places::default();
        let keys: Vec<usize> = (0..PLACES)
            .map(|number| {
                places.pass(Duration::from_millis(1));
                places
                    .comes(&format!("/ip4/{}.1.1.1/tcp/1", 10 + number))
                    .unwrap()
            })
            .collect();
        assert_eq!(places.comes("/ip4/200.1.1.1/tcp/1"), None, "all are young");
        places.pass(SETTLED);
        assert!(places.comes("/ip4/200.1.1.1/tcp/1").is_some());
        assert!(!places.has(*keys.first().unwrap()), "the oldest");
        assert_eq!(places.comes("/ip4/200.1.1.1/tcp/1"), None, "it has its share");
    }

    #[test]
    fn one_machine_displaces_its_own_settled_connections_alone() {
        let mut places = Places::default();
        for _ in 0..PLACES {
            assert!(places.comes("/ip4/127.0.0.1/tcp/1").is_some());
        }
        assert_eq!(places.comes("/ip4/127.0.0.1/tcp/1"), None);
        places.pass(SETTLED);
        assert!(places.comes("/ip4/127.0.0.1/tcp/1").is_some());
    }

    #[test]
    fn packets_in_the_name_of_every_address_leave_tcp_its_half() {
        let mut places = Places::default();
        let spoofed = |number: usize| format!("/ip4/{}.{}.1.1/udp/1/quic-v1", 1 + number % 100, number / 100);
        for number in 0..1_000 {
            let _refused = places.comes(&spoofed(number));
        }
        let keys: Vec<usize> = (0..32)
            .map(|number| {
                places
                    .comes(&format!("/ip4/{}.2.2.2/tcp/1", 110 + number))
                    .unwrap()
            })
            .collect();
        for number in 1_000..2_000 {
            let _refused = places.comes(&spoofed(number));
        }
        assert!(keys.iter().all(|key| places.has(*key)));
    }
}
