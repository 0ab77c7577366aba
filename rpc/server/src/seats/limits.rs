//! Phases of a connection and the limits on them.

use std::time::Duration;

use crate::config::Config;
use crate::metrics::Closed;

/// One address may hold this part of all seats before its connections are the first to be evicted, and this
/// part of the seats for calls that wait.
pub(super) const FAIR_SHARE: usize = 4;
/// Calls that wait for a block may hold this part of all seats, and so may those that wait for their turn.
const WAITING_SHARE: usize = 2;

/// Phase of a connection, from the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepted; nothing has arrived.
    Opened,
    /// A request has begun to arrive.
    Header,
    /// Its header is complete, its body may not be.
    Body,
    /// The request is complete and waits for its turn to be read; evicted like one that is on its way.
    Unread,
    /// The request is complete and its answer is not yet written.
    Work,
    /// The call waits for a block.
    Waiting,
    /// The call waits for its turn to be worked on.
    InLine,
    /// Between two requests.
    Idle,
    /// A WebSocket session, with its own deadlines.
    Session,
    /// Answered before all that it sends was read; what still arrives is discarded, for a bounded time.
    Lingering,
}

/// Maximum time of each phase, and maximum bytes that may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) seats_max: usize,
    pub(crate) per_address_max: usize,
    pub(crate) sessions_max: usize,
    pub(crate) sessions_per_address_max: usize,
    pub(super) waiting_max: usize,
    pub(super) waiting_per_address_max: usize,
    first_byte: Duration,
    header: Duration,
    idle: Duration,
    pub(super) write: Duration,
    pub(super) held_max: usize,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let seats_max = count(config.connections_max).max(1);
        let waiting_max = seats_max.div_ceil(WAITING_SHARE);
        Self {
            seats_max,
            waiting_max,
            waiting_per_address_max: waiting_max.div_ceil(FAIR_SHARE),
            per_address_max: count(config.connections_per_address_max).max(1),
            sessions_max: count(config.websockets_max),
            sessions_per_address_max: count(config.websockets_per_address_max),
            first_byte: config.first_byte_timeout,
            header: config.header_timeout.min(config.call_timeout),
            idle: config.idle_timeout,
            write: config.write_timeout,
            held_max: config.held_bytes_max,
        }
    }

    /// Interval of the checks of deadlines: a quarter of the shortest, up to four times a second.
    pub(crate) fn sweep_interval(&self) -> Duration {
        let shortest = self.first_byte.min(self.header).min(self.idle).min(self.write);
        shortest
            .checked_div(4)
            .unwrap_or_default()
            .clamp(Duration::from_millis(5), Duration::from_millis(250))
    }

    pub(super) fn of_phase(&self, phase: Phase) -> Option<(Duration, Closed)> {
        match phase {
            Phase::Opened => Some((self.first_byte, Closed::Silent)),
            Phase::Header => Some((self.header, Closed::SlowRequest)),
            Phase::Idle => Some((self.idle, Closed::Idle)),
            // The server answers a slow body, calls have a time limit, sessions are pinged, and lingering is
            // bounded in time.
            Phase::Body
            | Phase::Unread
            | Phase::Work
            | Phase::Waiting
            | Phase::InLine
            | Phase::Session
            | Phase::Lingering => None,
        }
    }
}
