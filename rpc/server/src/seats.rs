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

mod limits;
mod line;
mod memory;
mod seat;
mod share;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use vibecoin_rpc_backend::Caller;

use crate::metrics::{Closed, RpcMetrics};
use crate::rate::subject;
use limits::FAIR_SHARE;
use memory::HeldByAll;
use share::Victims;

pub(crate) use limits::{Limits, Phase};
pub(crate) use line::InLine;
pub(crate) use memory::{Held, Queued};
pub(crate) use seat::Seat;

/// All connections of one listener.
#[derive(Debug)]
pub(crate) struct Seats {
    limits: Limits,
    taken: Mutex<HashMap<u32, Arc<Seat>>>,
    held: Arc<HeldByAll>,
    metrics: Arc<RpcMetrics>,
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

    /// Offers the seat to any connection that needs one, as between two requests. A session keeps its seat.
    pub(crate) fn offer(&self) -> Offered {
        self.seat.enter(Phase::Idle);
        Offered(Arc::clone(&self.seat))
    }
}

/// A seat that is offered to others, until it is dropped.
#[derive(Debug)]
pub(crate) struct Offered(Arc<Seat>);

impl Drop for Offered {
    fn drop(&mut self) {
        self.0.enter(Phase::Work);
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

    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &RpcMetrics {
        &self.metrics
    }
}

#[cfg(test)]
#[path = "tests/seats.rs"]
mod tests;
