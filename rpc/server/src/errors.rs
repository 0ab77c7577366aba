//! Conversion of the errors of the node and of the library to the interface's codes.

use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::{
    INVALID_REQUEST_CODE, OVERSIZED_REQUEST_CODE, OVERSIZED_RESPONSE_CODE, TOO_BIG_BATCH_RESPONSE_CODE,
    TOO_MANY_SUBSCRIPTIONS_CODE,
};
use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::MempoolError;
use vibecoin_primitives::{Amount, ChainParams, Height, TransactionError};
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

/// The error for a transaction that was refused, on a chain with these rules.
pub(crate) fn refused(refusal: Refusal, params: &ChainParams) -> ApiError {
    match refusal {
        Refusal::Transaction(error) => malformed_or_forged(error),
        Refusal::Pool(MempoolError::Invalid(reason)) => invalid(reason, params),
        Refusal::Pool(error) => not_pooled(error),
        Refusal::Unavailable(error) => error.coded(),
    }
}

/// Refused before any state was read.
fn malformed_or_forged(error: TransactionError) -> ApiError {
    match error {
        TransactionError::WrongChain { expected, got } => {
            let message = format!("the transaction names chain {got}, this chain is {expected}");
            ApiError::new(Code::WrongChain, message)
                .with("expectedChain", expected)
                .with("gotChain", got)
        }
        TransactionError::OperationCount { .. } => malformed(&error),
        other => ApiError::new(Code::BadSignature, other.to_string()),
    }
}

/// The next block could not include it.
fn invalid(reason: InvalidTransaction, params: &ChainParams) -> ApiError {
    use InvalidTransaction as I;
    match reason {
        I::TooLarge { limit, got } => too_large("bytes", got.into(), limit),
        I::OperationCount { limit, got } => too_large("operations", got as u64, limit),
        I::Demand(excess) => too_large(excess.what, excess.got, excess.limit),
        I::FeeTooLow { least, got } => {
            ApiError::new(Code::FeeTooLow, format!("the fee is {got}, the least is {least}"))
                .with("leastFee", least.0.to_string())
                .with("gotFee", got.0.to_string())
        }
        I::Expired { valid_until, height } => {
            let most = height.saturating_add(params.validity_window);
            out_of_range(valid_until, height, most)
        }
        I::ValidTooLong { valid_until, most } => {
            let least = most.saturating_sub(params.validity_window);
            out_of_range(valid_until, least, most)
        }
        I::NonceTooLow { expected, got } => {
            let message = format!("nonce {got} is used, the next one is {expected}");
            ApiError::new(Code::NonceTooLow, message)
                .with("expectedNonce", expected.0.to_string())
                .with("gotNonce", got.0.to_string())
        }
        I::FeeUnpayable { fee, available } => unpayable(fee, available),
        other => malformed(&other),
    }
}

/// The pool has no place for it.
fn not_pooled(error: MempoolError) -> ApiError {
    match error {
        MempoolError::NonceGap {
            expected,
            got,
            gap_max,
        } => {
            let message = format!("nonce {got} is more than {gap_max} ahead of the next one, {expected}");
            ApiError::new(Code::NonceTooHigh, message)
                .with("expectedNonce", expected.0.to_string())
                .with("gotNonce", got.0.to_string())
                .with("gapMax", gap_max.to_string())
        }
        MempoolError::InsufficientFunds { needed, available } => unpayable(needed, available),
        MempoolError::ReplacementUnderpriced { least, got, .. } => {
            let message = format!("a replacement must pay at least {least}, this one pays {got}");
            ApiError::new(Code::ReplacementUnderpriced, message)
                .with("leastFee", least.0.to_string())
                .with("gotFee", got.0.to_string())
        }
        // That block is not decided: the nonce may be free again in a moment. No fee replaces it.
        MempoolError::InBlock { nonce, .. } => {
            let message = format!(
                "a transaction with nonce {nonce} is in a block that is being made and cannot be replaced now"
            );
            ApiError::new(Code::ReplacementUnderpriced, message)
                .with("leastFee", u64::MAX.to_string())
                .with("gotNonce", nonce.0.to_string())
        }
        MempoolError::SenderLimit { limit } => {
            let message = format!("the sender has {limit} transactions in the pool, which is the limit");
            ApiError::new(Code::AccountLimit, message).with("limit", limit.to_string())
        }
        other => ApiError::new(Code::MempoolFull, format!("the pool is full: {other}")),
    }
}

fn malformed(error: &impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::BadEncoding, format!("malformed: {error}"))
}

fn too_large(what: &'static str, got: u64, limit: u32) -> ApiError {
    let message = format!("too large: {what} {got}, the limit is {limit}");
    ApiError::new(Code::TransactionTooLarge, message)
        .with("what", what)
        .with("got", got.to_string())
        .with("limit", limit.to_string())
}

