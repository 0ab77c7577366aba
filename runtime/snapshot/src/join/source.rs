//! Record of one source: its requests, its speed, and its standing.

use super::meter::Meter;
use super::{JoinConfig, LeaveReason, Micros};

/// Width of a slot of a source's meter, in microseconds: eight of them are the time over which it is judged.
const SLOT: u64 = 250_000;
/// Time for which a source must have been busy before its speed is compared.
const JUDGED_AFTER: u64 = 8 * SLOT;
/// Beyond this the pause does not grow, so that more need not be counted.
const FAILURES_MAX: u32 = 16;

/// Use of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// It is asked.
    #[default]
    Good,
    /// It is asked when there is no good one.
    Slow,
    /// It is asked after its pause, for one chunk first.
    Paused { until: Micros },
    /// It delivered wrong bytes.
    Liar,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) is_connected: bool,
    pub(super) standing: Standing,
    pub(super) in_flight: usize,
    failures: u32,
    /// Time of the last byte, or of the first request after an idle time.
    heard: Micros,
    /// Start of the current time with requests, and the bytes since.
    busy: Option<(Micros, Meter)>,
    /// Bytes per second when it last had nothing to do.
    speed: Option<u64>,
}

impl Source {
    /// Notes a request.
    pub(super) fn asked(&mut self, now: Micros) {
        if self.in_flight == 0 {
            self.heard = now;
        }
        self.in_flight = self.in_flight.saturating_add(1);
        if self.busy.is_none() {
            self.busy = Some((now, Meter::new(SLOT, now)));
        }
    }

    pub(super) fn received(&mut self, bytes: u64, now: Micros) {
        self.heard = now;
        if let Some((_, meter)) = &mut self.busy {
            meter.add(now, bytes);
        }
    }

    /// Notes that a request was answered in full.
    pub(super) fn answered(&mut self, now: Micros) {
        self.heard = now;
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Notes that a chunk proved right. One that was delivered before the source was left does not end its pause.
    pub(super) fn proved(&mut self, now: Micros) {
        match self.standing {
            Standing::Paused { until } if until > now => {}
            Standing::Paused { .. } => {
                self.failures = 0;
                self.standing = Standing::Good;
            }
            _ => self.failures = 0,
        }
    }

    /// Ends the time that counts for the source's speed, if it has nothing to do.
    pub(super) fn rest_if_idle(&mut self, now: Micros) {
        if self.in_flight == 0
            && let Some((_, meter)) = self.busy.take()
        {
            self.speed = Some(meter.rate(now)).filter(|rate| *rate > 0).or(self.speed);
        }
    }

    /// Time at which it counts as silent.
    pub(super) fn silent_at(&self, config: &JoinConfig) -> Option<Micros> {
        (self.in_flight > 0).then(|| self.heard.after(config.silence_max))
    }

    /// Time since its last byte.
    pub(super) const fn silence(&self, now: Micros) -> u64 {
        now.since(self.heard)
    }

    /// Time at which its speed can be compared.
    pub(super) fn judged_at(&self) -> Option<Micros> {
        self.busy.as_ref().map(|(since, _)| since.after(JUDGED_AFTER))
    }

    /// Bytes per second lately; `None` before it was busy for long enough.
    pub(super) fn measured(&self, now: Micros) -> Option<u64> {
        let (since, meter) = self.busy.as_ref()?;
        (now.since(*since) >= JUDGED_AFTER).then(|| meter.rate(now))
    }

    /// Bytes per second lately, or when it last had something to do.
    pub(super) fn rate(&self, now: Micros) -> Option<u64> {
        self.measured(now).or(self.speed)
    }

    /// Returns true if it may be asked now, as far as it is concerned.
    pub(super) fn is_free(&self, now: Micros, config: &JoinConfig) -> bool {
        let in_flight_max = match self.standing {
            Standing::Liar => 0,
            Standing::Paused { until } if until > now => 0,
            Standing::Paused { .. } => 1,
            Standing::Good | Standing::Slow => config.requests_per_source_max,
        };
        self.is_connected && self.in_flight < in_flight_max
    }

    pub(super) fn leave(&mut self, reason: &LeaveReason, now: Micros, config: &JoinConfig) {
        self.busy = None;
        self.standing = match (reason, self.standing) {
            (LeaveReason::Lied { .. }, _) | (_, Standing::Liar) => Standing::Liar,
            (LeaveReason::Slow { .. }, _) => Standing::Slow,
            _ => {
                let doublings = self.failures.min(FAILURES_MAX);
                let micros = config
                    .rest_first
                    .saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX))
                    .min(config.rest_max);
                self.failures = self.failures.saturating_add(1).min(FAILURES_MAX);
                Standing::Paused {
                    until: now.after(micros),
                }
            }
        };
    }

    /// The caller was suspended until `now`: the source has a little time to deliver what waits, and its speed is
    /// measured anew.
    pub(super) fn forgive(&mut self, now: Micros, config: &JoinConfig) {
        let patience = config.silence_max.saturating_sub(config.late_max);
        self.heard = self.heard.max(Micros(now.0.saturating_sub(patience)));
        if self.busy.is_some() {
            self.busy = Some((now, Meter::new(SLOT, now)));
        }
    }
}
