//! Definition of the arguments. The commands interpret them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::commands::{
    account, bench, block, completions, config, db, debug, devnet, genesis, init, keys, mempool, node, peers,
    poh, proof, rpc, status, subscribe, testnet, transfer, tx, validator, version,
};
use crate::context::Context;
use crate::environment;
use crate::error::CliError;
use crate::node_url::NodeUrl;
use crate::output::{Answer, Format};
use crate::usage::whole;

const EXAMPLES: &str = "\
Examples:
  vibecoin node --dev              a chain of your own with ten funded accounts
  vibecoin keys list --home DIR    who is dev0?
  vibecoin transfer vibet1… 1000 --from dev0 --home DIR --wait final
  vibecoin account proof vibet1… --out proof.json
  vibecoin proof verify proof.json --genesis DIR/genesis.toml

Exit codes: 0 ok, 2 usage, 3 cannot connect, 4 transaction rejected, 5 not found, 6 timeout, 7 input file invalid, \
8 verification failed, 9 locked, 10 config, 12 not ready, 20 corruption, 40 key.";

/// VibeCoin: a ledger whose every answer can be checked.
#[derive(Debug, Parser)]
#[command(name = "vibecoin", version, about, after_help = EXAMPLES, max_term_width = 110)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that an environment variable may set.
const VARIABLES: [(&str, &str); 3] = [
    ("home", "VIBECOIN_HOME"),
    ("url", "VIBECOIN_URL"),
    ("output", "VIBECOIN_OUTPUT"),
];

impl Arguments {
    /// Parses the arguments; the environment supplies those that are absent. A variable that is empty counts
    /// as not set.
    ///
    /// # Errors
    /// The fault of the arguments, or the requested help.
    pub fn from_command_line(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        for (option, variable) in VARIABLES {
            if environment::value(variable).is_some() {
                // The help shows the values of variables; an address may hold a password.
                let is_hidden = option == "url";
                command = command.mut_arg(option, |argument| {
                    argument.env(variable).hide_env_values(is_hidden)
                });
            }
        }
        for (path, option, variable) in OF_DEVNET {
            if environment::value(variable).is_none() {
                command = without_variable(command, path, option);
            }
        }
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Options of commands that an environment variable may set.
const OF_DEVNET: [(&[&str], &str, &str); 3] = [
    (&["devnet"], "dir", "DEVNET_DIR"),
    (&["devnet"], "typed", "DEVNET_TYPED"),
    (&["devnet", "up"], "validators", "NODES"),
];

/// The command whose option, of the subcommand at `path`, no variable sets.
fn without_variable(command: clap::Command, path: &[&str], option: &'static str) -> clap::Command {
    match path.split_first() {
        Some((first, rest)) => command.mut_subcommand(first, |sub| without_variable(sub, rest, option)),
        None => command.mut_arg(option, |argument| argument.env(Resettable::Reset)),
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Globals {
    /// Home directory: genesis, database, keys, configuration [default: $VIBECOIN_HOME, or the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: config.toml in the home directory]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub config: Option<PathBuf>,
    /// Address of a node ($VIBECOIN_URL); `local` and `dev` are the node of the home directory, or 127.0.0.1:8545
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        default_value = "local",
        help_heading = "Global options"
    )]
    pub url: NodeUrl,
    /// Form of results on stdout ($VIBECOIN_OUTPUT)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub output: Format,
    /// Say less: errors only
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Colour on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub color: Color,
    /// No progress lines
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_progress: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub yes: bool,
    /// Seconds to wait for a node's answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u64>(1..=3600), help_heading = "Global options")]
    pub timeout: u64,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node
    Node(node::NodeArgs),
    /// Make the home directory of a node
    Init(init::InitArgs),
    /// Make and check genesis files
    #[command(subcommand)]
    Genesis(genesis::GenesisCommand),
    /// A network of nodes on this machine
    Devnet(Box<devnet::DevnetArgs>),
    /// The files of a network on several hosts
    #[command(subcommand)]
    Testnet(testnet::TestnetCommand),
    /// Keys of accounts, on disk
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Accounts: read them, prove them
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Send money
    Transfer(transfer::TransferArgs),
    /// Transactions, step by step
    #[command(subcommand)]
    Tx(tx::TxCommand),
    /// Blocks
    #[command(subcommand)]
    Block(block::BlockCommand),
    /// Proofs, checked offline
    #[command(subcommand)]
    Proof(proof::ProofCommand),
    /// Proof of History
    #[command(subcommand)]
    Poh(poh::PohCommand),
    /// Transactions that wait
    #[command(subcommand)]
    Mempool(mempool::MempoolCommand),
    /// Who this node is connected with
    #[command(subcommand)]
    Peers(peers::PeersCommand),
    /// Who votes, whose turn it is, how it goes
    #[command(subcommand)]
    Validator(validator::ValidatorCommand),
    /// How the node is
    Status(status::StatusArgs),
    /// Whether the node is ready; exit 12 when it is not
    Health(status::HealthArgs),
    /// The database of a stopped node
    #[command(subcommand)]
    Db(db::DbCommand),
    /// The configuration of a node
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Call any method of a node
    Rpc(rpc::RpcArgs),
    /// Follow blocks, headers, an account or transactions
    Subscribe(subscribe::SubscribeArgs),
    /// Measure this machine, or a running node
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Tools for developers
    #[command(subcommand)]
    Debug(debug::DebugCommand),
    /// What this program is
    Version(version::VersionArgs),
    /// Completions for a shell
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// [`CliError`], which has the exit code.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        if !matches!(self, Self::Node(_)) {
            crate::logging::for_client(context);
        }
        match self {
            Self::Node(args) => args.run(context),
            Self::Init(args) => args.run(context),
            Self::Genesis(command) => command.run(context),
            Self::Devnet(args) => args.run(context),
            Self::Testnet(command) => command.run(context),
            Self::Keys(command) => command.run(context),
            Self::Account(command) => command.run(context),
            Self::Transfer(args) => args.run(context),
            Self::Tx(command) => command.run(context),
            Self::Block(command) => command.run(context),
            Self::Proof(command) => command.run(context),
            Self::Poh(command) => command.run(context),
            Self::Mempool(command) => command.run(context),
            Self::Peers(command) => command.run(context),
            Self::Validator(command) => command.run(context),
            Self::Status(args) => args.run(context),
            Self::Health(args) => args.run(context),
            Self::Db(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Rpc(args) => args.run(context),
            Self::Subscribe(args) => args.run(context),
            Self::Bench(command) => command.run(context),
            Self::Debug(command) => command.run(),
            Self::Version(args) => Ok(args.run()),
            Self::Completions(args) => Ok(args.run()),
        }
    }
}

/// The requested output format, when the arguments as a whole are invalid.
pub fn format_of(arguments: impl Iterator<Item = String>, environment: Option<&str>) -> Format {
    let arguments: Vec<String> = arguments.take_while(|argument| argument != "--").collect();
    let flag = arguments.iter().enumerate().rev().find_map(|(i, argument)| {
        if argument == "-o" || argument == "--output" {
            return arguments.get(i.saturating_add(1)).map(String::as_str);
        }
        argument
            .strip_prefix("--output=")
            .or_else(|| argument.strip_prefix("-o"))
    });
    let word = flag.or(environment).unwrap_or_default();
    Format::from_str(word.trim_start_matches('='), true).unwrap_or_default()
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
