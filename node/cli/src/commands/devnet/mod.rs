//! `vibecoin devnet`: a network of nodes on this machine, and operations on it. The supervisor is `node/devnet`; here
//! are the arguments and what is printed.
//!
//! Read in this order: `run` (up and down), `nodes` (one by one), `table`.

mod faucet;
mod load;
mod logs;
mod nodes;
mod partition;
mod run;
mod table;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Subcommand};
use vibecoin_devnet::plan::NODES_MAX;
use vibecoin_devnet::state;

use crate::context::Context;
use crate::error::CliError;
use crate::network_args::{FaultModelName, NetworkProfile};
use crate::numbers::whole;
use crate::output::{self, Answer};
use crate::program::{Typed, quoted_path};

const EXAMPLES: &str = "\
Examples:
  vibecoin devnet up                       four validators and a full node
  vibecoin devnet up -v 1 -n 0             the smallest
  vibecoin devnet status --watch
  vibecoin devnet kill-node 2 && vibecoin devnet start-node 2
  vibecoin devnet partition 0,1/2,3 && vibecoin devnet heal
  vibecoin devnet load --tps 500 --secs 30
  vibecoin devnet destroy

Nodes are named by their number, from 0, or their name. Everything is in one folder: --dir, or DEVNET_DIR, \
or .devnet here. Accounts dev0 to dev9 and faucet are funded; their keys are in the home of the first node.";

/// Arguments of `devnet`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DevnetArgs {
    /// The devnet's folder
    #[arg(
        long,
        global = true,
        env = "DEVNET_DIR",
        value_name = "DIR",
        default_value = DIR_DEFAULT
    )]
    pub dir: PathBuf,
    /// What the caller typed for `vibecoin devnet`; a script over it says so, for the hints
    #[arg(long, global = true, env = "DEVNET_TYPED", hide = true, default_value = OWN_NAME)]
    typed: String,
    #[command(subcommand)]
    command: DevnetCommand,
}

/// The default folder.
const DIR_DEFAULT: &str = ".devnet";
/// Name of these commands in hints.
const OWN_NAME: &str = "vibecoin devnet";

/// The commands of `devnet`.
#[derive(Debug, Subcommand)]
enum DevnetCommand {
    /// Start the network and wait until every node has caught up
    Up(UpArgs),
    /// Stop it: SIGTERM, then SIGKILL after the grace time; the data stays
    Down(GraceArgs),
    /// Down, then up with the same nodes
    Restart(RestartArgs),
    /// Print the table of nodes; exit 1 unless every node runs
    Status(StatusArgs),
    /// Print what nodes logged
    Logs(logs::LogsArgs),
    /// Add a node that follows to a devnet that runs, and wait until it is at the head
    AddNode(nodes::AddArgs),
    /// Stop a node with SIGTERM
    StopNode(nodes::StopArgs),
    /// Start a stopped node on its ports, and wait until it is at the head
    StartNode(nodes::StartArgs),
    /// Kill a node with SIGKILL
    KillNode(nodes::NodeArg),
    /// Cut the network into groups of nodes, such as 0,1/2,3; nodes that are not named are in the first
    Partition(partition::PartitionArgs),
    /// Join what was cut
    Heal,
    /// Send money from the devnet's faucet
    Faucet(faucet::FaucetArgs),
    /// Send transfers to all nodes and measure how they become final
    Load(load::LoadArgs),
    /// Down, then delete the data
    Destroy(GraceArgs),
}

impl DevnetArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The exit codes of each command; exit 30 when two nodes have different blocks at one height.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let dir = &self.dir;
        let words = Words::of(dir, &self.typed);
        let outcome = match self.command {
            DevnetCommand::Up(args) => run::up(context, dir, &args),
            DevnetCommand::Down(args) => run::down(dir, &args),
            DevnetCommand::Restart(args) => run::restart(context, dir, &args),
            DevnetCommand::Status(args) => run::status(context, dir, &args, &words),
            DevnetCommand::Logs(args) => logs::run(dir, &args),
            DevnetCommand::AddNode(args) => nodes::add(context, dir, &args),
            DevnetCommand::StopNode(args) => nodes::stop(dir, &args),
            DevnetCommand::StartNode(args) => nodes::start(context, dir, &args),
            DevnetCommand::KillNode(args) => nodes::kill(dir, &args),
            DevnetCommand::Partition(args) => partition::cut(context, dir, &args),
            DevnetCommand::Heal => partition::heal(context, dir),
            DevnetCommand::Faucet(args) => faucet::run(context, dir, &args),
            DevnetCommand::Load(args) => load::run(context, dir, &args),
            DevnetCommand::Destroy(args) => run::destroy(dir, &args),
        };
        match outcome {
            Ok(answer) => Ok(answer.reworded(|text| words.shown(&text))),
            Err(error) => Err(error.reworded(|hint| words.shown(&hint))),
        }
    }
}

