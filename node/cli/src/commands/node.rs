//! `vibecoin node`: runs a node until it receives a signal.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde::Serialize;
use vibecoin_config::{Config, LogFormat, Paths};
use vibecoin_devnet::home::{DEV_ACCOUNTS, DEV_BALANCE, keys_of, now};
use vibecoin_devnet::scratch::Scratch;
use vibecoin_devnet::{dev, guard};
use vibecoin_engine::{NodeError, NodeOptions, Ready};
use vibecoin_genesis::Genesis;
use vibecoin_keystore::{HomeLock, KeyError, NodeKeyRole};
use vibecoin_primitives::SecretKey;

use crate::chain;
use crate::context::Context;
use crate::environment;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::{self, Answer};
use crate::passphrase::PassphraseArgs;
use crate::program::quoted_path;
use crate::settings::{KnobArgs, load};
use crate::snapshots::stop::StopSignals;
use crate::snapshots::{Meter, STOPPED, Source};

const EXAMPLES: &str = "\
Examples:
  vibecoin node --dev                  a chain of your own in a temporary home
  vibecoin node --dev --home DIR --rpc.port 0     kept in DIR, on a free port
  vibecoin init --home DIR --genesis FILE && vibecoin node --home DIR
  vibecoin node --home DIR --snapshot PATH      if DIR has no database yet

When the node answers, one line of JSON appears on stdout, null where the node does not listen:
  {\"event\":\"ready\",\"rpc\":\"http://127.0.0.1:8545\",\"chainId\":…,
   \"genesisHash\":…,\"height\":…,\"p2p\":…,\"peerId\":…,\"metrics\":…,\"admin\":…}

Logs go to stderr. SIGTERM and SIGINT stop it cleanly; a second one stops it at once. \
Every key of the configuration is also a flag: --section.key VALUE.";

/// Arguments of `node`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct NodeArgs {
    /// A chain for development: one validator, ten funded accounts, unencrypted keys
    #[arg(long)]
    pub dev: bool,
    /// Genesis file; taken when the home has none, compared when it has one
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Start from this snapshot of the chain, when the home has no database: a folder, an archive or http://
    #[arg(long, value_name = "SOURCE")]
    pub snapshot: Option<PathBuf>,
    /// Sign blocks and votes with the home's validator.key
    #[arg(long)]
    pub validator: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    knobs: KnobArgs,
}

