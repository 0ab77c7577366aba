//! Plan of a network: keys, hosts and genesis, derived from a few numbers and a seed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::IpAddr;

use vibecoin_genesis::Genesis;
use vibecoin_keystore::{dev_keys, node_id, seeded_key};
use vibecoin_primitives::{Address, Amount, ChainParams, Power, SecretKey, TimeMs, Validator};

use crate::error::Error;
use crate::home::DEV_BALANCE;

/// Maximum number of nodes of a generated network: ports are ten apart.
pub const NODES_MAX: u32 = 100;
/// Distance of ports from one node of a host to the next.
pub const PORT_STEP: u16 = 10;
/// Balance of the faucet: a thousand million coins.
pub const FAUCET_BALANCE: Amount = Amount(1_000_000_000_000_000_000);
/// The name of the faucet's key.
pub const FAUCET: &str = "faucet";
/// Prefix of the names of validators' payout keys.
pub const PAYOUT: &str = "payout";

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs blocks and votes.
    Validator,
    /// Follows the chain and serves RPC.
    Full,
}

impl Role {
    /// The role's name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Full => "full",
        }
    }
}

/// Returns true for the name of a node of a plan: `validator-0`, `full-3` and the like.
#[must_use]
pub fn is_node_name(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.split_once('-'));
    parts.is_some_and(|(role, index)| {
        [Role::Validator, Role::Full].map(Role::name).contains(&role) && number(index).is_some()
    })
}

/// Parses a whole number: no sign, no spaces, no superfluous zeros.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}

/// Parameters of the plan.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Number of validators, at minimum one.
    pub validators: u32,
    /// Number of nodes that only follow.
    pub full: u32,
    /// Seed of all keys.
    pub seed: String,
    /// Parameters of the chain.
    pub params: ChainParams,
    /// The time of block 0.
    pub time: TimeMs,
    /// Hosts of the nodes, by their number.
    pub hosts: Hosts,
    /// The first port of the first node of a host.
    pub starting_port: u16,
    /// Number of accounts with publicly known keys.
    pub dev_accounts: u32,
}

/// Hosts of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// All on this host.
    One(String),
    /// One host for each node.
    Each(Vec<String>),
    /// A separate host for each, named by this prefix and its number.
    Prefix(String),
    /// A separate host for each, with the node's name.
    Names,
}

/// The four listeners of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first port, from which the others follow.
    pub first: u16,
}

impl Ports {
    /// JSON-RPC.
    #[must_use]
    pub const fn rpc(self) -> u16 {
        self.first
    }

    /// The peer-to-peer network.
    #[must_use]
    pub const fn p2p(self) -> u16 {
        self.first.saturating_add(1)
    }

    /// The metrics for Prometheus.
    #[must_use]
    pub const fn metrics(self) -> u16 {
        self.first.saturating_add(2)
    }

    /// The admin methods.
    #[must_use]
    pub const fn admin(self) -> u16 {
        self.first.saturating_add(3)
    }

    /// All four ports.
    #[must_use]
    pub const fn all(self) -> [u16; 4] {
        [self.rpc(), self.p2p(), self.metrics(), self.admin()]
    }
}

/// One node.
pub struct Node {
    /// `validator-0`, `full-0`, …
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Identifies it on the network.
    pub node_key: SecretKey,
    /// Signs its votes and blocks.
    pub validator_key: Option<SecretKey>,
    /// Its host: an IP address or a name.
    pub host: String,
    /// Its ports there.
    pub ports: Ports,
}

impl Node {
    /// Its identity on the network.
    #[must_use]
    pub fn id(&self) -> String {
        node_id(&self.node_key.public_key())
    }

    /// Returns true if only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Its multiaddresses, best first. Among hosts that is QUIC: with lost packets it continues where TCP
    /// stalls. On one machine no packets are lost, and TCP takes less processor time.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let kind = match self.host.parse() {
            Ok(IpAddr::V4(_)) => "ip4",
            Ok(IpAddr::V6(_)) => "ip6",
            Err(_) => "dns4",
        };
        let (host, port) = (&self.host, self.ports.p2p());
        let tcp = format!("/{kind}/{host}/tcp/{port}");
        if self.is_local() {
            return vec![tcp];
        }
        vec![format!("/{kind}/{host}/udp/{port}/quic-v1"), tcp]
    }

    /// Its multiaddresses with its peer id.
    #[must_use]
    pub fn peer(&self) -> Vec<String> {
        let id = self.id();
        let addresses = self.addresses().into_iter();
        addresses.map(|address| format!("{address}/p2p/{id}")).collect()
    }
}

