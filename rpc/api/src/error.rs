//! Errors: stable positive codes, a symbolic reason, a `retryable` flag, and facts.

use std::fmt;

use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $reason:literal, $retryable:literal;)*) => {
        /// Error class. The number and the reason of a code never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, ascending by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number in `error.code`.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The symbol in `error.data.reason`.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// Returns true if the same request may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

codes! {
    /// The node failed; its log has the details.
    Internal = -32603, "internal", true;
    /// A parameter is missing, unknown, given twice, or of the wrong type.
    InvalidParams = -32602, "invalid_params", false;
    /// The request names no method of this listener.
    MethodNotFound = -32601, "method_not_found", false;
    /// Bytes or an integer are not in the accepted encoding.
    BadEncoding = 1000, "bad_encoding", false;
    /// Not an address of this chain.
    BadAddress = 1001, "bad_address", false;
    /// Not a block reference.
    BadBlockReference = 1002, "bad_block_reference", false;
    /// The cursor is malformed or belongs to another query.
    BadCursor = 1003, "bad_cursor", false;
    /// The block does not exist yet.
    FutureHeight = 1101, "height_in_future", true;
    /// The named item does not exist, and `null` is not a possible answer.
    NotFound = 1102, "not_found", false;
    /// It existed, but this node no longer has it; `earliest` is the first height that it has.
    Pruned = 1103, "pruned", false;
    /// The node is catching up.
    Syncing = 1201, "syncing", true;
    /// `minHeight` was not reached in time.
    MinHeight = 1202, "min_height_not_reached", true;
    /// The feature or index is switched off.
    Disabled = 1203, "disabled", false;
    /// The node is stopping.
    ShuttingDown = 1204, "shutting_down", true;
    /// The signature rule does not hold.
    BadSignature = 1301, "bad_signature", false;
    /// The transaction names another chain.
    WrongChain = 1302, "wrong_chain", false;
    /// The nonce has been used.
    NonceTooLow = 1303, "nonce_too_low", false;
    /// The nonce is further ahead than the pool allows.
    NonceTooHigh = 1304, "nonce_too_high", true;
    /// The sender cannot pay.
    InsufficientFunds = 1305, "insufficient_funds", true;
    /// The fee is below the minimum fee of the chain or the pool.
    FeeTooLow = 1306, "fee_too_low", false;
    /// More bytes or operations than the chain allows.
    TransactionTooLarge = 1307, "transaction_too_large", false;
    /// `validUntil` has passed, or is further ahead than the chain allows.
    Expired = 1308, "expired", false;
    /// The pool or the chain has the transaction already.
    AlreadyKnown = 1309, "already_known", false;
    /// A replacement must pay more.
    ReplacementUnderpriced = 1310, "replacement_underpriced", false;
    /// The pool is full of better-paying transactions.
    MempoolFull = 1311, "mempool_full", true;
    /// The transaction would fail.
    ExecutionWouldFail = 1312, "execution_would_fail", false;
    /// The sender has too many transactions in the pool.
    AccountLimit = 1313, "account_limit", true;
    /// The caller exceeds its rate limit.
    RateLimited = 1401, "rate_limited", true;
    /// The range or the list is too large for one call.
    TooExpensive = 1402, "too_expensive", false;
    /// The wait ended first; the outcome may still follow.
    Timeout = 1403, "timeout", true;
    /// The caller sent no token, or not this node's.
    Unauthenticated = 1501, "unauthenticated", false;
    /// The caller lacks permission.
    Forbidden = 1502, "forbidden", false;
    /// The proof cannot be made on this node.
    ProofUnavailable = 1601, "proof_unavailable", true;
    /// The operator's request was refused; the message contains the reason.
    AdminRefused = 1701, "admin_refused", false;
}

/// An error as it is sent: `{code, message, data: {reason, retryable, …facts}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// The number of a [`Code`], or a code of the library.
    pub code: i32,
    /// Message for humans.
    pub message: String,
    /// Data for programs.
    pub data: ErrorData,
}

/// The part of an error that programs read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// A stable symbol.
    #[serde(default)]
    pub reason: String,
    /// True if the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// Further facts, such as `expectedNonce`. 64-bit integers are decimal strings.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl ApiError {
    /// An error of this class.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let data = ErrorData {
            reason: code.reason().to_owned(),
            retryable: code.retryable(),
            facts: Map::new(),
        };
        Self {
            code: code.number(),
            message: message.into(),
            data,
        }
    }

    /// A fault of the node. The caller receives a general message, the log the details.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// A parameter error (-32602) with a specific reason.
    pub fn invalid_params(reason: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(Code::InvalidParams, message);
        reason.clone_into(&mut error.data.reason);
        error
    }

    /// A list or a range that is too large for one call (1402).
    pub fn too_many(what: &str, got: usize, limit: usize) -> Self {
        let message = format!("at most {limit} {what} in one call, got {got}");
        Self::new(Code::TooExpensive, message).with("limit", limit)
    }

    /// Adds a fact. Pass 64-bit integers as strings.
    #[must_use]
    pub fn with(mut self, name: &str, fact: impl Into<Value>) -> Self {
        self.data.facts.insert(name.to_owned(), fact.into());
        self
    }

    /// The class, when the number is one of this interface.
    #[must_use]
    pub fn class(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.number() == self.code)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for ErrorObjectOwned {
    fn from(error: ApiError) -> Self {
        ErrorObject::owned(error.code, error.message, Some(error.data))
    }
}

impl From<&ErrorObjectOwned> for ApiError {
    /// Reads an error from a node; errors of the library keep their text as `detail`.
    fn from(object: &ErrorObjectOwned) -> Self {
        let sent = object.data().map_or("null", serde_json::value::RawValue::get);
        let data = serde_json::from_str::<ErrorData>(sent).unwrap_or_else(|_| {
            let mut facts = Map::new();
            facts.insert(
                "detail".to_owned(),
                serde_json::from_str(sent).unwrap_or(Value::Null),
            );
            ErrorData {
                facts,
                ..ErrorData::default()
            }
        });
        Self {
            code: object.code(),
            message: object.message().to_owned(),
            data,
        }
    }
}

impl ApiError {
    /// The error in a node's answer; `None` when the call failed in transit.
    #[must_use]
    pub fn from_client(error: &jsonrpsee::core::client::Error) -> Option<Self> {
        match error {
            jsonrpsee::core::client::Error::Call(object) => Some(object.into()),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_unique_and_ours_are_positive() {
        let mut numbers: Vec<_> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.is_sorted());
        numbers.dedup();
        let mut reasons: Vec<_> = Code::ALL.iter().map(|code| code.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!((numbers.len(), reasons.len()), (Code::ALL.len(), Code::ALL.len()));
        assert!(
            numbers
                .iter()
                .all(|n| *n >= 1000 || (-32603..=-32601).contains(n))
        );
    }

    #[test]
    fn an_error_carries_reason_retryable_and_facts_beside_each_other() {
        let error = ApiError::new(Code::NonceTooLow, "used").with("expectedNonce", "7");
        let object = ErrorObjectOwned::from(error.clone());
        let json: Value = serde_json::to_value(&object).unwrap();
        assert_eq!(json["code"], 1303);
        assert_eq!(json["data"]["reason"], "nonce_too_low");
        assert_eq!(json["data"]["retryable"], false);
        assert_eq!(json["data"]["expectedNonce"], "7");
        assert_eq!(ApiError::from(&object), error);
    }
}
