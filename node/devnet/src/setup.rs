//! Creation of a devnet, and assignment of its nodes' ports.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use vibecoin_config::{Config, Paths};
use vibecoin_primitives::text::quoted_path;
use vibecoin_primitives::{FaultModel, TimeMs};

use crate::error::{Class, Error};
use crate::files;
use crate::home::{self, DEV_ACCOUNTS, paths_of};
use crate::homes::{self, Layout};
use crate::plan::{self, Hosts, Network, Node, Ports, Spec};
use crate::ports::{FIRST, Listening, OTHER_BASE};
use crate::profile::{Profile, fault_model_name};
use crate::state::{Devnet, NodeRecord, State};
use crate::wait::Reporter;

const VALIDATORS_DEFAULT: u32 = 4;
const FULL_DEFAULT: u32 = 1;
const SEED_DEFAULT: &str = "1";
/// Paths that are tried for a folder that is in the way.
const ASIDE_MAX: u32 = 100;
/// The only host of a devnet.
const HOST: &str = "127.0.0.1";

/// Properties of a devnet. One that is `None` has a default in a new devnet, and any value in an existing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Number of validators.
    pub validators: Option<u32>,
    /// Number of nodes that only follow.
    pub full: Option<u32>,
    /// Seed of all keys.
    pub seed: Option<String>,
    /// Which faults the validators survive.
    pub fault_model: Option<FaultModel>,
    /// Parameters of the chain.
    pub profile: Option<Profile>,
    /// The first port of the first node.
    pub base_port: Option<u16>,
}

/// Creates the devnet if there is none; compares an existing one with what is wanted, and assigns its ports.
///
/// # Errors
/// A devnet with other properties, a port that is taken, or the error of a file.
pub fn make_or_compare(net: &mut Devnet, wanted: &Wanted) -> Result<(), Error> {
    if net.state.is_none() {
        return make(net, wanted);
    }
    compare(net.existing()?, wanted)?;
    ports(net, wanted.base_port)
}

fn make(net: &mut Devnet, wanted: &Wanted) -> Result<(), Error> {
    let validators = wanted.validators.unwrap_or(VALIDATORS_DEFAULT);
    let full = wanted.full.unwrap_or(FULL_DEFAULT);
    let faults = wanted.fault_model.unwrap_or(FaultModel::Byzantine);
    let profile = wanted.profile.unwrap_or_default();
    let count = u16::try_from(validators.saturating_add(full)).unwrap_or(u16::MAX);
    let listening = Listening::now();
    let base = match wanted.base_port {
        Some(base) => base,
        None => first_free(&listening, count, net.reporter())?,
    };
    let spec = Spec {
        validators,
        full,
        seed: wanted.seed.clone().unwrap_or_else(|| SEED_DEFAULT.to_owned()),
        params: profile.params(faults),
        time: home::now(),
        hosts: Hosts::One(HOST.to_owned()),
        starting_port: base,
        dev_accounts: DEV_ACCOUNTS,
    };
    let network = Network::plan(&spec)?;
    for node in &network.nodes {
        listening.check(node.ports, OTHER_BASE)?;
        let home = net.dir.join(&node.name);
        if home.exists() {
            return Err(unknown(&home));
        }
    }
    net.state = Some(state_of(net, &network, &spec.seed, profile, base));
    finish(net, 0, |net| {
        for node in &network.nodes {
            homes::make(&net.dir.join(&node.name), &network, node, Layout::default(), None)?;
        }
        let first = net.node(0)?;
        homes::accounts(&first.home, &network, &network.accounts, None)
    })
}

/// The first ports of a new devnet that are free, with a report if they are not the usual ones.
fn first_free(listening: &Listening, count: u16, reporter: Reporter) -> Result<u16, Error> {
    let base = listening.free_base(count, None)?;
    if base != FIRST {
        let usual = (0..count).filter_map(|index| plan::ports(FIRST, index).ok());
        listening.report_moved(usual, base, reporter);
    }
    Ok(base)
}

/// The record of a planned network, none of whose nodes runs.
#[must_use]
pub fn state_of(net: &Devnet, network: &Network, seed: &str, profile: Profile, base_port: u16) -> State {
    State {
        version: 1,
        boot: net.boot().to_owned(),
        folder: String::new(),
        seed: seed.to_owned(),
        fault_model: fault_model_name(network.genesis.params.fault_model).to_owned(),
        profile: profile.name().to_owned(),
        program: PathBuf::new(),
        base_port,
        partition: Vec::new(),
        moving: false,
        nodes: network.nodes.iter().map(|node| record(&net.dir, node)).collect(),
        original: Vec::new(),
    }
}

