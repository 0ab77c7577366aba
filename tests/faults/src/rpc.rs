//! JSON-RPC with time limits: a node under a fault may never answer.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Maximum bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
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
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = request.to_string();
        let until = Instant::now().checked_add(self.limit);
        let stream = TcpStream::connect_timeout(&self.address, CONNECT.min(self.limit))
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let answer = self
            .exchange(stream, &body, until)
            .map_err(|error| CallError::NoAnswer(error.to_string()))?;
        let mut answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| CallError::NoAnswer(format!("the answer is not JSON: {error}")))?;
        let error = answer.get("error").filter(|error| !error.is_null());
        if let Some(error) = error {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(CallError::Refused {
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                reason: text(error.pointer("/data/reason")),
                message: text(error.get("message")),
            });
        }
        answer
            .get_mut("result")
            .map(Value::take)
            .ok_or_else(|| CallError::NoAnswer("neither result nor error".to_owned()))
    }

    fn exchange(&self, mut stream: TcpStream, body: &str, until: Option<Instant>) -> io::Result<Vec<u8>> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(self.limit))?;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        // Recomputed before each read: a node that sends a byte now and then must not hold the
        // client for ever.
        let left = || {
            let left = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            Ok(Some(left))
        };
        stream.set_read_timeout(left()?)?;
        let mut reader = BufReader::new(&stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        if !status.starts_with("HTTP/1.1 ") {
            return Err(io::Error::other(format!("no status line but {status:?}")));
        }
        let mut length = 0;
        loop {
            stream.set_read_timeout(left()?)?;
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if header == "\r\n" {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        if length == 0 || length > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!(
                "an answer of {length} bytes: {}",
                status.trim()
            )));
        }
        stream.set_read_timeout(left()?)?;
        let mut answer = Vec::new();
        let read = reader.take(length).read_to_end(&mut answer)?;
        if u64::try_from(read).ok() != Some(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer)
    }
}
