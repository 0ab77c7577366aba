//! Re-publication of transactions that this node has announced to its peers and that no block includes yet.
//!
//! Gossip carries a message once. If no link was up at that moment, or the only node that had the transaction
//! stopped, no other node would ever receive it, although its client was notified that it is pending.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Hash;
use vibecoin_primitives::limits::KIB;
use vibecoin_rpc_backend::Caller;

/// Maximum number of transactions remembered; those beyond it are announced once. Some 300 bytes each.
const REMEMBERED_MAX: usize = 8_192;
/// Initial and maximum delay before a transaction is announced again.
const WAIT_MIN_US: u64 = 4_000_000;
const WAIT_MAX_US: u64 = 64_000_000;
/// Maximum number and bytes of transactions announced in one batch (the last one may exceed the bytes), and
/// the minimum interval between batches.
const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 128 * KIB;
const BATCH_EACH_US: u64 = 1_000_000;

/// Owner of the part of the list that a transaction takes. A full list is shared equally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Submitted by this RPC client.
    Caller(Caller),
    /// Pending since a nonce gap before it was closed, from any sender.
    Promoted,
}

struct Announced {
    id: Hash,
    share: Share,
    wait_us: u64,
}

/// Schedule of the announcements to repeat.
#[derive(Default)]
pub struct Again {
    /// Ordered by time and number.
    due: BTreeMap<(MonoTime, u64), Announced>,
    /// Number and due time of each transaction, by share; no share is empty.
    shares: BTreeMap<Share, BTreeMap<u64, MonoTime>>,
    /// The sizes of the shares.
    sizes: BTreeSet<(usize, Share)>,
    count: u64,
    /// No batch is due before this time.
    rests_until: MonoTime,
}

impl Again {
    /// Records that peers were sent a transaction just now. In a full list the largest share loses its newest
    /// entry, unless that is this share.
    pub fn announced(&mut self, now: MonoTime, share: Share, id: Hash) {
        if self.due.len() >= REMEMBERED_MAX && !self.displace(share) {
            return;
        }
        self.count = self.count.saturating_add(1);
        let wait_us = WAIT_MIN_US;
        self.insert(now, self.count, Announced { id, share, wait_us });
    }

    fn size(&self, share: Share) -> usize {
        self.shares.get(&share).map_or(0, BTreeMap::len)
    }

    /// Removes the newest entry of the largest share, if that share is larger than this one with one more.
    /// Returns true if it was.
    fn displace(&mut self, share: Share) -> bool {
        let after = self.size(share).saturating_add(1);
        let Some((_, largest)) = self.sizes.last().copied().filter(|(size, _)| *size > after) else {
            return false;
        };
        let newest = self.shares.get(&largest).and_then(|share| share.last_key_value());
        newest
            .map(|(number, at)| (*at, *number))
            .is_some_and(|key| self.remove(key).is_some())
    }

    fn insert(&mut self, now: MonoTime, number: u64, announced: Announced) {
        let at = MonoTime(now.0.saturating_add(announced.wait_us));
        self.resize(announced.share, |share| {
            share.insert(number, at);
        });
        self.due.insert((at, number), announced);
    }

    fn remove(&mut self, key: (MonoTime, u64)) -> Option<Announced> {
        let announced = self.due.remove(&key)?;
        self.resize(announced.share, |share| {
            share.remove(&key.1);
        });
        Some(announced)
    }

    fn resize(&mut self, share: Share, change: impl FnOnce(&mut BTreeMap<u64, MonoTime>)) {
        self.sizes.remove(&(self.size(share), share));
        change(self.shares.entry(share).or_default());
        let size = self.size(share);
        if size == 0 {
            self.shares.remove(&share);
        } else {
            self.sizes.insert((size, share));
        }
    }

    /// Time at which the next batch is due.
    pub fn next(&self) -> Option<MonoTime> {
        let ((at, _), _) = self.due.first_key_value()?;
        Some((*at).max(self.rests_until))
    }

    /// Returns the due transactions that are still pending: `waits` returns their size. Each is due again
    /// after twice the delay.
    pub fn take(&mut self, now: MonoTime, waits: impl Fn(&Hash) -> Option<usize>) -> Vec<Hash> {
        let (mut batch, mut bytes) = (Vec::new(), 0usize);
        while self.next().is_some_and(|at| at <= now) && batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some(key) = self.due.first_key_value().map(|(key, _)| *key) else {
                break;
            };
            let Some(announced) = self.remove(key) else { break };
            let Some(size) = waits(&announced.id) else {
                continue;
            };
            bytes = bytes.saturating_add(size);
            batch.push(announced.id);
            let wait_us = announced.wait_us.saturating_mul(2).min(WAIT_MAX_US);
            self.insert(now, key.1, Announced { wait_us, ..announced });
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

    fn caller(connection: u32) -> Share {
        Share::Caller(Caller {
            connection,
            ..Caller::NODE
        })
    }

    #[test]
    fn a_full_list_is_shared_equally_and_the_newest_of_the_largest_share_leave() {
        let mut again = Again::default();
        let max = REMEMBERED_MAX as u64;
        (0..max).for_each(|n| again.announced(MonoTime(n), caller(1), hash(n)));
        (0..5).for_each(|n| again.announced(MonoTime(max), caller(2), hash(max + n)));
        again.announced(MonoTime(max), Share::Promoted, hash(2 * max));
        let sizes = |again: &Again| [caller(1), caller(2), Share::Promoted].map(|share| again.size(share));
        assert_eq!(sizes(&again), [REMEMBERED_MAX - 6, 5, 1]);
        let waits = |again: &Again, n| again.due.values().any(|announced| announced.id == hash(n));
        assert!(waits(&again, max - 7) && !waits(&again, max - 6) && waits(&again, max + 4));
        // Neither displaces the other beyond one half.
        (0..max).for_each(|n| again.announced(MonoTime(max), caller(2), hash(3 * max + n)));
        (0..max).for_each(|n| again.announced(MonoTime(max), caller(1), hash(5 * max + n)));
        let [first, second, third] = sizes(&again);
        assert_eq!((first + second + third, third), (REMEMBERED_MAX, 1));
        assert!(first.abs_diff(second) <= 1, "{first} and {second}");
        // Transactions that no block includes keep their share; those that have left release it.
        let late = MonoTime(max + WAIT_MIN_US);
        again.take(late, |id| (*id == hash(0)).then_some(1));
        assert!(sizes(&again) == [1, 0, 0] && again.due.len() == 1);
    }

    #[test]
    fn what_still_waits_is_told_again_at_growing_intervals() {
        let mut again = Again::default();
        again.announced(MonoTime(0), Share::Promoted, hash(1));
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
        (0..REMEMBERED_MAX as u64 + 5).for_each(|n| again.announced(MonoTime(n), caller(1), hash(n)));
        assert_eq!(again.due.len(), REMEMBERED_MAX);
        let late = MonoTime(100 * SECOND);
        assert_eq!(again.take(late, |_| Some(1)).len(), BATCH_MAX);
        assert_eq!(again.take(late, |_| Some(1)), []);
        assert_eq!(again.next(), Some(MonoTime(101 * SECOND)));
        let large = again.take(MonoTime(101 * SECOND), |_| Some(BATCH_BYTES_MAX / 2));
        assert_eq!(large.len(), 2, "bytes are bounded as well");
    }
}
