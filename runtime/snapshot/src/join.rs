//! Planning a download: which chunk to ask which source for next, and which sources to leave.
//!
//! The caller reports what arrives and the time, performs the requests that [`JoinPlanner::plan`] returns, and closes
//! the streams of sources that [`JoinPlanner::left`] names. Peers, HTTP servers and folders are equal sources.
//!
//! - A source that delivers no byte for two seconds, fails, lacks a chunk of the snapshot that it offered or takes
//!   too long for one is left for a pause, each time longer. Its chunks are requested from others.
//! - A source that is much slower than the median of the others is asked only while there is no other.
//! - A source that delivered wrong bytes is never asked again.
//! - A chunk is requested again only if its source was left. The bytes requested and not yet verified are bounded.

mod meter;
mod requests;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vibecoin_primitives::limits::MIB;

use crate::verify::Restore;
use meter::Meter;
use source::{Source, Standing};

pub use requests::Ask;

/// Microseconds on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// The time `micros` later.
    #[must_use]
    pub const fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds since an earlier time; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Identifies a source of chunks: a peer, a server or a folder. The caller assigns the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// Maximum bytes requested and not yet verified, unless the configuration names another number.
const BYTES_MAX: u64 = 32 * MIB as u64;

/// Bounds and timeouts. Times are in microseconds. Zero counts and bytes are read as 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// Maximum number of requests in flight to one source. Too few leaves it idle between two chunks.
    pub requests_per_source_max: usize,
    /// Maximum bytes of chunks that are requested, or delivered and not yet verified. One chunk is always allowed.
    pub bytes_max: u64,
    /// Time without a byte after which a source that was asked is left.
    pub silence_max: u64,
    /// A source is slow if the median of the others is more than this many times as fast.
    pub slow_factor: u64,
    /// Maximum time for one chunk, whatever arrives meanwhile.
    pub request_max: u64,
    /// First pause of a source that was left; doubles each time.
    pub rest_first: u64,
    /// Maximum pause.
    pub rest_max: u64,
    /// Delay of a call to [`JoinPlanner::plan`] beyond its deadline from which on the caller is taken to have been
    /// suspended: sources then have this much time to deliver what waits, before they count as silent.
    pub late_max: u64,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self {
            requests_per_source_max: 4,
            bytes_max: BYTES_MAX,
            silence_max: 2_000_000,
            slow_factor: 8,
            request_max: 60_000_000,
            rest_first: 1_000_000,
            rest_max: 60_000_000,
            late_max: 500_000,
        }
    }
}

/// Reason why a source was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It delivered no byte for this many microseconds.
    Silent {
        /// The time since its last byte.
        micros: u64,
    },
    /// It is much slower than the others. Bytes per second.
    Slow {
        /// Its rate.
        rate: u64,
        /// The median of the other sources.
        others: u64,
    },
    /// One chunk took longer than any may.
    Overdue {
        /// The chunk.
        chunk: u32,
    },
    /// The connection or the read failed.
    Failed,
    /// It does not have a chunk of the snapshot that it offered.
    Lacks {
        /// The chunk.
        chunk: u32,
    },
    /// The bytes that it delivered are not the chunk. It is never asked again.
    Lied {
        /// The chunk.
        chunk: u32,
    },
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { micros } => write!(f, "no byte for {} ms", micros / 1_000),
            Self::Slow { rate, others } => write!(f, "{rate} bytes/s, the others have {others}"),
            Self::Overdue { chunk } => write!(f, "chunk {chunk} took too long"),
            Self::Failed => f.write_str("it failed"),
            Self::Lacks { chunk } => write!(f, "it does not have chunk {chunk}"),
            Self::Lied { chunk } => write!(f, "wrong bytes for chunk {chunk}"),
        }
    }
}

/// A source that was left: its streams are to be closed, later bytes from them are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The source.
    pub source: SourceId,
    /// The reason.
    pub reason: LeaveReason,
}

/// Figures of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct JoinStatus {
    /// Number of chunks that are not verified yet.
    pub chunks_missing: usize,
    /// Bytes of verified chunks, of this download and before it.
    pub bytes_done: u64,
    /// Bytes of all chunks.
    pub bytes_total: u64,
    /// Bytes per second received lately.
    pub rate: u64,
    /// Microseconds to the end at this rate; `None` when nothing arrived lately.
    pub eta: Option<u64>,
    /// Microseconds since a chunk was verified, or the download began.
    pub idle: u64,
    /// Number of requests in flight.
    pub in_flight: usize,
    /// Number of sources that are asked.
    pub sources: usize,
    /// Number of connected sources that are not asked now.
    pub sources_left: usize,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
struct Request {
    source: SourceId,
    sent: Micros,
    /// Bytes received.
    received: u32,
}

