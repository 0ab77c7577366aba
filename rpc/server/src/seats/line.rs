//! Connections whose calls wait for their turn to be worked on.
//!
//! Such a call has paid, but four at a time are worked on: without a bound, calls in line would take every seat
//! from calls that could be answered at once.

use std::sync::Arc;
use std::time::Instant;

use super::share::Victims;
use super::{Phase, Seat, Seated, TooManyWait};

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
        self.seats
            .admit_wait(&mut taken, self.seat.subject, Victims::InLine)?;
        let mut state = self.seat.state.lock();
        state.phase = Phase::InLine;
        state.since = Instant::now();
        Ok(InLine(Some((Arc::clone(&self.seat), state.since))))
    }
}

#[cfg(test)]
impl super::Seats {
    /// Connections whose calls wait for their turn.
    pub(crate) fn in_line(&self) -> usize {
        super::share::by_address(&self.taken.lock(), Phase::InLine)
            .values()
            .sum()
    }
}
