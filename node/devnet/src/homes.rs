//! The homes of a planned network: genesis, configuration, keys, guard.

use std::fmt::Write as _;
use std::path::Path;

use vibecoin_config::{Paths, Value};
use vibecoin_keystore::{NodeKeyRole, NodeKeys, Passphrase};
use vibecoin_primitives::{AddressPrefix, SecretKey};

use crate::error::{Class, Error};
use crate::files;
use crate::guard::make_guard;
use crate::home::{keys_of, make_private};
use crate::plan::{Network, Node, Role};

/// Deployment of the node, as far as its files depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// In a container: its services must be reachable from outside.
    pub container: bool,
}

/// Creates the home of one node. An existing one is an error.
///
/// # Errors
/// The fault `exists`, or the error of a file.
pub fn make(
    home: &Path,
    network: &Network,
    node: &Node,
    layout: Layout,
    passphrase: Option<&Passphrase>,
) -> Result<(), Error> {
    if home.exists() {
        let message = format!("{} exists already", home.display());
        return Err(Error::new(Class::Failure, message)
            .reason("exists")
            .hint("name another folder with --out DIR; keys are never overwritten"));
    }
    make_private(home)?;
    let text = config(network, node, layout);
    let parsed = vibecoin_config::parse(&text).map_err(|error| Error::Config {
        class: Class::Failure,
        path: Paths::config_in(home),
        error: Box::new(error),
    })?;
    let paths = Paths::new(home, &parsed);
    files::write(&paths.genesis, &network.genesis.to_toml(), false)?;
    files::write(&Paths::config_in(home), &text, false)?;
    let keys = keys_of(&paths, prefix(network)?).allow_unencrypted();
    keys.create(NodeKeyRole::Node, &node.node_key, None)?;
    if let Some(key) = &node.validator_key {
        // First the guard, then the key: a key never exists without the record of its signatures.
        make_guard(&paths.guard)?;
        keys.create(NodeKeyRole::Validator, key, passphrase)?;
    }
    Ok(())
}

/// Adds account keys to a home.
///
/// # Errors
/// The error of a key file.
pub fn accounts(
    home: &Path,
    network: &Network,
    keys: &[(String, SecretKey)],
    passphrase: Option<&Passphrase>,
) -> Result<(), Error> {
    let store = NodeKeys::new(home, prefix(network)?)
        .allow_unencrypted()
        .accounts()?
        .allow_unencrypted();
    for (name, key) in keys {
        store.create(name, key, passphrase)?;
    }
    Ok(())
}

fn prefix(network: &Network) -> Result<AddressPrefix, Error> {
    network
        .genesis
        .params
        .prefix()
        .map_err(|error| Error::new(Class::Config, error.to_string()))
}

/// The configuration of a node: the values that differ from the defaults.
#[must_use]
pub fn config(network: &Network, node: &Node, layout: Layout) -> String {
    let text = |text: &str| Value::Text(text.to_owned());
    let local = node.is_local();
    let own_ip = if layout.container { "0.0.0.0" } else { "127.0.0.1" };
    let p2p_ip = match local {
        true => "127.0.0.1",
        false => "0.0.0.0",
    };
    let peers: Vec<String> = network.peers_of(node).flat_map(Node::peer).collect();
    let reserved: Vec<String> = network.peers_of(node).map(Node::id).collect();
    let external = if local { Vec::new() } else { node.addresses() };
    let ports = node.ports;
    let tcp = format!("/ip4/{p2p_ip}/tcp/{}", ports.p2p());
    let listen = match local {
        true => vec![tcp],
        false => vec![format!("/ip4/{p2p_ip}/udp/{}/quic-v1", ports.p2p()), tcp],
    };
    let hosts = if layout.container {
        // From this machine through the published port, and from the other containers by name. Not `*`: a
        // web page whose name points at this node (DNS rebinding) must not be answered.
        own_names(node)
    } else {
        Vec::new()
    };
    let sections = [
        (
            "node",
            vec![
                ("moniker", text(&node.name)),
                ("validator", Value::Switch(node.role == Role::Validator)),
            ],
        ),
        (
            "rpc",
            vec![
                ("addr", text(own_ip)),
                ("port", Value::Count(u64::from(ports.rpc()))),
                ("hosts", Value::List(hosts)),
            ],
        ),
        (
            "p2p",
            vec![
                ("listen", Value::List(listen)),
                ("external", Value::List(external)),
                ("peers", Value::List(peers)),
                ("reserved", Value::List(reserved)),
            ],
        ),
        (
            "metrics",
            vec![("listen", text(&format!("{own_ip}:{}", ports.metrics())))],
        ),
        // Never beyond this machine, also in a container: its methods control the node's peers.
        (
            "admin",
            vec![("listen", text(&format!("127.0.0.1:{}", ports.admin())))],
        ),
    ];
    let mut out = String::from(
        "# Made by `vibecoin testnet generate` or `vibecoin devnet up`. What is not here has its default;\n\
         # `vibecoin config init --stdout` prints every key.\n",
    );
    for (section, values) in sections {
        let _ = writeln!(out, "\n[{section}]");
        for (name, value) in values {
            let _ = writeln!(out, "{name} = {value}");
        }
    }
    out
}

