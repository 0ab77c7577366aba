//! Rows of the materialised state in memory, bounded.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use vibecoin_primitives::{FastMap, StateKey};

/// An encoded row, or its absence.
pub(crate) type Row = Option<Arc<[u8]>>;

const SHARDS: usize = 16;
/// Maximum bytes of a cache per row of its capacity. An account with its address takes up to that; the
/// largest slots take thirteen times as much, so that fewer of those fit.
const ROW_BYTES: usize = 320;
/// Bytes of an entry besides its row: key, position in the queue, counters and the map's own.
const ENTRY_BYTES: usize = 192;
/// Minimum capacity of a shard in bytes, so that the largest row fits in the smallest cache.
const SHARD_BYTES_MIN: usize = 8 * 1024;

/// Recently read or written rows, for views over any epoch of the materialised state.
///
/// An epoch is one state of the flat rows; it grows by one with every step of the materialiser. An entry is
/// valid from its own epoch up to now, so a view over an older epoch does not see a newer entry, and a reader
/// that was overtaken cannot insert an old row: the shard's epoch has advanced.
pub(crate) struct RowCache {
    shards: Vec<Mutex<Shard>>,
    shard_rows_max: usize,
    shard_bytes_max: usize,
}

#[derive(Default)]
struct Shard {
    epoch: u64,
    bytes: usize,
    rows: FastMap<StateKey, Entry>,
    /// Keys in order of insertion; a key used since then gets another round.
    queue: VecDeque<StateKey>,
}

struct Entry {
    since: u64,
    used: bool,
    row: Row,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.row
            .as_ref()
            .map_or(0, |row| row.len())
            .saturating_add(ENTRY_BYTES)
    }
}

impl RowCache {
    /// A cache with a capacity of approximately `rows_max` rows, and of 320 bytes for each of them together.
    pub(crate) fn new(rows_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let shard_rows_max = rows_max.div_ceil(SHARDS);
        Self {
            shards,
            shard_rows_max,
            shard_bytes_max: shard_rows_max.saturating_mul(ROW_BYTES).max(SHARD_BYTES_MIN),
        }
    }

    const fn bounds(&self) -> (usize, usize) {
        (self.shard_rows_max, self.shard_bytes_max)
    }

    fn shard(&self, key: &StateKey) -> Option<&Mutex<Shard>> {
        // The last byte of a hashed key: the leading ones determine the order.
        let (StateKey::Account(hash) | StateKey::Slot(_, hash)) = key;
        let [.., last] = hash.0;
        self.shards.get(usize::from(last) % SHARDS)
    }

    /// The row of `key` at `epoch`, if it is cached.
    pub(crate) fn get(&self, key: &StateKey, epoch: u64) -> Option<Row> {
        let mut shard = self.shard(key)?.lock();
        let entry = shard.rows.get_mut(key).filter(|entry| entry.since <= epoch)?;
        entry.used = true;
        Some(entry.row.clone())
    }

    /// Caches a row that was read at `epoch`, unless the state has advanced since.
    pub(crate) fn put(&self, key: &StateKey, epoch: u64, row: &Row) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.lock();
        if shard.epoch == epoch && !shard.rows.contains_key(key) {
            shard.insert(*key, epoch, row.clone(), self.bounds());
        }
    }

    /// Advances to `epoch`, in which `rows` have changed. Called before the epoch is visible to any reader.
    pub(crate) fn advance(&self, epoch: u64, rows: &[(StateKey, Row)]) {
        for shard in &self.shards {
            shard.lock().epoch = epoch;
        }
        for (key, row) in rows {
            let Some(shard) = self.shard(key) else { continue };
            shard.lock().insert(*key, epoch, row.clone(), self.bounds());
        }
    }

    /// Empties the cache and advances to `epoch`.
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
    fn insert(&mut self, key: StateKey, since: u64, row: Row, (rows_max, bytes_max): (usize, usize)) {
        let entry = Entry {
            since,
            used: false,
            row,
        };
        self.bytes = self.bytes.saturating_add(entry.bytes());
        match self.rows.insert(key, entry) {
            Some(old) => self.bytes = self.bytes.saturating_sub(old.bytes()),
            None => self.queue.push_back(key),
        }
        while self.rows.len() > rows_max || self.bytes > bytes_max {
            let Some(oldest) = self.queue.pop_front() else {
                return;
            };
            match self.rows.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    let gone = self.rows.remove(&oldest);
                    self.bytes = self.bytes.saturating_sub(gone.as_ref().map_or(0, Entry::bytes));
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
    fn large_rows_leave_a_cache_that_is_full_of_bytes_before_it_is_full_of_rows() {
        let cache = RowCache::new(64 * SHARDS);
        let large: Row = Some(Arc::from([7u8; 4096]));
        for n in 0..32u8 {
            // All in one shard.
            cache.put(&key(n.wrapping_mul(16)), 0, &row(n));
            let slot = StateKey::Slot(Hash([n; 32]), Hash([0; 32]));
            cache.put(&slot, 0, &large);
        }
        let shard = cache.shards.first().map(Mutex::lock);
        let (rows, bytes) = shard
            .map(|shard| (shard.rows.len(), shard.bytes))
            .unwrap_or_default();
        assert!(bytes <= 64 * ROW_BYTES, "{bytes} bytes");
        assert!((2..=16).contains(&rows), "{rows} rows");
        let last = StateKey::Slot(Hash([31; 32]), Hash([0; 32]));
        assert_eq!(cache.get(&last, 0), Some(large), "the newest is there");
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
