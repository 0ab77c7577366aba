//! `vibecoin db`: the database of a stopped node.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use vibecoin_config::{Config, Paths};
use vibecoin_engine::{Inspected, inspect};
use vibecoin_keystore::{HomeLock, NodeKeyRole};
use vibecoin_primitives::Height;
use vibecoin_storage::check::{CheckOptions, CheckReport, Fault, Progress, Record, check_path};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::start::Damage;
use vibecoin_storage::{StorageError, Store, StoreConfig};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::{self, Answer};
use crate::program::quoted_path;

const EXAMPLES: &str = "\
Examples:
  vibecoin db check --home DIR     re-derive everything, name the first fault
  vibecoin db check --quick        without Proof of History and signatures
  vibecoin db rewind --to 1000 --yes

The node must be stopped: exit 9 names the process that holds the home. A fault ends with exit 20.";

/// Number of blocks between two progress lines.
const PROGRESS_BLOCKS: u64 = 10_000;

/// The commands of `db`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum DbCommand {
    /// Print figures
    Stats,
    /// Check every record against every other: links, certificates, Proof of History, roots, indexes, money
    Check {
        /// Leave out the Proof of History and the signatures of transactions
        #[arg(long)]
        quick: bool,
    },
    /// Forget the blocks above a height
    Rewind {
        /// The height that becomes the head
        #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true, value_parser = crate::numbers::number)]
        to: u64,
    },
}

impl DbCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 9 while a node runs, 20 for damage.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let (home, config) = (context.home()?, context.config()?);
        let paths = Paths::new(home, &config);
        if !files::exists(&paths.db.join("CURRENT"))? {
            return Err(CliError::new(
                Exit::NotFound,
                format!("{} holds no database", paths.db.display()),
            )
            .reason("no_database")
            .hint("a node makes it at its first start; name its home with --home"));
        }
        let _lock = HomeLock::acquire(home)?;
        match self {
            Self::Stats => stats(&paths.db, &config),
            Self::Check { quick } => check(context, &paths, &config, quick),
            Self::Rewind { to } => rewind(context, &paths, &config, Height(to)),
        }
    }
}

/// Opens the store unmodified: no state is materialised in the background.
fn open(db: &Path, config: &Config) -> Result<Store, StorageError> {
    let mut store = StoreConfig {
        background: false,
        ..StoreConfig::default()
    };
    store.rocks.block_cache_bytes = usize::try_from(config.storage.block_cache_bytes).unwrap_or(usize::MAX);
    Store::open_path(db, None, store)
}

fn stats(db: &Path, config: &Config) -> Result<Answer, CliError> {
    let store = open(db, config)?;
    let (genesis, stats) = (store.genesis().hash, store.stats());
    Ok(Answer::new(json!({
        "genesisHash": genesis.to_string(),
        "height": stats.head.height.0.to_string(),
        "blockHash": stats.head.hash.to_string(),
        "materialisedHeight": stats.materialised.0.to_string(),
        "pendingUpdates": stats.pending_updates,
        "diskBytes": stats.kv.disk_bytes.to_string(),
    })))
}

fn check(context: &Context, paths: &Paths, config: &Config, quick: bool) -> Result<Answer, CliError> {
    let options = CheckOptions {
        poh: !quick,
        signatures: !quick,
    };
    let silent = context.globals.quiet || context.globals.no_progress;
    let mut told = 0;
    let report = check_path(&paths.db, options, &mut |progress| {
        if let Progress::Blocks(done, all) = progress
            && !silent
            && done.saturating_sub(told) >= PROGRESS_BLOCKS
        {
            told = done;
            output::note(&format!("{done} of {all} blocks"));
        }
    })?;
    if let Some(fault) = &report.fault {
        let json = view(&report, Some(fault), &[]);
        return Err(CliError::new(Exit::Corruption, format!("{}: {fault}", paths.db.display()))
            .hint("keep a copy of the home for a report; then restore a copy that is whole, or move the database folder away and start: a node with peers fetches the chain again")
            .data(json));
    }
    let inspected = beside(context, paths, config, &report)?;
    if let Some(damage) = inspected.report.damage.first() {
        let fault = fault_of(damage);
        let json = view(&report, Some(&fault), &inspected.warnings);
        return Err(
            CliError::new(Exit::Corruption, format!("{}: {damage}", paths.db.display()))
                .hint(damage.remedy())
                .data(json),
        );
    }
    for warning in &inspected.warnings {
        output::note(&format!("warning: {warning}"));
    }
    let json = view(&report, None, &inspected.warnings);
    let text = format!(
        "clean: height {}, {} blocks, {} transactions, {} accounts, {} slots, {} trie nodes",
        report.head.map_or(Height::ZERO, |head| head.height),
        report.blocks,
        report.transactions,
        report.accounts,
        report.slots,
        report.nodes
    );
    Ok(Answer::new(json).text(text))
}