/// Names of the commands of one devnet in hints.
struct Words {
    /// Command line prefix that the caller used for `vibecoin devnet`.
    typed: String,
    /// The option that selects the folder, where one is needed.
    named: String,
}

impl Words {
    /// For the devnet in `dir`, of a caller that typed `typed` for `vibecoin devnet`.
    fn of(dir: &Path, typed: &str) -> Self {
        let [set, usual] = ["DEVNET_DIR", "DEVNET_DIR_DEFAULT"].map(crate::environment::value);
        Self {
            typed: typed.to_owned(),
            named: named(dir, set.as_deref(), usual.as_deref()),
        }
    }

    /// A text with the commands of this devnet as the caller can type them.
    fn shown(&self, text: &str) -> String {
        let written = format!("`{OWN_NAME} ");
        let mut parts = text.split(&written);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let named = if part.starts_with("--dir ") {
                ""
            } else {
                &self.named
            };
            out.push_str(&format!("`{}{named} {part}", self.typed));
        }
        out
    }

    /// Writes a line beside a result, with these names of commands.
    fn note(&self, text: &str) {
        let text = self.shown(text);
        output::note(&Typed::new(std::env::args_os().next(), None).shown(&text));
    }
}

/// The option that hints need for the same devnet: none where every command finds it without. A variable
/// `DEVNET_DIR` that is set may have been set for one command alone. `usual` is the folder of a script's
/// callers.
fn named(dir: &Path, set: Option<&OsStr>, usual: Option<&OsStr>) -> String {
    let usual = usual.unwrap_or(OsStr::new(DIR_DEFAULT));
    if dir.as_os_str() == usual && set.is_none_or(|set| set == usual) {
        return String::new();
    }
    format!(" --dir {}", quoted_path(dir))
}

/// Words of a usage error: behind a script over `vibecoin devnet` the script is what can be typed.
pub fn usage_error(error: CliError) -> CliError {
    let typed = crate::environment::value("DEVNET_TYPED").and_then(|typed| typed.into_string().ok());
    typed_as(error, typed)
}

fn typed_as(error: CliError, typed: Option<String>) -> CliError {
    let Some(typed) = typed else {
        return error;
    };
    let words = Words {
        typed,
        named: String::new(),
    };
    error.reworded(|hint| words.shown(&hint))
}

/// How nodes are started.
#[derive(Args, Clone, Debug)]
pub struct StartOptions {
    /// The program that the nodes run [default: this one]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Seconds to wait until the nodes are ready and have caught up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, allow_negative_numbers = true, value_parser = whole::<u64>(1..=3600))]
    pub timeout: u64,
}

/// Arguments of `up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Validators [default: 4]
    #[arg(short = 'v', long, env = "NODES", value_name = "COUNT", allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(NODES_MAX)))]
    pub validators: Option<u32>,
    /// Nodes that only follow [default: 1]
    #[arg(short = 'n', long = "full", value_name = "COUNT", allow_negative_numbers = true, value_parser = whole::<u32>(0..=u64::from(NODES_MAX)))]
    pub full: Option<u32>,
    /// Where all keys come from; equal seeds make equal keys [default: 1]
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// Which faults the validators survive [default: byzantine]
    #[arg(long, value_enum)]
    pub fault_model: Option<FaultModelName>,
    /// The rules [default: devnet]
    #[arg(long, value_enum)]
    pub profile: Option<NetworkProfile>,
    /// RPC of the first node; P2P, metrics and admin follow; the next node is 10 higher [default: the first
    /// that is free, from 27100]
    #[arg(long, value_name = "PORT", allow_negative_numbers = true, value_parser = whole::<u16>(1..=65_535))]
    pub base_port: Option<u16>,
    #[command(flatten)]
    pub start: StartOptions,
    /// Say more; `-v` are the validators here
    #[arg(long, action = ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

/// How long a clean stop may take.
#[derive(Args, Clone, Copy, Debug)]
pub struct GraceArgs {
    /// Seconds between SIGTERM and SIGKILL
    #[arg(long, value_name = "SECONDS", default_value_t = 15, allow_negative_numbers = true, value_parser = whole::<u64>(0..=3600))]
    pub grace: u64,
}

/// Arguments of `restart`.
#[derive(Args, Clone, Debug)]
pub struct RestartArgs {
    #[command(flatten)]
    grace: GraceArgs,
    #[command(flatten)]
    start: StartOptions,
}

/// Arguments of `status`.
#[derive(Args, Clone, Copy, Debug)]
pub struct StatusArgs {
    /// Again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// The same as `-o json`
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
