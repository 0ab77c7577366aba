//! Transactions that this node told its peers of and that no block has taken yet: it tells them again.
//!
//! Gossip carries a message once. Where no link stood at that moment, or the only node that had it ended, nobody would ever
//! hear of the transaction, though its client was told that it waits.

use std::collections::BTreeMap;

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Hash;
use vibecoin_primitives::limits::KIB;

/// Transactions that are remembered; more are told once. Some 100 bytes each.
const REMEMBERED_MAX: usize = 8_192;
/// First and longest wait before a transaction is told again.
const WAIT_MIN_US: u64 = 4_000_000;
const WAIT_MAX_US: u64 = 64_000_000;
/// Transactions that are told again at once and their bytes, of which the last may go beyond, and how often that is.
const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 128 * KIB;
const BATCH_EACH_US: u64 = 1_000_000;

struct Told {
    id: Hash,
    wait_us: u64,
}

/// What is to be told again, and when.
#[derive(Default)]
pub struct Again {
    /// By time and number.
    due: BTreeMap<(MonoTime, u64), Told>,
    count: u64,
    /// No batch before this.
    rests_until: MonoTime,
}

impl Again {
    /// Peers were told of a transaction just now.
    pub fn told(&mut self, now: MonoTime, id: Hash) {
        if self.due.len() < REMEMBERED_MAX {
            let wait_us = WAIT_MIN_US;
            self.insert(now, Told { id, wait_us });
        }
    }

    fn insert(&mut self, now: MonoTime, told: Told) {
        self.count = self.count.saturating_add(1);
        let at = MonoTime(now.0.saturating_add(told.wait_us));
        self.due.insert((at, self.count), told);
    }

    /// When the next batch is due.
    pub fn next(&self) -> Option<MonoTime> {
        let ((at, _), _) = self.due.first_key_value()?;
        Some((*at).max(self.rests_until))
    }

    /// The transactions that are due, of those that still wait: `waits` gives their size. Each comes again after twice the
    /// time.
    pub fn take(&mut self, now: MonoTime, waits: impl Fn(&Hash) -> Option<usize>) -> Vec<Hash> {
        let (mut batch, mut bytes) = (Vec::new(), 0usize);
        while self.next().is_some_and(|at| at <= now) && batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some((_, told)) = self.due.pop_first() else {
                break;
            };
            let Some(size) = waits(&told.id) else { continue };
            bytes = bytes.saturating_add(size);
            batch.push(told.id);
            let wait_us = told.wait_us.saturating_mul(2).min(WAIT_MAX_US);
            self.insert(now, Told { wait_us, ..told });
        }
        if !batch.is_empty() {
            self.rests_until = MonoTime(now.0.saturating_add(BATCH_EACH_US));
        }
        batch
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn hash(n: u64) -> Hash {
        let mut hash = Hash([0; 32]);
        for (to, from) in hash.0.iter_mut().zip(n.to_le_bytes()) {
            *to = from;
        }
        hash
    }

    #[test]
    fn what_still_waits_is_told_again_at_growing_intervals() {
        let mut again = Again::default();
        again.told(MonoTime(0), hash(1));
        let mut times = Vec::new();
        while times.len() < 7 {
            let now = again.next().unwrap();
            assert_eq!(again.take(now, |_| Some(1)), [hash(1)]);
            times.push(now.0 / SECOND);
        }
        assert_eq!(times, [4, 12, 28, 60, 124, 188, 252]);
        assert_eq!(again.take(again.next().unwrap(), |_| None), []);
        assert_eq!(again.next(), None, "what a block has taken is forgotten");
    }

    #[test]
    fn what_is_told_again_is_bounded_in_number_and_pace() {
        let mut again = Again::default();
        (0..REMEMBERED_MAX as u64 + 5).for_each(|n| again.told(MonoTime(n), hash(n)));
        assert_eq!(again.due.len(), REMEMBERED_MAX);
        let late = MonoTime(100 * SECOND);
        assert_eq!(again.take(late, |_| Some(1)).len(), BATCH_MAX);
        assert_eq!(again.take(late, |_| Some(1)), []);
        assert_eq!(again.next(), Some(MonoTime(101 * SECOND)));
        let large = again.take(MonoTime(101 * SECOND), |_| Some(BATCH_BYTES_MAX / 2));
        assert_eq!(large.len(), 2, "bytes are bounded as well");
    }
}
