//! The operator's listener of the home's node: its address, and its token.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use serde_json::Value;
use vibecoin_client::{OperatorError, operator};
use vibecoin_config::Paths;
use vibecoin_devnet::home::read_token;
use vibecoin_devnet::running::ENDPOINT_BYTES_MAX;
use vibecoin_engine::reachable;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::node_url::NodeUrl;

/// Hint where a node has no listener for its operator.
const LISTEN_HINT: &str = "start the node with --admin.listen 127.0.0.1:0, and name its --home";

/// A client of the operator's listener.
pub struct Admin {
    /// Sends the token with every call.
    pub client: HttpClient,
    url: NodeUrl,
}

impl Admin {
    /// Finds the listener of the home's node: in the running node's endpoint file, or else in its
    /// configuration.
    ///
    /// # Errors
    /// Exit 3 when neither has an address, 40 when the token cannot be read.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        let home = context.home()?;
        let config = context.config()?;
        let paths = Paths::new(home, &config);
        let endpoint = &paths.admin_endpoint;
        let written = if files::exists(endpoint)? {
            Some(files::read_text(endpoint, ENDPOINT_BYTES_MAX)?)
        } else {
            None
        };
        let fixed = Some(&config.admin.listen).filter(|listen| !listen.is_empty() && !listen.ends_with(":0"));
        let url = written
            .map(|text| text.trim().to_owned())
            .filter(|url| url.starts_with("http://"))
            .or_else(|| fixed.map(|listen| url_of(listen)));
        let Some(url) = url else {
            let message = format!("no node of {} has a listener for its operator", home.display());
            return Err(CliError::new(Exit::CannotConnect, message).hint(LISTEN_HINT));
        };
        let token = token(&paths.admin_token)?;
        let client = operator(&url, &token, context.timeout()).map_err(|error| match error {
            OperatorError::Token => CliError::new(
                Exit::Key,
                format!("{}: not 64 hex digits", paths.admin_token.display()),
            ),
            OperatorError::Address(error) => {
                CliError::usage(format!("{url} is no address of a node: {error}"))
            }
        })?;
        Ok(Self {
            client,
            url: url.into(),
        })
    }

    /// Runs a call on this thread.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn wait<T>(
        &self,
        context: &Context,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, CliError> {
        let home = context.home()?.display();
        // The context would name the public address.
        let named = |error: ClientError| {
            let error = CliError::from(error)
                .of_port(|| false)
                .at(&self.url, || context.home_hint());
            match error.data.get("httpStatus").and_then(Value::as_u64) {
                Some(401) => {
                    let message = format!("the token of {home} is not that of the node at {}", self.url);
                    CliError::new(Exit::Key, message).hint("name the --home of that node")
                }
                Some(404 | 405) => {
                    let message = format!("{} is no listener for the operator of a node", self.url);
                    CliError { message, ..error }.hint(LISTEN_HINT)
                }
                _ => error,
            }
        };
        // Its token is that of this home: a node of another chain refuses it.
        context.wait_elsewhere(async { call.await.map_err(named) })
    }
}

/// The address that the node would write for this setting. A listener may be named by its host.
fn url_of(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) => format!("http://{}", reachable(address)),
        Err(_) => format!("http://{listen}"),
    }
}

/// The token that the node made for its operator.
fn token(path: &Path) -> Result<Zeroizing<String>, CliError> {
    read_token(path)?.ok_or_else(|| {
        CliError::new(
            Exit::Key,
            format!("there is no token for the operator at {}", path.display()),
        )
        .hint("the node makes it when it starts with --admin.listen 127.0.0.1:0; only its user can read it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_at_every_address_is_reached_at_loopback() {
        for (listen, url) in [
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000"),
            ("localhost:9000", "http://localhost:9000"),
        ] {
            assert_eq!(url_of(listen), url);
        }
    }
}
