//! Bounds the transactions that calls wait for: each is looked up whenever a block is committed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vibecoin_rpc_api::{ApiError, Code};

use crate::backend::Caller;

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
    /// Never zero.
    of: HashMap<Caller, usize>,
}

/// Transactions that a call waits for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Awaited {
    settling: Settling,
    caller: Caller,
    count: usize,
}

impl Settling {
    /// Begins to wait for `count` transactions.
    ///
    /// # Errors
    /// 1401 when the caller, or all callers together, would wait for too many.
    pub(crate) fn wait(&self, caller: Caller, count: usize) -> Result<Awaited, ApiError> {
        let mut counts = self.0.lock();
        let own = counts
            .of
            .get(&caller)
            .copied()
            .unwrap_or_default()
            .saturating_add(count);
        let all = counts.all.saturating_add(count);
        if own > SETTLING_PER_CALLER_MAX {
            return Err(too_many("calls of one caller", SETTLING_PER_CALLER_MAX));
        }
        if all > SETTLING_MAX {
            return Err(too_many("all calls together", SETTLING_MAX));
        }
        counts.all = all;
        if own > 0 {
            counts.of.insert(caller, own);
        }
        drop(counts);
        Ok(Awaited {
            settling: self.clone(),
            caller,
            count,
        })
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
        let mut counts = self.settling.0.lock();
        counts.all = counts.all.saturating_sub(self.count);
        let own = counts.of.get(&self.caller).copied().unwrap_or_default();
        match own.saturating_sub(self.count) {
            0 => counts.of.remove(&self.caller),
            left => counts.of.insert(self.caller, left),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

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
        let mut others = Vec::new();
        for n in 1..200 {
            match settling.wait(caller(n), SETTLING_PER_CALLER_MAX) {
                Ok(awaited) => others.push(awaited),
                Err(refused) => {
                    assert_eq!(refused.data.facts.get("limit").unwrap(), "8192");
                    break;
                }
            }
        }
        assert_eq!(others.len(), 19, "20 times 400 of 8,192");
        drop(first);
        assert!(settling.wait(caller(0), SETTLING_PER_CALLER_MAX).is_ok());
        drop(others);
        let counts = settling.0.lock();
        assert_eq!((counts.all, counts.of.len()), (0, 0), "nothing is left behind");
    }
}
