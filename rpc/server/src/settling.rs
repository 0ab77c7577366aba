//! Bounds the transactions that calls wait for: each is looked up whenever a block is committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_rpc_backend::Caller;

/// Transactions that the calls of one caller may wait for.
pub(crate) const SETTLING_PER_CALLER_MAX: usize = 400;
/// Transactions that all calls together may wait for. A look-up of one that is still in the pool takes 100
/// ns.
pub(crate) const SETTLING_MAX: usize = 8_192;

const _: () = assert!(SETTLING_PER_CALLER_MAX >= vibecoin_rpc_api::limits::SUBMIT_BATCH_MAX);

/// Transactions that calls wait for, by caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settling(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// None is empty.
    of: HashMap<Caller, Own>,
    /// Number of the next call.
    next: u64,
}

/// Transactions that one caller waits for.
#[derive(Debug, Default)]
struct Own {
    count: usize,
    /// Its calls in the order of their arrival.
    calls: BTreeMap<u64, Call>,
}

#[derive(Debug)]
struct Call {
    count: usize,
    /// Dropped when the call has to end.
    displaced: oneshot::Sender<()>,
}

/// Transactions that a call waits for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Awaited {
    settling: Settling,
    caller: Caller,
    call: u64,
    displaced: oneshot::Receiver<()>,
}

impl Settling {
    /// Begins to wait for `count` transactions. When all callers would wait for too many, the one with the most
    /// loses its oldest call, as long as it has more than this one would have.
    ///
    /// # Errors
    /// 1401 when the caller, or all callers together, would wait for too many.
    pub(crate) fn wait(&self, caller: Caller, count: usize) -> Result<Awaited, ApiError> {
        let mut counts = self.0.lock();
        let own = counts
            .of
            .get(&caller)
            .map_or(0, |own| own.count)
            .saturating_add(count);
        if own > SETTLING_PER_CALLER_MAX {
            return Err(too_many("calls of one caller", SETTLING_PER_CALLER_MAX));
        }
        while counts.all.saturating_add(count) > SETTLING_MAX {
            if !counts.displace(own) {
                return Err(too_many("all calls together", SETTLING_MAX));
            }
        }
        let (sender, displaced) = oneshot::channel();
        let call = counts.next;
        counts.next = call.wrapping_add(1);
        counts.all = counts.all.saturating_add(count);
        let own = counts.of.entry(caller).or_default();
        own.count = own.count.saturating_add(count);
        own.calls.insert(
            call,
            Call {
                count,
                displaced: sender,
            },
        );
        drop(counts);
        Ok(Awaited {
            settling: self.clone(),
            caller,
            call,
            displaced,
        })
    }
}

impl Counts {
    /// Ends the oldest call of the caller with the most transactions, if these are more than `own`.
    fn displace(&mut self, own: usize) -> bool {
        let most = self.of.iter().max_by_key(|(_, other)| other.count);
        let Some((caller, other)) = most.filter(|(_, other)| other.count > own) else {
            return false;
        };
        let Some((call, _)) = other.calls.first_key_value() else {
            return false;
        };
        let (caller, call) = (*caller, *call);
        self.end(caller, call);
        true
    }

    fn end(&mut self, caller: Caller, call: u64) {
        let Some(own) = self.of.get_mut(&caller) else {
            return;
        };
        let Some(Call { count, displaced }) = own.calls.remove(&call) else {
            return;
        };
        drop(displaced);
        own.count = own.count.saturating_sub(count);
        self.all = self.all.saturating_sub(count);
        if own.calls.is_empty() {
            self.of.remove(&caller);
        }
    }
}

impl Awaited {
    /// Returns once the call has lost its place to one of another caller.
    pub(crate) async fn displaced(&mut self) {
        // Nothing is ever sent: the end is that the sender is dropped.
        let _ = (&mut self.displaced).await;
    }
}

fn too_many(who: &str, limit: usize) -> ApiError {
    ApiError::new(
        Code::RateLimited,
        format!("{who} wait for at most {limit} transactions"),
    )
    .with("queue", "waiting transactions")
    .with("limit", limit.to_string())
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.settling.0.lock().end(self.caller, self.call);
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::FutureExt as _;

    use super::*;

    fn caller(n: u16) -> Caller {
        let [high, low] = n.to_be_bytes();
        Caller {
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, high, low))),
            connection: 0,
        }
    }

    #[test]
    fn a_caller_waits_for_so_many_and_all_together_for_so_many() {
        let settling = Settling::default();
        let first = settling.wait(caller(0), SETTLING_PER_CALLER_MAX).unwrap();
        let refused = settling.wait(caller(0), 1).unwrap_err();
        assert_eq!(refused.code, Code::RateLimited.number());
        assert_eq!(refused.data.facts.get("queue").unwrap(), "waiting transactions");
        assert_eq!(refused.data.facts.get("limit").unwrap(), "400");
        let mut others: Vec<_> = (1..20)
            .map(|n| settling.wait(caller(n), SETTLING_PER_CALLER_MAX).unwrap())
            .collect();
        let rest = SETTLING_MAX - 20 * SETTLING_PER_CALLER_MAX;
        others.push(settling.wait(caller(20), rest).unwrap());
        // No caller has more than this caller would have.
        let refused = settling.wait(caller(21), SETTLING_PER_CALLER_MAX).unwrap_err();
        assert_eq!(refused.data.facts.get("limit").unwrap(), "8192");
        drop(first);
        assert!(settling.wait(caller(0), SETTLING_PER_CALLER_MAX).is_ok());
        drop(others);
        let counts = settling.0.lock();
        assert_eq!((counts.all, counts.of.len()), (0, 0), "nothing is left behind");
    }

    /// Found in review: 21 addresses took all places.
    #[test]
    fn a_caller_with_few_ends_the_oldest_call_of_the_one_with_most() {
        let settling = Settling::default();
        let mut greedy: Vec<Vec<_>> = (0..20)
            .map(|n| (0..4).map(|_| settling.wait(caller(n), 100).unwrap()).collect())
            .collect();
        let rest = settling.wait(caller(20), SETTLING_MAX - 8_000).unwrap();
        let honest: Vec<_> = (100..120).map(|n| settling.wait(caller(n), 5).unwrap()).collect();
        let mut ended = Vec::new();
        for (of, calls) in greedy.iter_mut().enumerate() {
            for (at, call) in calls.iter_mut().enumerate() {
                if call.displaced().now_or_never().is_some() {
                    ended.push((of, at));
                }
            }
        }
        // A call of 100 makes place for 20 of 5.
        let [(_, at)] = ended[..] else {
            panic!("{ended:?}");
        };
        assert_eq!(at, 0, "the oldest of its caller");
        let counts = settling.0.lock();
        assert_eq!(counts.all, SETTLING_MAX, "and no more than may");
        drop(counts);
        drop((greedy, rest, honest));
        let counts = settling.0.lock();
        assert_eq!(
            (counts.all, counts.of.len()),
            (0, 0),
            "an ended call is not counted twice"
        );
    }
}
