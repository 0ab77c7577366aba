//! State shared by every command: the home directory, the node's address, the client.

mod address;
mod home;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonrpsee::http_client::HttpClient;
use jsonrpsee::ws_client::WsClient;
use vibecoin_client::Endpoint;
use vibecoin_config::{Config, Paths};
use vibecoin_devnet::home::{PREFIX_DEFAULT, keys_of};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_keystore::{KeyError, Keystore, NodeKeys};
use vibecoin_primitives::AddressPrefix;
use vibecoin_rpc_api::methods::ChainApiClient as _;
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;

use crate::error::{CliError, URL_FORM, names_other_keys};
use crate::exit::Exit;
use crate::globals::Globals;
use crate::node_url::NodeUrl;
use crate::settings::{KnobArgs, load};
use crate::wait::Reports;
use crate::{chain, devnet_hints, files, output};
use address::{LOCAL_URL, check_scheme};
use home::NO_HOME;

/// Maximum size of the file that holds a node's address, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 1024;
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

    /// The node's address: as given, or from the endpoint file of the home's node.
    ///
    /// # Errors
    /// Exit 2 for a home that is not a directory; the fault of the endpoint file of the home's node.
    pub fn url(&self) -> Result<NodeUrl, CliError> {
        if !self.globals.url.is_of_home() {
            return Ok(self.globals.url.clone());
        }
        let Some(home) = self.home_if_any()? else {
            return Ok(LOCAL_URL.into());
        };
        let path = Paths::endpoint_in(home);
        let text = match files::read_text(&path, ENDPOINT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.exit == Exit::NotFound => return Ok(self.configured_url()),
            Err(error) => return Err(error),
        };
        Some(text.trim())
            .filter(|url| url.starts_with("http://"))
            .map(NodeUrl::from)
            .ok_or_else(|| {
                let message = format!("{} does not hold the address of a node", path.display());
                CliError::new(Exit::InvalidFile, message)
                    .hint("the node writes it when it starts; --url names a node without it")
            })
    }

    /// The address that the node of a named home would listen on, while it does not run. The default home has none:
    /// without a home the node at the usual address is asked.
    fn configured_url(&self) -> NodeUrl {
        let config = self.globals.home.as_ref().and_then(|_| self.config().ok());
        match config.map(|config| (config.rpc.addr, config.rpc.port)) {
            Some((addr, port)) if port != 0 && !addr.is_unspecified() => {
                NodeUrl::from(format!("http://{}", std::net::SocketAddr::new(addr, port)).as_str())
            }
            _ => LOCAL_URL.into(),
        }
    }

    /// Returns true if no node was named and that of the home does not run: another one may answer at its address.
    fn may_be_anothers(&self) -> bool {
        let home = self.home_if_any().ok().flatten();
        self.globals.url.is_of_home() && home.is_some_and(|home| !Paths::endpoint_in(home).exists())
    }

    /// Refuses a node of another chain than that of the home, where no node was named.
    async fn check_chain(&self) -> Result<(), CliError> {
        if !self.may_be_anothers() {
            return Ok(());
        }
        // A fault of the genesis file is reported by the commands that need it.
        let (Ok(Some(own)), Ok(client)) = (self.built_genesis(), self.client()) else {
            return Ok(());
        };
        // One that does not answer is reported by the command.
        match client.get_info().await {
            Ok(info) => chain::is_that_of(self, &own, info.genesis_hash.0),
            Err(_) => Ok(()),
        }
    }

    /// The RPC interface of the node, with the timeout of this command.
    ///
    /// # Errors
    /// As [`Context::url`], and exit 2 for an address with an unsupported scheme.
    pub fn endpoint(&self) -> Result<Endpoint, CliError> {
        self.endpoint_at(&self.url()?)
    }

    fn endpoint_at(&self, url: &NodeUrl) -> Result<Endpoint, CliError> {
        check_scheme(url)?;
        Ok(Endpoint::new(url.secret(), self.timeout()))
    }

    /// A client over HTTP.
    ///
    /// # Errors
    /// Exit 2 when the address is invalid.
    pub fn client(&self) -> Result<HttpClient, CliError> {
        let url = self.url()?;
        self.endpoint_at(&url)?.http().map_err(|error| {
            CliError::usage(format!("{url} is no address of a node: {error}"))
                .hint(URL_FORM)
                .without_password(&url)
        })
    }

    /// A client over WebSocket.
    ///
    /// # Errors
    /// Exit 2 when the address is invalid, 3 when no node answers.
    pub async fn websocket(&self) -> Result<WsClient, CliError> {
        self.endpoint()?.websocket().await.map_err(CliError::from)
    }

    /// Runs a client's future on this thread. While it is pending, the awaited event is reported.
    ///
    /// # Errors
    /// The errors of the future, or exit 1 when the system cannot create an event loop. When no node answers,
    /// the error names the address.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot start an event loop: {error}")))?
            .block_on(self.reported(async {
                self.check_chain().await?;
                work.await
            }))
            .map_err(|error| match self.url() {
                Ok(url) => error.at(&url, || self.start_hint()).without_password(&url),
                Err(_) => error,
            })
    }

    /// Hint for a node that does not answer at the given address, or at that of the home's node.
    fn start_hint(&self) -> String {
        let named = Some(&self.globals.url).filter(|url| !url.is_of_home());
        match (self.devnet_hint(named), named) {
            (Some(hint), _) => hint,
            (None, Some(_)) => "check that a node runs there; another --url names another node".to_owned(),
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

    /// The same for work that reports its own waits, or that follows events.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_unreported<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.awaits(Awaited::Reported);
        self.wait(work)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_refused_with_the_form_of_one() {
        use clap::Parser as _;
        let line = ["vibecoin", "--url", "http://127.0.0.1:many", "status"];
        let globals = crate::commands::Arguments::try_parse_from(line).map(|arguments| arguments.globals);
        let refused = globals
            .ok()
            .and_then(|globals| Context::new(globals).client().err());
        let refused = refused.map(|error| (error.exit, error.hint));
        assert_eq!(refused, Some((Exit::Usage, Some(URL_FORM.to_owned()))));
    }
}
