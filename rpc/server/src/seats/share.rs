//! Shares of the addresses in seats of one kind: the address with the most loses one to an address with fewer.
//!
//! Without it some addresses that each take what one address may have would take all.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Closed, Phase, Seat, Seats, TooManyWait, is_shared};

/// A session with a subscription or a call in work is displaced only from an address that has more than this part of all
/// sessions.
const BUSY_SHARE: usize = 16;

/// Connections that a newcomer of another address may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victims {
    /// Calls that wait for a block.
    Waits,
    /// Calls that wait for their turn.
    InLine,
    /// WebSocket sessions: idle ones first.
    Sessions,
}

impl Victims {
    const fn phase(self) -> Phase {
        match self {
            Self::Waits => Phase::Waiting,
            Self::InLine => Phase::InLine,
            Self::Sessions => Phase::Session,
        }
    }
}

/// Connections in a phase, by address.
pub(super) fn by_address(taken: &HashMap<u32, Arc<Seat>>, phase: Phase) -> HashMap<IpAddr, usize> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for seat in taken.values() {
        if seat.state.lock().phase == phase {
            let count = counts.entry(seat.subject).or_default();
            *count = count.saturating_add(1);
        }
    }
    counts
}

/// Connections in a phase: those of an address, and all.
pub(super) fn count(taken: &HashMap<u32, Arc<Seat>>, subject: IpAddr, phase: Phase) -> (usize, usize) {
    let counts = by_address(taken, phase);
    let own = counts.get(&subject).copied().unwrap_or_default();
    (own, counts.into_values().fold(0, usize::saturating_add))
}

impl Seats {
    /// Makes place for one more call of `subject` that waits.
    pub(super) fn admit_wait(
        &self,
        taken: &mut HashMap<u32, Arc<Seat>>,
        subject: IpAddr,
        victims: Victims,
    ) -> Result<(), TooManyWait> {
        let limits = &self.limits;
        let (own, all) = count(taken, subject, victims.phase());
        if !is_shared(subject) && own >= limits.waiting_per_address_max {
            return Err(TooManyWait::OfAddress(limits.waiting_per_address_max));
        }
        if all >= limits.waiting_max && !self.displace(taken, victims, own) {
            return Err(TooManyWait::OfAll(limits.waiting_max));
        }
        Ok(())
    }

    /// Closes the oldest of the address that has most, if these are more than `own` with the newcomer.
    pub(super) fn displace(&self, taken: &mut HashMap<u32, Arc<Seat>>, victims: Victims, own: usize) -> bool {
        let counts = by_address(taken, victims.phase());
        let busy_min = self.limits.sessions_max / BUSY_SHARE;
        let candidates = taken.iter().filter_map(|(id, seat)| {
            let state = seat.state.lock();
            let count = counts.get(&seat.subject).copied().unwrap_or_default();
            let busy = victims == Victims::Sessions && state.uses > 0;
            let may_go = state.phase == victims.phase()
                && count > own.saturating_add(1)
                && (!busy || count > busy_min);
            may_go.then_some(((busy, Reverse(count), state.since), *id))
        });
        let Some(seat) = candidates.min().and_then(|(_, victim)| taken.remove(&victim)) else {
            return false;
        };
        self.close(&seat, Closed::Evicted);
        true
    }
}

/// A call in work or a subscription of a session, until it is dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Seat>);

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.uses = state.uses.saturating_sub(1);
        if state.phase == Phase::Session {
            state.since = Instant::now();
        }
    }
}

impl Seat {
    /// Counts a call in work or a subscription of a session.
    pub(crate) fn in_use(self: &Arc<Self>) -> InUse {
        let mut state = self.state.lock();
        state.uses = state.uses.saturating_add(1);
        InUse(Arc::clone(self))
    }

    /// Returns true for a session that has had neither a call nor a subscription for so long.
    pub(crate) fn is_idle_session(&self, time_max: Duration) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Session && state.uses == 0 && state.since.elapsed() > time_max
    }
}
