//! The address of the node that a command asks, and clients of that node.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use jsonrpsee::ws_client::WsClient;
use vibecoin_client::Endpoint;
use vibecoin_config::Paths;
use vibecoin_devnet::running::{ENDPOINT_BYTES_MAX, Running};
use vibecoin_engine::reachable;
use vibecoin_genesis::BuiltGenesis;
use vibecoin_primitives::Hash;
use vibecoin_rpc_api::methods::ChainApiClient as _;

use super::Context;
use crate::error::{CliError, URL_FORM};
use crate::exit::Exit;
use crate::files;
use crate::node_url::NodeUrl;

/// Address of a node when no other is known.
pub const LOCAL_URL: &str = "http://127.0.0.1:8545";
/// Host and port of that address.
const LOCAL_HOST: &str = "127.0.0.1";
const LOCAL_PORT: u16 = 8545;
/// Time that a connection may take which only shows that a process listens.
const PROBE: Duration = Duration::from_secs(1);

impl Context {
    /// The node's address: as given, from the endpoint file of the home's node, or from its configuration.
    ///
    /// # Errors
    /// Exit 2 for a home that is not a directory; the fault of the endpoint file of the home's node, or of its
    /// configuration if there is no such file.
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
            Err(error) if error.exit == Exit::NotFound => return self.configured_url(),
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
    fn configured_url(&self) -> Result<NodeUrl, CliError> {
        if self.globals.home.is_none() {
            return Ok(LOCAL_URL.into());
        }
        let rpc = self.config()?.rpc;
        Ok(match rpc.port {
            // It takes any port that is free.
            0 => LOCAL_URL.into(),
            port => format!("http://{}", reachable(SocketAddr::new(rpc.addr, port))).into(),
        })
    }

    /// Returns true if no node was named and that of the home does not run: another one may answer at its address.
    /// The file with the address alone is no sign that it runs: it stays when a node is killed.
    fn may_be_anothers(&self) -> bool {
        let home = self.home_if_any().ok().flatten();
        self.globals.url.is_of_home() && home.is_some_and(|home| Running::on(home).is_none())
    }

    /// Refuses a node of another chain than that of the home, where no node was named.
    pub(super) async fn check_chain(&self) -> Result<(), CliError> {
        if !self.may_be_anothers() {
            return Ok(());
        }
        if self.globals.home.is_some() {
            // It names the genesis file.
            let _names_it = self.config()?;
        }
        // A fault of the genesis file is reported by the commands that need it.
        let (Ok(Some(own)), Ok(client)) = (self.built_genesis(), self.client()) else {
            return Ok(());
        };
        match client.get_info().await {
            Ok(info) => self.refuse_other_chain(&own, info.genesis_hash.0),
            // The command would wait for the same time once more.
            Err(error @ ClientError::RequestTimeout) => Err(error.into()),
            // Any other error is reported by the command.
            Err(_) => Ok(()),
        }
    }

