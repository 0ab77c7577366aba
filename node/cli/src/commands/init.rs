//! `vibecoin init`: the home directory of a node.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use vibecoin_config::{Paths, Value};
use vibecoin_devnet::guard::make_guard;
use vibecoin_devnet::home::make_private;
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX};
use vibecoin_keystore::{HomeLock, NodeKeyRole};
use vibecoin_storage::files::GuardFile;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Answer;
use crate::passphrase::PassphraseArgs;
use crate::snapshots::{self, Meter, Source};
use crate::{chain, files};

const EXAMPLES: &str = "\
Examples:
  vibecoin init --home DIR --genesis genesis.toml   a node that follows
  vibecoin init --home DIR --genesis genesis.toml --snapshot state.vbsnap

A chain of your own, with this home as its validator:
  vibecoin init --home DIR --validator       prints the validator's public key
  vibecoin genesis new --validator KEY=1=PAYOUT --account PAYOUT=1000000 \\
      --out genesis.toml
  vibecoin init --home DIR --genesis genesis.toml
  vibecoin node --home DIR";

/// Arguments of `init`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The genesis file of the chain; may come with a second `init`, when the keys are known
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Start from this snapshot of the chain, a folder, an archive or http://; verified with the genesis file
    #[arg(long, value_name = "SOURCE")]
    pub snapshot: Option<PathBuf>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    pub moniker: Option<String>,
    /// Make a validator key too
    #[arg(long)]
    pub validator: bool,
    /// Make a double-sign guard for a validator.key that was put here by hand: only if it never signed
    #[arg(long = "i-know-this-key-never-signed")]
    pub key_never_signed: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl InitArgs {
    /// Creates the home. Existing files stay; a home of a different chain is refused.
    ///
    /// # Errors
    /// Exit 7 for a genesis file that is invalid, 11 for a home of a different chain, 8 for a damaged snapshot.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let (home, paths) = (context.home()?, context.paths()?);
        // Before anything is created.
        let moniker = self.moniker()?;
        let snapshot = self.snapshot(&paths)?;
        if let Some(file) = &self.genesis {
            let text = files::read_text(file, GENESIS_BYTES_MAX)?;
            let hash = files::build(file, &files::genesis(file)?)?.hash;
            make_private(home)?;
            place_genesis(&paths, &text, hash)?;
        }
        make_private(home)?;
        let mut keys = context.node_keys()?;
        if self.passphrase.allow_unencrypted {
            keys = keys.allow_unencrypted();
        }
        keys.load_or_create_node()?;
        if self.validator && !keys.exists(NodeKeyRole::Validator)? {
            // A guard without its key is not taken for a new one's: nothing is written until a key can be
            // created.
            let passphrase = self.passphrase.for_new_key("the validator key")?;
            // First the guard, then the key: a key never exists without the record of its signatures.
            make_guard(&paths.guard)?;
            keys.create(
                NodeKeyRole::Validator,
                &vibecoin_keystore::generate()?,
                passphrase.as_ref(),
            )?;
        }
        if self.key_never_signed {
            guard_by_hand(&paths.guard)?;
        }
        self.place_config(context, moniker.as_ref())?;
        let validator = if keys.exists(NodeKeyRole::Validator)? {
            Some(keys.info(NodeKeyRole::Validator)?.public_key.to_string())
        } else {
            None
        };
        let built = context.built_genesis()?;
        let mut json = json!({
            "home": home.display().to_string(),
            "chainId": built.as_ref().map(|built| built.params.network.clone()),
            "genesisHash": built.as_ref().map(|built| built.hash.to_string()),
            "validatorKey": validator,
        });
        if let (Some(snapshot), Some(built), Some(json)) = (snapshot, built, json.as_object_mut()) {
            let restored = restore(context, &paths, snapshot, &built)?;
            json.insert("snapshot".to_owned(), restored);
        }
        Ok(Answer::new(json))
    }

    /// The snapshot to start from, opened before anything is created.
    fn snapshot(&self, paths: &Paths) -> Result<Option<Source>, CliError> {
        let Some(source) = &self.snapshot else {
            return Ok(None);
        };
        if self.genesis.is_none() && !files::exists(&paths.genesis)? {
            return Err(CliError::usage(
                "a snapshot is verified with the genesis file of its chain, and there is none",
            )
            .hint("name it with --genesis FILE"));
        }
        Source::of(source).map(Some)
    }

    /// The name as a configuration value.
    fn moniker(&self) -> Result<Option<Value>, CliError> {
        let read = |text: &String| {
            vibecoin_config::knob("node.moniker")
                .map_or_else(|| Ok(Value::Text(text.clone())), |knob| knob.kind.read(text))
        };
        let moniker = self.moniker.as_ref().map(read).transpose();
        moniker.map_err(|problem| CliError::usage(format!("--moniker: {problem}")))
    }

    fn place_config(&self, context: &Context, moniker: Option<&Value>) -> Result<(), CliError> {
        let path = context.config_path()?;
        if files::exists(&path)? {
            return Ok(());
        }
        let mut text = vibecoin_config::default_text();
        if let Some(moniker) = moniker {
            text = text.replacen("#moniker = \"vibecoin\"", &format!("moniker = {moniker}"), 1);
        }
        if self.validator {
            text = text.replacen("#validator = false", "validator = true", 1);
        }
        files::write(&path, &text, false)
    }
}

/// Makes the database of the home, unless an earlier call has, and returns the description of the snapshot.
fn restore(
    context: &Context,
    paths: &Paths,
    source: Source,
    genesis: &BuiltGenesis,
) -> Result<serde_json::Value, CliError> {
    let _lock = HomeLock::acquire(&paths.home)?;
    let config = context.config()?;
    if let Some(info) = source.restored_before(paths, &config)? {
        return Ok(snapshots::view(&info));
    }
    let mut meter = Meter::on_stderr(context.globals.no_progress);
    let (info, _) = source.into_home(genesis, paths, &config, &mut |progress| meter.print(progress))?;
    Ok(snapshots::view(&info))
}

/// Puts a genesis file into a home that has none, or the same.
fn place_genesis(paths: &Paths, text: &str, hash: vibecoin_primitives::Hash) -> Result<(), CliError> {
    let path = &paths.genesis;
    if !files::exists(path)? {
        if let Some(folder) = path.parent() {
            make_private(folder)?;
        }
        return files::write(path, text, false);
    }
    let own = files::build(path, &files::genesis(path)?)?;
    if own.hash == hash {
        return Ok(());
    }
    Err(chain::of_another(paths, own.hash, "the file", hash))
}

/// Creates the guard of a key that was copied into the home. An intact existing one stays.
fn guard_by_hand(path: &Path) -> Result<(), CliError> {
    if !files::exists(path)? {
        return Ok(make_guard(path)?);
    }
    GuardFile::open(path).map(drop).map_err(|error| {
        CliError::new(Exit::SafetyHalt, format!("{}: {error}", path.display()))
            .hint("restore the guard file, or remove it if its key certainly never signed")
    })
}
