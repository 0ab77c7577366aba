//! Connections to one node.

use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};

/// Maximum size of a response that a client reads, in bytes.
const RESPONSE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Maximum size of a request that a client sends, in bytes; the node has a separate, smaller limit.
const REQUEST_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Time that a client waits beyond the timeout: a call that waits on purpose returns before this one ends.
const GRACE: Duration = Duration::from_secs(5);

/// Address of a node's RPC interface and timeout of its clients. Has no `Debug`: the address may contain a
/// password.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    timeout: Duration,
}

impl Endpoint {
    /// The interface at an address such as `http://127.0.0.1:8545`.
    pub fn new(url: impl Into<String>, timeout: Duration) -> Self {
        let url = url.into();
        Self { url, timeout }
    }

    /// A client over HTTP. Connects with its first call.
    ///
    /// # Errors
    /// The library's error for an address that is invalid.
    pub fn http(&self) -> Result<HttpClient, ClientError> {
        self.http_within(self.timeout.saturating_add(GRACE))
    }

    /// The same with another limit of a call, for calls that do not wait on purpose.
    ///
    /// # Errors
    /// As [`Self::http`].
    pub fn http_within(&self, limit: Duration) -> Result<HttpClient, ClientError> {
        HttpClientBuilder::new()
            .max_request_size(REQUEST_BYTES_MAX)
            .max_response_size(RESPONSE_BYTES_MAX)
            .request_timeout(limit)
            .build(&self.url)
    }

    /// A client over WebSocket, connected.
    ///
    /// # Errors
    /// The library's error for an address that is invalid, and when no node answers there.
    pub async fn websocket(&self) -> Result<WsClient, ClientError> {
        let address = self
            .url
            .strip_prefix("http")
            .map_or_else(|| self.url.clone(), |rest| format!("ws{rest}"));
        WsClientBuilder::new()
            .max_response_size(RESPONSE_BYTES_MAX)
            .connection_timeout(self.timeout)
            .request_timeout(self.timeout)
            .build(&address)
            .await
    }
}
