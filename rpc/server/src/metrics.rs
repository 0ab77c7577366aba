//! Metrics of the RPC servers.

use std::time::Duration;

use vibecoin_metrics::{Counter, Label, Labelled, Seconds, metrics};
use vibecoin_rpc_api::Code;
use vibecoin_rpc_api::registry::{ADMIN_METHODS, METHODS};

/// A method as a label. Unknown names share one value, so that callers cannot create series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodLabel(usize);

impl MethodLabel {
    /// The label of a method's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let public = METHODS.binary_search_by(|method| method.name.cmp(name));
        let admin = || {
            let at = ADMIN_METHODS.binary_search_by(|method| method.name.cmp(name));
            at.map(|at| at.saturating_add(METHODS.len()))
        };
        Self(
            public
                .or_else(|_| admin())
                .unwrap_or(METHODS.len().saturating_add(ADMIN_METHODS.len())),
        )
    }
}

impl Label for MethodLabel {
    const NAME: &'static str = "method";

    fn all() -> Vec<&'static str> {
        let known = METHODS.iter().chain(ADMIN_METHODS).map(|method| method.name);
        known.chain(["unknown"]).collect()
    }

    fn index(self) -> usize {
        self.0
    }
}

/// The reason of an error as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonLabel(usize);

impl ReasonLabel {
    fn of(code: i32) -> Self {
        let at = Code::ALL.iter().position(|known| known.number() == code);
        Self(at.unwrap_or(Code::ALL.len()))
    }
}

impl Label for ReasonLabel {
    const NAME: &'static str = "reason";

    fn all() -> Vec<&'static str> {
        Code::ALL
            .iter()
            .map(|code| code.reason())
            .chain(["other"])
            .collect()
    }

    fn index(self) -> usize {
        self.0
    }
}

/// Reasons why the server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Another connection needed its seat.
    Evicted,
    /// It never sent a byte.
    Silent,
    /// Its request took too long to arrive.
    SlowRequest,
    /// It rested too long between requests.
    Idle,
    /// It did not take its answers.
    SlowReader,
    /// It held most when all held too much.
    Memory,
    /// It did not answer pings, or broke the WebSocket protocol.
    Session,
    /// Its peer left while its call waited for a block.
    Left,
}

impl Label for Closed {
    const NAME: &'static str = "reason";

    fn all() -> Vec<&'static str> {
        vec![
            "evicted",
            "silent",
            "slow_request",
            "idle",
            "slow_reader",
            "memory",
            "session",
            "left",
        ]
    }

    fn index(self) -> usize {
        self as usize
    }
}

metrics! {
    /// Calls of both JSON-RPC listeners.
    pub struct RpcMetrics in "rpc" {
        /// Calls, by method; entries of a batch one by one.
        calls: Labelled<MethodLabel, Counter> = "calls_total",
        /// Calls that were answered with an error, by its reason.
        errors: Labelled<ReasonLabel, Counter> = "errors_total",
        /// How long calls take, those that wait on purpose included.
        seconds: Seconds = "call_seconds",
        /// Connections that were turned away because there were too many.
        turned_away: Counter = "connections_turned_away_total",
        /// Bytes of requests and WebSocket frames that were read, discarded ones included.
        received_bytes: Counter = "received_bytes_total",
        /// Connections that were turned away because their address owes too much.
        debtors: Counter = "debtors_turned_away_total",
        /// Connections that the server closed, by the reason.
        closed: Labelled<Closed, Counter> = "connections_closed_total",
    }
}

impl RpcMetrics {
    /// A connection was closed.
    pub(crate) fn closed(&self, why: Closed) {
        self.closed.at(why).inc();
    }

    /// A call was answered.
    pub(crate) fn called(&self, method: MethodLabel, error: Option<i32>, took: Duration) {
        self.calls.at(method).inc();
        if let Some(code) = error {
            self.errors.at(ReasonLabel::of(code)).inc();
        }
        self.seconds.observe(took);
    }
}