/// Plans a download. See the module's documentation.
///
/// The caller reports everything that arrived before it calls [`JoinPlanner::plan`], and calls that after every other
/// call and when [`JoinPlanner::next_deadline`] is due.
#[derive(Debug)]
pub struct JoinPlanner {
    config: JoinConfig,
    now: Micros,
    sources: BTreeMap<SourceId, Source>,
    /// Bytes of the chunks that are not verified yet, by index.
    missing: BTreeMap<u32, u32>,
    /// Those that are neither requested nor held.
    queue: BTreeSet<u32>,
    in_flight: BTreeMap<u32, Request>,
    /// Delivered chunks that the caller verifies, with their source.
    held: BTreeMap<u32, SourceId>,
    /// Bytes of the chunks in flight or held.
    bytes_out: u64,
    bytes_done: u64,
    bytes_total: u64,
    /// Time of the last verified chunk.
    advanced: Micros,
    meter: Meter,
    left: Vec<Left>,
}

/// Width of a slot of the meter for the whole download, in microseconds.
const TOTAL_SLOT: u64 = 1_000_000;

impl JoinPlanner {
    /// Plans the chunks that a restore lacks.
    #[must_use]
    pub fn of(config: JoinConfig, restore: &Restore, now: Micros) -> Self {
        let missing = restore.missing().map(|(index, info)| (index, info.bytes));
        Self::new(config, missing, restore.bytes_present(), now)
    }

    /// Plans these chunks, each with its size. `bytes_present` counts those that are there.
    #[must_use]
    pub fn new(
        config: JoinConfig,
        missing: impl IntoIterator<Item = (u32, u32)>,
        bytes_present: u64,
        now: Micros,
    ) -> Self {
        let missing: BTreeMap<u32, u32> = missing.into_iter().collect();
        let bytes_missing = missing
            .values()
            .fold(0u64, |sum, bytes| sum.saturating_add(u64::from(*bytes)));
        Self {
            config: config.normal(),
            now,
            sources: BTreeMap::new(),
            queue: missing.keys().copied().collect(),
            missing,
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            bytes_out: 0,
            bytes_done: bytes_present,
            bytes_total: bytes_present.saturating_add(bytes_missing),
            advanced: now,
            meter: Meter::new(TOTAL_SLOT, now),
            left: Vec::new(),
        }
    }

    /// Adds a source that offers this snapshot. One that lied stays excluded under its number.
    pub fn connected(&mut self, id: SourceId) {
        let source = self.sources.entry(id).or_default();
        source.is_connected = true;
    }

    /// Removes a source. Its chunks are requested from others.
    pub fn disconnected(&mut self, id: SourceId) {
        self.release(id);
        if let Some(source) = self.sources.get_mut(&id) {
            source.is_connected = false;
            if source.standing != Standing::Liar {
                self.sources.remove(&id);
            }
        }
    }

    /// Reports that `received` bytes of a chunk have arrived in total.
    pub fn progress(&mut self, id: SourceId, chunk: u32, received: u32, now: Micros) {
        self.advance(now);
        let size = self.missing.get(&chunk).copied().unwrap_or(0);
        let Some(request) = self
            .in_flight
            .get_mut(&chunk)
            .filter(|request| request.source == id)
        else {
            return;
        };
        let received = received.min(size);
        let new = received.saturating_sub(request.received);
        if new == 0 {
            return;
        }
        request.received = received;
        self.meter.add(self.now, u64::from(new));
        if let Some(source) = self.sources.get_mut(&id) {
            source.received(u64::from(new), self.now);
        }
    }

    /// Reports a whole chunk. Returns true if it was requested from that source: then the caller verifies it, and
    /// calls [`Self::verified`] or [`Self::refused`]. Otherwise the bytes are dropped.
    pub fn delivered(&mut self, id: SourceId, chunk: u32, now: Micros) -> bool {
        let size = self.missing.get(&chunk).copied().unwrap_or(0);
        self.progress(id, chunk, size, now);
        if self
            .in_flight
            .get(&chunk)
            .is_none_or(|request| request.source != id)
        {
            return false;
        }
        self.in_flight.remove(&chunk);
        self.held.insert(chunk, id);
        if let Some(source) = self.sources.get_mut(&id) {
            source.answered(self.now);
        }
        true
    }

    /// A delivered chunk is what it should be, and kept.
    pub fn verified(&mut self, chunk: u32, now: Micros) {
        self.advance(now);
        let Some(id) = self.held.remove(&chunk) else {
            return;
        };
        let bytes = u64::from(self.missing.remove(&chunk).unwrap_or(0));
        self.bytes_out = self.bytes_out.saturating_sub(bytes);
        self.bytes_done = self.bytes_done.saturating_add(bytes);
        self.advanced = self.now;
        if let Some(source) = self.sources.get_mut(&id) {
            source.proved(self.now);
        }
    }

