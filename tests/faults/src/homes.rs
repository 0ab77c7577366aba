//! The homes of a network's nodes. Their creation is defined here only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vibecoin_keystore::{NodeKeys, node_id};
use vibecoin_primitives::{Address, AddressPrefix, Domain, Hash, PublicKey, SecretKey, hex};
use vibecoin_tests_nodes::{Ran, sibling};

use crate::netns::Net;

/// The port of every node's network listener.
pub const P2P_PORT: u16 = 27_656;
/// The port of every node's RPC.
pub const RPC_PORT: u16 = 8_545;
/// Number of accounts that clients transfer between.
pub const ACCOUNTS: usize = 50;
/// Initial balance of each of them.
pub const BALANCE: u64 = 1_000_000_000_000;

/// Blocks have a constant interval, with or without traffic: else a fault that slows the clients down
/// would show as a lower block rate, and the rate that it is compared with would depend on them, too.
const IDLE: &str = "empty_block_interval_ms = 1000";
/// Milliseconds between blocks in the usual run.
pub const PACE_MS: u64 = 100;

/// Kinds and numbers of nodes of a network.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of nodes that vote, numbered from 0.
    pub validators: usize,
    /// Number of nodes that follow, numbered after them.
    pub followers: usize,
    /// True for the crash-fault model, in which no validator is Byzantine (quorum above a half).
    pub crash_model: bool,
    /// Transport between the nodes.
    pub transport: Transport,
    /// Milliseconds between two blocks without transactions.
    pub pace_ms: u64,
}

/// Transport of the messages of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// QUIC, and TCP where QUIC does not connect: as `testnet generate` writes it.
    Both,
    /// TCP with Noise and Yamux alone.
    Tcp,
    /// QUIC alone.
    Quic,
}

impl Transport {
    /// The multiaddresses of a node's network listeners.
    fn at(self, ip: &str) -> Vec<String> {
        let tcp = format!("/ip4/{ip}/tcp/{P2P_PORT}");
        let quic = format!("/ip4/{ip}/udp/{P2P_PORT}/quic-v1");
        match self {
            Self::Both => vec![quic, tcp],
            Self::Tcp => vec![tcp],
            Self::Quic => vec![quic],
        }
    }
}

impl Plan {
    /// Validators only, of which less than a third may be Byzantine.
    #[must_use]
    pub const fn validators(validators: usize) -> Self {
        Self {
            validators,
            followers: 0,
            crash_model: false,
            transport: Transport::Both,
            pace_ms: PACE_MS,
        }
    }

    /// Number of nodes.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.validators.saturating_add(self.followers)
    }
}

/// The homes of a network.
pub struct Homes {
    /// Path of each node's home.
    pub paths: Vec<PathBuf>,
    /// Transport between the nodes.
    pub transport: Transport,
    /// The libp2p identity of each node.
    pub peer_ids: Vec<String>,
    /// The key of each validator.
    pub validators: Vec<PublicKey>,
    /// Keys of the funded accounts.
    pub accounts: Vec<SecretKey>,
    /// Genesis balances, payout accounts included.
    pub genesis: BTreeMap<Address, u64>,
    /// The hash of block 0.
    pub genesis_hash: Hash,
}

/// The binary under test: `VIBECOIN_BIN`, else the one beside the running test.
#[must_use]
pub fn binary() -> PathBuf {
    match std::env::var_os("VIBECOIN_BIN") {
        Some(_) => vibecoin_tests_nodes::binary(),
        None => sibling("vibecoin", "-p vibecoin-cli"),
    }
}

/// The key of account `number`; the same in every run.
fn account(number: usize) -> SecretKey {
    let label = format!("vibecoin fault test account {number}");
    SecretKey::from_seed(&Domain::Params.hash(label.as_bytes()).0)
}

/// Runs a command of the binary on a home and returns the JSON that it prints.
fn command(home: &Path, line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ran::of(&binary(), home, &words).ok()
}

