//! The devnet against a stand-in for the node: real processes, real signals, no consensus.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::state::{Devnet, State};
use super::*;

/// A devnet with records and nothing behind them.
pub fn devnet_of(dir: &Path, validators: u32, full: u32) -> Devnet {
    use crate::commands::testnet::plan::{Network, Spec, tests::spec};
    let network = Network::plan(&Spec {
        validators,
        full,
        ..spec()
    })
    .unwrap();
    let mut net = Devnet::change(dir).unwrap();
    net.state = Some(State {
        version: 1,
        boot: net.boot().to_owned(),
        seed: "7".to_owned(),
        fault_model: "byzantine".to_owned(),
        profile: "devnet".to_owned(),
        program: std::path::PathBuf::new(),
        base_port: 27_100,
        partition: Vec::new(),
        nodes: network
            .nodes
            .iter()
            .map(|node| setup::record(&net.dir, node))
            .collect(),
    });
    net
}