/// Creates the homes of the nodes from a number on. Until all of them are complete they are recorded as
/// unfinished, so that the next command removes them when this one is interrupted.
///
/// # Errors
/// That of `make`, or of the file.
pub fn finish(
    net: &mut Devnet,
    from: usize,
    make: impl FnOnce(&Devnet) -> Result<(), Error>,
) -> Result<(), Error> {
    let mark = |net: &mut Devnet, unfinished: bool| {
        for node in net.existing_mut()?.nodes.iter_mut().skip(from) {
            node.unfinished = unfinished;
        }
        net.save()
    };
    mark(net, true)?;
    make(net)?;
    mark(net, false)
}

/// Refuses an existing folder at the path of a new node's home.
#[must_use]
pub fn unknown(home: &Path) -> Error {
    let message = format!("{} is there, but the devnet does not know it", home.display());
    let (home, aside) = (quoted_path(home), quoted_path(&aside(home)));
    Error::new(Class::Failure, message).reason("exists").hint(format!(
        "`ls -A {home}` shows what it holds, `mv {home} {aside}` moves it out of the way"
    ))
}

/// A free path beside the devnet's folder for a folder that is in its way: inside, `destroy` would leave it.
fn aside(home: &Path) -> PathBuf {
    let (dir, name) = (
        home.parent().unwrap_or(home),
        home.file_name().unwrap_or_default(),
    );
    let mut wanted = dir.as_os_str().to_owned();
    wanted.push("-");
    wanted.push(name);
    let numbered = (2..ASIDE_MAX).map(|number| {
        let mut path = wanted.clone();
        path.push(format!("-{number}"));
        path
    });
    let mut paths = std::iter::once(wanted.clone()).chain(numbered).map(PathBuf::from);
    let free = paths.find(|path| path.symlink_metadata().is_err());
    free.unwrap_or_else(|| PathBuf::from(&wanted))
}

/// The record of a planned node for `devnet.json`.
#[must_use]
pub fn record(dir: &Path, node: &Node) -> NodeRecord {
    let at = |port: u16| format!("{HOST}:{port}");
    NodeRecord {
        name: node.name.clone(),
        role: node.role.name().to_owned(),
        pid: None,
        rpc: Some(format!("http://{}", at(node.ports.rpc()))),
        p2p: node.peer().pop(),
        metrics: Some(at(node.ports.metrics())),
        admin: Some(at(node.ports.admin())),
        home: dir.join(&node.name),
        log: dir.join(format!("{}.log", node.name)),
        started: None,
        peer_id: node.id(),
        own_port: None,
        unfinished: false,
    }
}

/// The ports that a node has by its number.
fn planned_ports(base: u16, number: usize) -> Result<Ports, Error> {
    plan::ports(base, u16::try_from(number).unwrap_or(u16::MAX))
}

/// Returns an error if a different devnet is wanted.
fn compare(state: &State, wanted: &Wanted) -> Result<(), Error> {
    if state.seed.is_empty() {
        return Err(
            Error::new(Class::Failure, "this devnet was made by an older version")
                .reason("other_devnet")
                .hint("`vibecoin devnet destroy` removes it"),
        );
    }
    let validators = state.nodes.iter().filter(|node| node.is_validator()).count();
    let full = state.nodes.len().saturating_sub(validators);
    let differs = |name: &str, has: String, asked: Option<String>| {
        asked
            .filter(|asked| *asked != has)
            .map(|asked| format!("{name} {has}, asked for {asked}"))
    };
    let text = |count: Option<u32>| count.map(|count| count.to_string());
    let first = differs("validators", validators.to_string(), text(wanted.validators))
        .or_else(|| differs("full nodes", full.to_string(), text(wanted.full)))
        .or_else(|| differs("seed", state.seed.clone(), wanted.seed.clone()))
        .or_else(|| {
            differs(
                "fault model",
                state.fault_model.clone(),
                wanted.fault_model.map(|model| fault_model_name(model).to_owned()),
            )
        })
        .or_else(|| {
            let asked = wanted.profile.map(|profile| profile.name().to_owned());
            differs("profile", state.profile.clone(), asked)
        });
    match first {
        None => Ok(()),
        Some(difference) => Err(Error::new(
            Class::Failure,
            format!("there is another devnet already: it has {difference}"),
        )
        .reason("other_devnet")
        .hint("leave the option out to start the devnet that is there, or `vibecoin devnet destroy` it")),
    }
}

