//! Every configuration setting changes a start parameter of the part of the node that it belongs to.

#![allow(clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use vibecoin_config::{Config, ConfigError, KNOBS, Kind, Knob, Paths, Sources};
use vibecoin_primitives::{Address, ChainParams, Hash, Height, Power, SecretKey, Validator, ValidatorSet};
use vibecoin_replica::Chain;

use crate::listeners::Listeners;
use crate::network::settings;
use crate::open::store_config;
use crate::settings::{pool_config, server_config};

/// Settings that the command line reads before the node starts (tested in `node/cli` and `tests/e2e`), and
/// one that is displayed unchanged (`tests/e2e`).
const ELSEWHERE: [&str; 4] = ["node.validator", "log.format", "log.filter", "node.moniker"];

fn chain() -> Chain {
    let key = |n: u8| SecretKey::from_seed(&[n; 32]).public_key();
    let validator = Validator {
        key: key(1),
        power: Power(1),
        payout: Address::from(key(2)),
    };
    let set = ValidatorSet::new(vec![validator]).unwrap_or_else(|error| panic!("{error}"));
    Chain::new(Hash([9; 32]), ChainParams::devnet(), set)
}

/// Start parameters of each part of the node.
fn derived(config: &Config) -> BTreeMap<&'static str, String> {
    let paths = Paths::new(Path::new("/home"), config);
    let network = settings(config, &paths, &chain(), [7; 32], None, Height(0), String::new());
    let mut out = BTreeMap::new();
    out.insert("paths", format!("{paths:?}"));
    out.insert("store", format!("{:?}", store_config(config)));
    out.insert("pool", format!("{:?}", pool_config(config)));
    // Without the counters, whose order varies.
    let rpc = format!(
        "{:?}",
        server_config(config).unwrap_or_else(|error| panic!("{error}"))
    );
    let rpc = rpc.split(" metrics: ").next().unwrap_or_default();
    out.insert("rpc", rpc.to_owned());
    out.insert("rpc address", crate::settings::rpc_address(config).to_string());
    out.insert("stop", format!("{:?}", crate::settings::stop_timeout(config)));
    out.insert(
        "network",
        format!(
            "{:?} {:?} {:?} {:?} {:?} {} {} {} {} {} {} {} {:?}",
            network.listen,
            network.external,
            network.peers,
            network.bootnodes,
            network.reserved,
            network.exchange,
            network.inbound_max,
            network.outbound_max,
            network.per_ip_max,
            network.per_subnet_max,
            network.bytes_per_s_per_peer,
            network.memory_max_bytes,
            network.peers_file,
        ),
    );
    out
}

/// A value other than the default.
fn another(knob: &Knob) -> String {
    let default = (knob.get)(&Config::default());
    match knob.kind {
        Kind::Switch => (default.to_string() != "true").to_string(),
        Kind::Count { most, .. } => match default {
            vibecoin_config::Value::Count(count) if count < most => count.saturating_add(1).to_string(),
            vibecoin_config::Value::Count(count) => count.saturating_sub(1).to_string(),
            _ => String::new(),
        },
        Kind::Ip => "127.0.0.2".to_owned(),
        Kind::Path => "elsewhere".to_owned(),
        Kind::Listen => "127.0.0.1:0".to_owned(),
        Kind::Name => "another".to_owned(),
        Kind::Filter => "off".to_owned(),
        Kind::Word(words) => words.last().copied().unwrap_or_default().to_owned(),
        Kind::Words(words) => words.first().copied().unwrap_or_default().to_owned(),
        Kind::Hosts => "another.example".to_owned(),
        Kind::Origins => "https://another.example".to_owned(),
        Kind::Texts => "another".to_owned(),
    }
}

/// A configuration with one more flag; peers can connect, as some lists require.
fn with(knob: &Knob) -> Result<Config, ConfigError> {
    let loaded = Sources::new()
        .flag("p2p.listen", "/ip4/127.0.0.1/tcp/1")
        .flag(knob.key(), another(knob))
        .load()?;
    Ok(loaded.config)
}

#[test]
fn every_knob_changes_what_its_part_is_started_with() -> Result<(), ConfigError> {
    let mut base = Config::default();
    base.p2p.listen = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
    let before = derived(&base);
    for knob in KNOBS {
        if ELSEWHERE.contains(&knob.key()) || matches!(knob.kind, Kind::Listen) {
            continue;
        }
        let after = derived(&with(knob)?);
        let parts: Vec<_> = before
            .iter()
            .filter(|(part, settings)| after.get(*part) != Some(*settings))
            .map(|(part, _)| *part)
            .collect();
        let expected = match knob.key() {
            "node.stop_timeout_ms" => &["stop"][..],
            "rpc.addr" | "rpc.port" => &["rpc address"],
            "p2p.peers_file" => &["network", "paths"],
            _ if matches!(knob.kind, Kind::Path) => &["paths"],
            key if key.starts_with("rpc.") => &["rpc"],
            key if key.starts_with("p2p.") => &["network"],
            key if key.starts_with("storage.") => &["store"],
            key if key.starts_with("mempool.") => &["pool"],
            _ => &[],
        };
        assert_eq!(parts, expected, "{}", knob.key());
    }
    Ok(())
}

#[tokio::test]
async fn every_listener_listens_where_its_knob_says() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    for knob in KNOBS.iter().filter(|knob| matches!(knob.kind, Kind::Listen)) {
        let config = with(knob)?;
        let paths = Paths::new(home.path(), &config);
        let bound = Listeners::bind(&config, &paths).await?;
        let expected = match knob.key() {
            "admin.listen" => (true, false),
            "metrics.listen" => (false, true),
            other => panic!("{other}: which listener?"),
        };
        assert_eq!(bound.bound(), expected, "{}", knob.key());
    }
    Ok(())
}
