//! Connection slots ("seats") of one listener: admission and eviction, the deadlines of each phase of a
//! connection, and the bytes that are kept in memory for it.
//!
//! A connection whose request is in work keeps its seat. One that sends nothing, sends slowly, is idle
//! between requests or does not read its answer loses its seat to a new connection, and is closed at
//! its deadline in any case. So silent sockets delay no other caller, from any address.
//!
//! A call that waits for a block, or for its turn to be worked on, costs the node nothing but its seat. Each
//! kind has half of the seats, an address a share of that half, and both yield their seats to a new
//! connection when no other connection can. When as many wait as may, the address with the most of them loses one
//! to an address with fewer ([`share`]), and so it is with the seats for sessions.

mod line;
mod share;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::backend::Caller;
use crate::config::Config;
use crate::metrics::{Closed, RpcMetrics};
use crate::rate::subject;
use crate::socket::Socket;
use share::Victims;

pub(crate) use line::InLine;

/// A connection that is younger than this is evicted only when all others are, too: its request is
/// probably on its way.
const FRESH: Duration = Duration::from_millis(100);
/// A reader that has taken nothing for this long may be closed to free its seat.
const STALLED: Duration = Duration::from_secs(1);
/// Minimum bytes per second that a reader must take once it keeps the server waiting. Each byte taken
/// pays for a part of the time waited.
const READ_RATE_MIN: u64 = 8 * 1024;
/// One address may hold this part of all seats before its connections are the first to be evicted, and this
/// part of the seats for calls that wait.
const FAIR_SHARE: usize = 4;
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
    waiting_max: usize,
    waiting_per_address_max: usize,
    first_byte: Duration,
    header: Duration,
    idle: Duration,
    write: Duration,
    held_max: usize,
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

    fn of_phase(&self, phase: Phase) -> Option<(Duration, Closed)> {
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

/// All connections of one listener.
#[derive(Debug)]
pub(crate) struct Seats {
    limits: Limits,
    taken: Mutex<HashMap<u32, Arc<Seat>>>,
    held: Arc<HeldByAll>,
    metrics: Arc<RpcMetrics>,
}

/// Bytes of requests and answers of all connections in memory, those that are being closed included.
#[derive(Debug, Default)]
struct HeldByAll {
    bytes: AtomicUsize,
    freed: Notify,
}

/// The seat of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) peer: IpAddr,
    subject: IpAddr,
    socket: OnceLock<Weak<Socket>>,
    state: Mutex<State>,
    /// True while the peer does not take what is written, or has not yet made up for it.
    slow: AtomicBool,
    /// Bytes of requests and answers of this connection in memory.
    held: AtomicUsize,
    /// Those among them that wait to be sent.
    queued: AtomicUsize,
    held_by_all: Arc<HeldByAll>,
    metrics: Arc<RpcMetrics>,
    room: Notify,
    closing: watch::Sender<Option<Closed>>,
    /// The turn to read history for a subscription of this connection.
    pub(crate) history: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Start of the phase.
    since: Instant,
    /// Time since when the peer has owed a whole request. Beginning one does not make a connection
    /// younger.
    owes: Instant,
    /// True once it has been answered.
    proven: bool,
    /// Calls in work and subscriptions of a session.
    uses: usize,
    /// Time since when the peer does not take what is written to it.
    stuck: Option<Instant>,
    /// Time that the peer kept the server waiting, less what it has paid for by reading.
    debt: Duration,
}

/// A taken seat; free again when the last clone of the pointer is dropped.
#[derive(Debug)]
pub(crate) struct Seated {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
    id: u32,
}

impl std::ops::Deref for Seated {
    type Target = Arc<Seat>;

    fn deref(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        // An evicted connection has lost its place already, perhaps to another one with its number.
        if taken
            .get(&self.id)
            .is_some_and(|seat| Arc::ptr_eq(seat, &self.seat))
        {
            taken.remove(&self.id);
        }
    }
}