/// Assigns the nodes' ports: their present ones, if they are free; different ones only if no node runs.
fn ports(net: &mut Devnet, asked: Option<u16>) -> Result<(), Error> {
    let (base, count) = {
        let state = net.existing()?;
        (
            state.base_port,
            u16::try_from(state.nodes.len()).unwrap_or(u16::MAX),
        )
    };
    let running = net.running();
    if !running.is_empty() {
        if asked.is_some_and(|asked| asked != base) {
            let message = format!("the devnet runs on ports from {base}");
            return Err(Error::new(Class::Failure, message)
                .reason("running")
                .hint("`vibecoin devnet down` first; another --base-port then moves it"));
        }
        return Ok(());
    }
    let listening = Listening::now();
    let first_home = net.node(0)?.home;
    let as_they_are = plan(net.existing()?, &first_home)?;
    let are_free = as_they_are
        .nodes
        .iter()
        .all(|node| listening.has_free(node.ports));
    if are_free && asked.is_none_or(|asked| asked == base) {
        return settle(net);
    }
    let new = match asked {
        Some(asked) => asked,
        None => {
            let new = listening.free_base(count, Some(base))?;
            let planned = as_they_are.nodes.iter().map(|node| node.ports);
            listening.report_moved(planned, new, net.reporter());
            new
        }
    };
    let network = plan_from(net.existing()?, &first_home, new, 0)?;
    for node in &network.nodes {
        listening.check(node.ports, OTHER_BASE)?;
    }
    move_to(net, &network, new)
}

/// Assigns the devnet's ports to all nodes if a command was interrupted while it changed them.
///
/// # Errors
/// The error of a file.
pub fn settle(net: &mut Devnet) -> Result<(), Error> {
    let state = net.existing()?;
    if !state.moving {
        return Ok(());
    }
    let base = state.base_port;
    let network = plan(state, &net.node(0)?.home)?;
    move_to(net, &network, base)
}

/// Writes the configurations of all nodes for the ports from `base`. None of the nodes runs.
fn move_to(net: &mut Devnet, network: &Network, base: u16) -> Result<(), Error> {
    net.existing_mut()?.moving = true;
    net.save()?;
    let dir = net.dir.clone();
    for node in &network.nodes {
        let home = dir.join(&node.name);
        // The learned addresses have the previous ports: of a copied devnet, those of the original's nodes,
        // which have the same keys.
        let learned = home.join(&Config::default().p2p.peers_file);
        match std::fs::remove_file(&learned) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::file("remove", &learned)(error));
            }
            _ => {}
        }
        let path = Paths::config_in(&home);
        files::write_locked(&path, &homes::config(network, node, Layout::default()))?;
    }
    let mut nodes = Vec::new();
    for (number, node) in network.nodes.iter().enumerate() {
        let is_planned = planned_ports(base, number)? == node.ports;
        nodes.push(NodeRecord {
            own_port: (!is_planned).then_some(node.ports.first),
            ..record(&dir, node)
        });
    }
    let state = net.existing_mut()?;
    (state.base_port, state.moving, state.nodes) = (base, false, nodes);
    net.save()
}

/// The network plan of a devnet, with its present ports.
///
/// # Errors
/// The fault of its genesis file.
pub fn plan(state: &State, first_home: &Path) -> Result<Network, Error> {
    plan_with(state, first_home, 0)
}

/// The same, with more nodes that only follow.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(state: &State, first_home: &Path, more: u32) -> Result<Network, Error> {
    let mut network = plan_from(state, first_home, state.base_port, more)?;
    for (node, record) in network.nodes.iter_mut().zip(&state.nodes) {
        if let Some(first) = record.own_port {
            node.ports = Ports { first };
        }
    }
    Ok(network)
}

/// The same with all ports from `base`.
fn plan_from(state: &State, first_home: &Path, base: u16, more: u32) -> Result<Network, Error> {
    let genesis = files::genesis(&paths_of(first_home)?.genesis)?;
    let validators = state.nodes.iter().filter(|node| node.is_validator()).count();
    let full = state.nodes.len().saturating_sub(validators);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Network::plan(&Spec {
        validators: count(validators),
        full: count(full).saturating_add(more),
        seed: state.seed.clone(),
        params: genesis.params,
        time: TimeMs(genesis.time.0),
        hosts: Hosts::One(HOST.to_owned()),
        starting_port: base,
        dev_accounts: DEV_ACCOUNTS,
    })
}
