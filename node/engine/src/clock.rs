//! The two clocks of the process, read in one place.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::TimeMs;
use vibecoin_replica::Now;

/// Converts the machine's clocks to the replica's times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The current time.
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now {
            mono: MonoTime(mono),
            wall: wall(),
        }
    }

    /// The instant of `at` on the machine's clock.
    pub fn instant(&self, at: MonoTime) -> Instant {
        self.start
            .checked_add(Duration::from_micros(at.0))
            .unwrap_or(self.start)
    }

    /// Milliseconds since the start.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The wall clock; a clock before 1970 reads as 1970.
pub fn wall() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
