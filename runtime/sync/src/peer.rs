//! Record of one peer: its claims, its speed, and its reliability.

use std::collections::VecDeque;
use std::ops::Range;

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Height;

use crate::PlannerConfig;

/// Maximum number of abandoned requests of one peer that are remembered. Responses to older ones would be
/// unsolicited; so many failures take minutes of pauses.
const ABANDONED_MAX: usize = 8;
/// A Byzantine response weighs as much as this many stalls.
const VIOLATION_WEIGHT: u32 = 3;
/// Consecutive failures after which the claim of a peer that delivered blocks before does not count. One is
/// enough for a peer that never delivered any.
const MISSES_MAX: u32 = 3;
/// Beyond this the pause does not grow, so that more need not be counted.
const FAILURES_MAX: u32 = 16;

/// A request whose response is no longer awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abandoned {
    pub(crate) from: Height,
    pub(crate) count: u32,
    pub(crate) sent: MonoTime,
    /// `false` when the peer's response to it is no longer trusted.
    pub(crate) useful: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) claimed: Height,
    pub(crate) in_flight: usize,
    /// Blocks per request: grows with full responses, shrinks to the size of short ones. A slow peer is thus
    /// asked for few, and large blocks are requested one by one.
    pub(crate) batch: u32,
    pub(crate) timeout: u64,
    /// Smoothed microseconds per response; 0 before the first.
    pub(crate) latency: u64,
    pub(crate) stalls: u32,
    pub(crate) violations: u32,
    /// Failures since it last delivered blocks.
    pub(crate) misses: u32,
    /// It has delivered blocks.
    pub(crate) has_delivered: bool,
    /// It proved to be a validator.
    pub(crate) is_validator: bool,
    /// End of its pause, before which it is not asked.
    pub(crate) paused_until: MonoTime,
    /// The range at which it last failed: requested from other peers, if they have it.
    pub(crate) avoid: Option<Range<Height>>,
    /// Time until which it is not asked for blocks that it does not claim.
    pub(crate) lacks_until: MonoTime,
    pub(crate) abandoned: VecDeque<Abandoned>,
}

impl Peer {
    pub(crate) fn new(claimed: Height, config: &PlannerConfig) -> Self {
        Self {
            claimed,
            in_flight: 0,
            batch: config.blocks_per_request_max,
            timeout: config.timeout_first,
            latency: 0,
            stalls: 0,
            violations: 0,
            misses: 0,
            has_delivered: false,
            is_validator: false,
            paused_until: MonoTime::default(),
            avoid: None,
            lacks_until: MonoTime::default(),
            abandoned: VecDeque::new(),
        }
    }

    /// Returns true if the record must outlive the connection: a Byzantine peer does not become honest by
    /// reconnecting, and a response to an open request may still arrive.
    pub(crate) fn is_worth_remembering(&self) -> bool {
        self.violations > 0 || self.misses > 0 || !self.abandoned.is_empty()
    }

    /// The same peer after a reconnection. Its stalls are forgotten: they belong to the old connection. A
    /// claim that it did not fulfil counts only once it delivers blocks again.
    pub(crate) fn reconnected(self, claimed: Height, config: &PlannerConfig) -> Self {
        let fresh = Self::new(claimed, config);
        if self.violations > 0 {
            Self {
                claimed,
                in_flight: 0,
                ..self
            }
        } else {
            Self {
                abandoned: self.abandoned,
                misses: self.misses,
                has_delivered: self.has_delivered,
                ..fresh
            }
        }
    }

    pub(crate) fn is_paused(&self, now: MonoTime) -> bool {
        self.paused_until > now
    }

    /// Returns true if its claim shows that blocks exist. A peer that claims blocks and does not deliver them
    /// is asked again after its pause, but its claims count only after it delivered some.
    pub(crate) const fn is_credible(&self) -> bool {
        let misses_max = if self.has_delivered { MISSES_MAX } else { 1 };
        self.violations == 0 && self.misses < misses_max
    }

