//! A token bucket per address, so that one caller cannot starve the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Rate;

/// Addresses that are remembered at most. Full buckets are forgotten first: they carry no debt.
const ADDRESSES_MAX: usize = 16_384;

/// Budgets of all callers.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Cost units left, in thousandths.
    left: u64,
    at: Instant,
}

/// The budget is used up; it is enough again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted(pub(crate) Duration);

impl RateLimiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes `cost` units from the budget of `address`.
    pub(crate) fn take(&self, address: IpAddr, cost: u32, now: Instant) -> Result<(), Exhausted> {
        let full = u64::from(self.rate.burst).saturating_mul(1000);
        // A cost above the whole budget could never be paid: it takes all of it.
        let cost = u64::from(cost).saturating_mul(1000).min(full);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| self.refilled(bucket, now) < full);
            if buckets.len() >= ADDRESSES_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets
            .entry(subject(address))
            .or_insert(Bucket { left: full, at: now });
        bucket.left = self.refilled(bucket, now);
        bucket.at = now;
        match bucket.left.checked_sub(cost) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => {
                let missing = cost.saturating_sub(bucket.left);
                let ms = missing
                    .checked_div(u64::from(self.rate.per_second))
                    .unwrap_or(u64::MAX);
                Err(Exhausted(Duration::from_millis(ms.saturating_add(1))))
            }
        }
    }

    /// A thousandth of a unit per second is a unit per thousand seconds: milliseconds times the rate.
    fn refilled(&self, bucket: &Bucket, now: Instant) -> u64 {
        let full = u64::from(self.rate.burst).saturating_mul(1000);
        let micros = u64::try_from(now.saturating_duration_since(bucket.at).as_micros()).unwrap_or(u64::MAX);
        let back = micros.saturating_mul(u64::from(self.rate.per_second)) / 1000;
        bucket.left.saturating_add(back).min(full)
    }
}

/// Whose budget it is: the address, or the /64 of an IPv6 address, which one caller owns as a whole.
pub(crate) fn subject(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            },
            IpAddr::V4,
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 20,
    };

    #[test]
    fn a_budget_is_spent_and_comes_back_with_time() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        let caller = "10.0.0.1".parse().unwrap();
        limiter.take(caller, 15, start).unwrap();
        limiter.take(caller, 5, start).unwrap();
        let Exhausted(wait) = limiter.take(caller, 5, start).unwrap_err();
        assert!((500..=502).contains(&wait.as_millis()), "{wait:?}");
        assert!(
            limiter
                .take(caller, 5, start + Duration::from_millis(499))
                .is_err()
        );
        limiter
            .take(caller, 5, start + Duration::from_millis(501))
            .unwrap();
    }

    #[test]
    fn callers_do_not_share_a_budget_but_a_64_does() {
        let (limiter, now) = (RateLimiter::new(RATE), Instant::now());
        limiter.take("10.0.0.1".parse().unwrap(), 20, now).unwrap();
        limiter.take("10.0.0.2".parse().unwrap(), 20, now).unwrap();
        limiter.take("2001:db8::1".parse().unwrap(), 20, now).unwrap();
        assert!(limiter.take("2001:db8::2".parse().unwrap(), 1, now).is_err());
        limiter.take("2001:db8:0:1::1".parse().unwrap(), 20, now).unwrap();
        assert!(
            limiter.take("::ffff:10.0.0.1".parse().unwrap(), 1, now).is_err(),
            "the same caller by IPv6"
        );
    }

    #[test]
    fn a_call_above_the_whole_budget_takes_all_of_it_and_a_zero_rate_never_divides() {
        let (limiter, now) = (RateLimiter::new(RATE), Instant::now());
        let caller = "10.0.0.1".parse().unwrap();
        limiter.take(caller, 1000, now).unwrap();
        assert!(limiter.take(caller, 1, now).is_err());
        let none = RateLimiter::new(Rate {
            per_second: 0,
            burst: 1,
        });
        none.take(caller, 1, now).unwrap();
        assert!(none.take(caller, 1, now).is_err());
    }
}