    /// Refuses the chain of a node, by its genesis hash, if it is not that of the home, whose block 0 is `own`.
    ///
    /// # Errors
    /// Exit 4 for another chain.
    pub fn refuse_other_chain(&self, own: &BuiltGenesis, node: Hash) -> Result<(), CliError> {
        if own.hash == node {
            return Ok(());
        }
        let message = format!(
            "the node is on the chain {node}, the home {} on {}",
            self.home()?.display(),
            own.hash
        );
        Err(CliError::new(Exit::Rejected, message)
            .reason("wrong_chain")
            .hint("use the --url of a node of this home, or another --home"))
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

    /// A client over HTTP, whose calls end with the timeout of this command.
    ///
    /// # Errors
    /// Exit 2 when the address is invalid.
    pub fn client(&self) -> Result<HttpClient, CliError> {
        self.client_of(|endpoint| endpoint.http_within(self.timeout()))
    }

    /// A client over HTTP for calls that the node holds until that timeout has expired, and answers then.
    ///
    /// # Errors
    /// As [`Context::client`].
    pub fn waiting_client(&self) -> Result<HttpClient, CliError> {
        self.client_of(Endpoint::http)
    }

    fn client_of(
        &self,
        make: impl FnOnce(&Endpoint) -> Result<HttpClient, ClientError>,
    ) -> Result<HttpClient, CliError> {
        let url = self.url()?;
        make(&self.endpoint_at(&url)?).map_err(|error| {
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
}

/// Refuses an address with an unsupported scheme, and reports the valid form.
pub fn check_scheme(url: &NodeUrl) -> Result<(), CliError> {
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

/// An address without a port, with that of a local node; `None` for one that has a port.
pub fn with_port(url: &NodeUrl) -> Option<String> {
    let shown = url.to_string();
    let (scheme, rest) = shown.split_once("://")?;
    let whole = with_host_and_port(rest);
    (whole != rest).then(|| format!("{scheme}://{whole}"))
}

/// Returns true if a process takes connections at an address, or if that is not known: an address without a port.
pub fn takes_connections(url: &NodeUrl) -> bool {
    let shown = url.to_string();
    let rest = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if with_port(url).is_some() {
        return true;
    }
    host.to_socket_addrs().is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, PROBE).is_ok())
    })
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

    #[test]
    fn a_home_whose_node_does_not_run_is_asked_at_the_address_that_the_node_would_write()
    -> std::io::Result<()> {
        use clap::Parser as _;
        let home = tempfile::tempdir()?;
        let url = |config: &str| -> std::io::Result<_> {
            std::fs::write(Paths::config_in(home.path()), config)?;
            let line: [&std::ffi::OsStr; 4] = [
                "vibecoin".as_ref(),
                "--home".as_ref(),
                home.path().as_os_str(),
                "status".as_ref(),
            ];
            let arguments =
                crate::commands::Arguments::try_parse_from(line).map_err(std::io::Error::other)?;
            let url = Context::new(arguments.globals).url();
            Ok(url.map(|url| url.to_string()).map_err(|error| error.exit))
        };
        let at = |url: &str| Ok::<_, Exit>(url.to_owned());
        assert_eq!(url("")?, at(LOCAL_URL));
        assert_eq!(url("[rpc]\nport = 9000\n")?, at("http://127.0.0.1:9000"));
        // It listens at every address, and the one of this machine that always works is written.
        let everywhere = url("[rpc]\naddr = \"0.0.0.0\"\nport = 9000\n")?;
        assert_eq!(everywhere, at("http://127.0.0.1:9000"));
        let version_6 = url("[rpc]\naddr = \"::1\"\nport = 9000\n")?;
        assert_eq!(version_6, at("http://[::1]:9000"));
        assert_eq!(url("[rpc]\nport = 0\n")?, at(LOCAL_URL), "none is known");
        assert_eq!(url("[rpc]\nprot = 9000\n")?, Err(Exit::InvalidFile));
        // The file that a node left has it, whatever the configuration is now.
        std::fs::write(Paths::endpoint_in(home.path()), "http://127.0.0.1:4321\n")?;
        assert_eq!(url("[rpc]\nprot = 9000\n")?, at("http://127.0.0.1:4321"));
        Ok(())
    }

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
    fn a_port_at_which_nobody_listens_takes_no_connections() -> std::io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let urls = [
            format!("http://127.0.0.1:{port}"),
            format!("ws://user:a@b@127.0.0.1:{port}/path"),
        ];
        assert!(urls.iter().all(|url| takes_connections(&url.as_str().into())));
        drop(listener);
        assert!(!urls.iter().any(|url| takes_connections(&url.as_str().into())));
        assert!(takes_connections(&"http://127.0.0.1".into()), "unknown");
        Ok(())
    }

    #[test]
    fn an_address_without_a_port_gets_that_of_a_node() {
        for (typed, whole) in [
            ("http://127.0.0.1", Some("http://127.0.0.1:8545")),
            ("http://node.example/path", Some("http://node.example:8545/path")),
            ("ws://[::1]", Some("ws://[::1]:8545")),
            ("http://127.0.0.1:27100", None),
            ("http://[::1]:27100/", None),
        ] {
            assert_eq!(with_port(&typed.into()).as_deref(), whole, "{typed}");
            // Followed.
            assert_eq!(whole.and_then(|whole| with_port(&whole.into())), None, "{typed}");
        }
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
}
