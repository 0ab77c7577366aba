//! Rate limit of the streams that a peer opens, counted where the connection accepts them.
//!
//! A stream costs this node a negotiation, however short it is, and bounds on open streams do not cover one
//! that is dropped at once. Honest peers open about ten when they connect and keep them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bucket::Bucket;

/// Rate limit of streams from an unknown peer on all its connections: burst and interval. It allows for two
/// connections, and for a lane that reopens until the peer has admitted it.
const STRANGER_BURST: u32 = 64;
const STRANGER_EACH: Duration = Duration::from_millis(125);
/// The same for validators and configured peers, whose lanes break more often in a bad network.
const KNOWN_BURST: u32 = 512;
const KNOWN_EACH: Duration = Duration::from_millis(10);

/// The streams that one peer opened, against its rate limit.
pub struct StreamRate(Mutex<State>);

struct State {
    is_known: bool,
    bucket: Bucket,
}

impl StreamRate {
    /// No streams yet, of a new peer.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            is_known: false,
            bucket: Bucket::new(STRANGER_EACH, STRANGER_BURST, now),
        }))
    }

    /// Counts a stream; returns false when it exceeds the limit.
    pub fn take(&self, now: Instant) -> bool {
        self.0.lock().bucket.take(now)
    }

    /// Sets whether the peer is a validator or configured by the operator.
    pub fn set_known(&self, is_known: bool, now: Instant) {
        let mut state = self.0.lock();
        if state.is_known != is_known {
            let (each, burst) = if is_known {
                (KNOWN_EACH, KNOWN_BURST)
            } else {
                (STRANGER_EACH, STRANGER_BURST)
            };
            *state = State {
                is_known,
                bucket: Bucket::new(each, burst, now),
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_opens_what_a_meeting_takes_and_then_a_few_a_second() {
        let start = Instant::now();
        let rate = StreamRate::new(start);
        let taken = |second: u64| {
            let now = start.checked_add(Duration::from_secs(second)).unwrap();
            (0..1_000).filter(|_| rate.take(now)).count()
        };
        assert_eq!([taken(0), taken(0), taken(1), taken(3_600)], [64, 0, 8, 64]);
    }

    #[test]
    fn a_validator_opens_more_and_being_told_so_again_gives_it_none_anew() {
        let start = Instant::now();
        let rate = StreamRate::new(start);
        let taken = || (0..1_000).filter(|_| rate.take(start)).count();
        assert_eq!(taken(), 64);
        rate.set_known(true, start);
        assert_eq!(taken(), 512);
        rate.set_known(true, start);
        assert_eq!(taken(), 0);
        rate.set_known(false, start);
        assert_eq!(taken(), 64);
    }
}
