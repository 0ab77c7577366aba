//! `vibecoin snapshot`: states of the chain as files, from which a new node starts.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use vibecoin_config::Paths;
use vibecoin_keystore::{HomeLock, KeyError};
use vibecoin_primitives::Height;
use vibecoin_snapshots::{Listed, Snapshot, SnapshotInfo, delete, find, list, pack, verify};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::{Answer, cell};
use crate::snapshots::{self, Meter, Source};

const EXAMPLES: &str = "\
Examples:
  vibecoin snapshot create --home DIR        the newest state, to DIR/snapshots
  vibecoin snapshot list --home DIR
  vibecoin snapshot pack ID --out state.vbsnap --home DIR    one file, to copy
  vibecoin snapshot verify state.vbsnap --genesis genesis.toml
  vibecoin init --home NEW --genesis genesis.toml --snapshot state.vbsnap

Only the genesis file is trusted: the block of a snapshot is verified by its certificate, every chunk by a proof \
against the block's state root. A damaged one ends with exit 8.";

/// The commands of `snapshot`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum SnapshotCommand {
    /// Write the state of the newest block; of a running node through its operator's listener
    Create {
        /// Folder in which the snapshot gets its own [default: snapshots in the home directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// List snapshots, unverified
    List {
        /// Their folder [default: snapshots in the home directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Show what the manifest of a snapshot states, unverified
    Info {
        /// Id from its first digits on, or the name of the folder or archive
        #[arg(value_name = "ID")]
        id: String,
        /// Its folder [default: snapshots in the home directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Verify every byte of a snapshot; exit 8 names the first damaged chunk
    Verify {
        /// Folder or archive
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Genesis file of the chain [default: that of the home]
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
    /// Make the database of a stopped home that has none
    Restore {
        /// Folder, archive or http://
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// The home, with the genesis file of the chain
        #[arg(long, value_name = "HOME")]
        into: PathBuf,
    },
    /// Copy a snapshot into one file
    Pack {
        /// Id from its first digits on, or the name of the folder
        #[arg(value_name = "ID")]
        id: String,
        /// The file, by custom with the ending .vbsnap
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Its folder [default: snapshots in the home directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Delete a snapshot
    Delete {
        /// Id from its first digits on, or the name of the folder or archive
        #[arg(value_name = "ID")]
        id: String,
        /// Its folder [default: snapshots in the home directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl SnapshotCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 8 for a damaged snapshot, 5 where there is none, else the fault of the home or the disk.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Create { dir } => create(context, dir.as_deref()),
            Self::List { dir } => Ok(listed(&list(&folder(context, dir)?)?)),
            Self::Info { id, dir } => info(&found(context, dir, &id)?),
            Self::Verify { path, genesis } => verified(context, &path, genesis),
            Self::Restore { path, into } => restored(context, &path, &into),
            Self::Pack { id, out, dir } => packed(context, &found(context, dir, &id)?, &out),
            Self::Delete { id, dir } => deleted(&folder(context, dir)?, &id),
        }
    }
}

/// The folder of the snapshots: as given, or that of the home.
fn folder(context: &Context, dir: Option<PathBuf>) -> Result<PathBuf, CliError> {
    dir.map_or_else(|| Ok(context.paths()?.snapshots), Ok)
}

fn found(context: &Context, dir: Option<PathBuf>, id: &str) -> Result<Snapshot, CliError> {
    Ok(Snapshot::open(&find(&folder(context, dir)?, id)?)?)
}

fn create(context: &Context, dir: Option<&Path>) -> Result<Answer, CliError> {
    let (home, config) = (context.home()?, context.config()?);
    let paths = Paths::new(home, &config);
    if !files::exists(&paths.db.join("CURRENT"))? {
        let message = format!("{} holds no database", paths.db.display());
        return Err(CliError::new(Exit::NotFound, message)
            .reason("no_database")
            .hint("a node makes it at its first start; name its home with --home"));
    }
    let _lock = match HomeLock::acquire(home) {
        Err(KeyError::Locked { .. }) => return Ok(Answer::new(snapshots::running::create(context, dir)?)),
        lock => lock?,
    };
    let store = snapshots::open(&paths.db, &config)?;
    if store.head().height == Height::ZERO {
        return Err(snapshots::no_block(home));
    }
    let folder = dir.unwrap_or(&paths.snapshots);
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    let info = vibecoin_snapshots::create(&store.snapshot_source()?, folder, &mut |progress| {
        meter.print(progress)
    })?;
    Ok(Answer::new(snapshots::view(&info)))
}

fn listed(all: &[Listed]) -> Answer {
    if all.is_empty() {
        return Answer::new(json!([])).text("no snapshots\n");
    }
    let mut text = format!(
        "{:>12} {:<18} {:>8} {:>14} {}\n",
        "height", "id", "chunks", "bytes", "path"
    );
    let mut views = Vec::new();
    for one in all {
        let path = one.path.display().to_string();
        match &one.found {
            Ok(info) => {
                let id: String = info.id.to_string().chars().take(18).collect();
                text.push_str(&format!(
                    "{:>12} {id:<18} {:>8} {:>14} {}\n",
                    info.height.0,
                    info.chunks,
                    info.bytes,
                    cell(&path)
                ));
                views.push(snapshots::view(info));
            }
            Err(error) => {
                let damage = error.to_string();
                text.push_str(&format!("{:>12} {} ({})\n", "-", cell(&path), cell(&damage)));
                views.push(json!({ "path": path, "damage": damage }));
            }
        }
    }
    Answer::new(views).text(text)
}

fn info(snapshot: &Snapshot) -> Result<Answer, CliError> {
    let info = snapshot.info();
    Ok(Answer::new(with(
        &info,
        json!({
            "genesisHash": info.genesis.to_string(),
            "time": info.time.0.to_string(),
            "rows": info.rows.to_string(),
            "storedBytes": snapshot.stored_bytes()?.to_string(),
            "format": info.format,
        }),
    )))
}

/// The common fields and others.
fn with(info: &SnapshotInfo, more: Value) -> Value {
    let mut all = snapshots::view(info);
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

fn verified(context: &Context, path: &Path, genesis: Option<PathBuf>) -> Result<Answer, CliError> {
    let file = context.genesis_or(genesis)?;
    let genesis = files::build(&file, &files::genesis(&file)?)?;
    let snapshot = Snapshot::open(path)?;
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    verify(&snapshot, &snapshots::record(&genesis), &mut |progress| {
        meter.print(progress)
    })?;
    let info = snapshot.info();
    let text = format!(
        "verified: the state of block {} of {}, {} chunks with {} rows\n",
        info.height, genesis.params.network, info.chunks, info.rows
    );
    Ok(Answer::new(with(&info, json!({ "verified": true }))).text(text))
}

fn restored(context: &Context, path: &Path, into: &Path) -> Result<Answer, CliError> {
    let context = context.at(context.globals.url.secret(), into);
    let (paths, config) = (context.paths()?, context.config()?);
    let Some(genesis) = context.built_genesis()? else {
        let message = format!("there is no genesis file {}", paths.genesis.display());
        return Err(CliError::new(Exit::NotFound, message)
            .hint("`vibecoin init --genesis FILE --snapshot PATH` makes the home and restores into it"));
    };
    let source = Source::of(path)?;
    let _lock = HomeLock::acquire(into)?;
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    let (info, home) = source.into_home(&genesis, &paths, &config, &mut |progress| meter.print(progress))?;
    let text = format!(
        "restored the state of block {} with {} accounts and {} slots into {}\n",
        info.height,
        home.accounts,
        home.slots,
        paths.db.display()
    );
    let more = json!({
        "home": into.display().to_string(),
        "accounts": home.accounts.to_string(),
        "slots": home.slots.to_string(),
    });
    Ok(Answer::new(with(&info, more)).text(text))
}

fn packed(context: &Context, snapshot: &Snapshot, out: &Path) -> Result<Answer, CliError> {
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    pack(snapshot, out, &mut |progress| meter.print(progress))?;
    let archive = Snapshot::open(out)?;
    let more = json!({ "storedBytes": archive.stored_bytes()?.to_string() });
    Ok(Answer::new(with(&archive.info(), more)))
}

fn deleted(folder: &Path, id: &str) -> Result<Answer, CliError> {
    let path = find(folder, id)?;
    // A damaged one has no description.
    let view = Snapshot::open(&path).map_or_else(
        |_| json!({ "path": path.display().to_string() }),
        |snapshot| snapshots::view(&snapshot.info()),
    );
    delete(&path)?;
    Ok(Answer::new(view).text(format!("deleted {}\n", path.display())))
}
