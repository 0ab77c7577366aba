//! Conversion of the errors of the node and of the library to the interface's codes.

use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::{
    INVALID_REQUEST_CODE, OVERSIZED_REQUEST_CODE, OVERSIZED_RESPONSE_CODE, TOO_BIG_BATCH_RESPONSE_CODE,
    TOO_MANY_SUBSCRIPTIONS_CODE,
};
use vibecoin_rpc_api::registry::Method;
use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_rpc_backend::{BackendError, Refusal};

use crate::values;

/// An error of the node in the form of the interface: here alone it gets its code.
pub(crate) trait Coded {
    /// The converted value.
    type Output;

    /// Converts it.
    fn coded(self) -> Self::Output;
}

impl<T, E: Coded> Coded for Result<T, E> {
    type Output = Result<T, E::Output>;

    fn coded(self) -> Self::Output {
        self.map_err(E::coded)
    }
}

impl Coded for BackendError {
    type Output = ApiError;

    fn coded(self) -> ApiError {
        let message = self.to_string();
        match self {
            BackendError::Future { head, .. } => {
                ApiError::new(Code::FutureHeight, message).with("head", head.0.to_string())
            }
            BackendError::Pruned { earliest, .. } => {
                ApiError::new(Code::Pruned, message).with("earliest", earliest.0.to_string())
            }
            BackendError::Disabled { .. } => ApiError::new(Code::Disabled, message),
            BackendError::ShuttingDown => ApiError::new(Code::ShuttingDown, message),
            BackendError::Busy { queue } => ApiError::new(Code::RateLimited, message).with("queue", queue),
            BackendError::Internal { detail } => {
                tracing::error!(target: "rpc", detail, "a call failed inside the node");
                ApiError::internal("the node failed to answer; its log says why")
            }
        }
    }
}

impl Coded for Refusal {
    type Output = ApiError;

    fn coded(self) -> ApiError {
        let message = self.to_string();
        let new = |code| ApiError::new(code, message.clone());
        match self {
            Refusal::BadSignature { .. } => new(Code::BadSignature),
            Refusal::WrongChain { expected, got } => new(Code::WrongChain)
                .with("expectedChain", expected)
                .with("gotChain", got),
            Refusal::NonceTooLow { expected, got } => new(Code::NonceTooLow)
                .with("expectedNonce", expected.0.to_string())
                .with("gotNonce", got.0.to_string()),
            Refusal::NonceTooHigh {
                expected,
                got,
                gap_max,
            } => new(Code::NonceTooHigh)
                .with("expectedNonce", expected.0.to_string())
                .with("gotNonce", got.0.to_string())
                .with("gapMax", gap_max.to_string()),
            Refusal::InsufficientFunds { needed, available } => new(Code::InsufficientFunds)
                .with("needed", needed.0.to_string())
                .with("available", available.0.to_string()),
            Refusal::FeeTooLow { least, got } => new(Code::FeeTooLow)
                .with("leastFee", least.0.to_string())
                .with("gotFee", got.0.to_string()),
            Refusal::TooLarge { what, got, limit } => new(Code::TransactionTooLarge)
                .with("what", what)
                .with("got", got.to_string())
                .with("limit", limit.to_string()),
            Refusal::Malformed { .. } => new(Code::BadEncoding),
            Refusal::Expired {
                valid_until,
                least,
                most,
            } => new(Code::Expired)
                .with("validUntil", valid_until.0.to_string())
                .with("least", least.0.to_string())
                .with("most", most.0.to_string()),
            Refusal::ReplacementUnderpriced { least, got } => new(Code::ReplacementUnderpriced)
                .with("leastFee", least.0.to_string())
                .with("gotFee", got.0.to_string()),
            // No fee replaces it.
            Refusal::InBlock { nonce } => new(Code::ReplacementUnderpriced)
                .with("leastFee", u64::MAX.to_string())
                .with("gotNonce", nonce.0.to_string()),
            Refusal::PoolFull { .. } => new(Code::MempoolFull),
            Refusal::AccountLimit { limit } => new(Code::AccountLimit).with("limit", limit.to_string()),
            Refusal::Unavailable(error) => error.coded(),
        }
    }
}

/// Converts an error of the library to the form of the interface: `data` is an object with a
/// reason.
pub(crate) fn with_reason(response: MethodResponse, method: Option<&Method>) -> MethodResponse {
    // Codes of the interface are positive.
    if response.as_error_code().is_none_or(|code| code > 0) {
        return response;
    }
    let Ok(sent) = serde_json::from_str::<jsonrpsee::types::Response<'_, ()>>(response.as_ref()) else {
        return response;
    };
    let jsonrpsee::types::ResponsePayload::Error(object) = &sent.payload else {
        return response;
    };
    let mut error = ApiError::from(&object.clone().into_owned());
    if !error.data.reason.is_empty() {
        return response;
    }
    error.data.reason = library_reason(error.code).to_owned();
    error.data.retryable = error.code == TOO_MANY_SUBSCRIPTIONS_CODE;
    if error.code == Code::InvalidParams.number()
        && let Some(serde_json::Value::String(detail)) = error.data.facts.remove("detail")
    {
        error.message = values::plain(&detail);
        if let Some(param) = method.and_then(values::nested) {
            error = error.with("parameter", param);
        }
    }
    error.data.facts.retain(|_, fact| !fact.is_null());
    let id = sent.id.clone().into_owned();
    MethodResponse::error(id, ErrorObjectOwned::from(error)).with_extensions(response.extensions().clone())
}

/// The reason of a code that the library uses.
fn library_reason(code: i32) -> &'static str {
    let own = Code::ALL.iter().find(|own| own.number() == code);
    match code {
        INVALID_REQUEST_CODE => "invalid_request",
        OVERSIZED_REQUEST_CODE => "request_too_large",
        OVERSIZED_RESPONSE_CODE => "response_too_large",
        TOO_BIG_BATCH_RESPONSE_CODE => "batch_response_too_large",
        TOO_MANY_SUBSCRIPTIONS_CODE => "too_many_subscriptions",
        _ => own.map_or("internal", |own| own.reason()),
    }
}
