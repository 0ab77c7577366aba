//! The rate limit of everything that is counted: a token bucket.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: a burst, and a rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Time at which the tokens taken so far would have been due.
    at: Instant,
    each: Duration,
    burst: Duration,
}

impl Bucket {
    /// One token for each `each`, and a burst of `burst`.
    pub fn new(each: Duration, burst: u32, now: Instant) -> Self {
        Self {
            at: now,
            each,
            burst: each.saturating_mul(burst),
        }
    }

    /// Takes a token; returns false if none is left.
    pub fn take(&mut self, now: Instant) -> bool {
        let begun = self.at.max(now);
        let next = begun.checked_add(self.each).unwrap_or(begun);
        if next.saturating_duration_since(now) > self.burst {
            return false;
        }
        self.at = next;
        true
    }

    /// Returns true if all tokens taken have been replenished.
    pub fn is_full(&self, now: Instant) -> bool {
        self.at <= now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_pace() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Duration::from_millis(250), 8, start);
        let mut taken = |second: u64| {
            let now = start.checked_add(Duration::from_secs(second)).unwrap();
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!([taken(0), taken(1), taken(3600)], [8, 4, 8]);
    }
}