/// A whole network.
pub struct Network {
    /// Its initial state.
    pub genesis: Genesis,
    /// Validators first.
    pub nodes: Vec<Node>,
    /// Funded accounts, and the validators' payout accounts.
    pub accounts: Vec<(String, SecretKey)>,
}

impl Network {
    /// Derives every key and host of a network.
    ///
    /// # Errors
    /// A network that cannot be: without a validator, beyond the ports, with a genesis that is refused.
    pub fn plan(spec: &Spec) -> Result<Self, Error> {
        let nodes = nodes(spec)?;
        let dev = dev_keys(spec.dev_accounts)?;
        let faucet = seeded_key(&spec.seed, FAUCET, 0);
        let payouts: Vec<_> = (0..spec.validators)
            .map(|index| (format!("{PAYOUT}{index}"), seeded_key(&spec.seed, PAYOUT, index)))
            .collect();
        let mut funded: BTreeMap<Address, Amount> = dev
            .iter()
            .map(|(_, key)| (Address::from(key.public_key()), DEV_BALANCE))
            .collect();
        funded.insert(Address::from(faucet.public_key()), FAUCET_BALANCE);
        let validators = nodes
            .iter()
            .filter_map(|node| node.validator_key.as_ref())
            .zip(&payouts)
            .map(|(key, (_, payout))| Validator {
                key: key.public_key(),
                power: Power(1),
                payout: Address::from(payout.public_key()),
            })
            .collect();
        let genesis = Genesis {
            time: spec.time,
            params: spec.params.clone(),
            validators,
            accounts: funded,
        };
        // A network that cannot start is refused before a file is written.
        genesis
            .build()
            .map_err(|error| Error::usage(format!("such a network cannot be: {error}")))?;
        let accounts = dev
            .into_iter()
            .chain([(FAUCET.to_owned(), faucet)])
            .chain(payouts)
            .collect();
        Ok(Self {
            genesis,
            nodes,
            accounts,
        })
    }

    /// Persistent peers of a node: the validators, which are all connected with each other.
    pub fn peers_of<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        self.nodes
            .iter()
            .filter(move |other| other.role == Role::Validator && other.name != node.name)
    }
}

fn nodes(spec: &Spec) -> Result<Vec<Node>, Error> {
    let count = spec.validators.saturating_add(spec.full);
    if spec.validators == 0 || count > NODES_MAX {
        return Err(Error::usage(format!(
            "{} validators and {} full nodes: allowed are 1 to {NODES_MAX} nodes, one of them a validator",
            spec.validators, spec.full
        )));
    }
    let validators = (0..spec.validators).map(|index| (Role::Validator, index));
    let full = (0..spec.full).map(|index| (Role::Full, index));
    let mut on_host: BTreeMap<String, u16> = BTreeMap::new();
    let mut nodes = Vec::new();
    for (number, (role, index)) in validators.chain(full).enumerate() {
        let name = format!("{}-{index}", role.name());
        let host = host(&spec.hosts, number, &name)?;
        let before = on_host.entry(host.clone()).or_default();
        let ports = ports(spec.starting_port, *before)?;
        *before = before.saturating_add(1);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        nodes.push(Node {
            name,
            role,
            node_key: seeded_key(&spec.seed, "node", number),
            validator_key: (role == Role::Validator).then(|| seeded_key(&spec.seed, "validator", number)),
            host,
            ports,
        });
    }
    Ok(nodes)
}

/// The ports of the node number `index` of a host.
///
/// # Errors
/// Ports beyond the last one.
pub fn ports(starting: u16, index: u16) -> Result<Ports, Error> {
    index
        .checked_mul(PORT_STEP)
        .and_then(|offset| starting.checked_add(offset))
        .filter(|first| *first > 0 && first.checked_add(3).is_some())
        .map(|first| Ports { first })
        .ok_or_else(|| {
            Error::usage(format!(
                "node {index} of a host has no ports: {starting} + {index} * {PORT_STEP} is beyond 65535"
            ))
        })
}