impl Seated {
    pub(crate) const fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Keeps `bytes` of a request on the account of this connection.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        self.seats.hold(&self.seat, bytes)
    }

    /// Adds to bytes that are kept.
    pub(crate) fn grow(&self, held: &mut Held, bytes: usize) {
        held.bytes = held.bytes.saturating_add(bytes);
        self.seat.add(bytes);
        self.seats.relieve();
    }

    /// Returns once the listener holds no more than it may. Connections that are being closed hold their
    /// bytes until their tasks have run: bytes read meanwhile would be added to them.
    pub(crate) async fn all_have_room(&self) {
        let held = &self.seats.held;
        loop {
            let mut freed = std::pin::pin!(held.freed.notified());
            freed.as_mut().enable();
            if held.bytes.load(Ordering::Relaxed) <= self.seats.limits.held_max {
                return;
            }
            freed.await;
        }
    }

    /// Keeps `bytes` of an answer on the account of this connection.
    pub(crate) fn queue(&self, bytes: usize) -> Queued {
        self.seats.queue(&self.seat, bytes)
    }

    /// Makes this connection a WebSocket session, if one more is allowed. When as many as may be are open, an idle
    /// one of an address with more of them is closed.
    pub(crate) fn upgrade(&self) -> bool {
        let mut taken = self.seats.taken.lock();
        let limits = &self.seats.limits;
        let (own, all) = share::count(&taken, self.seat.subject, Phase::Session);
        let own_max = if is_shared(self.seat.subject) {
            usize::MAX
        } else {
            limits.sessions_per_address_max
        };
        if own >= own_max || limits.sessions_max == 0 {
            return false;
        }
        if all >= limits.sessions_max && !self.seats.displace(&mut taken, Victims::Sessions, own) {
            return false;
        }
        self.seat.enter(Phase::Session);
        true
    }

    /// The caller that the calls of this connection are charged to.
    pub(crate) fn caller(&self) -> Caller {
        let subject = self.seat.subject;
        Caller {
            address: Some(subject),
            connection: if is_shared(subject) { self.id } else { 0 },
        }
    }

    /// Begins a wait for a block, if one more connection may wait. When as many as may do, the oldest wait of an
    /// address with more of them is closed. A session, which keeps its seat in any case, has a separate bound.
    pub(crate) fn wait(&self) -> Result<Waiting, TooManyWait> {
        let mut taken = self.seats.taken.lock();
        if self.seat.state.lock().phase != Phase::Session {
            self.seats
                .admit_wait(&mut taken, self.seat.subject, Victims::Waits)?;
            self.seat.enter(Phase::Waiting);
        }
        Ok(Waiting(Arc::clone(&self.seat)))
    }
}

/// A call that waits for a block, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Seat>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.enter(Phase::Work);
    }
}

/// A call may not wait: the maximum number of calls wait already.
///
/// Of both kinds: for a block ([`Seated::wait`]) and for a turn ([`Seated::line_up`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooManyWait {
    OfAddress(usize),
    OfAll(usize),
}

/// Returns true if this address may stand for many callers: programs and proxies of this machine.
const fn is_shared(subject: IpAddr) -> bool {
    subject.is_loopback()
}

