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

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use vibecoin_loadgen::{Funding, Load, Loop, Meter, OpenLoop, Plan, Progress};

use super::faucet;
use super::state::{Devnet, NodeRecord};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::numbers::whole;
use crate::output::{self, Answer};
use crate::program::Typed;
use crate::wait::Reports;
use crate::{chain, loading};

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
    let stalled = stall_hint(&net);
    let (funder, near) = faucet::funder(context, &net)?;
    let shown = Typed::elsewhere(&near.globals.url, near.home()?);
    let running: Vec<(NodeRecord, u32)> = net
        .running()
        .into_iter()
        .filter_map(|node| Some((node.clone(), net.pid(&node)?)))
        .collect();
    let done = near.wait_unreported(async {
        let client = near.waiting_client()?;
        let chain = chain::ask(&near, &client).await?;
        let plan = args.plan(&near);
        let targets = nodes
            .iter()
            .map(|node| loading::target(&context.at(node.url(), &node.home)))
            .collect::<Result<Vec<_>, CliError>>()?;
        let steps = Steps {
            context,
            args,
            nodes: nodes.len(),
            settling: RefCell::new(Reports::begin()),
        };
        let progress = |step: Progress| steps.report(step);
        let funding = Funding {
            client: &client,
            key: &funder,
        };
        let load = Load::prepare(&plan, &chain, funding, &targets, &progress).await?;
        measure(args, &nodes, &running, load, stalled).await
    });
    let done = done.map_err(|error| match stalled {
        Some(hint) if error.exit == Exit::Timeout => error.hint(hint),
        _ => error,
    });
    shown.outcome(done)
}

/// Remedy for transfers that do not become final; `None` if the whole network runs.
fn stall_hint(net: &Devnet) -> Option<&'static str> {
    let state = net.state.as_ref()?;
    if !state.partition.is_empty() {
        return Some("the network is cut: `vibecoin devnet heal` joins it");
    }
    let runs = |node: &NodeRecord| net.pid(node).is_some();
    (!state.nodes.iter().all(runs))
        .then_some("not every node runs, see `vibecoin devnet status`: `vibecoin devnet up` starts them")
}

async fn measure(
    args: &LoadArgs,
    nodes: &[NodeRecord],
    running: &[(NodeRecord, u32)],
    load: Load<'_>,
    stalled: Option<&'static str>,
) -> Result<Answer, CliError> {
    let meters = running.iter().map(|(node, pid)| Meter::start(&node.name, *pid));
    let mut meters: Vec<Meter> = meters.collect();
    let own = Meter::start("sender", std::process::id());
    let load = Meter::during(&mut meters, load.run()).await?;
    Ok(report::answer(&report::Facts {
        args,
        nodes,
        load,
        costs: meters.into_iter().map(Meter::stop).collect(),
        own_cpu: own.stop().cpu.unwrap_or_default(),
        stalled,
    }))
}

impl LoadArgs {
    fn plan(&self, context: &Context) -> Plan {
        Plan {
            accounts: self.accounts,
            batch: self.batch,
            timeout_ms: context.timeout_ms(),
            pace: Loop::Open(OpenLoop {
                tps: self.tps,
                duration: Duration::from_secs(self.secs),
                in_flight_max: self.in_flight,
                settle: Duration::from_secs(self.settle),
            }),
        }
    }
}

/// Reports the steps of a load.
struct Steps<'a> {
    context: &'a Context,
    args: &'a LoadArgs,
    nodes: usize,
    /// The wait for the last transfers.
    settling: RefCell<Reports>,
}

impl Steps<'_> {
    fn report(&self, step: Progress) {
        let text = match step {
            Progress::Funding => format!("funding {} accounts", self.args.accounts),
            Progress::Signing => "signing".to_owned(),
            Progress::Sending => {
                let rate = match self.args.tps {
                    0 => "as fast as they are taken".to_owned(),
                    tps => format!("{tps} transfers/s"),
                };
                format!("sending to {} nodes for {} s, {rate}", self.nodes, self.args.secs)
            }
            Progress::Sent { taken } => {
                *self.settling.borrow_mut() = Reports::begin();
                format!("sent {taken}; waiting until they are final")
            }
            Progress::Settling => {
                if let Some(seconds) = self.settling.borrow_mut().due() {
                    output::say(&format!(
                        "waiting until every transfer is in a block, for {seconds} s of {}",
                        self.args.settle
                    ));
                }
                return;
            }
        };
        loading::note(self.context, &text);
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
