//! One node at a time: stop, kill, start, add.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::faucet::no_node;
use super::ports::{Listening, MOVE_ALL};
use super::process::{self, Ended};
use super::ready;
use super::state::{Devnet, NodeRecord};
use super::{StartOptions, ask, partition, run, setup};
use crate::commands::testnet::homes::{self, Layout};
use crate::commands::testnet::plan::Network;
use crate::context::{Context, paths_of};
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::numbers::whole;
use crate::output::{Answer, note};

/// Which node.
#[derive(Args, Clone, Debug)]
pub struct NodeArg {
    /// Number, from 0, or name
    pub node: String,
}

/// Arguments of `stop-node`.
#[derive(Args, Clone, Debug)]
pub struct StopArgs {
    #[command(flatten)]
    node: NodeArg,
    /// Seconds between SIGTERM and SIGKILL
    #[arg(long, value_name = "SECONDS", default_value_t = 15, allow_negative_numbers = true, value_parser = whole::<u64>(0..=3600))]
    grace: u64,
}

/// Arguments of `start-node`.
#[derive(Args, Clone, Debug)]
pub struct StartArgs {
    #[command(flatten)]
    node: NodeArg,
    #[command(flatten)]
    start: StartOptions,
}

/// Arguments of `add-node`.
#[derive(Args, Clone, Debug)]
pub struct AddArgs {
    /// A validator that joins the set: not possible in this version
    #[arg(long)]
    validator: bool,
    #[command(flatten)]
    start: StartOptions,
}

/// Stops a node with SIGTERM.
pub fn stop(dir: &Path, args: &StopArgs) -> Result<Answer, CliError> {
    let (mut net, number) = open(dir, &args.node)?;
    let name = net.node(number)?.name;
    let stopped = run::stop_some(&mut net, &[number], Duration::from_secs(args.grace))?;
    let Some((_, pid, ended)) = stopped.first() else {
        return Ok(not_running(&name));
    };
    let killed = *ended == Ended::Killed;
    let how = if killed {
        format!("{name} (pid {pid}) did not stop within {} s: SIGKILL", args.grace)
    } else {
        format!("stopped {name} (pid {pid})")
    };
    Ok(Answer::new(json!({ "node": name, "pid": pid, "wasRunning": true, "killed": killed })).text(how))
}

/// Kills a node.
pub fn kill(dir: &Path, args: &NodeArg) -> Result<Answer, CliError> {
    let (mut net, number) = open(dir, args)?;
    let node = net.node(number)?;
    let Some((pid, started)) = net.pid(&node).zip(node.started) else {
        return Ok(not_running(&node.name));
    };
    process::kill(pid, started)?;
    net.record(number, None)?;
    Ok(
        Answer::new(json!({ "node": node.name, "pid": pid, "wasRunning": true, "killed": true }))
            .text(format!("killed {} (pid {pid})", node.name)),
    )
}

fn not_running(name: &str) -> Answer {
    Answer::new(json!({ "node": name, "pid": null, "wasRunning": false, "killed": false }))
        .text(format!("{name} does not run"))
}

fn open(dir: &Path, node: &NodeArg) -> Result<(Devnet, usize), CliError> {
    Devnet::look(dir)?.position(&node.node)?;
    let net = Devnet::change(dir)?;
    let number = net.position(&node.node)?;
    Ok((net, number))
}

/// Starts a node on its previous ports, and waits until it has the head of the others.
pub fn start(context: &Context, dir: &Path, args: &StartArgs) -> Result<Answer, CliError> {
    let binary = run::program(&args.start)?;
    let (mut net, number) = open(dir, &args.node)?;
    net.refuse_adrift()?;
    let node = net.node(number)?;
    if let Some(pid) = net.pid(&node) {
        return Ok(
            Answer::new(json!({ "node": node.name, "pid": pid, "wasRunning": true }))
                .text(format!("{} already runs (pid {pid})", node.name)),
        );
    }
    join(context, &mut net, number, &binary, &args.start)
}

/// Creates a node that follows, starts it, and waits until it has the head of the others.
pub fn add(context: &Context, dir: &Path, args: &AddArgs) -> Result<Answer, CliError> {
    if args.validator {
        return Err(not_in_this_version(
            "a validator beyond those of the genesis block",
            "the validator set does not change in this version; leave out --validator for a node that \
             follows, or make a devnet with more validators: `vibecoin devnet up -v N`",
        ));
    }
    let binary = run::program(&args.start)?;
    Devnet::look(dir)?.existing()?;
    let mut net = Devnet::change(dir)?;
    net.refuse_adrift()?;
    // A lone node would have no head to reach, and no chain to share.
    let running = net.running();
    if running.is_empty() {
        return Err(no_node());
    }
    let first = net.node(0)?;
    let state = net.existing()?;
    let number = state.nodes.len();
    let mut network = setup::plan_with(state, &first.home, 1)?;
    // It must be the chain of the others. The plan has the parameters of the file and the accounts of the
    // seed.
    let path = paths_of(&first.home)?.genesis;
    let planned = files::build(&path, &network.genesis)?.hash;
    let theirs = context.wait_unreported(ask::genesis_hash(&running))?;
    if planned != theirs {
        let message = format!(
            "{} is not what this devnet was made with: its nodes run the chain {theirs}",
            path.display()
        );
        return Err(CliError::new(Exit::GenesisMismatch, message)
            .hint("nodes can be added to a devnet whose genesis file was not edited"));
    }
    let own_port = place(&mut network, number)?;
    let node = network.nodes.get(number).ok_or_else(unnumbered)?;
    let record = NodeRecord {
        own_port,
        ..setup::record(&net.dir, node)
    };
    let home = record.home.clone();
    if home.exists() {
        return Err(setup::unknown(&home));
    }
    net.existing_mut()?.nodes.push(record);
    let made = setup::finish(&mut net, number, |_| {
        homes::make(&home, &network, node, Layout::default(), None)
    });
    if let Err(error) = made {
        net.abandon()?;
        return Err(error);
    }
    join(context, &mut net, number, &binary, &args.start)
}