impl Seats {
    pub(crate) fn new(limits: Limits, metrics: Arc<RpcMetrics>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
            held: Arc::default(),
            metrics,
        })
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a seat for a new connection, if need be that of one without a request in work, or else of one
    /// that waits for a block or for its turn. `None` when there is none.
    pub(crate) fn take(self: &Arc<Self>, id: u32, peer: IpAddr, now: Instant) -> Option<Seated> {
        let subject = subject(peer);
        let mut taken = self.taken.lock();
        let own = taken.values().filter(|seat| seat.subject == subject).count();
        if !is_shared(subject) && own >= self.limits.per_address_max {
            self.evict(&mut taken, Some(subject), now)?;
        } else if taken.len() >= self.limits.seats_max {
            self.evict(&mut taken, None, now)?;
        }
        let seat = Arc::new(Seat::new(
            peer,
            Arc::clone(&self.held),
            Arc::clone(&self.metrics),
            now,
        ));
        taken.insert(id, Arc::clone(&seat));
        drop(taken);
        Some(Seated {
            seats: Arc::clone(self),
            seat,
            id,
        })
    }

    /// Closes a connection as [`Self::take`] does, so that its file descriptor becomes free.
    pub(crate) fn make_room(&self, now: Instant) {
        let _ = self.evict(&mut self.taken.lock(), None, now);
    }

    fn evict(&self, taken: &mut HashMap<u32, Arc<Seat>>, among: Option<IpAddr>, now: Instant) -> Option<()> {
        let mut of_subject: HashMap<IpAddr, usize> = HashMap::new();
        let mut waiting: HashMap<IpAddr, usize> = HashMap::new();
        for seat in taken.values() {
            let count = of_subject.entry(seat.subject).or_default();
            *count = count.saturating_add(1);
            if seat.waits_since().is_some() {
                let count = waiting.entry(seat.subject).or_default();
                *count = count.saturating_add(1);
            }
        }
        let share = self.limits.seats_max.div_ceil(FAIR_SHARE);
        let candidates = || {
            taken
                .iter()
                .filter(|(_, seat)| among.is_none_or(|subject| seat.subject == subject))
        };
        let asks_nothing = candidates().filter_map(|(id, seat)| {
            let rank = seat.rank(now)?;
            let greedy = of_subject.get(&seat.subject).is_some_and(|count| *count > share);
            Some(((!greedy, rank), *id))
        });
        // Waits are interrupted last: sockets that cost their owner nothing cannot end a wait of
        // another caller.
        let waits = || {
            candidates().filter_map(|(id, seat)| {
                let count = waiting.get(&seat.subject).copied().unwrap_or_default();
                Some(((Reverse(count), seat.waits_since()?), *id))
            })
        };
        let victim = match asks_nothing.min() {
            Some((_, id)) => id,
            None => waits().min()?.1,
        };
        let seat = taken.remove(&victim)?;
        self.close(&seat, Closed::Evicted);
        Some(())
    }

    fn close(&self, seat: &Seat, why: Closed) {
        let closes = seat.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            closing.get_or_insert(why);
            first
        });
        if closes {
            self.metrics.closed(why);
        }
    }

    /// Closes every connection that is past a deadline.
    pub(crate) fn sweep(&self, now: Instant) {
        let taken = self.taken.lock();
        for seat in taken.values() {
            if let Some(why) = seat.overdue(&self.limits, now) {
                self.close(seat, why);
            }
        }
    }

    /// The seat of a connection.
    pub(crate) fn of(&self, id: usize) -> Option<Arc<Seat>> {
        let id = u32::try_from(id).ok()?;
        self.taken.lock().get(&id).map(Arc::clone)
    }

    /// Keeps bytes of a request on the account of a connection until the result is dropped. When all
    /// connections keep too much, the stalled one that holds the most is closed.
    fn hold(&self, seat: &Arc<Seat>, bytes: usize) -> Held {
        seat.add(bytes);
        self.relieve();
        Held {
            seat: Arc::clone(seat),
            bytes,
        }
    }

    /// As [`Self::hold`], for bytes that wait to be sent.
    pub(crate) fn queue(&self, seat: &Arc<Seat>, bytes: usize) -> Queued {
        seat.add(bytes);
        seat.queued.fetch_add(bytes, Ordering::Relaxed);
        self.relieve();
        Queued {
            seat: Arc::clone(seat),
            bytes,
        }
    }

    /// Closes connections until the others hold no more than the listener may keep in memory: those that keep
    /// the server waiting first, then the largest one of the address that holds the most. So many clients of
    /// one address cannot end the request of another.
    fn relieve(&self) {
        if self.held.bytes.load(Ordering::Relaxed) <= self.limits.held_max {
            return;
        }
        let now = Instant::now();
        let taken = self.taken.lock();
        let open: Vec<_> = taken
            .values()
            .filter(|seat| seat.closing.borrow().is_none())
            .map(|seat| (seat, seat.held.load(Ordering::Relaxed)))
            .collect();
        let (mut held, mut of_address) = (0usize, HashMap::<IpAddr, usize>::new());
        for (seat, bytes) in &open {
            held = held.saturating_add(*bytes);
            let own = of_address.entry(seat.subject).or_default();
            *own = own.saturating_add(*bytes);
        }
        let rank = |seat: &Seat, bytes: usize| {
            let own = of_address.get(&seat.subject).filter(|_| !is_shared(seat.subject));
            (seat.keeps_waiting(now), own.copied().unwrap_or(bytes), bytes)
        };
        let mut ranked: Vec<_> = open
            .into_iter()
            .map(|(seat, bytes)| (rank(seat, bytes), seat))
            .collect();
        ranked.sort_by_key(|(rank, _)| Reverse(*rank));
        for ((_, _, bytes), seat) in ranked {
            if held <= self.limits.held_max {
                return;
            }
            self.close(seat, Closed::Memory);
            held = held.saturating_sub(bytes);
        }
    }

    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &RpcMetrics {
        &self.metrics
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.bytes.load(Ordering::Relaxed)
    }
}

