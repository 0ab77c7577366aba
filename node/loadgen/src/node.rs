//! A node that receives load.

use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use vibecoin_client::Endpoint;

/// Limit of a query that does not wait; a node under load answers in much less.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A node that receives load.
pub struct Node {
    pub(crate) endpoint: Endpoint,
    /// For submissions and for the accounts.
    pub(crate) client: HttpClient,
    /// For queries about blocks and samples.
    pub(crate) query: HttpClient,
}

impl Node {
    /// The node at an endpoint, with a client for it.
    ///
    /// # Errors
    /// The library's error for an address that is invalid.
    pub fn new(endpoint: Endpoint, client: HttpClient) -> Result<Self, ClientError> {
        let query = endpoint.http_within(ANSWER_WITHIN)?;
        Ok(Self {
            endpoint,
            client,
            query,
        })
    }

    /// The client of its submissions.
    #[must_use]
    pub const fn client(&self) -> &HttpClient {
        &self.client
    }
}
