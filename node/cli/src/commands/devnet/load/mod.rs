//! `load`: transfers to every node at once, and the time until they are final.
//!
//! ```text
//!  sign ahead ─▶ a queue per node ─▶ send, paced ─▶ node ─▶ …agreement… ─▶ blocks ─▶ watch on every node
//!                (bounded)                └─ one transfer of each batch is a sample ─▶ final at the next node
//! ```
//!
//! Each account belongs to one node, so that a node receives the nonces of an account in order. A sample is
//! sent to one node and is final when the *next* node has announced its block: the view of a user of another
//! node. Signing is done ahead as far as memory allows, and is not counted.

mod report;
mod send;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use vibecoin_primitives::Amount;

use super::ask;
use super::faucet;
use super::process;
use super::state::{Devnet, NodeRecord};
use crate::chain::Chain;
use crate::commands::bench::load::accounts::{self, Member, Seen};
use crate::commands::bench::load::process::Usage;
use crate::commands::bench::load::{AMOUNT, transfer_fee};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::numbers::whole;
use crate::output::{self, Answer};
use crate::program::Typed;
use crate::wait::Reports;
use report::NodeCost;
use watch::Watch;

/// Interval between two samples of a node's memory.
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// Interval between two reads of the accounts while the last transfers become final.
const SETTLED_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Transfers per second, over all nodes; 0 means as fast as they are taken
    #[arg(long, default_value_t = 200, allow_negative_numbers = true, value_parser = whole::<u64>(0..=1_000_000))]
    pub tps: u64,
    /// Accounts that send and receive
    #[arg(long, default_value_t = 200, allow_negative_numbers = true, value_parser = whole::<u64>(2..=1_000_000))]
    pub accounts: u64,
    /// Seconds of sending
    #[arg(long, default_value_t = 10, allow_negative_numbers = true, value_parser = whole::<u64>(1..=86_400))]
    pub secs: u64,
    /// Most transfers per request
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = whole::<u64>(1..=100))]
    pub batch: u64,
    /// Most transfers that were taken and are not final yet; 0 means no bound. Transfers of others loosen it
    #[arg(long, value_name = "N", default_value_t = 10_000, allow_negative_numbers = true, value_parser = whole::<u64>(0..=10_000_000))]
    pub in_flight: u64,
    /// Send to these nodes only; numbers or names, separated by commas [default: all that run]
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Seconds that the last transfers may take to become final
    #[arg(long, default_value_t = 60, allow_negative_numbers = true, value_parser = whole::<u64>(1..=3600))]
    pub settle: u64,
}

/// Processor time and memory of a node during the load.
struct Meter {
    node: NodeRecord,
    pid: u32,
    cpu: Duration,
    threads: Usage,
    memory_start: u64,
    memory_max: u64,
}

impl Meter {
    fn start(node: &NodeRecord, pid: u32) -> Self {
        let memory = process::resident_bytes(pid).unwrap_or(0);
        Self {
            node: node.clone(),
            pid,
            cpu: process::cpu_time(pid).unwrap_or_default(),
            threads: Usage::of(pid),
            memory_start: memory,
            memory_max: memory,
        }
    }

    fn look(&mut self) {
        self.memory_max = self
            .memory_max
            .max(process::resident_bytes(self.pid).unwrap_or(0));
    }

    fn stop(&mut self) -> NodeCost {
        self.look();
        // A node that ended meanwhile has no figures any more.
        let cpu = process::cpu_time(self.pid).map(|cpu| cpu.saturating_sub(self.cpu));
        NodeCost {
            name: self.node.name.clone(),
            cpu,
            threads: Usage::of(self.pid).since(&self.threads).threads,
            memory_start: self.memory_start,
            memory_end: process::resident_bytes(self.pid).unwrap_or(0),
            memory_max: self.memory_max,
        }
    }
}

/// Runs the load.
pub fn run(context: &Context, dir: &Path, args: &LoadArgs) -> Result<Answer, CliError> {
    let net = Devnet::look(dir)?;
    let nodes = targets(&net, args)?;
    if args.accounts < nodes.len() as u64 {
        return Err(CliError::usage(format!(
            "{} accounts for {} nodes: every node needs one",
            args.accounts,
            nodes.len()
        )));
    }
    let (funder, near) = faucet::funder(context, &net)?;
    let shown = Typed::elsewhere(&near.globals.url, near.home()?);
    let meters: Vec<(NodeRecord, u32)> = net
        .running()
        .into_iter()
        .filter_map(|node| Some((node.clone(), net.pid(&node)?)))
        .collect();
    let done = context.wait_unreported(async {
        let client = near.client()?;
        let chain = Chain::ask(&near, &client).await?;
        let fee = transfer_fee(&chain)?;
        say(context, format!("funding {} accounts", args.accounts));
        let mut members = accounts::members(args.accounts);
        accounts::fund(
            &near,
            &client,
            &chain,
            &funder,
            &mut members,
            need(args, &chain, fee),
        )
        .await?;
        let before = accounts::read(&client, &members).await?;
        say(context, "signing".to_owned());
        let jobs = send::Jobs::start(args, &chain, nodes.len(), &before, fee);
        measure(context, args, &nodes, &meters, &members, &before, jobs).await
    });
    shown.outcome(done)
}

