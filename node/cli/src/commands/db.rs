//! `vibecoin db`: the database of a stopped node.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use vibecoin_config::Config;
use vibecoin_keystore::{HomeLock, NodeKeyRole, NodeKeys};
use vibecoin_primitives::Height;
use vibecoin_storage::check::{CheckOptions, CheckReport, Fault, Progress, Record, check_path};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{StorageError, Store, StoreConfig};

use super::config::{KnobArgs, load};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Answer};

const EXAMPLES: &str = "\
Examples:
  vibecoin db check --home DIR          re-derive everything, name the first fault (exit 20)
  vibecoin db check --quick             without walking the Proof of History and checking signatures
  vibecoin db rewind --to 1000 --yes

The node must be stopped: exit 9 names the process that holds the home.";

/// Blocks between two progress lines.
const PROGRESS_BLOCKS: u64 = 10_000;
/// Where the head witness is, beside the consensus log.
const WITNESS_FILE: &str = "head";

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
        #[arg(long, value_name = "HEIGHT")]
        to: u64,
    },
}

impl DbCommand {
    /// Does it.
    ///
    /// # Errors
    /// Exit 9 while a node runs, 20 for damage.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let home = context.home();
        let config = load(
            home,
            context.globals.config.as_deref(),
            &KnobArgs::default(),
            Exit::InvalidFile,
        )?
        .config;
        let db = Config::locate(home, &config.storage.db_dir).unwrap_or_else(|| home.to_owned());
        if !db.join("CURRENT").exists() {
            return Err(
                CliError::new(Exit::NotFound, format!("{} holds no database", db.display()))
                    .reason("no_database")
                    .hint("a node makes it at its first start; name its home with --home"),
            );
        }
        let _lock = HomeLock::acquire(home)?;
        let witness = home.join("consensus").join(WITNESS_FILE);
        match self {
            Self::Stats => stats(&db, &config),
            Self::Check { quick } => check(context, &db, &witness, quick),
            Self::Rewind { to } => rewind(context, &db, &config, witness, Height(to)),
        }
    }
}

/// The store, left as it is: nothing is materialised behind our back.
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

fn check(context: &Context, db: &Path, witness: &Path, quick: bool) -> Result<Answer, CliError> {
    let options = CheckOptions {
        poh: !quick,
        signatures: !quick,
    };
    let silent = context.globals.quiet || context.globals.no_progress;
    let mut told = 0;
    let report = check_path(db, options, &mut |progress| {
        if let Progress::Blocks(done, all) = progress
            && !silent
            && done.saturating_sub(told) >= PROGRESS_BLOCKS
        {
            told = done;
            output::note(&format!("{done} of {all} blocks"));
        }
    })?;
    let fault = match &report.fault {
        Some(fault) => Some(fault.clone()),
        None => against_witness(&report, witness)?,
    };
    let json = view(&report, fault.as_ref());
    if let Some(fault) = fault {
        return Err(CliError::new(Exit::Corruption, format!("{}: {fault}", db.display()))
            .hint("keep a copy of the home for a report, then start again from genesis or from a copy that is whole")
            .data(json));
    }
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

/// The head that the witness saw must still be there: a database that lost its tail looks whole.
fn against_witness(report: &CheckReport, path: &Path) -> Result<Option<Fault>, CliError> {
    if !path.exists() {
        return Ok(None);
    }
    let witness = HeadWitness::open_or_create(path)?.head();
    let (Some(head), Some(seen)) = (report.head, witness) else {
        return Ok(None);
    };
    Ok((head.height < seen.height).then(|| Fault {
        record: Record::Meta,
        height: head.height,
        detail: format!(
            "the database ends here, but block {} {} was committed",
            seen.height, seen.hash
        ),
    }))
}

fn view(report: &CheckReport, fault: Option<&Fault>) -> Value {
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
    })
}

fn rewind(
    context: &Context,
    db: &Path,
    config: &Config,
    witness: PathBuf,
    to: Height,
) -> Result<Answer, CliError> {
    // On a dev chain of one validator nobody holds its old votes against it.
    let dev = context
        .genesis()?
        .is_some_and(|genesis| genesis.params.dev && genesis.validators.len() == 1);
    let keys = NodeKeys::new(context.home(), context.prefix()?);
    if !dev && keys.exists(NodeKeyRole::Validator)? {
        return Err(CliError::new(
            Exit::SafetyHalt,
            "this home has a validator key, which must not sign these heights again",
        )
        .hint("rewind a home without validator.key"));
    }
    if !context.globals.yes {
        return Err(
            CliError::usage(format!("the blocks above {to} would be forgotten"))
                .hint("say --yes if that is what you want"),
        );
    }
    let store = open(db, config)?;
    let from = store.head().height;
    let target = store.blocks().header(to)?.ok_or_else(|| {
        CliError::new(
            Exit::NotFound,
            format!("there is no block {to} to go back to: the head is at {from}"),
        )
    })?;
    // First, what a witness remembers: one that is ahead of the database looks like lost blocks.
    if witness.exists() {
        let mut witness = HeadWitness::open_or_create(&witness)?;
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