/// Checks everything beside the database as a start does: a home that the node refuses is not clean.
fn beside(
    context: &Context,
    paths: &Paths,
    config: &Config,
    report: &CheckReport,
) -> Result<Inspected, CliError> {
    let genesis = context.built_genesis()?;
    let store = open(&paths.db, config)?;
    let found = store.genesis().hash;
    if let Some(expected) = genesis.as_ref().map(|genesis| genesis.hash)
        && expected != found
    {
        return Err(StorageError::GenesisMismatch { expected, found }.into());
    }
    let dev = genesis.is_some_and(|genesis| genesis.params.dev);
    let keys = context.node_keys()?;
    let signs = !dev && keys.exists(NodeKeyRole::Validator)?;
    inspect(paths, &store, signs).map_err(|error| {
        let error = CliError::from(error);
        if error.exit == Exit::Corruption {
            let fault = Fault {
                record: Record::Meta,
                height: report.head.map_or(Height::ZERO, |head| head.height),
                detail: error.message.clone(),
            };
            return error.data(view(report, Some(&fault), &[]));
        }
        error
    })
}

fn fault_of(damage: &Damage) -> Fault {
    let height = match damage {
        Damage::Record(fault) => return fault.clone(),
        Damage::HeadBehindWitness { head, .. } | Damage::HeadBehindGuard { head, .. } => head.height,
        Damage::OtherThanWitness { witness, .. } => witness.height,
        _ => Height::ZERO,
    };
    Fault {
        record: Record::Meta,
        height,
        detail: damage.to_string(),
    }
}

fn view(report: &CheckReport, fault: Option<&Fault>, warnings: &[String]) -> Value {
    json!({
        "clean": fault.is_none(),
        "height": report.head.map(|head| head.height.0.to_string()),
        "blockHash": report.head.map(|head| head.hash.to_string()),
        "materialisedHeight": report.materialised.0.to_string(),
        "blocks": report.blocks.to_string(),
        "transactions": report.transactions.to_string(),
        "accounts": report.accounts.to_string(),
        "slots": report.slots.to_string(),
        "trieNodes": report.nodes.to_string(),
        "fault": fault.map(|fault| json!({
            "record": format!("{:?}", fault.record).to_lowercase(),
            "height": fault.height.0.to_string(),
            "detail": fault.detail,
        })),
        "warnings": warnings,
    })
}

/// The steps to a home that may be rewound: the key stays where it is.
fn copy_hint(paths: &Paths) -> String {
    let mut copy = paths.home.as_os_str().to_owned();
    copy.push("-without-key");
    let copy = PathBuf::from(copy);
    let key = paths
        .validator_key
        .strip_prefix(&paths.home)
        .unwrap_or(&paths.validator_key);
    let (home, key, copy) = (
        quoted_path(&paths.home),
        quoted_path(&copy.join(key)),
        quoted_path(&copy),
    );
    format!(
        "rewind a copy without the key: `cp -r {home} {copy} && rm {key}`, and name it with --home {copy}"
    )
}

fn rewind(context: &Context, paths: &Paths, config: &Config, to: Height) -> Result<Answer, CliError> {
    // On a dev chain of one validator no other validator has its old votes.
    let dev = context
        .genesis()?
        .is_some_and(|genesis| genesis.params.dev && genesis.validators.len() == 1);
    let keys = context.node_keys()?;
    if !dev && keys.exists(NodeKeyRole::Validator)? {
        return Err(CliError::new(
            Exit::SafetyHalt,
            "this home has a validator key, which must not sign these heights again",
        )
        .hint(copy_hint(paths)));
    }
    if !context.globals.yes {
        return Err(
            CliError::usage(format!("the blocks above {to} would be forgotten"))
                .hint("say --yes if that is what you want"),
        );
    }
    let store = open(&paths.db, config)?;
    let (base, from) = (store.base().height, store.head().height);
    let target = match store.reader().header(to) {
        // The database began with a snapshot of a later block.
        Err(StorageError::Pruned { .. }) => None,
        found => found?,
    };
    let target = target.ok_or_else(|| {
        CliError::new(
            Exit::NotFound,
            format!("there is no block {to} to go back to: the database has {base} to {from}"),
        )
        .hint(format!("name a height from {base} to {from} with --to"))
    })?;
    // First the witness: if it is ahead of the database, blocks may be lost.
    if files::exists(&paths.witness)? {
        let mut witness = HeadWitness::open_or_create(&paths.witness)?;
        witness.record(vibecoin_storage::Head {
            height: to,
            hash: target.hash(),
        })?;
        witness.sync()?;
    }
    store.rewind_to(to)?;
    let head = store.head();
    store.close()?;
    let text = format!("rewound from {from} to {}", head.height);
    Ok(Answer::new(json!({
        "from": from.0.to_string(),
        "height": head.height.0.to_string(),
        "blockHash": head.hash.to_string(),
    }))
    .text(text))
}