async fn measure(
    context: &Context,
    args: &LoadArgs,
    nodes: &[NodeRecord],
    meters: &[(NodeRecord, u32)],
    members: &[Member],
    before: &[Seen],
    mut jobs: send::Jobs,
) -> Result<Answer, CliError> {
    jobs.filled().await;
    let rate = match args.tps {
        0 => "as fast as they are taken".to_owned(),
        tps => format!("{tps} transfers/s"),
    };
    say(
        context,
        format!("sending to {} nodes for {} s, {rate}", nodes.len(), args.secs),
    );
    let heads = ask::heads(&ask::clients(nodes)?).await;
    let head = heads.iter().flatten().map(|head| head.height).max().unwrap_or(0);
    let watch = Watch::new(nodes.len(), head.saturating_add(1));
    let mut meters: Vec<Meter> = meters
        .iter()
        .map(|(node, pid)| Meter::start(node, *pid))
        .collect();
    let own_cpu = process::cpu_time(std::process::id()).unwrap_or_default();
    let begun = Instant::now();
    let work = async {
        let outcome = send::all(context, args, nodes, jobs, &watch).await?;
        let sending = begun.elapsed();
        say(
            context,
            format!("sent {}; waiting until they are final", outcome.taken),
        );
        let settled = settle(context, args, nodes, members, before, &outcome).await?;
        watch.settle_samples(nodes).await;
        Ok::<_, CliError>((outcome, sending, settled))
    };
    let observing = watch.observe(context, nodes);
    let looking = async {
        loop {
            tokio::time::sleep(MEMORY_EVERY).await;
            meters.iter_mut().for_each(Meter::look);
        }
    };
    let (outcome, sending, settled) = tokio::select! {
        done = work => done?,
        // These two never end on their own.
        () = observing => return Err(CliError::new(Exit::Failure, "nobody watches the blocks any more")),
        () = looking => return Err(CliError::new(Exit::Failure, "nobody looks at the memory any more")),
    };
    let costs = meters.iter_mut().map(Meter::stop).collect();
    let own_cpu = process::cpu_time(std::process::id())
        .unwrap_or_default()
        .saturating_sub(own_cpu);
    Ok(report::answer(report::Facts {
        args,
        nodes,
        outcome,
        begun,
        sending,
        settled,
        blocks: watch.blocks(),
        latencies: watch.latencies(),
        samples_lost: watch.samples_left(),
        costs,
        own_cpu,
    }))
}

/// Progress of the transfers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled {
    /// Number in blocks, by the nonces of their senders.
    pub included: u64,
    /// True if every accepted transfer is in a block.
    pub all: bool,
}

/// Waits until every account's nonce shows that all its transfers are in blocks, or until the deadline.
async fn settle(
    context: &Context,
    args: &LoadArgs,
    nodes: &[NodeRecord],
    members: &[Member],
    before: &[Seen],
    outcome: &send::Outcome,
) -> Result<Settled, CliError> {
    let deadline = super::run::deadline(args.settle);
    let mut reports = Reports::begin();
    loop {
        // Any node is sufficient: a transfer in a block of one is final for all.
        let mut seen = None;
        for node in nodes {
            let client = context.at(node.url(), &node.home).client()?;
            if let Ok(read) = accounts::read(&client, members).await {
                seen = Some(read);
                break;
            }
        }
        if let Some(seen) = seen {
            let mut settled = Settled {
                included: 0,
                all: true,
            };
            for (index, (before, after)) in before.iter().zip(&seen).enumerate() {
                let done = after.nonce.saturating_sub(before.nonce);
                settled.included = settled.included.saturating_add(done);
                settled.all &= done >= outcome.sent_by(index);
            }
            if settled.all || Instant::now() >= deadline {
                return Ok(settled);
            }
        } else if Instant::now() >= deadline {
            return Ok(Settled::default());
        }
        if let Some(seconds) = reports.due() {
            output::say(&format!(
                "waiting until every transfer is in a block, for {seconds} s of {}",
                args.settle
            ));
        }
        tokio::time::sleep(SETTLED_EVERY).await;
    }
}

/// The nodes that transfers are sent to.
fn targets(net: &Devnet, args: &LoadArgs) -> Result<Vec<NodeRecord>, CliError> {
    let mut nodes = net.running();
    if !args.nodes.is_empty() {
        let mut wanted = Vec::new();
        for node in &args.nodes {
            let named = node;
            let node = net.node(net.position(named)?)?;
            if wanted.iter().any(|known: &NodeRecord| known.name == node.name) {
                let nodes = args.nodes.join(",");
                return Err(CliError::usage(format!("node {named} is in {nodes} twice")));
            }
            if net.pid(&node).is_none() {
                return Err(
                    CliError::new(Exit::CannotConnect, format!("{} does not run", node.name))
                        .hint(format!("`vibecoin devnet start-node {}` starts it", node.name)),
                );
            }
            wanted.push(node);
        }
        nodes = wanted;
    }
    if nodes.is_empty() {
        return Err(faucet::no_node());
    }
    Ok(nodes)
}

/// Balance that an account needs for its share of the transfers.
fn need(args: &LoadArgs, chain: &Chain, fee: Amount) -> Amount {
    /// More than any machine of ours reaches, for a load without a rate.
    const TPS_MOST: u64 = 50_000;
    let tps = if args.tps == 0 { TPS_MOST } else { args.tps };
    let each = tps.saturating_mul(args.secs).div_ceil(args.accounts.max(1));
    let cost = fee
        .0
        .saturating_add(AMOUNT.0)
        .saturating_mul(each.saturating_add(1));
    Amount(cost.saturating_add(chain.info.params.account_price.0))
}

fn say(context: &Context, text: String) {
    if !context.globals.quiet && !context.globals.no_progress {
        output::note(&text);
    }
}
