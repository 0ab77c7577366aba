//! State shared by every command: the home directory, the node's address, the client.

mod address;
mod home;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vibecoin_config::{Config, Paths};
use vibecoin_devnet::home::{PREFIX_DEFAULT, keys_of};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_keystore::{KeyError, Keystore, NodeKeys};
use vibecoin_primitives::AddressPrefix;
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;

use crate::error::{CliError, names_other_keys};
use crate::exit::Exit;
use crate::globals::Globals;
use crate::node_url::NodeUrl;
use crate::settings::{KnobArgs, load};
use crate::wait::Reports;
use crate::{devnet_hints, files, output};
use address::{takes_connections, with_port};
use home::NO_HOME;

/// Time without an event of a stream after which the wait is reported.
const SILENCE: Duration = Duration::from_secs(10);

/// Remedy for a name without a key where an address is possible, too.
const NAME_OR_ADDRESS: &str = "give the name of a key, which `vibecoin keys list` shows, or an address";

/// State shared by every command.
pub struct Context {
    /// The global options.
    pub globals: Globals,
    /// An error is reported only to a command that needs a home; the majority do not.
    home: Result<PathBuf, CliError>,
    waiting: Mutex<(Awaited, Reports)>,
}

/// The event that a pending command waits for.
#[derive(Clone, Debug)]
enum Awaited {
    /// An answer of the node.
    Answer,
    /// An answer of the node that is sent once an event has occurred.
    Event(String),
    /// Work that reports its own waits.
    Reported,
}

impl Context {
    /// Takes the options.
    #[must_use]
    pub fn new(globals: Globals) -> Self {
        let home = home::of(globals.home.as_deref());
        Self {
            globals,
            home,
            waiting: Mutex::new((Awaited::Answer, Reports::begin())),
        }
    }

    /// The same options for another node and its home.
    #[must_use]
    pub fn at(&self, url: &str, home: &Path) -> Self {
        let globals = Globals {
            url: url.into(),
            ..self.globals.clone()
        };
        Self {
            globals,
            home: Ok(home.to_owned()),
            waiting: Mutex::new((Awaited::Answer, Reports::begin())),
        }
    }

    /// The home directory, given or default.
    ///
    /// # Errors
    /// Exit 2 when none was given and the environment has no absolute path, and for one that is not a
    /// directory.
    pub fn home(&self) -> Result<&Path, CliError> {
        match &self.home {
            Ok(home) => Ok(home),
            Err(error) => Err(error.clone()),
        }
    }

    /// The home directory, or `None` when none was given and the environment has none.
    ///
    /// # Errors
    /// Exit 2 for one that is not a directory.
    pub fn home_if_any(&self) -> Result<Option<&Path>, CliError> {
        match &self.home {
            Ok(home) => Ok(Some(home)),
            Err(error) if error.reason == NO_HOME => Ok(None),
            Err(error) => Err(error.clone()),
        }
    }

    /// The configuration file.
    ///
    /// # Errors
    /// As [`Context::home`], unless the file was given.
    pub fn config_path(&self) -> Result<PathBuf, CliError> {
        match &self.globals.config {
            Some(path) => Ok(path.clone()),
            None => Ok(Paths::config_in(self.home()?)),
        }
    }

    /// Refuses a configuration file that was named and is not there: a command that reads none would pass over it.
    ///
    /// # Errors
    /// As for a file that cannot be read.
    pub fn refuse_absent_config(&self) -> Result<(), CliError> {
        match &self.globals.config {
            Some(path) if path != Path::new("-") => std::fs::metadata(path)
                .map(drop)
                .map_err(CliError::file("read", path)),
            _ => Ok(()),
        }
    }

    /// The configuration of the home: file and environment, as its node uses it without flags.
    ///
    /// # Errors
    /// Exit 2 without a home, 7 when it is refused.
    pub fn config(&self) -> Result<Config, CliError> {
        let file = self.globals.config.as_deref();
        let loaded = load(self.home()?, file, &KnobArgs::default(), Exit::InvalidFile)?;
        Ok(loaded.config)
    }

    /// The files of the home, at the paths that its node uses.
    ///
    /// # Errors
    /// As [`Context::config`].
    pub fn paths(&self) -> Result<Paths, CliError> {
        Ok(Paths::new(self.home()?, &self.config()?))
    }

    /// The given genesis file, or that of the home.
    ///
    /// # Errors
    /// As [`Context::paths`], unless a file was given.
    pub fn genesis_or(&self, named: Option<PathBuf>) -> Result<PathBuf, CliError> {
        named.map_or_else(|| Ok(self.paths()?.genesis), Ok)
    }

