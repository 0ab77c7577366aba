//! A token bucket per address, so that one caller cannot starve the others.
//!
//! A call pays its method's price before it runs. Costs that are known only afterwards, such as the bytes of
//! its answer, are charged then, and the bucket may go below zero: the address waits until it is above again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Rate;

/// Maximum number of remembered addresses. Full buckets are forgotten first: they carry no debt.
const ADDRESSES_MAX: usize = 16_384;

/// Maximum debt, in full buckets.
const DEBT_MAX: i64 = 10;
/// A caller that owes more full buckets than this is deep in debt: it continued after it had been
/// refused.
const DEBT_DEEP: i64 = DEBT_MAX / 2;

/// Minimum number of consecutive refused calls that shows a caller to ignore `retryAfterMs`; a client that backs off has
/// fewer in flight.
const REPEATED_FROM: u32 = 10;

/// Budgets of all callers.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Cost units left, in thousandths; below zero it is debt.
    left: i64,
    at: Instant,
    /// Calls in a row that were refused.
    refused: u32,
}

/// The budget is used up; it is sufficient again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted(pub(crate) Duration);

impl RateLimiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes `cost` units from the budget of `address`. A cost of zero checks for debt.
    pub(crate) fn take(&self, address: IpAddr, cost: u32, now: Instant) -> Result<(), Exhausted> {
        // A cost above the whole budget could never be paid: it takes all of it.
        let cost = i64::from(cost).saturating_mul(1000).min(self.full());
        self.update(address, now, |bucket| {
            if bucket.left >= cost {
                bucket.left = bucket.left.saturating_sub(cost);
                if cost > 0 {
                    bucket.refused = 0;
                }
                return Ok(());
            }
            bucket.refused = bucket.refused.saturating_add(1);
            Err(self.until(cost.saturating_sub(bucket.left)))
        })
    }

    /// Takes `cost` units from the budget of `address`, even if they are not there.
    pub(crate) fn charge(&self, address: IpAddr, cost: u32, now: Instant) {
        let cost = i64::from(cost).saturating_mul(1000);
        let deepest = self.full().saturating_mul(DEBT_MAX).saturating_neg();
        self.update(address, now, |bucket| {
            bucket.left = bucket.left.saturating_sub(cost).max(deepest);
        });
    }

    /// Returns true if `address` ignores `retryAfterMs`: at least [`REPEATED_FROM`] consecutive calls were refused.
    pub(crate) fn repeats(&self, address: IpAddr) -> bool {
        let buckets = self.buckets.lock();
        let bucket = buckets.get(&subject(address));
        bucket.is_some_and(|bucket| bucket.refused >= REPEATED_FROM)
    }

    /// Returns the time that `address` has to wait for a budget above zero, if it is deep in debt.
    pub(crate) fn deep_debt(&self, address: IpAddr, now: Instant) -> Option<Exhausted> {
        let left = {
            let buckets = self.buckets.lock();
            self.refilled(buckets.get(&subject(address))?, now)
        };
        let deep = self.full().saturating_mul(DEBT_DEEP).saturating_neg();
        (left < deep).then(|| self.until(left.saturating_neg()))
    }

    /// Time after which `missing` thousandths of a unit are refilled.
    fn until(&self, missing: i64) -> Exhausted {
        let ms = missing
            .checked_div(i64::from(self.rate.per_second))
            .unwrap_or(i64::MAX);
        let ms = u64::try_from(ms).unwrap_or_default();
        Exhausted(Duration::from_millis(ms.saturating_add(1)))
    }

    fn full(&self) -> i64 {
        i64::from(self.rate.burst).saturating_mul(1000)
    }

    fn update<T>(&self, address: IpAddr, now: Instant, update: impl FnOnce(&mut Bucket) -> T) -> T {
        let full = self.full();
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| self.refilled(bucket, now) < full);
            if buckets.len() >= ADDRESSES_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(subject(address)).or_insert(Bucket {
            left: full,
            at: now,
            refused: 0,
        });
        bucket.left = self.refilled(bucket, now);
        bucket.at = now;
        update(bucket)
    }

    /// A thousandth of a unit per second is a unit per thousand seconds: milliseconds times the rate.
    fn refilled(&self, bucket: &Bucket, now: Instant) -> i64 {
        let micros = i64::try_from(now.saturating_duration_since(bucket.at).as_micros()).unwrap_or(i64::MAX);
        let back = micros.saturating_mul(i64::from(self.rate.per_second)) / 1000;
        bucket.left.saturating_add(back).min(self.full())
    }
}

/// Key of the budget: the address, or the /64 of an IPv6 address, which one caller owns as a whole.
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
    fn a_caller_repeats_from_the_tenth_refused_call_in_a_row_on() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        let caller = "10.0.0.1".parse().unwrap();
        assert!(!limiter.repeats(caller), "it never called");
        limiter.take(caller, 20, start).unwrap();
        for _ in 0..9 {
            limiter.take(caller, 1, start).unwrap_err();
        }
        assert!(!limiter.repeats(caller));
        limiter.take(caller, 1, start).unwrap_err();
        assert!(limiter.repeats(caller));
        assert!(!limiter.repeats("10.0.0.2".parse().unwrap()));
        // A check for debt is no call.
        limiter.take(caller, 0, start).unwrap();
        assert!(limiter.repeats(caller));
        limiter.take(caller, 1, start + Duration::from_secs(1)).unwrap();
        assert!(!limiter.repeats(caller));
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
    fn what_is_charged_afterwards_is_waited_for_and_has_a_floor() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        let caller = "10.0.0.1".parse().unwrap();
        limiter.take(caller, 10, start).unwrap();
        limiter.charge(caller, 40, start);
        let Exhausted(wait) = limiter.take(caller, 0, start).unwrap_err();
        assert!((3000..=3002).contains(&wait.as_millis()), "{wait:?}");
        limiter.take(caller, 0, start + Duration::from_secs(3)).unwrap();
        assert!(limiter.take(caller, 1, start + Duration::from_secs(3)).is_err());
        for _ in 0..100 {
            limiter.charge(caller, u32::MAX, start);
        }
        let Exhausted(wait) = limiter.take(caller, 0, start).unwrap_err();
        assert!(
            wait <= Duration::from_secs(21),
            "ten buckets of two seconds: {wait:?}"
        );
        limiter.take("10.0.0.2".parse().unwrap(), 20, start).unwrap();
    }

    #[test]
    fn a_caller_that_owes_more_than_half_of_the_deepest_debt_is_deep_in_debt_until_it_owes_less() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        let caller = "10.0.0.1".parse().unwrap();
        assert_eq!(limiter.deep_debt(caller, start), None, "it never called");
        limiter.charge(caller, 120, start);
        assert_eq!(
            limiter.deep_debt(caller, start),
            None,
            "100 units are five buckets of 20"
        );
        limiter.charge(caller, 1, start);
        let Exhausted(wait) = limiter.deep_debt(caller, start).unwrap();
        assert!((10_100..=10_102).contains(&wait.as_millis()), "{wait:?}");
        assert_eq!(
            limiter.deep_debt(caller, start + Duration::from_millis(100)),
            None
        );
        assert_eq!(limiter.deep_debt("10.0.0.2".parse().unwrap(), start), None);
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
