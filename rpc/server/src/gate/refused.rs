//! Refusals of calls, and their answers.

use std::time::Duration;

use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::{ErrorObjectOwned, Id};
use vibecoin_rpc_api::{ApiError, Code};

use crate::rate::Exhausted;

/// Marks an answer that reports "too many": over HTTP its status becomes 429.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimited {
    retry_after: Duration,
}

impl RateLimited {
    /// The value of `Retry-After`.
    pub(crate) const fn retry_after_seconds(self) -> u64 {
        self.retry_after.as_secs().saturating_add(1)
    }
}

/// Refusal of a call.
#[derive(Debug)]
pub(crate) struct Refused {
    error: ApiError,
    limited: Option<RateLimited>,
}

impl Refused {
    pub(super) fn for_debt(Exhausted(wait): Exhausted) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let error = ApiError::new(Code::RateLimited, "the budget of this address is used up");
        Self {
            error: error.with("retryAfterMs", ms.to_string()),
            limited: Some(RateLimited { retry_after: wait }),
        }
    }

    /// The HTTP answer to a connection of which nothing is read.
    pub(super) fn before_a_seat(self) -> String {
        let seconds = self.limited.map_or(1, RateLimited::retry_after_seconds);
        let body = bare_error(Id::Null, self.error);
        format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\nconnection: close\r\n\
             content-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The answer to the call.
    pub(crate) fn answer(self, id: Id<'_>) -> MethodResponse {
        let mut response = refused(id, self.error);
        if let Some(limited) = self.limited {
            response.extensions_mut().insert(limited);
        }
        response
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, limited: None }
    }
}

pub(super) fn timed_out(id: Id<'_>, what: &str) -> MethodResponse {
    refused(id, ApiError::new(Code::Timeout, format!("{what} took too long")))
}

pub(super) fn refused(id: Id<'_>, error: ApiError) -> MethodResponse {
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

/// An error before any method is known.
pub(crate) fn bare_error(id: Id<'_>, error: ApiError) -> String {
    refused(id, error).into_json().get().to_owned()
}
