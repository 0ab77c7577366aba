//! What every command shares: the home directory, the node's address, the client.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use vibecoin_config::{Config, Paths};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_keystore::{Keystore, NodeKeys};
use vibecoin_primitives::AddressPrefix;

use crate::args::Globals;
use crate::commands::config::{KnobArgs, load};
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;

/// Where a node answers when nothing else is known.
pub const LOCAL_URL: &str = "http://127.0.0.1:8545";
/// Most bytes of an answer that this client reads.
const RESPONSE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Most bytes of a request that this client sends; the node has its own, smaller limit.
const REQUEST_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// The prefix of addresses when there is no genesis to ask.
const PREFIX_DEFAULT: &str = "vibet";

/// What every command shares.
pub struct Context {
    /// The options.
    pub globals: Globals,
    /// `None` when none was given and the environment names none: most commands need no home.
    home: Option<PathBuf>,
}

impl Context {
    /// Takes the options.
    #[must_use]
    pub fn new(globals: Globals) -> Self {
        let home = globals
            .home
            .clone()
            .or_else(|| default_home(|name| std::env::var_os(name).map(PathBuf::from)));
        Self {
            globals,
            home: home.map(|home| followed(&home)),
        }
    }

    /// The same options for another node and its home.
    #[must_use]
    pub fn at(&self, url: &str, home: &Path) -> Self {
        let globals = Globals {
            url: url.to_owned(),
            ..self.globals.clone()
        };
        Self {
            globals,
            home: Some(home.to_owned()),
        }
    }

    /// The home directory, given or default.
    ///
    /// # Errors
    /// Exit 2 when none was given and the environment names no absolute one.
    pub fn home(&self) -> Result<&Path, CliError> {
        self.home.as_deref().ok_or_else(|| {
            CliError::usage("there is no home directory: HOME and XDG_DATA_HOME name no absolute path")
                .reason("no_home")
                .hint("give one with --home DIR")
        })
    }

    /// The configuration file.
    ///
    /// # Errors
    /// As [`Context::home`], unless the file was named.
    pub fn config_path(&self) -> Result<PathBuf, CliError> {
        match &self.globals.config {
            Some(path) => Ok(path.clone()),
            None => Ok(Paths::config_in(self.home()?)),
        }
    }

    /// The configuration of the home: file and environment, as its node has it without flags.
    ///
    /// # Errors
    /// Exit 2 without a home, 7 when it is refused.
    pub fn config(&self) -> Result<Config, CliError> {
        let file = self.globals.config.as_deref();
        let loaded = load(self.home()?, file, &KnobArgs::default(), Exit::InvalidFile)?;
        Ok(loaded.config)
    }

    /// The files of the home, where its node has them.
    ///
    /// # Errors
    /// As [`Context::config`].
    pub fn paths(&self) -> Result<Paths, CliError> {
        Ok(Paths::new(self.home()?, &self.config()?))
    }

    /// The genesis file that was named, or that of the home.
    ///
    /// # Errors
    /// As [`Context::paths`], unless a file was named.
    pub fn genesis_or(&self, named: Option<PathBuf>) -> Result<PathBuf, CliError> {
        named.map_or_else(|| Ok(self.paths()?.genesis), Ok)
    }

