//! One module per command: its arguments, and their execution. No command uses another one: what several of them
//! share is a module beside this one, or in a library.

pub mod account;
pub mod bench;
pub mod block;
pub mod completions;
pub mod config;
pub mod db;
pub mod debug;
pub mod devnet;
pub mod genesis;
pub mod init;
pub mod keys;
pub mod mempool;
pub mod node;
pub mod peers;
pub mod poh;
pub mod proof;
pub mod rpc;
pub mod snapshot;
pub mod status;
pub mod subscribe;
pub mod testnet;
pub mod transfer;
pub mod tx;
pub mod validator;
pub mod version;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::globals::Globals;
use crate::output::Answer;

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
    /// Options that every command accepts.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
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
    /// States of the chain as files, from which a new node starts
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
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
            Self::Snapshot(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Rpc(args) => args.run(context),
            Self::Subscribe(args) => args.run(context),
            Self::Bench(command) => command.run(context),
            Self::Debug(command) => command.run(),
            Self::Version(args) => Ok(args.run()),
            Self::Completions(args) => Ok(args.run(&mut Arguments::command())),
        }
    }
}
