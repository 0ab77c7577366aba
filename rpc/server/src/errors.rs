//! From the node's reasons to the interface's codes.

use vibecoin_rpc_api::{ApiError, Code};

use crate::backend::{BackendError, Refusal};

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        match error {
            BackendError::Future { head, .. } => {
                Self::new(Code::FutureHeight, message).with("head", head.0.to_string())
            }
            BackendError::Pruned { earliest, .. } => {
                Self::new(Code::Pruned, message).with("earliest", earliest.0.to_string())
            }
            BackendError::Disabled { .. } => Self::new(Code::Disabled, message),
            BackendError::ShuttingDown => Self::new(Code::ShuttingDown, message),
            BackendError::Busy { queue } => Self::new(Code::RateLimited, message).with("queue", queue),
            BackendError::Internal { detail } => {
                tracing::error!(target: "rpc", detail, "a call failed inside the node");
                Self::internal("the node failed to answer; its log says why")
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let new = |code| Self::new(code, message.clone());
        match refusal {
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
            Refusal::PoolFull { .. } => new(Code::MempoolFull),
            Refusal::AccountLimit { limit } => new(Code::AccountLimit).with("limit", limit.to_string()),
            Refusal::Unavailable(error) => error.into(),
        }
    }
}