/// Assigns free ports to a node that is added. Returns the first of them if they differ from those of its
/// number: another devnet may use these.
fn place(network: &mut Network, number: usize) -> Result<Option<u16>, CliError> {
    let others = network.nodes.iter().enumerate();
    let others: Vec<_> = others
        .filter(|(other, _)| *other != number)
        .map(|(_, node)| node.ports)
        .collect();
    let node = network.nodes.get_mut(number).ok_or_else(unnumbered)?;
    let listening = Listening::now();
    let Some(free) = listening.next_free(node.ports, &others) else {
        listening.check(node.ports, MOVE_ALL)?;
        return Err(unnumbered());
    };
    if free == node.ports {
        return Ok(None);
    }
    note(&format!(
        "{} has the ports from {} on: those from {} on are taken",
        node.name, free.first, node.ports.first
    ));
    node.ports = free;
    Ok(Some(free.first))
}

fn unnumbered() -> CliError {
    CliError::new(Exit::Failure, "the devnet has other nodes than its numbers say")
}

/// Starts a node and waits for it.
fn join(
    context: &Context,
    net: &mut Devnet,
    number: usize,
    binary: &Path,
    options: &StartOptions,
) -> Result<Answer, CliError> {
    let begun = Instant::now();
    let deadline = run::deadline(options.timeout);
    let others: Vec<NodeRecord> = net.running();
    let lines = run::start(net, binary, &[number], deadline)?;
    let from = lines.first().map_or(0, ready::ReadyLine::height);
    let answering = begun.elapsed();
    let node = net.node(number)?;
    let (reached, took, transactions, compared) = context.wait_unreported(async {
        partition::apply_to(net, &[number]).await?;
        // Behind a partition it can catch up only with nodes on its own side.
        let others = partition::same_side(net, number, others)?;
        let compared = !others.is_empty();
        let reached = ready::at_head(&node, &others, deadline).await?;
        let took = begun.elapsed();
        let client = ask::client(node.url())?;
        let counted = ask::transactions(&client, from.saturating_add(1), reached.height);
        // An informational figure: not worth more than the given time.
        let transactions = tokio::time::timeout_at(deadline.into(), counted)
            .await
            .ok()
            .flatten();
        Ok::<_, CliError>((reached, took, transactions, compared))
    })?;
    let blocks = reached.height.saturating_sub(from);
    let catching_up = took.saturating_sub(answering).as_secs_f64();
    let per_second = |count: u64| (count as f64 / catching_up.max(1e-3)).round();
    let (block_rate, transaction_rate) = (per_second(blocks), transactions.map(per_second));
    let applied = match (transactions, transaction_rate) {
        (Some(count), Some(rate)) => {
            format!(" with {count} transactions ({block_rate} blocks/s, {rate} transactions/s)")
        }
        _ => format!(" ({block_rate} blocks/s)"),
    };
    let head = if compared {
        format!(
            " and is at the head, height {}, after {:.2} s: {blocks} blocks{applied} in {catching_up:.2} s",
            reached.height,
            took.as_secs_f64()
        )
    } else {
        "; it was compared with no other node: it can reach none that runs".to_owned()
    };
    let text = format!(
        "{} (node {number}, pid {}) answered at height {from} after {:.2} s{head}\nrpc {}\nlog {}\n",
        node.name,
        node.pid.unwrap_or(0),
        answering.as_secs_f64(),
        node.url(),
        node.log.display(),
    );
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Answer::new(json!({
        "node": node.name,
        "number": number,
        "pid": node.pid,
        "rpc": node.rpc,
        "wasRunning": false,
        "heightAtStart": from.to_string(),
        "height": reached.height.to_string(),
        "hash": reached.hash.to_string(),
        "answeredAfterMs": ms(answering),
        "atHeadAfterMs": compared.then(|| ms(took)),
        "blocks": blocks,
        "transactions": transactions,
        "blocksPerSecond": block_rate,
        "transactionsPerSecond": transaction_rate,
    }))
    .text(text))
}

/// The error for a request that this version of the node does not support.
fn not_in_this_version(what: &str, hint: &str) -> CliError {
    CliError::new(Exit::Usage, format!("{what} is not possible in this version")).hint(hint)
}