    /// A delivered chunk is not what it should be. Its source is never asked again, and returned.
    pub fn refused(&mut self, chunk: u32, now: Micros) -> Option<SourceId> {
        self.advance(now);
        let id = self.held.remove(&chunk)?;
        self.requeue(chunk);
        // One that disconnected before the verdict is remembered, too.
        self.sources.entry(id).or_default();
        self.leave(id, LeaveReason::Lied { chunk });
        Some(id)
    }

    /// A verified chunk could not be kept, or its verification was interrupted: it is requested again, and nobody is
    /// to blame.
    pub fn dropped(&mut self, chunk: u32) {
        if self.held.remove(&chunk).is_some() {
            self.requeue(chunk);
        }
    }

    /// A request to a source failed, or the source does not have the chunk. Without a request in flight, or without one
    /// for that chunk, it is the end of a stream that was given up, and ignored.
    pub fn failed(&mut self, id: SourceId, lacks: Option<u32>, now: Micros) {
        self.advance(now);
        let is_open = match lacks {
            Some(chunk) => self
                .in_flight
                .get(&chunk)
                .is_some_and(|request| request.source == id),
            None => self.sources.get(&id).is_some_and(|source| source.in_flight > 0),
        };
        if !is_open {
            return;
        }
        let reason = lacks.map_or(LeaveReason::Failed, |chunk| LeaveReason::Lacks { chunk });
        self.leave(id, reason);
    }

    /// The sources left since the last call.
    pub fn left(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.left)
    }

    /// Returns true when every chunk is verified.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.missing.is_empty()
    }

    /// Figures at `now`.
    #[must_use]
    pub fn status(&self, now: Micros) -> JoinStatus {
        let now = now.max(self.now);
        let rate = self.meter.rate(now);
        let left = self.bytes_total.saturating_sub(self.bytes_done);
        let micros = u128::from(left)
            .saturating_mul(1_000_000)
            .checked_div(u128::from(rate));
        let connected = || self.sources.values().filter(|source| source.is_connected);
        let asked = connected().filter(|source| self.is_asked(source)).count();
        JoinStatus {
            chunks_missing: self.missing.len(),
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            rate,
            eta: micros.map(|micros| u64::try_from(micros).unwrap_or(u64::MAX)),
            idle: now.since(self.advanced),
            in_flight: self.in_flight.len(),
            sources: asked,
            sources_left: connected().count().saturating_sub(asked),
        }
    }

    /// Moves the time on. A caller that was suspended past its deadline heard nothing meanwhile: that is not the
    /// silence of its sources.
    fn advance(&mut self, now: Micros) {
        if now <= self.now {
            return;
        }
        let due = self.next_deadline().unwrap_or(now).max(self.now);
        let late = now.since(due);
        if late > self.config.late_max {
            for source in self.sources.values_mut() {
                source.forgive(now, &self.config);
            }
            for request in self.in_flight.values_mut() {
                request.sent = request.sent.after(late);
            }
        }
        self.now = now;
    }

    /// Leaves a source: its requests go back into the queue.
    fn leave(&mut self, id: SourceId, reason: LeaveReason) {
        self.release(id);
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        source.leave(&reason, self.now, &self.config);
        self.left.push(Left { source: id, reason });
    }

    /// Gives up the requests to a source.
    fn release(&mut self, id: SourceId) {
        let open: Vec<u32> = self
            .in_flight
            .iter()
            .filter(|(_, request)| request.source == id)
            .map(|(chunk, _)| *chunk)
            .collect();
        for chunk in open {
            self.in_flight.remove(&chunk);
            self.requeue(chunk);
        }
        if let Some(source) = self.sources.get_mut(&id) {
            source.in_flight = 0;
        }
    }

    fn requeue(&mut self, chunk: u32) {
        if let Some(bytes) = self.missing.get(&chunk) {
            self.bytes_out = self.bytes_out.saturating_sub(u64::from(*bytes));
            self.queue.insert(chunk);
        }
    }
}

impl JoinConfig {
    /// The same with zeros lifted to 1.
    fn normal(self) -> Self {
        Self {
            requests_per_source_max: self.requests_per_source_max.max(1),
            bytes_max: self.bytes_max.max(1),
            silence_max: self.silence_max.max(1),
            slow_factor: self.slow_factor.max(1),
            request_max: self.request_max.max(1),
            rest_first: self.rest_first.max(1),
            rest_max: self.rest_max.max(self.rest_first).max(1),
            late_max: self.late_max,
        }
    }
}

#[cfg(test)]
mod tests;