impl NodeArgs {
    /// Runs the node.
    ///
    /// # Errors
    /// The exit codes of the daemon.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        vibecoin_engine::catch_signals()?;
        let given = self
            .genesis
            .as_deref()
            .map(files::genesis)
            .transpose()
            .map_err(CliError::of_daemon)?;
        let (home, scratch) = self.home(context)?;
        let loaded = load(
            &home,
            context.globals.config.as_deref(),
            &self.knobs,
            Exit::Config,
        )
        .map_err(CliError::of_daemon)?;
        crate::logging::for_node(&context.globals, &loaded.config.log)?;
        let log_format = loaded.config.log.format;
        let paths = Paths::new(&home, &loaded.config);
        let genesis = self
            .genesis_of(
                &paths,
                given.as_ref(),
                self.validator || loaded.config.node.validator,
            )
            .map_err(CliError::of_daemon)?;
        let validator_key = self.validator_key(&paths, &genesis, loaded.config.node.validator)?;
        vibecoin_keystore::process::forget();
        if !self.restore_snapshot(&paths, &loaded.config, &genesis)? {
            // Stopped by a signal, before anything was changed.
            return Ok(Answer::printed());
        }
        if self.dev && !context.globals.quiet {
            banner(&home, &genesis, log_format);
        }
        let endpoint = paths.endpoint.clone();
        // Set once this process has written the endpoint: the file of another node of this home stays.
        let announced = Arc::new(AtomicBool::new(false));
        let announcing = announced.clone();
        let outcome = vibecoin_engine::run(NodeOptions {
            home: home.clone(),
            config: loaded.config,
            validator_key,
            build: crate::build_facts::facts(),
            on_ready: Box::new(move |ready| {
                announcing.store(true, Ordering::SeqCst);
                announce(&endpoint, &ready);
            }),
        });
        if announced.load(Ordering::SeqCst) {
            let _no_longer_there = std::fs::remove_file(&paths.endpoint);
        }
        // A temporary home is removed unless a node that ran in it failed: it is then kept for inspection.
        keep_after_failure(
            scratch,
            outcome.is_err() && announced.load(Ordering::SeqCst),
            log_format,
        );
        outcome.map_err(|error| match error {
            NodeError::Locked(_) => {
                let pid = HomeLock::holder(&home);
                CliError::from(KeyError::Locked { home, pid })
            }
            error => error.into(),
        })?;
        Ok(Answer::printed())
    }

    /// Makes the database of a home that has none, if a snapshot is named. A restart with the same arguments finds it.
    /// Returns false if a signal stopped it.
    fn restore_snapshot(&self, paths: &Paths, config: &Config, genesis: &Genesis) -> Result<bool, CliError> {
        let Some(source) = &self.snapshot else {
            return Ok(true);
        };
        if files::exists(&paths.db.join("CURRENT"))? {
            let height = Source::of(source).ok().and_then(|source| source.height());
            tracing::info!(target: "node", snapshot = %source.display(), snapshot_height = height,
                           "the home has a database: the snapshot is not used");
            return Ok(true);
        }
        let source = Source::of(source).map_err(CliError::of_daemon)?;
        let genesis = files::build(&paths.genesis, genesis).map_err(CliError::of_daemon)?;
        let _lock = HomeLock::acquire(&paths.home)?;
        let mut meter = Meter::on_stderr(false);
        let mut signals = StopSignals::listen()
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot wait for signals: {error}")))?;
        let restored = source.into_home(&genesis, paths, config, &mut |progress| {
            if let Some(line) = meter.due(progress) {
                tracing::info!(target: "node::snapshot", "{line}");
            }
            if signals.arrived() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let (_, restored) = match restored {
            Err(error) if error.reason == STOPPED => {
                tracing::info!(target: "node::snapshot", "stopped before the snapshot was restored");
                return Ok(false);
            }
            restored => restored?,
        };
        tracing::info!(target: "node::snapshot", height = %restored.base.height, hash = %restored.base.hash,
                       accounts = restored.accounts, slots = restored.slots, "restored a snapshot");
        Ok(true)
    }

    fn home(&self, context: &Context) -> Result<(PathBuf, Option<Scratch>), CliError> {
        if self.dev && context.globals.home.is_none() {
            let scratch = Scratch::new(&environment::temporary_folder(), output::REPORTER)?;
            return Ok((scratch.path().to_owned(), Some(scratch)));
        }
        Ok((context.home()?.to_owned(), None))
    }

    /// The genesis of the home. `signs`: the node is to be a validator.
    fn genesis_of(&self, paths: &Paths, given: Option<&Genesis>, signs: bool) -> Result<Genesis, CliError> {
        let path = paths.genesis.clone();
        let own = if self.dev {
            dev::prepare(paths, given, now())?
        } else if files::exists(&path)? {
            files::genesis(&path)?
        } else {
            let message = format!("there is no genesis file {}", path.display());
            return Err(CliError::new(Exit::Config, message).hint(genesis_hint(&paths.home, signs)));
        };
        if let Some(given) = given.filter(|given| **given != own) {
            let (ours, theirs) = (files::build(&path, &own)?.hash, files::build(&path, given)?.hash);
            if ours != theirs {
                return Err(chain::of_another(paths, ours, "--genesis", theirs));
            }
        }
        Ok(own)
    }

    fn validator_key(
        &self,
        paths: &Paths,
        genesis: &Genesis,
        configured: bool,
    ) -> Result<Option<SecretKey>, CliError> {
        if !(self.dev || self.validator || configured) {
            return Ok(None);
        }
        let prefix = genesis
            .params
            .prefix()
            .map_err(|error| CliError::new(Exit::Config, error.to_string()))?;
        let mut keys = keys_of(paths, prefix);
        let mut passphrase = self.passphrase.clone();
        if passphrase.password_file.is_none() {
            passphrase.password_file.clone_from(&paths.password);
        }
        if self.dev || passphrase.allow_unencrypted {
            keys = keys.allow_unencrypted();
        }
        let key = keys.load(NodeKeyRole::Validator, &mut passphrase.source());
        key.map(Some).map_err(|error| match error {
            KeyError::Passphrase { .. } => passphrase.failed(error),
            KeyError::Missing { .. } if guard::is_used(&paths.guard) => CliError::from(error).hint(
                "put it back from a copy of the home; without one, leave this home, whose double-sign guard remembers \
                 what the key signed, and make another: `vibecoin init --home DIR --validator`",
            ),
            error => error.into(),
        })
    }
}

/// The steps to a home with a genesis file. A validator's chain may be one that does not exist yet.
fn genesis_hint(home: &Path, signs: bool) -> String {
    let home = quoted_path(home);
    if signs {
        format!(
            "make the home with the file of the chain: `vibecoin init --home {home} --validator --genesis FILE`; for a \
             chain of your own, first `vibecoin init --home {home} --validator`, which prints KEY, `vibecoin keys new NAME`, \
             which prints ADDRESS, and `vibecoin genesis new --validator KEY=1=ADDRESS --account ADDRESS=1000000 --out FILE`"
        )
    } else {
        format!(
            "make the home first: `vibecoin init --home {home} --genesis FILE`; or try `vibecoin node --dev`"
        )
    }
}

/// Prints the one line on stdout, and writes the file by which client commands find this node.
fn announce(endpoint: &Path, ready: &Ready) {
    let url = format!("http://{}", ready.rpc);
    if let Err(error) = files::write_locked(endpoint, &format!("{url}\n")) {
        tracing::warn!(target: "node", error = error.message, "clients of this home must be given --url");
    }
    let line = serde_json::to_string(&ReadyLine {
        event: "ready",
        rpc: url,
        chain_id: &ready.chain_id,
        genesis_hash: ready.genesis_hash.to_string(),
        height: ready.height.0.to_string(),
        p2p: ready.p2p.as_deref(),
        peer_id: ready.peer_id.as_deref(),
        metrics: ready.metrics.map(|address| address.to_string()),
        admin: ready.admin.map(|address| address.to_string()),
    });
    if let Err(error) = output::stdout(&format!("{}\n", line.unwrap_or_default())) {
        tracing::warn!(target: "node", %error, "the ready line could not be written to stdout");
    }
}

/// Fields that scripts parse, in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadyLine<'a> {
    event: &'static str,
    rpc: String,
    chain_id: &'a str,
    genesis_hash: String,
    height: String,
    p2p: Option<&'a str>,
    peer_id: Option<&'a str>,
    metrics: Option<String>,
    admin: Option<String>,
}

