//! The operator's listener of the node of the home: where it is, and the token that opens it.

use std::future::Future;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::{HeaderMap, HeaderValue, HttpClient, HttpClientBuilder};
use serde_json::Value;
use vibecoin_config::Config;
use vibecoin_engine::ADMIN_ENDPOINT_FILE;

use crate::commands::config::{KnobArgs, load};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// A client of the operator's listener.
pub struct Admin {
    /// Shows the token with every call.
    pub client: HttpClient,
    url: String,
}

impl Admin {
    /// Finds the listener of the node of the home: what the running node wrote down, or else what its
    /// configuration says.
    ///
    /// # Errors
    /// Exit 3 when nothing says where it is, 40 when the token cannot be read.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        let home = context.home()?;
        let file = context.globals.config.as_deref();
        let config = load(home, file, &KnobArgs::default(), Exit::InvalidFile)?.config;
        let written = std::fs::read_to_string(home.join(ADMIN_ENDPOINT_FILE)).ok();
        let fixed = Some(&config.admin.listen).filter(|listen| !listen.is_empty() && !listen.ends_with(":0"));
        let url = written
            .map(|text| text.trim().to_owned())
            .filter(|url| url.starts_with("http://"))
            .or_else(|| fixed.map(|listen| format!("http://{listen}")));
        let Some(url) = url else {
            let message = format!("no node of {} has a listener for its operator", home.display());
            return Err(CliError::new(Exit::CannotConnect, message)
                .hint("start the node with --admin.listen 127.0.0.1:0, and name its --home"));
        };
        let client = HttpClientBuilder::new()
            .set_headers(headers(context, &config)?)
            .request_timeout(context.timeout())
            .build(&url)
            .map_err(|error| CliError::usage(format!("{url} is no address of a node: {error}")))?;
        Ok(Self { client, url })
    }

    /// Runs a call on this thread.
    ///
    /// # Errors
    /// Those of the node.
    pub fn wait<T>(
        &self,
        context: &Context,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, CliError> {
        let home = context.home()?.display();
        // The context would name the public address.
        let named = |error: ClientError| {
            let error = CliError::from(error).at(&self.url);
            if error.data.get("httpStatus").and_then(Value::as_u64) != Some(401) {
                return error;
            }
            let message = format!("the token of {home} is not that of the node at {}", self.url);
            CliError::new(Exit::Key, message).hint("name the --home of that node")
        };
        context.wait(async { call.await.map_err(named) })
    }
}

fn headers(context: &Context, config: &Config) -> Result<HeaderMap, CliError> {
    let home = context.home()?;
    let path = Config::locate(home, &config.admin.token_file).unwrap_or_else(|| home.to_owned());
    let unreadable = |detail: String| {
        CliError::new(
            Exit::Key,
            format!("the operator's token {}: {detail}", path.display()),
        )
        .hint("the node makes it when it starts with --admin.listen; only its user can read it")
    };
    let token = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| unreadable("not 64 hex digits".to_owned()))?;
    // Never shown in a log.
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value);
    Ok(headers)
}
