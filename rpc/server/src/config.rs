//! The server's knobs. Every bound has a default that is safe on a public address.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::RpcMetrics;

/// How the server behaves. `Config::default()` is the public default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most bytes of a request. Too low refuses batches of large transactions, too high costs memory
    /// per connection.
    pub request_bytes_max: u32,
    /// Most bytes of a WebSocket message, when that is less than [`Config::request_bytes_max`]: many
    /// messages of one connection may be in work at once.
    pub message_bytes_max: u32,
    /// Most bytes of an answer, a whole JSON-RPC batch included.
    pub response_bytes_max: u32,
    /// Most entries of a JSON-RPC batch. Each counts for the rate limit by itself.
    pub batch_entries_max: u32,
    /// Most connections, HTTP and WebSocket together. Further ones get 429 and are closed.
    pub connections_max: u32,
    /// Most subscriptions of one WebSocket connection.
    pub subscriptions_per_connection_max: u32,
    /// Messages that wait for a slow WebSocket reader. A message above [`Config::small_message_bytes`]
    /// waits until none does, so this many small messages and one large one bound the memory.
    pub message_buffer: u32,
    /// What counts as a small message, bytes.
    pub small_message_bytes: usize,
    /// How long a subscription waits for its reader before it ends with `lagged`.
    pub stall_timeout: Duration,
    /// Blocks that a subscription which was once live may fall behind before it ends with `lagged`.
    pub lag_blocks_max: u64,
    /// Longest time of a call that does not wait for a block, and of reading a request.
    pub call_timeout: Duration,
    /// How often WebSocket peers are pinged; they are cut off after two unanswered intervals and `call_timeout`.
    pub ping_interval: Duration,
    /// Calls that compute (proofs, Proof of History, simulation, account lists) at the same time.
    pub expensive_calls_max: usize,
    /// Values of the `Host` header that are answered, without port. Guards against DNS rebinding.
    pub hosts: Vec<String>,
    /// Origins (`https://explorer.example`) whose pages may call; none by default.
    pub origins: Vec<String>,
    /// The budget of one address; `None` is no limit.
    pub rate: Option<Rate>,
    /// Whether callers on the loopback interface have no limit.
    pub rate_exempts_loopback: bool,
    /// Namespaces that are served, such as `chain`; empty means all.
    pub namespaces: Vec<String>,
    /// Where calls are counted.
    pub metrics: Arc<RpcMetrics>,
}

/// A token bucket. What a call costs is in `vibecoin_rpc_api::registry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Cost units that come back per second.
    pub per_second: u32,
    /// Cost units that may be saved up.
    pub burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_bytes_max: 5 * 1024 * 1024,
            message_bytes_max: 1024 * 1024,
            response_bytes_max: 25 * 1024 * 1024,
            batch_entries_max: 100,
            connections_max: 200,
            subscriptions_per_connection_max: 32,
            message_buffer: 64,
            small_message_bytes: 16 * 1024,
            stall_timeout: Duration::from_secs(10),
            lag_blocks_max: 1024,
            call_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            expensive_calls_max: 4,
            hosts: ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec(),
            origins: Vec::new(),
            rate: Some(Rate {
                per_second: 5_000,
                burst: 20_000,
            }),
            rate_exempts_loopback: true,
            namespaces: Vec::new(),
            metrics: Arc::default(),
        }
    }
}

impl Config {
    /// Whether the method is served under `namespaces`. Methods about the interface always are.
    #[must_use]
    pub fn serves(&self, method: &str) -> bool {
        let namespace = method.split(['_', '.']).next().unwrap_or(method);
        self.namespaces.is_empty() || namespace == "rpc" || self.namespaces.iter().any(|n| n == namespace)
    }
}
