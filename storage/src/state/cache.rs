//! Rows of the materialised state in memory, bounded.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use vibecoin_primitives::{FastMap, StateKey};

/// An encoded row, or its absence.
pub(crate) type Row = Option<Arc<[u8]>>;

const SHARDS: usize = 16;

/// The rows last read or written, for views over any epoch of the materialised state.
///
/// An epoch is one state of the flat rows; it grows by one with every step of the materialiser. An entry is
/// good from its own epoch up to now, so a view over an older epoch does not see a newer entry, and a
/// reader that was overtaken cannot put an old row in: the shard's epoch has moved on.
pub(crate) struct RowCache {
    shards: Vec<Mutex<Shard>>,
    shard_rows_max: usize,
}

#[derive(Default)]
struct Shard {
    epoch: u64,
    rows: FastMap<StateKey, Entry>,
    /// Keys in the order in which they came; a key used since is given another round.
    queue: VecDeque<StateKey>,
}

struct Entry {
    since: u64,
    used: bool,
    row: Row,
}

impl RowCache {
    /// A cache of at most about `rows_max` rows.
    pub(crate) fn new(rows_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            shard_rows_max: rows_max.div_ceil(SHARDS),
        }
    }

    fn shard(&self, key: &StateKey) -> Option<&Mutex<Shard>> {
        // The last byte of a hashed key: the first ones are used up by order.
        let (StateKey::Account(hash) | StateKey::Slot(_, hash)) = key;
        let [.., last] = hash.0;
        self.shards.get(usize::from(last) % SHARDS)
    }

    /// The row of `key` at `epoch`, if it is known.
    pub(crate) fn get(&self, key: &StateKey, epoch: u64) -> Option<Row> {
        let mut shard = self.shard(key)?.lock();
        let entry = shard.rows.get_mut(key).filter(|entry| entry.since <= epoch)?;
        entry.used = true;
        Some(entry.row.clone())
    }

    /// Remembers what a reader found at `epoch`, unless the state has moved on since.
    pub(crate) fn put(&self, key: &StateKey, epoch: u64, row: &Row) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.lock();
        if shard.epoch == epoch && !shard.rows.contains_key(key) {
            shard.insert(*key, epoch, row.clone(), self.shard_rows_max);
        }
    }

    /// Moves on to `epoch`, in which `rows` have changed. Called before anyone can see the epoch.
    pub(crate) fn advance(&self, epoch: u64, rows: &[(StateKey, Row)]) {
        for shard in &self.shards {
            shard.lock().epoch = epoch;
        }
        for (key, row) in rows {
            let Some(shard) = self.shard(key) else { continue };
            shard.lock().insert(*key, epoch, row.clone(), self.shard_rows_max);
        }
    }

    /// Forgets everything and moves on to `epoch`.
    pub(crate) fn clear(&self, epoch: u64) {
        for shard in &self.shards {
            *shard.lock() = Shard {
                epoch,
                ..Shard::default()
            };
        }
    }
}

impl Shard {
    fn insert(&mut self, key: StateKey, since: u64, row: Row, rows_max: usize) {
        if self
            .rows
            .insert(
                key,
                Entry {
                    since,
                    used: false,
                    row,
                },
            )
            .is_none()
        {
            self.queue.push_back(key);
        }
        while self.rows.len() > rows_max {
            let Some(oldest) = self.queue.pop_front() else {
                return;
            };
            match self.rows.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    self.rows.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vibecoin_primitives::Hash;

    fn key(n: u8) -> StateKey {
        StateKey::Account(Hash([n; 32]))
    }

    fn row(n: u8) -> Row {
        Some(Arc::from([n]))
    }

    #[test]
    fn a_reader_that_was_overtaken_neither_sees_newer_rows_nor_leaves_old_ones_behind() {
        let cache = RowCache::new(64);
        cache.put(&key(1), 0, &row(1));
        cache.put(&key(2), 0, &row(2));
        cache.advance(1, &[(key(1), row(9))]);
        assert_eq!(cache.get(&key(1), 0), None, "changed since");
        assert_eq!(cache.get(&key(1), 1), Some(row(9)));
        assert_eq!(
            cache.get(&key(2), 0),
            Some(row(2)),
            "unchanged rows are good for both"
        );
        assert_eq!(cache.get(&key(2), 1), Some(row(2)));
        cache.put(&key(3), 0, &row(3));
        assert_eq!(
            cache.get(&key(3), 1),
            None,
            "read before the step, offered after it"
        );
    }

    #[test]
    fn a_full_cache_forgets_the_row_that_was_not_used() {
        let cache = RowCache::new(2 * SHARDS);
        let same_shard = [16, 32, 48].map(key);
        cache.put(&same_shard[0], 0, &row(0));
        cache.put(&same_shard[1], 0, &row(1));
        assert!(cache.get(&same_shard[0], 0).is_some());
        cache.put(&same_shard[2], 0, &row(2));
        assert!(cache.get(&same_shard[0], 0).is_some(), "used");
        assert!(cache.get(&same_shard[1], 0).is_none(), "not used");
    }
}
