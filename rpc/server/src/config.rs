//! Configuration of the server. Every bound has a default that is safe on a public address.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::RpcMetrics;

/// Configuration of the server. `Config::default()` is the public default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Maximum bytes of a request. Too low refuses batches of large transactions, too high costs memory
    /// per connection.
    pub request_bytes_max: u32,
    /// Maximum bytes of a WebSocket message, when that is less than [`Config::request_bytes_max`]: many
    /// messages of one connection may be in work at once.
    pub message_bytes_max: u32,
    /// Maximum bytes of an answer, a whole JSON-RPC batch included.
    pub response_bytes_max: u32,
    /// Maximum number of entries of a JSON-RPC batch. Each counts separately for the rate limit.
    pub batch_entries_max: u32,
    /// Maximum number of connections, HTTP and WebSocket together. A further one takes the seat of a
    /// connection without a request in work, or else of one whose call waits for a block; when there is none,
    /// it gets 429 and is closed. Calls that wait for a block hold up to half of these, one address up to a
    /// quarter of that half; in WebSocket sessions they have [`Config::websocket_calls_max`] instead.
    pub connections_max: u32,
    /// Maximum number of connections of one address, or of one IPv6 /64. Loopback addresses, which all
    /// programs of the machine share, are not bounded separately.
    pub connections_per_address_max: u32,
    /// Maximum number of WebSocket sessions. Fewer than [`Config::connections_max`], so that calls always
    /// find a seat. A further one takes the place of one of an address with more sessions: of an idle one, or, if the
    /// address has more than a sixteenth of all, of one with a subscription.
    pub websockets_max: u32,
    /// Maximum number of WebSocket sessions of one address, as above.
    pub websockets_per_address_max: u32,
    /// Maximum time until the first byte of a new connection.
    pub first_byte_timeout: Duration,
    /// Maximum time of a request's header from its first byte; never longer than
    /// [`Config::call_timeout`].
    pub header_timeout: Duration,
    /// Maximum time of a request's body, or of a WebSocket message; never longer than
    /// [`Config::call_timeout`].
    pub body_timeout: Duration,
    /// Maximum time that a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Maximum time that a WebSocket session may be without a subscription and without a call; pings do not count.
    /// Checked at each [`Config::ping_interval`].
    pub session_idle_timeout: Duration,
    /// Maximum total time that a reader may stall an answer. Reading faster than 8 KiB/s pays for
    /// it.
    pub write_timeout: Duration,
    /// Maximum bytes of requests and answers in memory, all connections together. Above it connections are
    /// closed: stalled ones first, then the largest of the address that holds the most.
    pub held_bytes_max: usize,
    /// Bytes of one WebSocket session in memory above which reading from it stops. One answer may exceed it.
    /// Subscriptions read on while half of it is free: the maximum number of sessions stays below
    /// [`Config::held_bytes_max`] when none of them reads.
    pub websocket_held_bytes_max: usize,
    /// Calls of one WebSocket session that wait for a block at the same time.
    pub websocket_calls_max: usize,
    /// Subscriptions that read history at the same time, on dedicated threads.
    pub history_readers_max: usize,
    /// Maximum number of subscriptions of one WebSocket connection.
    pub subscriptions_per_connection_max: u32,
    /// Events of one subscription that wait for a slow WebSocket reader; see also [`Config::websocket_held_bytes_max`].
    pub message_buffer: u32,
    /// Time that a subscription waits for its reader before it ends with `lagged`.
    pub stall_timeout: Duration,
    /// Blocks that a subscription which was once live may fall behind before it ends with `lagged`.
    pub lag_blocks_max: u64,
    /// Maximum time of a call that does not wait for a block, and of reading a request.
    pub call_timeout: Duration,
    /// Interval of pings to WebSocket peers; they are cut off after two unanswered intervals and
    /// `call_timeout`.
    pub ping_interval: Duration,
    /// Calls that compute (Proof of History, simulation, figures over many blocks) at the same time. Answers that
    /// can be large are built beside them, as many as [`crate::BUILDING_BYTES_MAX`] allows.
    pub expensive_calls_max: usize,
    /// Accepted values of the `Host` header, without port. Guards against DNS rebinding.
    pub hosts: Vec<String>,
    /// Origins (`https://explorer.example`) whose pages may call; none by default.
    pub origins: Vec<String>,
    /// The budget of one address; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Time for which the answer to a call without budget is held back, from the tenth in a row of its address on.
    pub refused_pause: Duration,
    /// True if callers on the loopback interface have no limit.
    pub rate_exempts_loopback: bool,
    /// Namespaces that are served, such as `chain`; empty means all.
    pub namespaces: Vec<String>,
    /// Metrics of the calls.
    pub metrics: Arc<RpcMetrics>,
}

/// A token bucket. The cost of a call is in `vibecoin_rpc_api::registry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Cost units that are refilled per second.
    pub per_second: u32,
    /// Maximum cost units that accumulate.
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
            connections_per_address_max: 64,
            websockets_max: 150,
            websockets_per_address_max: 32,
            first_byte_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            session_idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(20),
            held_bytes_max: 32 * 1024 * 1024,
            websocket_held_bytes_max: 256 * 1024,
            websocket_calls_max: 16,
            history_readers_max: 1,
            subscriptions_per_connection_max: 32,
            message_buffer: 64,
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
            refused_pause: Duration::from_millis(250),
            rate_exempts_loopback: true,
            namespaces: Vec::new(),
            metrics: Arc::default(),
        }
    }
}

impl Config {
    /// The first invalid entry of [`Config::hosts`] and [`Config::origins`], which would match no
    /// request: the name of its list, the entry, and the expected form of an entry.
    #[must_use]
    pub fn unreadable(&self) -> Option<(&'static str, &str, &'static str)> {
        crate::host::unreadable(self)
    }

    /// Returns true if the method is served under `namespaces`. Methods about the interface always are.
    #[must_use]
    pub fn serves(&self, method: &str) -> bool {
        let namespace = method.split(['_', '.']).next().unwrap_or(method);
        self.namespaces.is_empty() || namespace == "rpc" || self.namespaces.iter().any(|n| n == namespace)
    }
}