fn host(hosts: &Hosts, number: usize, name: &str) -> Result<String, Error> {
    let host = match hosts {
        Hosts::One(host) => host.clone(),
        Hosts::Prefix(prefix) => format!("{prefix}{number}"),
        Hosts::Names => name.to_owned(),
        Hosts::Each(each) => each.get(number).cloned().ok_or_else(|| {
            Error::usage(format!(
                "{} hosts for more nodes than that: give one, or one for each node",
                each.len()
            ))
        })?,
    };
    let good = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte));
    if good {
        Ok(host)
    } else {
        Err(Error::usage(format!(
            "{host:?} is neither an IP address nor the name of a host"
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> Spec {
        Spec {
            validators: 4,
            full: 1,
            seed: "7".to_owned(),
            params: ChainParams::devnet(),
            time: TimeMs(1_700_000_000_000),
            hosts: Hosts::One("127.0.0.1".to_owned()),
            starting_port: 27_100,
            dev_accounts: 2,
        }
    }

    #[test]
    fn one_seed_makes_one_network_and_another_seed_another() {
        let hash = |seed: &str| {
            let spec = Spec {
                seed: seed.to_owned(),
                ..spec()
            };
            let network = Network::plan(&spec).unwrap();
            let ids: Vec<_> = network.nodes.iter().map(Node::id).collect();
            (network.genesis.build().unwrap().hash, ids)
        };
        assert_eq!(hash("7"), hash("7"));
        assert_ne!(hash("7").0, hash("8").0);
        assert_ne!(hash("7").1, hash("8").1);
    }

    #[test]
    fn every_node_of_a_host_has_ports_of_its_own_and_stays_connected_with_the_validators() {
        let network = Network::plan(&spec()).unwrap();
        let names: Vec<_> = network.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "validator-0",
                "validator-1",
                "validator-2",
                "validator-3",
                "full-0"
            ]
        );
        let mut ports: Vec<u16> = network.nodes.iter().flat_map(|node| node.ports.all()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        let peers = |number: usize| {
            let node = &network.nodes[number];
            network
                .peers_of(node)
                .map(|peer| peer.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(peers(1), ["validator-0", "validator-2", "validator-3"]);
        assert_eq!(peers(4).len(), 4);
        assert!(network.nodes[4].validator_key.is_none());
    }

    #[test]
    fn hosts_of_their_own_have_the_same_ports() {
        for (hosts, place) in [
            (Hosts::Prefix("n".to_owned()), "/dns4/n3"),
            (Hosts::Names, "/dns4/validator-3"),
            (
                Hosts::Each((1..6).map(|i| format!("10.0.0.{i}")).collect()),
                "/ip4/10.0.0.4",
            ),
            (
                Hosts::Each((1..6).map(|i| format!("fd00::{}", i / 2)).collect()),
                "/ip6/fd00::2",
            ),
        ] {
            let network = Network::plan(&Spec { hosts, ..spec() }).unwrap();
            let expected = [format!("{place}/udp/27101/quic-v1"), format!("{place}/tcp/27101")];
            assert_eq!(network.nodes[3].addresses(), expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for spec in [
            Spec {
                validators: 0,
                ..spec()
            },
            Spec { full: 97, ..spec() },
            Spec {
                starting_port: 65_500,
                ..spec()
            },
            Spec {
                starting_port: 0,
                ..spec()
            },
            Spec {
                hosts: Hosts::Each(vec!["a".to_owned()]),
                ..spec()
            },
            Spec {
                hosts: Hosts::One("a/b".to_owned()),
                ..spec()
            },
        ] {
            assert!(Network::plan(&spec).is_err(), "{spec:?}");
        }
    }

    #[test]
    fn the_fault_model_is_part_of_what_the_chain_is() {
        let mut crash = spec();
        crash.params.fault_model = vibecoin_primitives::FaultModel::Crash;
        let hash = |spec: &Spec| Network::plan(spec).unwrap().genesis.build().unwrap().hash;
        assert_ne!(hash(&crash), hash(&spec()));
    }
}
