//! Choice of requests and of the sources to leave.

use std::cmp::Reverse;

use super::source::{Source, Standing};
use super::{JoinPlanner, LeaveReason, Micros, Request, SourceId};

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The recipient.
    pub source: SourceId,
    /// The chunk, by its position in the manifest.
    pub chunk: u32,
}

impl JoinPlanner {
    /// Leaves the sources that are due, and returns the requests to send now, lowest chunks first.
    pub fn plan(&mut self, now: Micros) -> Vec<Ask> {
        self.advance(now);
        self.leave_silent();
        self.leave_overdue();
        self.leave_slow();
        let mut asks = Vec::new();
        while let Some(ask) = self.next_ask() {
            asks.push(ask);
        }
        for source in self.sources.values_mut() {
            source.rest_if_idle(self.now);
        }
        asks
    }

    fn next_ask(&mut self) -> Option<Ask> {
        let chunk = *self.queue.first()?;
        let bytes = u64::from(*self.missing.get(&chunk)?);
        if self.bytes_out > 0 && self.bytes_out.saturating_add(bytes) > self.config.bytes_max {
            return None;
        }
        let source = self.choose()?;
        self.queue.remove(&chunk);
        self.bytes_out = self.bytes_out.saturating_add(bytes);
        self.in_flight.insert(
            chunk,
            Request {
                source,
                sent: self.now,
                received: 0,
            },
        );
        if let Some(source) = self.sources.get_mut(&source) {
            source.asked(self.now);
        }
        Some(Ask { source, chunk })
    }

    /// The free source with the fewest requests, the fastest of those first.
    fn choose(&self) -> Option<SourceId> {
        self.sources
            .iter()
            .filter(|(_, source)| self.is_asked(source) && source.is_free(self.now, &self.config))
            .min_by_key(|(id, source)| (source.in_flight, Reverse(source.rate(self.now)), **id))
            .map(|(id, _)| *id)
    }

    /// Returns true if a source is asked when it is free: not a liar, not paused, and slow only if no other is left.
    pub(super) fn is_asked(&self, source: &Source) -> bool {
        let is_good = |source: &Source| match source.standing {
            Standing::Good => true,
            Standing::Paused { until } => until <= self.now,
            Standing::Slow | Standing::Liar => false,
        };
        if source.standing == Standing::Slow {
            let mut others = self.sources.values().filter(|other| other.is_connected);
            return !others.any(is_good);
        }
        is_good(source)
    }

    fn leave_silent(&mut self) {
        let now = self.now;
        let silent: Vec<_> = self
            .sources
            .iter()
            .filter(|(_, source)| source.silent_at(&self.config).is_some_and(|at| at <= now))
            .map(|(id, source)| (*id, source.silence(now)))
            .collect();
        for (id, micros) in silent {
            self.leave(id, LeaveReason::Silent { micros });
        }
    }

    fn leave_overdue(&mut self) {
        let late: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, request)| request.sent.after(self.config.request_max) <= self.now)
            .map(|(chunk, request)| (*chunk, request.source))
            .collect();
        for (chunk, id) in late {
            // The first of them gave up the others of that source.
            if self
                .in_flight
                .get(&chunk)
                .is_some_and(|request| request.source == id)
            {
                self.leave(id, LeaveReason::Overdue { chunk });
            }
        }
    }

    /// Leaves the sources that are much slower than the median of the others. One fast source does not make all others
    /// slow, and one slow source does not make any fast.
    fn leave_slow(&mut self) {
        let good = || {
            self.sources
                .iter()
                .filter(|(_, source)| source.is_connected && source.standing == Standing::Good)
        };
        let rates: Vec<(SourceId, u64)> = good()
            .filter_map(|(id, source)| Some((*id, source.rate(self.now)?)))
            .collect();
        let measured: Vec<(SourceId, u64)> = good()
            .filter_map(|(id, source)| Some((*id, source.measured(self.now)?)))
            .collect();
        for (id, rate) in &measured {
            let mut others: Vec<u64> = rates
                .iter()
                .filter(|(other, _)| other != id)
                .map(|(_, rate)| *rate)
                .collect();
            others.sort_unstable();
            let middle = others.len().saturating_sub(1) / 2;
            let Some(median) = others.get(middle).copied() else {
                continue;
            };
            if rate.saturating_mul(self.config.slow_factor) < median {
                let reason = LeaveReason::Slow {
                    rate: *rate,
                    others: median,
                };
                self.leave(*id, reason);
            }
        }
    }

    /// Time at which to call [`JoinPlanner::plan`] even without an event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Micros> {
        let sources = self.sources.values().filter(|source| source.is_connected);
        let of_sources = sources.flat_map(|source| {
            let paused = match source.standing {
                Standing::Paused { until } => Some(until),
                _ => None,
            };
            [paused, source.silent_at(&self.config), source.judged_at()]
        });
        let overdue = self
            .in_flight
            .values()
            .map(|request| Some(request.sent.after(self.config.request_max)));
        of_sources
            .chain(overdue)
            .flatten()
            .filter(|at| *at > self.now)
            .min()
    }
}