fn out_of_range(valid_until: Height, least: Height, most: Height) -> ApiError {
    let message = format!("validUntil {valid_until} is outside {least} to {most}");
    ApiError::new(Code::Expired, message)
        .with("validUntil", valid_until.0.to_string())
        .with("least", least.0.to_string())
        .with("most", most.0.to_string())
}

fn unpayable(needed: Amount, available: Amount) -> ApiError {
    let message = format!("the sender needs {needed} and has {available}");
    ApiError::new(Code::InsufficientFunds, message)
        .with("needed", needed.0.to_string())
        .with("available", available.0.to_string())
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

#[cfg(test)]
mod tests {
    use vibecoin_primitives::{Hash, Nonce, SignatureError};
    use vibecoin_rpc_backend::Refusal as R;

    use super::*;

    fn shown(refusal: R) -> (i32, String) {
        let params = ChainParams {
            validity_window: 100,
            ..ChainParams::dev()
        };
        let error = refused(refusal, &params);
        (error.code, error.message)
    }

    #[track_caller]
    fn check(refusal: impl Into<R>, code: Code, message: &str) {
        assert_eq!(shown(refusal.into()), (code.number(), message.to_owned()));
    }

    fn invalid(reason: InvalidTransaction) -> R {
        R::Pool(reason.into())
    }

    #[test]
    fn what_is_refused_before_a_state_is_read_has_its_code_and_words() {
        let (expected, got) = ("0x01".to_owned(), "0x02".to_owned());
        check(
            TransactionError::WrongChain { expected, got },
            Code::WrongChain,
            "the transaction names chain 0x02, this chain is 0x01",
        );
        check(
            TransactionError::OperationCount { got: 0 },
            Code::BadEncoding,
            &format!("malformed: {}", TransactionError::OperationCount { got: 0 }),
        );
        check(
            TransactionError::from(SignatureError::KeyNotAPoint),
            Code::BadSignature,
            "bad signature: public key is not a point of the curve",
        );
    }

    #[test]
    fn what_no_block_can_include_has_its_code_and_words() {
        use InvalidTransaction as I;
        for (reason, code, message) in [
            (
                I::TooLarge { limit: 7, got: 9 },
                Code::TransactionTooLarge,
                "too large: bytes 9, the limit is 7",
            ),
            (
                I::OperationCount { limit: 7, got: 9 },
                Code::TransactionTooLarge,
                "too large: operations 9, the limit is 7",
            ),
            (
                I::FeeTooLow {
                    least: Amount(7),
                    got: Amount(5),
                },
                Code::FeeTooLow,
                "the fee is 5, the least is 7",
            ),
            (
                I::Expired {
                    valid_until: Height(4),
                    height: Height(5),
                },
                Code::Expired,
                "validUntil 4 is outside 5 to 105",
            ),
            (
                I::ValidTooLong {
                    valid_until: Height(106),
                    most: Height(105),
                },
                Code::Expired,
                "validUntil 106 is outside 5 to 105",
            ),
            (
                I::NonceTooLow {
                    expected: Nonce(3),
                    got: Nonce(2),
                },
                Code::NonceTooLow,
                "nonce 2 is used, the next one is 3",
            ),
            (
                I::FeeUnpayable {
                    fee: Amount(9),
                    available: Amount(8),
                },
                Code::InsufficientFunds,
                "the sender needs 9 and has 8",
            ),
            (
                I::SystemSender,
                Code::BadEncoding,
                "malformed: the sender belongs to the chain and sends no transactions",
            ),
        ] {
            check(invalid(reason), code, message);
        }
    }

    #[test]
    fn what_the_pool_has_no_place_for_has_its_code_and_words() {
        let existing = Hash([1; 32]);
        check(
            MempoolError::NonceGap {
                expected: Nonce(3),
                got: Nonce(9),
                gap_max: 5,
            },
            Code::NonceTooHigh,
            "nonce 9 is more than 5 ahead of the next one, 3",
        );
        check(
            MempoolError::InsufficientFunds {
                needed: Amount(9),
                available: Amount(8),
            },
            Code::InsufficientFunds,
            "the sender needs 9 and has 8",
        );
        check(
            MempoolError::ReplacementUnderpriced {
                existing,
                least: Amount(9),
                got: Amount(8),
            },
            Code::ReplacementUnderpriced,
            "a replacement must pay at least 9, this one pays 8",
        );
        check(
            MempoolError::InBlock {
                existing,
                nonce: Nonce(4),
            },
            Code::ReplacementUnderpriced,
            "a transaction with nonce 4 is in a block that is being made and cannot be replaced now",
        );
        check(
            MempoolError::SenderLimit { limit: 64 },
            Code::AccountLimit,
            "the sender has 64 transactions in the pool, which is the limit",
        );
        let full = MempoolError::PoolFull {
            count: 2,
            bytes: 300,
            least: Amount(7),
        };
        let message = format!("the pool is full: {full}");
        check(full, Code::MempoolFull, &message);
        check(
            BackendError::ShuttingDown,
            Code::ShuttingDown,
            "the node is shutting down",
        );
    }
}