    /// Returns true if it is asked before all others, of which there may be any number: a validator that has
    /// not failed since it delivered blocks.
    pub(crate) const fn is_trusted(&self) -> bool {
        self.is_validator && self.violations == 0 && self.misses == 0
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.stalls
            .saturating_add(self.violations.saturating_mul(VIOLATION_WEIGHT))
    }

    /// Records a timeout, or that it had less than it claimed.
    pub(crate) fn record_stall(&mut self, at: Range<Height>, now: MonoTime, config: &PlannerConfig) {
        self.stalls = self.stalls.saturating_add(1).min(FAILURES_MAX);
        self.misses = self.misses.saturating_add(1);
        self.pause(at, now, config);
    }

    /// Records Byzantine behaviour. Its later responses to open requests are discarded.
    pub(crate) fn record_violation(&mut self, at: Range<Height>, now: MonoTime, config: &PlannerConfig) {
        self.violations = self.violations.saturating_add(1).min(FAILURES_MAX);
        for abandoned in &mut self.abandoned {
            abandoned.useful = false;
        }
        self.pause(at, now, config);
    }

    fn pause(&mut self, at: Range<Height>, now: MonoTime, config: &PlannerConfig) {
        let doublings = self.failures().saturating_sub(1).min(FAILURES_MAX);
        let micros = config
            .rest_first
            .saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX))
            .min(config.rest_max);
        self.paused_until = self.paused_until.max(now.after(micros));
        self.avoid = Some(at);
    }

    pub(crate) fn record_timeout(&mut self, at: Range<Height>, now: MonoTime, config: &PlannerConfig) {
        self.timeout = self.timeout.saturating_mul(2).min(config.timeout_max);
        self.record_stall(at, now, config);
    }

    /// Records a response of `got` blocks, one or more, to a request for `count`.
    pub(crate) fn record_delivery(&mut self, count: u32, got: u32, micros: u64, config: &PlannerConfig) {
        self.stalls = self.stalls.saturating_sub(1);
        (self.misses, self.has_delivered) = (0, true);
        self.latency = if self.latency == 0 {
            micros.max(1)
        } else {
            smoothed(self.latency, micros).max(1)
        };
        self.timeout = self
            .latency
            .saturating_mul(4)
            .clamp(config.timeout_min, config.timeout_max);
        self.batch = if got >= count {
            self.batch.max(count.saturating_mul(2))
        } else {
            got
        }
        .clamp(1, config.blocks_per_request_max);
    }

    pub(crate) fn abandon(&mut self, abandoned: Abandoned) {
        if self.abandoned.len() >= ABANDONED_MAX {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(abandoned);
    }

    pub(crate) fn has_abandoned(&self, from: Height) -> bool {
        self.abandoned.iter().any(|abandoned| abandoned.from == from)
    }

    /// The count of the smallest abandoned request from that height that a response fits.
    pub(crate) fn fitting_abandoned(&self, from: Height, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let counts = self
            .abandoned
            .iter()
            .filter(|it| it.from == from)
            .map(|it| it.count);
        counts.filter(|count| fits(*count)).min()
    }

    /// The request that a late response belongs to: one that it fits, or any from that height.
    pub(crate) fn take_abandoned(&mut self, from: Height, fits: impl Fn(u32) -> bool) -> Option<Abandoned> {
        let here = || {
            self.abandoned
                .iter()
                .enumerate()
                .filter(|(_, it)| it.from == from)
        };
        let fitting = here()
            .filter(|(_, it)| fits(it.count))
            .min_by_key(|(_, it)| it.count);
        let at = fitting.or_else(|| here().next()).map(|(at, _)| at)?;
        self.abandoned.remove(at)
    }
}

/// Three parts of the old value and one of the new.
pub(crate) const fn smoothed(old: u64, new: u64) -> u64 {
    (old.saturating_mul(3).saturating_add(new)).wrapping_shr(2)
}
