//! Bounds and timeouts of a [`crate::Planner`].

use vibecoin_primitives::limits::{BODY_BYTES_MAX, MIB};

/// Maximum bytes of blocks held, as they lie in memory, unless the configuration names another number.
pub const BUFFERED_BYTES_MAX: usize = 48 * MIB;

/// Bounds and timeouts. Times are in microseconds. Zero counts and bytes are read as 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannerConfig {
    /// Maximum number of requests in flight. Too few leaves peers idle.
    pub requests_max: usize,
    /// Maximum number of requests in flight to one peer.
    pub requests_per_peer_max: usize,
    /// Maximum number of blocks in one request; must not exceed the number that peers answer with.
    pub blocks_per_request_max: u32,
    /// Number of heights beyond the next one for which blocks are requested. Bounds the number of blocks held.
    pub window_blocks: u32,
    /// Maximum bytes of blocks held. Requests in flight are estimated and counted against the same bound.
    pub buffered_bytes_max: usize,
    /// Maximum bytes of a full response; the estimate of one request never exceeds it.
    pub answer_bytes_max: usize,
    /// Timeout of a response from a peer of unknown speed.
    pub timeout_first: u64,
    /// Minimum timeout for a fast peer. Too short asks busy peers twice; too long waits for one that
    /// disconnected unnoticed.
    pub timeout_min: u64,
    /// Time for which a peer is not asked again for unclaimed blocks that it turned out to lack.
    pub lacks_rest: u64,
    /// Maximum timeout for a slow peer.
    pub timeout_max: u64,
    /// Wait before the block that consensus is about to deliver is requested.
    pub grace: u64,
    /// First pause of a peer that failed; doubles with each failure.
    pub rest_first: u64,
    /// Maximum pause.
    pub rest_max: u64,
    /// Time for which a block handed out may have no effect before it is requested again.
    pub taken_max: u64,
}

impl Default for PlannerConfig {
    fn default() -> Self {
        Self {
            requests_max: 8,
            requests_per_peer_max: 2,
            blocks_per_request_max: 16,
            window_blocks: 1024,
            buffered_bytes_max: BUFFERED_BYTES_MAX,
            answer_bytes_max: 4 * MIB + BODY_BYTES_MAX,
            timeout_first: 600_000,
            timeout_min: 300_000,
            lacks_rest: 1_000_000,
            timeout_max: 8_000_000,
            grace: 300_000,
            rest_first: 250_000,
            rest_max: 30_000_000,
            taken_max: 10_000_000,
        }
    }
}

impl PlannerConfig {
    /// The same with zeros lifted to 1 and the window at least one request long.
    #[must_use]
    pub(crate) fn normal(mut self) -> Self {
        self.requests_max = self.requests_max.max(1);
        self.requests_per_peer_max = self.requests_per_peer_max.max(1);
        self.blocks_per_request_max = self.blocks_per_request_max.max(1);
        self.window_blocks = self.window_blocks.max(self.blocks_per_request_max);
        self.buffered_bytes_max = self.buffered_bytes_max.max(1);
        self.answer_bytes_max = self.answer_bytes_max.max(1);
        self.timeout_min = self.timeout_min.max(1);
        self.timeout_max = self.timeout_max.max(self.timeout_min);
        self.rest_first = self.rest_first.max(1);
        self.rest_max = self.rest_max.max(self.rest_first);
        self.taken_max = self.taken_max.max(1);
        self
    }
}
