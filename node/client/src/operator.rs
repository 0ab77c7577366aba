//! A client of the listener for a node's operator.

use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::{HeaderMap, HeaderValue, HttpClient, HttpClientBuilder};
use zeroize::Zeroizing;

/// Reason why there is no client for an operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The token has characters that a header cannot hold.
    #[error("the token cannot be sent")]
    Token,
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] ClientError),
}

/// A client that sends the operator's token with every call. A call ends after `limit`.
///
/// # Errors
/// A token that cannot be sent, or an address that is invalid.
pub fn operator(url: &str, token: &str, limit: Duration) -> Result<HttpClient, OperatorError> {
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&bearer).map_err(|_| OperatorError::Token)?;
    // Excluded from logs.
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value);
    Ok(HttpClientBuilder::new()
        .set_headers(headers)
        .request_timeout(limit)
        .build(url)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_several_lines_and_an_address_that_is_none_are_refused() {
        let client = |url, token| operator(url, token, Duration::from_secs(1));
        assert!(client("http://127.0.0.1:1", "0123").is_ok());
        assert!(matches!(
            client("http://127.0.0.1:1", "01\n23"),
            Err(OperatorError::Token)
        ));
        assert!(matches!(
            client("http://127.0.0.1:many", "0123"),
            Err(OperatorError::Address(_))
        ));
    }
}
