//! One node at a time: stop, kill, start, add.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use vibecoin_devnet::NodeRecord;
use vibecoin_devnet::addition::{Addition, Joined, catch_up};
use vibecoin_devnet::client::no_node;
use vibecoin_devnet::process::{self, Ended};
use vibecoin_devnet::readiness::ReadyLine;
use vibecoin_devnet::supervisor::{self, program};
use vibecoin_keystore::HomeLock;
use vibecoin_snapshots::Snapshot;

use super::StartOptions;
use super::state::Devnet;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::numbers::whole;
use crate::output::{self, Answer, REPORTER};
use crate::snapshots::{Meter, Source, running};

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
    /// Start it from a snapshot that a running node makes now, not from genesis
    #[arg(long)]
    from_snapshot: bool,
    #[command(flatten)]
    start: StartOptions,
}

/// Stops a node with SIGTERM.
pub fn stop(dir: &Path, args: &StopArgs) -> Result<Answer, CliError> {
    let (mut net, number) = open(dir, &args.node)?;
    let name = net.node(number)?.name;
    let stopped = supervisor::stop_some(&mut net, &[number], Duration::from_secs(args.grace))?;
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
    process::kill(pid, started, REPORTER)?;
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
    let net = Devnet::change(dir, REPORTER)?;
    let number = net.position(&node.node)?;
    Ok((net, number))
}

/// Starts a node on its previous ports, and waits until it has the head of the others.
pub fn start(context: &Context, dir: &Path, args: &StartArgs) -> Result<Answer, CliError> {
    let binary = program(args.start.binary.as_deref())?;
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
    let binary = program(args.start.binary.as_deref())?;
    Devnet::look(dir)?.existing()?;
    let net = Devnet::change(dir, REPORTER)?;
    net.refuse_adrift()?;
    let addition = Addition::plan(&net)?;
    context.wait_unreported(async {
        addition.check().await?;
        Ok(())
    })?;
    let number = addition.number;
    let snapshot = args
        .from_snapshot
        .then(|| snapshot_of(context, &net))
        .transpose()?;
    let mut net = addition.make(net)?;
    if let Some(snapshot) = snapshot {
        restore(context, &net.node(number)?, snapshot)?;
    }
    join(context, &mut net, number, &binary, &args.start)
}

/// Has a running node make a snapshot.
fn snapshot_of(context: &Context, net: &Devnet) -> Result<Snapshot, CliError> {
    let begun = Instant::now();
    let running = net.running();
    let node = running.first().ok_or_else(no_node)?;
    let made = running::create(&context.at(node.url(), &node.home), None)?;
    output::say(&format!(
        "{} made a snapshot of height {} in {:.2} s: {} chunks, {} bytes",
        node.name,
        made.height.0,
        begun.elapsed().as_secs_f64(),
        made.chunks,
        made.bytes.0
    ));
    Ok(Snapshot::open(Path::new(&made.path))?)
}

/// Makes the database of a node that was added, and deletes the snapshot.
fn restore(context: &Context, node: &NodeRecord, snapshot: Snapshot) -> Result<(), CliError> {
    let begun = Instant::now();
    let context = context.at(node.url(), &node.home);
    let (paths, config) = (context.paths()?, context.config()?);
    let genesis = files::build(&paths.genesis, &files::genesis(&paths.genesis)?)?;
    let path = snapshot.path().to_owned();
    let _lock = HomeLock::acquire(&node.home)?;
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    let source = Source::Local(Box::new(snapshot));
    let (info, restored) =
        source.into_home(&genesis, &paths, &config, &mut |progress| meter.print(progress))?;
    output::say(&format!(
        "{} has the verified state of height {} after {:.2} s: {} accounts, {} slots",
        node.name,
        info.height,
        begun.elapsed().as_secs_f64(),
        restored.accounts,
        restored.slots
    ));
    Ok(vibecoin_snapshots::delete(&path)?)
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
    let deadline = supervisor::deadline(options.timeout);
    let others = net.running();
    let lines = supervisor::start(net, binary, &[number], deadline)?;
    let from = lines.first().map_or(0, ReadyLine::height);
    let answering = begun.elapsed();
    let joined = context.wait_unreported(async {
        let joined = catch_up(net, number, others, from, begun, deadline).await?;
        Ok(joined)
    })?;
    let Joined {
        reached,
        took,
        transactions,
        compared,
    } = joined;
    let node = net.node(number)?;
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