/// Warns that the chain is for development: as a box in text logs, as a log line in JSON logs.
fn banner(home: &Path, genesis: &Genesis, format: LogFormat) {
    if format == LogFormat::Json {
        let accounts = DEV_ACCOUNTS;
        tracing::warn!(target: "node", chain = genesis.params.network, home = %home.display(), accounts,
              balance = %DEV_BALANCE, "a chain for development: its keys are public, anybody can take what is on it");
        return;
    }
    output::note(&format!(
        "==================== DEV ====================\n\
         A chain for development. Its keys are public:\n\
         anybody can take what is on it.\n\
         chain     {}\n\
         home      {}\n\
         accounts  dev0 to dev{}, {} base units each\n\
         =============================================",
        genesis.params.network,
        home.display(),
        DEV_ACCOUNTS.saturating_sub(1),
        DEV_BALANCE,
    ));
}

fn keep_after_failure(scratch: Option<Scratch>, failed: bool, format: LogFormat) {
    let Some(scratch) = scratch.filter(|_| failed) else {
        return;
    };
    let home = scratch.keep();
    match format {
        LogFormat::Text => output::say(&format!("kept {}", home.display())),
        LogFormat::Json => {
            tracing::warn!(target: "node", home = %home.display(), "the temporary home is kept")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::{Arguments, Command};

    #[test]
    fn the_validator_key_is_read_when_the_configuration_or_a_flag_says_so() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::new(home.path(), &vibecoin_config::Config::default());
        let genesis = dev::dev_genesis(now()).unwrap();
        let key = |line: &str, configured: bool| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::Node(node) = arguments.command else {
                return Err(CliError::usage("another command"));
            };
            let found = node.validator_key(&paths, &genesis, configured);
            found.map(|key| key.is_some())
        };
        assert_eq!(key("vibecoin node", false), Ok(false));
        // A key that is configured and missing is an error, never "no key".
        for (line, configured) in [
            ("vibecoin node", true),
            ("vibecoin node --validator", false),
            ("vibecoin node --dev", false),
        ] {
            let refused = key(line, configured).map_err(|error| error.exit);
            assert_eq!(refused, Err(Exit::Key), "{line} {configured}");
        }
    }
}
