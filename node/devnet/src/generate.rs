//! The files of a network on several hosts.
//!
//! ```text
//!  DIR/network.json          every node: name, role, id, address, ports
//!  DIR/genesis.toml          what the chain starts from
//!  DIR/validator-0/ …        one home per node: genesis, config, node.key, validator.key, guard
//!  DIR/operator/keys/        the faucet's key and those of the accounts that validators are paid to
//!  DIR/compose.yaml, DIR/validator-0.service …   for a deployment
//! ```
//!
//! Files only: nothing is started, and no host is contacted. Until all of them are written, `network.json` is
//! named `network.json.unfinished`: a call that finds that file removes the remains of an interrupted one,
//! and starts over. A refusal or a failure leaves nothing.

use std::path::Path;

use serde_json::{Value, json};
use vibecoin_keystore::Passphrase;

use crate::deployment::{self, Kind};
use crate::error::Error;
use crate::files;
use crate::home::make_private;
use crate::homes::{self, Layout};
use crate::plan::{Network, Node};
use crate::profile::fault_model_name;
use crate::unfinished::{COMPOSE_FILE, OPERATOR, Unfinished, unit_file};
use crate::wait::Reporter;

pub use crate::unfinished::GENESIS_FILE;

/// Writes a network to a folder that holds none.
///
/// # Errors
/// The fault `exists` for a folder that holds one, or the error of a file.
pub fn generate(
    out: &Path,
    network: &Network,
    kind: Kind,
    passphrase: Option<&Passphrase>,
    reporter: Reporter,
) -> Result<(), Error> {
    let unfinished = Unfinished::begin(out, &summary(Path::new(""), network), reporter)?;
    match write(out, network, kind, passphrase) {
        Ok(()) => unfinished.finish(),
        Err(error) => {
            unfinished.undo()?;
            Err(error)
        }
    }
}

fn write(out: &Path, network: &Network, kind: Kind, passphrase: Option<&Passphrase>) -> Result<(), Error> {
    let layout = Layout {
        container: kind == Kind::Compose,
    };
    let encrypted = passphrase.is_some();
    files::write(&out.join(GENESIS_FILE), &network.genesis.to_toml(), false)?;
    for node in &network.nodes {
        homes::make(&out.join(&node.name), network, node, layout, passphrase)?;
    }
    let operator = out.join(OPERATOR);
    make_private(&operator)?;
    files::write(&operator.join(GENESIS_FILE), &network.genesis.to_toml(), false)?;
    homes::accounts(&operator, network, &network.accounts, passphrase)?;
    match kind {
        Kind::Files => Ok(()),
        Kind::Compose => {
            let path = out.join(COMPOSE_FILE);
            files::write(&path, &deployment::compose(network, encrypted), false)
        }
        Kind::Systemd => network.nodes.iter().try_for_each(|node| {
            let path = out.join(unit_file(&node.name));
            files::write(&path, &deployment::unit(node, encrypted), false)
        }),
    }
}

/// Facts of the network, with the homes in this folder.
#[must_use]
pub fn summary(out: &Path, network: &Network) -> Value {
    let nodes = network.nodes.iter().map(|node: &Node| {
        json!({
            "name": node.name,
            "role": node.role.name(),
            "home": out.join(&node.name),
            "host": node.host,
            "peerId": node.id(),
            "p2p": node.peer(),
            "rpcPort": node.ports.rpc(),
            "metricsPort": node.ports.metrics(),
            "adminPort": node.ports.admin(),
        })
    });
    let hash = network.genesis.build().ok().map(|built| built.hash.to_string());
    json!({
        "chainId": network.genesis.params.network,
        "genesisHash": hash,
        "faultModel": fault_model_name(network.genesis.params.fault_model),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