    /// How long to wait for a node.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.globals.timeout)
    }

    /// The node's address: as given, or the one that the node of the home wrote down.
    #[must_use]
    pub fn url(&self) -> String {
        match self.globals.url.as_str() {
            "local" | "dev" => self
                .home
                .as_ref()
                .and_then(|home| std::fs::read_to_string(Paths::endpoint_in(home)).ok())
                .map(|text| text.trim().to_owned())
                .filter(|url| url.starts_with("http://"))
                .unwrap_or_else(|| LOCAL_URL.to_owned()),
            url => url.to_owned(),
        }
    }

    /// A client over HTTP.
    ///
    /// # Errors
    /// Exit 2 when the address is none.
    pub fn client(&self) -> Result<HttpClient, CliError> {
        let url = self.url();
        check_scheme(&url)?;
        HttpClientBuilder::new()
            .max_request_size(REQUEST_BYTES_MAX)
            .max_response_size(RESPONSE_BYTES_MAX)
            // A call that waits on purpose answers by itself before this ends.
            .request_timeout(self.timeout().saturating_add(Duration::from_secs(5)))
            .build(&url)
            .map_err(|error| CliError::usage(format!("{url} is no address of a node: {error}")))
    }

    /// A client over WebSocket.
    ///
    /// # Errors
    /// Exit 2 when the address is none, 3 when no node answers.
    pub async fn websocket(&self) -> Result<WsClient, CliError> {
        let url = self.url();
        check_scheme(&url)?;
        let url = url
            .strip_prefix("http")
            .map_or_else(|| url.clone(), |rest| format!("ws{rest}"));
        WsClientBuilder::new()
            .max_response_size(RESPONSE_BYTES_MAX)
            .connection_timeout(self.timeout())
            .request_timeout(self.timeout())
            .build(&url)
            .await
            .map_err(CliError::no_answer)
    }

    /// Runs a client's work on this thread.
    ///
    /// # Errors
    /// What the work answers, or exit 1 when the system gives no event loop. When no node answers, the error
    /// names the address.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot start an event loop: {error}")))?
            .block_on(work)
            .map_err(|error| error.at(&self.url()))
    }

    /// The account keys of the home.
    ///
    /// # Errors
    /// Exit 40 when the directory is not this user's alone.
    pub fn keystore(&self) -> Result<Keystore, CliError> {
        Ok(self.node_keys()?.accounts()?)
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
            Some(path) if path.exists() => files::genesis(&path).map(Some),
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
        if self.home.is_none() {
            return Ok(None);
        }
        Ok(Some(self.paths()?.genesis))
    }
}

/// The folder that a home's path leads to: a home may be named through a symbolic link, with or without a slash at
/// the end. What is inside of it may not be one where a secret is involved.
fn followed(home: &Path) -> PathBuf {
    let plain: PathBuf = home.components().collect();
    if plain.is_symlink() {
        plain.canonicalize().unwrap_or(plain)
    } else {
        plain
    }
}

/// The files of another home, where its own configuration has them.
pub fn paths_of(home: &Path) -> Result<Paths, CliError> {
    let loaded = load(home, None, &KnobArgs::default(), Exit::InvalidFile)?;
    Ok(Paths::new(home, &loaded.config))
}

/// The keys of a home, where its configuration has them.
pub fn keys_of(paths: &Paths, prefix: AddressPrefix) -> NodeKeys {
    NodeKeys::new(&paths.home, prefix).with_places(&paths.keystore, &paths.node_key)
}

/// Refuses an address that no node can be at, and says how it is written.
fn check_scheme(url: &str) -> Result<(), CliError> {
    let (refused, rest) = match url.split_once("://") {
        None => ("is no address of a node: it does not begin with http://", url),
        Some(("https" | "wss", rest)) => ("cannot be used: a node speaks http, without TLS", rest),
        Some(_) => return Ok(()),
    };
    Err(CliError::usage(format!("{url} {refused}")).hint(format!("write --url http://{rest}")))
}

/// `$XDG_DATA_HOME/vibecoin`, or `~/.local/share/vibecoin`. A variable that is empty or relative counts as
/// absent: it would make a home in whatever folder the command was typed.
fn default_home(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))?;
    Some(data.join("vibecoin"))
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
            let error = check_scheme(url).err();
            let error = error.map(|error| (error.exit, error.hint));
            let hint = Some("write --url http://127.0.0.1:27100".to_owned());
            assert_eq!(error, Some((Exit::Usage, hint)), "{url}");
        }
        assert_eq!(check_scheme(LOCAL_URL), Ok(()));
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_home_is_the_folder_that_a_link_leads_to() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let (home, link) = (root.join("home"), root.join("link"));
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink("home", &link).unwrap();
        assert_eq!(followed(&link), home);
        assert_eq!(followed(&root.join("link/")), home);
        assert_eq!(followed(&root.join("home/")), home);
        assert_eq!(followed(Path::new("not/there/")), Path::new("not/there"));
    }

    #[test]
    fn the_default_home_is_in_the_data_directory() {
        let with = |pairs: &'static [(&str, &str)]| {
            default_home(move |name| {
                pairs
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, path)| path.into())
            })
        };
        assert_eq!(
            with(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]),
            Some("/d/vibecoin".into())
        );
        assert_eq!(
            with(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/share/vibecoin".into())
        );
        for nowhere in [
            &[][..],
            &[("HOME", "")],
            &[("HOME", "h")],
            &[("XDG_DATA_HOME", "")],
        ] {
            assert_eq!(
                default_home(|name| {
                    let mut pairs = nowhere.iter();
                    pairs
                        .find(|(known, _)| *known == name)
                        .map(|(_, path)| path.into())
                }),
                None,
                "{nowhere:?}"
            );
        }
    }
}