impl Homes {
    /// Makes the homes under a folder: keys, one genesis file for all, and the network's addresses.
    #[must_use]
    pub fn make(folder: &Path, plan: Plan) -> Self {
        let prefix = AddressPrefix::new("vibet").expect("a good prefix");
        let paths: Vec<PathBuf> = (0..plan.nodes())
            .map(|n| folder.join(format!("node{n}")))
            .collect();
        let mut validators = Vec::new();
        for (number, home) in paths.iter().enumerate() {
            let kind = if number < plan.validators {
                "--validator"
            } else {
                ""
            };
            let made = command(home, &format!("init --allow-unencrypted {kind}"));
            if let Some(key) = made["validatorKey"].as_str() {
                validators.push(PublicKey::from_hex(key).expect("a key in hex"));
            }
        }
        let accounts: Vec<SecretKey> = (0..ACCOUNTS).map(account).collect();
        // Payout accounts exist from the beginning too, so that nothing is ever burned for a new one.
        let payouts: Vec<Address> = (0..plan.validators)
            .map(|n| Address::from(account(ACCOUNTS.saturating_add(n)).public_key()))
            .collect();
        let mut genesis = BTreeMap::new();
        for address in accounts
            .iter()
            .map(|key| Address::from(key.public_key()))
            .chain(payouts.iter().copied())
        {
            genesis.insert(address, BALANCE);
        }
        let file = folder.join("genesis.toml");
        let file = file.to_str().expect("a folder with a plain name");
        let mut line = format!("genesis new --profile devnet --network faults --out {file}");
        if plan.crash_model {
            line += " --fault-model crash";
        }
        for (key, payout) in validators.iter().zip(&payouts) {
            line += &format!(" --validator {key}=1={}", hex::encode(&payout.0));
        }
        for (address, balance) in &genesis {
            line += &format!(" --account {}={balance}", hex::encode(&address.0));
        }
        let _made = command(folder, &line);
        let text = std::fs::read_to_string(file).expect("the genesis file that was just made");
        let steady = text.replace(IDLE, &format!("empty_block_interval_ms = {}", plan.pace_ms));
        assert_ne!(steady, text, "{file} has no line {IDLE:?}");
        std::fs::write(file, steady).expect("write the genesis file");
        let made = command(folder, &format!("genesis hash {file}"));
        let genesis_hash = made["genesisHash"].as_str().expect("genesis has a hash");
        let genesis_hash = Hash::from_hex(genesis_hash).expect("a hash in hex");
        let mut peer_ids = Vec::new();
        for home in &paths {
            let _same_home = command(home, &format!("init --allow-unencrypted --genesis {file}"));
            let key = NodeKeys::new(home, prefix)
                .load_or_create_node()
                .expect("the node key that init made");
            peer_ids.push(node_id(&key.public_key()));
        }
        Self {
            paths,
            transport: plan.transport,
            peer_ids,
            validators,
            accounts,
            genesis,
            genesis_hash,
        }
    }

    /// Environment variables of a node's process.
    #[must_use]
    pub fn environment(&self, net: &Net, node: usize) -> Vec<(String, String)> {
        let peers: Vec<String> = self
            .peer_ids
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != node)
            .flat_map(|(other, id)| {
                let addresses = self.transport.at(&net.peer_address(other));
                addresses.into_iter().map(move |at| format!("{at}/p2p/{id}"))
            })
            .collect();
        let reserved: Vec<&str> = self.peer_ids.iter().map(String::as_str).collect();
        [
            ("RPC__ADDR", net.address(node)),
            ("RPC__PORT", RPC_PORT.to_string()),
            // The callers are this test, not unauthenticated clients.
            ("RPC__COST_PER_S_PER_IP", "0".to_owned()),
            (
                "P2P__LISTEN",
                self.transport.at(&net.peer_address(node)).join(","),
            ),
            ("P2P__PEERS", peers.join(",")),
            ("P2P__RESERVED", reserved.join(",")),
            ("P2P__EXCHANGE", "false".to_owned()),
            (
                "LOG__FILTER",
                std::env::var("FAULTS_LOG").unwrap_or_else(|_| "info".to_owned()),
            ),
        ]
        .map(|(name, value)| (format!("VIBECOIN__{name}"), value))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_the_same_in_every_run_and_all_different() {
        let keys: std::collections::BTreeSet<_> = (0..60).map(|n| account(n).public_key()).collect();
        assert_eq!(keys.len(), 60);
        assert_eq!(account(3).public_key(), account(3).public_key());
    }
}