impl Seat {
    fn new(peer: IpAddr, held_by_all: Arc<HeldByAll>, metrics: Arc<RpcMetrics>, now: Instant) -> Self {
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

    fn overdue(&self, limits: &Limits, now: Instant) -> Option<Closed> {
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

    fn keeps_waiting(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let long = |since: Instant| now.saturating_duration_since(since) >= STALLED;
        state.stuck.is_some_and(long) || (state.phase == Phase::Body && long(state.since))
    }

    /// Start of the call's wait for a block or for its turn.
    fn waits_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        matches!(state.phase, Phase::Waiting | Phase::InLine).then_some(state.since)
    }

    /// Order of eviction, lowest first; `None` keeps its seat, or waits.
    fn rank(&self, now: Instant) -> Option<(bool, u8, Instant)> {
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

    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.held_by_all.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        let freed = take_off(&self.held, bytes);
        self.held_by_all.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.held_by_all.freed.notify_waiters();
    }

    /// Takes up to `bytes` that were sent off the account.
    pub(crate) fn sent(&self, bytes: usize) {
        self.release(take_off(&self.queued, bytes));
        self.room.notify_waiters();
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Returns once no more than `bytes_max` wait to be sent.
    pub(crate) async fn room(&self, bytes_max: usize) {
        loop {
            let mut changed = std::pin::pin!(self.room.notified());
            changed.as_mut().enable();
            if self.queued() <= bytes_max {
                return;
            }
            changed.await;
        }
    }
}

/// Subtracts up to `bytes` from a count and returns the number subtracted.
fn take_off(count: &AtomicUsize, bytes: usize) -> usize {
    let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        Some(count.saturating_sub(bytes))
    });
    bytes.min(before.unwrap_or(0))
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Bytes that were under way without a guard are gone with the connection.
        self.release(usize::MAX);
    }
}

/// Bytes of a request on the account of a connection.
#[derive(Debug)]
pub(crate) struct Held {
    seat: Arc<Seat>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.seat.release(self.bytes);
    }
}

/// Bytes that wait to be sent, on the account of a connection.
#[derive(Debug)]
pub(crate) struct Queued {
    seat: Arc<Seat>,
    bytes: usize,
}

impl Queued {
    /// Releases `bytes` from this guard; [`Seat::sent`] takes them off the account.
    pub(crate) fn pass_on(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.seat.sent(self.bytes);
    }
}

#[cfg(test)]
#[path = "tests/seats.rs"]
mod tests;