/// The names by which clients reach a node in a container.
fn own_names(node: &Node) -> Vec<String> {
    let host = match node.host.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => node.host.clone(),
    };
    let mut names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
    for name in [node.name.clone(), host] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::plan::{Hosts, Spec, tests::spec};

    #[test]
    fn a_home_has_all_that_a_node_needs_and_is_never_made_twice() {
        let network = Network::plan(&spec()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("validator-0");
        make(&home, &network, &network.nodes[0], Layout::default(), None).unwrap();
        accounts(&home, &network, &network.accounts, None).unwrap();
        let keys = NodeKeys::new(&home, prefix(&network).unwrap()).allow_unencrypted();
        let key = keys.load_or_create_node().unwrap();
        assert_eq!(key.public_key(), network.nodes[0].node_key.public_key());
        assert!(keys.exists(NodeKeyRole::Validator).unwrap());
        assert!(home.join("consensus/guard").exists());
        let names = keys.accounts().unwrap().list().unwrap().keys;
        assert_eq!(names.len(), 2 + 1 + 4);
        let again = make(&home, &network, &network.nodes[0], Layout::default(), None);
        assert!(again.unwrap_err().is("exists"));
    }

    #[test]
    fn the_configuration_is_one_that_the_node_takes() {
        let network = Network::plan(&spec()).unwrap();
        let loaded = vibecoin_config::parse(&config(&network, &network.nodes[4], Layout::default())).unwrap();
        assert!(!loaded.node.validator);
        assert_eq!(loaded.rpc.port, 27_140);
        assert_eq!(loaded.p2p.listen, ["/ip4/127.0.0.1/tcp/27141"]);
        assert_eq!(loaded.p2p.peers.len(), 4);
        assert_eq!(loaded.p2p.peers[..1], network.nodes[0].peer());
        assert_eq!(loaded.p2p.reserved[0], network.nodes[0].id());
        assert_eq!(loaded.metrics.listen, "127.0.0.1:27142");
        assert_eq!(loaded.admin.listen, "127.0.0.1:27143");
    }

    #[test]
    fn a_node_in_a_container_answers_to_its_names_and_to_no_other() {
        let spec = Spec {
            hosts: Hosts::Names,
            ..spec()
        };
        let network = Network::plan(&spec).unwrap();
        let layout = Layout { container: true };
        let loaded = vibecoin_config::parse(&config(&network, &network.nodes[1], layout)).unwrap();
        let names = ["localhost", "127.0.0.1", "[::1]", "validator-1"];
        assert_eq!(loaded.rpc.hosts, names);
    }

    #[test]
    fn a_node_on_a_host_of_its_own_is_open_to_peers_and_to_nobody_else() {
        let spec = Spec {
            hosts: Hosts::Prefix("n".to_owned()),
            ..spec()
        };
        let network = Network::plan(&spec).unwrap();
        let loaded = vibecoin_config::parse(&config(&network, &network.nodes[1], Layout::default())).unwrap();
        let both = |place: &str| [format!("{place}/udp/27101/quic-v1"), format!("{place}/tcp/27101")];
        assert_eq!(loaded.p2p.listen, both("/ip4/0.0.0.0"));
        assert_eq!(loaded.p2p.external, both("/dns4/n1"));
        assert_eq!(loaded.p2p.peers[..2], network.nodes[0].peer());
        assert!(loaded.rpc.addr.is_loopback());
        assert_eq!(loaded.metrics.listen, "127.0.0.1:27102");
    }
}
