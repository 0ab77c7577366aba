//! The seat of one connection: its phase, its debts of time, and its rank when a seat is needed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::limits::{Limits, Phase};
use super::memory::HeldByAll;
use crate::metrics::{Closed, RpcMetrics};
use crate::rate::subject;
use crate::socket::Socket;

/// A connection that is younger than this is evicted only when all others are, too: its request is
/// probably on its way.
const FRESH: Duration = Duration::from_millis(100);
/// A reader that has taken nothing for this long may be closed to free its seat.
const STALLED: Duration = Duration::from_secs(1);
/// Minimum bytes per second that a reader must take once it keeps the server waiting. Each byte taken
/// pays for a part of the time waited.
const READ_RATE_MIN: u64 = 8 * 1024;

/// The seat of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) peer: IpAddr,
    pub(super) subject: IpAddr,
    socket: OnceLock<Weak<Socket>>,
    pub(super) state: Mutex<State>,
    /// True while the peer does not take what is written, or has not yet made up for it.
    slow: AtomicBool,
    /// Bytes of requests and answers of this connection in memory.
    pub(super) held: AtomicUsize,
    /// Those among them that wait to be sent.
    pub(super) queued: AtomicUsize,
    pub(super) held_by_all: Arc<HeldByAll>,
    metrics: Arc<RpcMetrics>,
    pub(super) room: Notify,
    pub(super) closing: watch::Sender<Option<Closed>>,
    /// The turn to read history for a subscription of this connection.
    pub(crate) history: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Start of the phase.
    pub(super) since: Instant,
    /// Time since when the peer has owed a whole request. Beginning one does not make a connection
    /// younger.
    pub(super) owes: Instant,
    /// True once it has been answered.
    pub(super) proven: bool,
    /// Calls in work and subscriptions of a session.
    pub(super) uses: usize,
    /// Time since when the peer does not take what is written to it.
    pub(super) stuck: Option<Instant>,
    /// Time that the peer kept the server waiting, less what it has paid for by reading.
    debt: Duration,
}

impl Seat {
    pub(super) fn new(
        peer: IpAddr,
        held_by_all: Arc<HeldByAll>,
        metrics: Arc<RpcMetrics>,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            subject: subject(peer),
            socket: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Opened,
                since: now,
                owes: now,
                proven: false,
                uses: 0,
                stuck: None,
                debt: Duration::ZERO,
            }),
            slow: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            held_by_all,
            metrics,
            room: Notify::new(),
            closing: watch::Sender::new(None),
            history: tokio::sync::Mutex::default(),
        }
    }

    /// The socket to watch while a call waits, when nothing is read from it.
    pub(crate) fn watch(&self, socket: &Arc<Socket>) {
        // A connection has one socket.
        let _ = self.socket.set(Arc::downgrade(socket));
    }

    /// The socket of the connection, while it is open.
    pub(crate) fn socket(&self) -> Option<Arc<Socket>> {
        self.socket.get().and_then(Weak::upgrade)
    }

    /// Returns the reason when the server wants the connection closed.
    pub(crate) async fn closing(&self) -> Closed {
        let mut closing = self.closing.subscribe();
        let why = closing.wait_for(Option::is_some).await;
        // The sender is part of `self` and outlives this borrow.
        why.ok().and_then(|why| *why).unwrap_or(Closed::Evicted)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase == Phase::Session && phase != Phase::Lingering {
            return;
        }
        state.phase = phase;
        state.since = Instant::now();
        if phase == Phase::Idle {
            state.proven = true;
            state.owes = state.since;
        }
    }

    /// Returns true while a request is being read.
    pub(crate) fn reads_a_body(&self) -> bool {
        self.state.lock().phase == Phase::Body
    }

    /// Counts bytes that were read and discarded.
    pub(crate) fn discarded(&self, bytes: usize) {
        self.metrics
            .received_bytes
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Counts `bytes` that have arrived.
    pub(crate) fn arrived(&self, bytes: usize) {
        self.discarded(bytes);
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Opened | Phase::Idle) {
            state.phase = Phase::Header;
            state.since = Instant::now();
        }
    }

    /// The peer's receive window is full.
    pub(crate) fn stuck(&self) {
        self.slow.store(true, Ordering::Relaxed);
        self.state.lock().stuck.get_or_insert_with(Instant::now);
    }

    /// The peer took `bytes`.
    pub(crate) fn written(&self, bytes: usize) {
        if !self.slow.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        if let Some(since) = state.stuck.take() {
            state.debt = state.debt.saturating_add(since.elapsed());
        }
        let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / READ_RATE_MIN;
        state.debt = state.debt.saturating_sub(Duration::from_micros(micros));
        if state.debt.is_zero() {
            self.slow.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn overdue(&self, limits: &Limits, now: Instant) -> Option<Closed> {
        let state = self.state.lock();
        let waited = state
            .stuck
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if state.debt.saturating_add(waited) > limits.write {
            return Some(Closed::SlowReader);
        }
        if matches!(state.phase, Phase::Waiting | Phase::InLine) {
            return self
                .socket()
                .is_some_and(|socket| socket.is_closed())
                .then_some(Closed::Left);
        }
        let (limit, why) = limits.of_phase(state.phase)?;
        (now.saturating_duration_since(state.since) > limit).then_some(why)
    }

    pub(super) fn keeps_waiting(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let long = |since: Instant| now.saturating_duration_since(since) >= STALLED;
        state.stuck.is_some_and(long) || (state.phase == Phase::Body && long(state.since))
    }

    /// Start of the call's wait for a block or for its turn.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        matches!(state.phase, Phase::Waiting | Phase::InLine).then_some(state.since)
    }

    /// Order of eviction, lowest first; `None` keeps its seat, or waits.
    pub(super) fn rank(&self, now: Instant) -> Option<(bool, u8, Instant)> {
        let state = self.state.lock();
        let fresh = now.saturating_duration_since(state.owes) < FRESH;
        let stalled = |since: Instant| now.saturating_duration_since(since) >= STALLED;
        let class = match state.phase {
            // It has its answer.
            Phase::Lingering => return Some((false, 0, state.owes)),
            Phase::Work if state.stuck.is_some_and(stalled) => 2,
            Phase::Work | Phase::Waiting | Phase::InLine | Phase::Session => return None,
            _ if state.proven => 3,
            _ => 1,
        };
        Some((fresh, class, state.owes))
    }
}
