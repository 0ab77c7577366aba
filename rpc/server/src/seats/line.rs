//! Connections whose calls wait for their turn to be worked on.
//!
//! Such a call has paid, but four at a time are worked on: without a bound, calls in line would take every seat
//! from calls that could be answered at once.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Closed, Phase, Seat, Seated, Seats, TooManyWait, is_shared};

/// A call that waits for its turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct InLine(Option<(Arc<Seat>, Instant)>);

impl Drop for InLine {
    fn drop(&mut self) {
        let Some((seat, since)) = self.0.take() else {
            return;
        };
        let mut state = seat.state.lock();
        // The turn may come after the call has timed out: the connection is at another call by then.
        if state.phase == Phase::InLine && state.since == since {
            state.phase = Phase::Work;
            state.since = Instant::now();
        }
    }
}

impl Seated {
    /// Begins a wait for a turn, if one more connection may wait. When as many as may do, a connection of an
    /// address with more of them is closed. A session keeps its seat, and its calls run one after the other.
    pub(crate) fn line_up(&self) -> Result<InLine, TooManyWait> {
        let mut taken = self.seats.taken.lock();
        if self.seat.state.lock().phase != Phase::Work {
            return Ok(InLine(None));
        }
        let limits = &self.seats.limits;
        let line = in_line(&taken);
        let own = line.get(&self.seat.subject).copied().unwrap_or_default();
        if !is_shared(self.seat.subject) && own >= limits.waiting_per_address_max {
            return Err(TooManyWait::OfAddress(limits.waiting_per_address_max));
        }
        let all = line
            .values()
            .fold(0usize, |all, count| all.saturating_add(*count));
        if all >= limits.waiting_max && !self.seats.displace(&mut taken, &line, own) {
            return Err(TooManyWait::OfAll(limits.waiting_max));
        }
        let mut state = self.seat.state.lock();
        state.phase = Phase::InLine;
        state.since = Instant::now();
        Ok(InLine(Some((Arc::clone(&self.seat), state.since))))
    }
}

/// Connections whose calls wait for their turn, by address.
fn in_line(taken: &HashMap<u32, Arc<Seat>>) -> HashMap<IpAddr, usize> {
    let mut line: HashMap<IpAddr, usize> = HashMap::new();
    for seat in taken.values() {
        if seat.state.lock().phase == Phase::InLine {
            let count = line.entry(seat.subject).or_default();
            *count = count.saturating_add(1);
        }
    }
    line
}

impl Seats {
    /// Closes the oldest in line of the address that has most, if these are more than `own`.
    fn displace(
        &self,
        taken: &mut HashMap<u32, Arc<Seat>>,
        line: &HashMap<IpAddr, usize>,
        own: usize,
    ) -> bool {
        let waits = taken.iter().filter_map(|(id, seat)| {
            let state = seat.state.lock();
            let count = line.get(&seat.subject).copied().unwrap_or_default();
            (state.phase == Phase::InLine).then_some(((Reverse(count), state.since), *id))
        });
        let Some(((Reverse(most), _), victim)) = waits.min() else {
            return false;
        };
        if most <= own.saturating_add(1) {
            return false;
        }
        let Some(seat) = taken.remove(&victim) else {
            return false;
        };
        self.close(&seat, Closed::Evicted);
        true
    }

    /// Connections whose calls wait for their turn.
    #[cfg(test)]
    pub(crate) fn in_line(&self) -> usize {
        in_line(&self.taken.lock()).values().sum()
    }
}
