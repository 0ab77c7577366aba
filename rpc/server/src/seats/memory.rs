//! Bytes of requests and answers in memory: of each connection, and of all connections of a listener together.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Seat, Seated, Seats, is_shared};
use crate::metrics::Closed;

/// Bytes of requests and answers of all connections in memory, those that are being closed included.
#[derive(Debug, Default)]
pub(super) struct HeldByAll {
    bytes: AtomicUsize,
    freed: Notify,
}

impl Seated {
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
}

impl Seats {
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
    pub(crate) fn held(&self) -> usize {
        self.held.bytes.load(Ordering::Relaxed)
    }
}

impl Seat {
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
