//! State shared by every command: the home directory, the node's address, the client.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use vibecoin_config::{Config, Paths};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_keystore::{KeyError, Keystore, NodeKeys};
use vibecoin_primitives::AddressPrefix;

use crate::args::Globals;
use crate::commands::config::{KnobArgs, load};
use crate::commands::devnet;
use crate::commands::keys::NAME_OR_ADDRESS;
use crate::error::{CliError, URL_FORM, names_other_keys};
use crate::exit::Exit;
use crate::node_url::NodeUrl;
use crate::wait::Reports;
use crate::{environment, files, output};

/// Address of a node when no other is known.
pub const LOCAL_URL: &str = "http://127.0.0.1:8545";
/// Host and port of that address.
const LOCAL_HOST: &str = "127.0.0.1";
const LOCAL_PORT: u16 = 8545;
/// Maximum size of a response that this client reads, in bytes.
const RESPONSE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Maximum size of a request that this client sends, in bytes; the node has a separate, smaller limit.
const REQUEST_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// The reason of the error when there is no home directory.
const NO_HOME: &str = "no_home";
/// Maximum size of the file that holds a node's address, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 1024;
/// Time without an event of a stream after which the wait is reported.
const SILENCE: Duration = Duration::from_secs(10);
/// The prefix of addresses without a genesis file.
pub const PREFIX_DEFAULT: &str = "vibet";

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
        let home = globals
            .home
            .clone()
            .or_else(|| environment::default_home(environment::value))
            .ok_or_else(|| {
                CliError::usage("there is no home directory: HOME and XDG_DATA_HOME name no absolute path")
                    .reason(NO_HOME)
                    .hint("give one with --home DIR")
            })
            .and_then(|home| resolved(&home));
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
            Err(error) if error.exit == Exit::NotFound => return Ok(LOCAL_URL.into()),
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

    /// A client over HTTP.
    ///
    /// # Errors
    /// Exit 2 when the address is invalid.
    pub fn client(&self) -> Result<HttpClient, CliError> {
        let url = self.url()?;
        check_scheme(&url)?;
        HttpClientBuilder::new()
            .max_request_size(REQUEST_BYTES_MAX)
            .max_response_size(RESPONSE_BYTES_MAX)
            // A call that waits on purpose returns before this timeout.
            .request_timeout(self.timeout().saturating_add(Duration::from_secs(5)))
            .build(url.secret())
            .map_err(|error| {
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
        let url = self.url()?;
        check_scheme(&url)?;
        let typed = url.secret();
        let address = typed
            .strip_prefix("http")
            .map_or_else(|| typed.to_owned(), |rest| format!("ws{rest}"));
        WsClientBuilder::new()
            .max_response_size(RESPONSE_BYTES_MAX)
            .connection_timeout(self.timeout())
            .request_timeout(self.timeout())
            .build(&address)
            .await
            .map_err(CliError::from)
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
            .block_on(self.reported(work))
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
        devnet::restart_hint(self.home.as_deref().ok()?, named.map(NodeUrl::secret))
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
            return devnet::gone_hint(home).unwrap_or_else(|| {
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
            return error.hint("an address is longer than this: copy it again, whole, from where it was shown");
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
        let hint = devnet::gone_hint(home).unwrap_or_else(|| {
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

/// The files of another home, at the paths in its own configuration.
pub fn paths_of(home: &Path) -> Result<Paths, CliError> {
    let loaded = load(home, None, &KnobArgs::default(), Exit::InvalidFile)?;
    Ok(Paths::new(home, &loaded.config))
}

/// The keys of a home, at the paths in its configuration.
pub fn keys_of(paths: &Paths, prefix: AddressPrefix) -> NodeKeys {
    NodeKeys::new(&paths.home, prefix).with_places(&paths.keystore, &paths.node_key)
}

/// Refuses an address with an unsupported scheme, and reports the valid form.
fn check_scheme(url: &NodeUrl) -> Result<(), CliError> {
    let shown = url.to_string();
    let (refused, rest) = match shown.split_once("://") {
        None => (
            "is no address of a node: it does not begin with http://",
            shown.as_str(),
        ),
        Some(("https" | "wss", rest)) => ("cannot be used: a node speaks http, without TLS", rest),
        // A library would read the number as an IPv4 address.
        Some(("http" | "ws", rest)) if port(rest).is_some() => {
            ("is no address of a node: it has no host", rest)
        }
        Some(("http" | "ws", _)) => return Ok(()),
        Some((_, rest)) => ("cannot be used: a node speaks http", rest),
    };
    let rest = with_host_and_port(rest);
    Err(CliError::usage(format!("{url} {refused}")).hint(format!("write --url http://{rest}")))
}

/// The port, of a text that is nothing else.
fn port(text: &str) -> Option<u16> {
    let text = text.strip_prefix(':').unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text).parse().ok()
}

/// An address behind its scheme, with the host or the port of a local node where it has none.
fn with_host_and_port(rest: &str) -> String {
    if let Some(port) = port(rest) {
        return format!("{LOCAL_HOST}:{port}");
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are inside its brackets.
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    match (host.is_empty(), behind.contains(':')) {
        (true, _) => format!("{authority}{LOCAL_HOST}:{LOCAL_PORT}{path}"),
        (false, true) => rest.to_owned(),
        (false, false) => format!("{authority}:{LOCAL_PORT}{path}"),
    }
}

/// The home directory as a path of the operating system. A symbolic link is resolved to its target, with or
/// without a trailing slash, for every command.
fn resolved(home: &Path) -> Result<PathBuf, CliError> {
    let home: PathBuf = home.components().collect();
    let refused = |what: &str| {
        CliError::usage(format!("the home directory {} {what}", home.display()))
            .reason("bad_home")
            .hint("name a directory, or one that can be made, with --home DIR")
    };
    let there = match std::fs::symlink_metadata(&home) {
        Ok(there) => there,
        Err(error) => {
            return match error.kind() {
                std::io::ErrorKind::NotFound => Ok(home),
                std::io::ErrorKind::NotADirectory => Err(refused("cannot be: a part of its path is a file")),
                _ => Err(CliError::file("read", &home)(error)),
            };
        }
    };
    let target = if there.is_symlink() {
        std::fs::canonicalize(&home).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refused("is a symbolic link that leads nowhere"),
            _ => CliError::file("read", &home)(error),
        })?
    } else {
        home.clone()
    };
    if std::fs::metadata(&target)
        .map_err(CliError::file("read", &target))?
        .is_dir()
    {
        Ok(target)
    } else {
        Err(refused("is not a directory"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_or_with_tls_is_refused_with_the_right_one() {
        for url in [
            "127.0.0.1:27100",
            "https://127.0.0.1:27100",
            "wss://127.0.0.1:27100",
        ] {
            let error = check_scheme(&url.into()).err();
            let error = error.map(|error| (error.exit, error.hint));
            let hint = Some("write --url http://127.0.0.1:27100".to_owned());
            assert_eq!(error, Some((Exit::Usage, hint)), "{url}");
        }
        assert_eq!(check_scheme(&LOCAL_URL.into()), Ok(()));
        assert_eq!(LOCAL_URL, format!("http://{LOCAL_HOST}:{LOCAL_PORT}"));
    }

    #[test]
    fn an_address_that_cannot_be_read_is_refused_with_the_form_of_one() {
        use clap::Parser as _;
        let line = ["vibecoin", "--url", "http://127.0.0.1:many", "status"];
        let globals = crate::args::Arguments::try_parse_from(line).map(|arguments| arguments.globals);
        let refused = globals
            .ok()
            .and_then(|globals| Context::new(globals).client().err());
        let refused = refused.map(|error| (error.exit, error.hint));
        assert_eq!(refused, Some((Exit::Usage, Some(URL_FORM.to_owned()))));
    }

    #[test]
    fn the_address_of_a_hint_has_a_scheme_a_host_and_a_port() {
        for (typed, hint) in [
            ("27100", "http://127.0.0.1:27100"),
            (":27100", "http://127.0.0.1:27100"),
            ("http://27100", "http://127.0.0.1:27100"),
            ("http://27100/", "http://127.0.0.1:27100"),
            ("node.example", "http://node.example:8545"),
            ("node.example/path", "http://node.example:8545/path"),
            ("https://user@node.example", "http://user@node.example:8545"),
            ("[::1]", "http://[::1]:8545"),
            ("[::1]:27100", "http://[::1]:27100"),
            ("ftp://127.0.0.1:27100", "http://127.0.0.1:27100"),
            ("", "http://127.0.0.1:8545"),
        ] {
            let error = check_scheme(&typed.into()).err();
            let shown = error.as_ref().and_then(|error| error.hint.clone());
            assert_eq!(shown, Some(format!("write --url {hint}")), "{typed}");
            // Followed.
            assert_eq!(check_scheme(&hint.into()), Ok(()), "{typed}");
        }
        // No port, and no host either.
        let error = check_scheme(&"70000".into()).err();
        assert_eq!(
            error.and_then(|error| error.hint),
            Some("write --url http://70000:8545".to_owned())
        );
    }

    #[test]
    fn a_home_behind_a_link_is_one_home_however_it_is_written() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (home, link) = (folder.path().join("home"), folder.path().join("link"));
        assert_eq!(resolved(&home), Ok(home.clone()), "one that is to be made");
        std::fs::create_dir(&home)?;
        std::os::unix::fs::symlink("home", &link)?;
        let target = std::fs::canonicalize(&home)?;
        assert_eq!(resolved(&link), Ok(target.clone()));
        assert_eq!(resolved(&link.join("")), Ok(target));
        std::fs::remove_dir(&home)?;
        for path in [link.clone(), link.join("")] {
            let error = resolved(&path).err().map(|error| (error.exit, error.reason));
            assert_eq!(error, Some((Exit::Usage, "bad_home".to_owned())), "{path:?}");
        }
        std::fs::write(&home, "a file")?;
        for path in [home.clone(), link, home.join("below")] {
            let error = resolved(&path).err().map(|error| (error.exit, error.reason));
            assert_eq!(error, Some((Exit::Usage, "bad_home".to_owned())), "{path:?}");
        }
        Ok(())
    }
}