    /// Timeout of a wait for a node.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.globals.timeout)
    }

    /// Time for which a node may hold a call of this command, in milliseconds.
    #[must_use]
    pub fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout().as_millis())
            .unwrap_or(u64::MAX)
            .min(TIMEOUT_MS_MAX)
    }

    /// Runs a future that queries the node at [`Self::url`] on this thread. While it is pending, the awaited event
    /// is reported.
    ///
    /// # Errors
    /// As [`Self::wait_elsewhere`], and exit 4 for a node of another chain at the address of the home's node.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.wait_elsewhere(async {
            self.check_chain().await?;
            work.await
        })
    }

    /// The same for work that queries no node, or one at another address: the chain of the home is not compared.
    ///
    /// # Errors
    /// The errors of the future, or exit 1 when the system cannot create an event loop. When no node answers,
    /// the error names the address.
    pub fn wait_elsewhere<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot start an event loop: {error}")))?
            .block_on(self.reported(work))
            .map_err(|error| match self.url() {
                Ok(url) => error
                    .of_port(|| !self.globals.url.is_of_home() && takes_connections(&url))
                    .at(&url, || self.start_hint())
                    .without_password(&url),
                Err(_) => error,
            })
    }

    /// Hint for a node that does not answer at the given address, or at that of the home's node.
    fn start_hint(&self) -> String {
        let named = Some(&self.globals.url).filter(|url| !url.is_of_home());
        match (self.devnet_hint(named), named) {
            (Some(hint), _) => hint,
            (None, Some(url)) => match with_port(url) {
                Some(whole) => format!(
                    "without a port it is port 80, and a node listens at 8545 unless it was told otherwise: --url {whole}"
                ),
                None => "check that a node runs there; another --url names another node".to_owned(),
            },
            (None, None) => format!("{}; --url names another node", self.home_hint()),
        }
    }

    fn devnet_hint(&self, named: Option<&NodeUrl>) -> Option<String> {
        devnet_hints::restart_hint(self.home.as_deref().ok()?, named.map(NodeUrl::secret))
    }

    /// The command that starts the node of the home, or the remedy for a home that does not exist.
    pub fn home_hint(&self) -> String {
        if let Some(hint) = self.devnet_hint(None) {
            return hint;
        }
        // The default home is created by its first node; one that was typed may be misspelt.
        if let Some(home) = self.absent_home()
            && self.globals.home.is_some()
        {
            return devnet_hints::gone_hint(home).unwrap_or_else(|| {
                format!(
                    "the home {} does not exist: name another with --home, or start a chain of your own in it with \
                     `vibecoin node --dev`",
                    home.display()
                )
            });
        }
        let hint = match self.genesis() {
            Ok(Some(genesis)) if genesis.params.dev => "start it with `vibecoin node --dev`",
            Ok(None) => "start a chain of your own with `vibecoin node --dev`",
            // A fault in the genesis file is reported by the node.
            Ok(Some(_)) | Err(_) => "start it with `vibecoin node`",
        };
        hint.to_owned()
    }

    /// The error of a name that is not that of a key, where an address is possible too. A home that does not
    /// exist is the first thing to mend.
    pub fn or_address(&self, text: &str, error: CliError) -> CliError {
        if error.exit != Exit::NotFound || self.absent_home().is_some() || names_other_keys(&error) {
            return error;
        }
        let prefix = self.prefix().map(|prefix| format!("{prefix}1"));
        if prefix.is_ok_and(|prefix| text.starts_with(&prefix)) {
            return error
                .hint("an address is longer than this: copy it again, whole, from where it was shown");
        }
        error.hint(NAME_OR_ADDRESS)
    }

    /// The home, if there is none at its path.
    fn absent_home(&self) -> Option<&Path> {
        let home = self.home.as_deref().ok()?;
        let error = home.symlink_metadata().err()?;
        (error.kind() == std::io::ErrorKind::NotFound).then_some(home)
    }

    /// The same for work that reports its own waits. It queries other nodes, such as those of a devnet, or compares
    /// the chain itself (`chain::ask`).
    ///
    /// # Errors
    /// As [`Self::wait_elsewhere`].
    pub fn wait_unreported<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.awaits(Awaited::Reported);
        self.wait_elsewhere(work)
    }

    /// From now on the work waits for the node to report `event`, such as "has 0x… in a block"; until
    /// [`Self::expect_answer`].
    pub fn expect_event(&self, event: impl Into<String>) {
        self.awaits(Awaited::Event(event.into()));
    }

    /// From now on the work waits for the next event of a stream. The first one should arrive soon; between
    /// two, a short silence is normal.
    pub fn expect_next(&self, event: &str, is_first: bool) {
        let reports = if is_first {
            Reports::begin()
        } else {
            Reports::after(SILENCE)
        };
        *self.waiting() = (Awaited::Event(event.to_owned()), reports);
    }

    /// From now on the work waits for an answer of the node.
    pub fn expect_answer(&self) {
        self.awaits(Awaited::Answer);
    }

    /// From now on the work reports its own waits.
    pub fn expect_reports(&self) {
        self.awaits(Awaited::Reported);
    }

    fn awaits(&self, awaited: Awaited) {
        *self.waiting() = (awaited, Reports::begin());
    }

    fn waiting(&self) -> MutexGuard<'_, (Awaited, Reports)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reported<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        self.waiting().1 = Reports::begin();
        loop {
            let until_due = self.waiting().1.until_due();
            match tokio::time::timeout(until_due, &mut work).await {
                Ok(done) => return done,
                Err(_pending) => self.report_wait(),
            }
        }
    }

    fn report_wait(&self) {
        let (awaited, seconds) = {
            let mut waiting = self.waiting();
            (waiting.0.clone(), waiting.1.due())
        };
        let (Some(seconds), false) = (seconds, self.globals.no_progress) else {
            return;
        };
        let url = self.url().map(|url| url.to_string()).unwrap_or_default();
        match awaited {
            Awaited::Answer => output::say(&format!("waiting for the node at {url}, for {seconds} s")),
            Awaited::Event(event) => {
                output::say(&format!(
                    "waiting until the node at {url} {event}, for {seconds} s"
                ));
            }
            Awaited::Reported => {}
        }
    }

    /// The account keys of the home, for adding one: creates their directory.
    ///
    /// # Errors
    /// Exit 40 when other users can read the directory.
    pub fn keystore(&self) -> Result<Keystore, CliError> {
        Ok(self.node_keys()?.accounts()?)
    }

    /// The account keys of the home; an error has their directory when there is none. Creates nothing.
    ///
    /// # Errors
    /// As [`Context::keystore`].
    pub fn keys_there(&self) -> Result<Result<Keystore, PathBuf>, CliError> {
        let keys = self.node_keys()?;
        match keys.accounts_dir().symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Err(keys.accounts_dir().to_owned()))
            }
            _ => Ok(Ok(keys.accounts()?)),
        }
    }

    /// The account keys of the home, for finding one by its name or address. Creates nothing.
    ///
    /// # Errors
    /// As [`Context::keystore`], and exit 5 when there are no keys.
    pub fn keys_with(&self, query: &str) -> Result<Keystore, CliError> {
        self.keys_there()?.map_err(|dir| self.no_key(query, dir))
    }

    /// The error for a key of a home without keys. A home that does not exist is the cause.
    fn no_key(&self, query: &str, dir: PathBuf) -> CliError {
        let query = query.to_owned();
        let Some(home) = self.absent_home() else {
            return KeyError::NotFound { query, dir }.into();
        };
        let message = format!("no key {query:?}: the home {} does not exist", home.display());
        let error = CliError::from(KeyError::NotFound { query, dir });
        let hint = devnet_hints::gone_hint(home).unwrap_or_else(|| {
            "name the home that has it with --home, or give an address where one is possible".to_owned()
        });
        CliError { message, ..error }.hint(hint)
    }

    /// All keys of the home.
    ///
    /// # Errors
    /// As [`Context::config`] and [`Context::prefix`].
    pub fn node_keys(&self) -> Result<NodeKeys, CliError> {
        Ok(keys_of(&self.paths()?, self.prefix()?))
    }

    /// The prefix of addresses: from the home's genesis, or the test network's.
    ///
    /// # Errors
    /// Exit 7 when there is a genesis file that cannot be read.
    pub fn prefix(&self) -> Result<AddressPrefix, CliError> {
        let from_genesis = self.genesis()?.and_then(|genesis| genesis.params.prefix().ok());
        from_genesis
            .or_else(|| AddressPrefix::new(PREFIX_DEFAULT).ok())
            .ok_or_else(|| CliError::new(Exit::Failure, "no address prefix is known"))
    }

    /// The genesis of the home, if it has one.
    ///
    /// # Errors
    /// Exit 7 when the file is there and invalid.
    pub fn genesis(&self) -> Result<Option<Genesis>, CliError> {
        match self.genesis_path()? {
            Some(path) if files::exists(&path)? => files::genesis(&path).map(Some),
            _ => Ok(None),
        }
    }

    /// The genesis block of the home, if it has one.
    ///
    /// # Errors
    /// As [`Context::genesis`].
    pub fn built_genesis(&self) -> Result<Option<BuiltGenesis>, CliError> {
        match (self.genesis()?, self.genesis_path()?) {
            (Some(genesis), Some(path)) => files::build(&path, &genesis).map(Some),
            _ => Ok(None),
        }
    }

    /// The genesis file of the home; `None` without a home.
    fn genesis_path(&self) -> Result<Option<PathBuf>, CliError> {
        match self.home_if_any()? {
            None => Ok(None),
            Some(_) => Ok(Some(self.paths()?.genesis)),
        }
    }
}
