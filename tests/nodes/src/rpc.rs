//! JSON-RPC with time limits: a node under a fault may never answer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;

/// Time limit of a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Reasons for a missing result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: the node certainly did not receive the call.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The call was sent and no answer arrived: it may have had its effect.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The node refused.
    #[error("refused with {code} {reason}: {message}")]
    Refused {
        /// The error code.
        code: i64,
        /// The stable reason.
        reason: String,
        /// The message.
        message: String,
    },
}

/// Calls a method of the node at an address; returns the whole answer, `result` or `error`.
///
/// # Errors
/// When the node does not answer, or not with JSON.
pub fn call(address: &str, method: &str, params: Value) -> std::io::Result<Value> {
    let answer = http::post(address, request(method, &params).as_bytes())?;
    serde_json::from_str(&answer.body).map_err(std::io::Error::other)
}

fn request(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// The RPC interface of one node.
#[derive(Clone, Debug)]
pub struct Rpc {
    address: SocketAddr,
    limit: Duration,
}

impl Rpc {
    /// The interface at an address; no call takes longer than `limit`.
    #[must_use]
    pub const fn new(address: SocketAddr, limit: Duration) -> Self {
        Self { address, limit }
    }

    /// The same with another limit.
    #[must_use]
    pub const fn within(&self, limit: Duration) -> Self {
        Self::new(self.address, limit)
    }

    /// The address of the interface.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, CallError> {
        let begun = Instant::now();
        let body = request(method, params);
        let stream = TcpStream::connect_timeout(&self.address, CONNECT.min(self.limit))
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let left = self.limit.saturating_sub(begun.elapsed());
        let answer = http::post_to(&stream, &self.address.to_string(), body.as_bytes(), left)
            .map_err(|error| CallError::NoAnswer(error.to_string()))?;
        let mut json: Value = serde_json::from_str(&answer.body).map_err(|error| {
            let status = answer.status;
            CallError::NoAnswer(format!("the answer with status {status} is not JSON: {error}"))
        })?;
        let error = json.get("error").filter(|error| !error.is_null());
        if let Some(error) = error {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(CallError::Refused {
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                reason: text(error.pointer("/data/reason")),
                message: text(error.get("message")),
            });
        }
        json.get_mut("result")
            .map(Value::take)
            .ok_or_else(|| CallError::NoAnswer("neither result nor error".to_owned()))
    }
}
