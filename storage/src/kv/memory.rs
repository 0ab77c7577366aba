//! An in-memory store with simulated crashes.

use super::{Batch, Direction, Family, IngestRow, KvRead, KvStats, KvStore, Row, Write};
use crate::StorageError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every family as a map; snapshots share them until the next write.
#[derive(Clone, Default)]
struct Maps([Arc<Map>; 4]);

impl Maps {
    fn apply(&mut self, write: &Write) {
        let Some(map) = self.0.get_mut(write.family.index()) else {
            return;
        };
        let map = Arc::make_mut(map);
        match &write.value {
            Some(value) => map.insert(write.key.clone(), value.clone()),
            None => map.remove(&write.key),
        };
    }
}

impl KvRead for Maps {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(family.index()).and_then(|map| map.get(key).cloned()))
    }

    fn range<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 'a> {
        let Some(map) = self.0.get(family.index()) else {
            return Box::new(std::iter::empty());
        };
        if to.is_some_and(|to| to <= from) {
            return Box::new(std::iter::empty());
        }
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = map
            .range::<[u8], _>((Bound::Included(from), end))
            .map(|(key, value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Forward => Box::new(rows),
            Direction::Backward => Box::new(rows.rev()),
        }
    }
}

/// The stored bytes: those that readers see, and those that a crash leaves.
#[derive(Default)]
struct Disk {
    /// State visible to readers.
    live: Maps,
    /// State after a crash.
    durable: Maps,
    /// Batches that a crash may lose, oldest first.
    unsynced: Vec<Batch>,
    stats: KvStats,
    /// The error that the next write returns, for tests of failing disks.
    fault: Option<StorageError>,
}

/// A store in memory. Clones share it, as a restarted process shares its disk.
#[derive(Clone, Default)]
pub struct MemoryKv {
    disk: Arc<Mutex<Disk>>,
}

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state after a crash: synced batches and ingests only.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.crash_keeping(0)
    }

    /// The state after a crash that kept some of the unsynced batches: a prefix of them, its length drawn
    /// from `seed`.
    #[must_use]
    pub fn crash_with_seed(&self, seed: u64) -> Self {
        let unsynced = u64::try_from(self.disk.lock().unsynced.len()).unwrap_or(u64::MAX);
        let drawn = crate::rng::mix(seed)
            .checked_rem(unsynced.saturating_add(1))
            .unwrap_or(0);
        self.crash_keeping(usize::try_from(drawn).unwrap_or(0))
    }

    fn crash_keeping(&self, count: usize) -> Self {
        let disk = self.disk.lock();
        let mut durable = disk.durable.clone();
        for batch in disk.unsynced.iter().take(count) {
            batch.writes().iter().for_each(|write| durable.apply(write));
        }
        let disk = Disk {
            live: durable.clone(),
            durable,
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// Makes every write from now on fail with this error, as a broken disk does.
    pub fn fail_writes(&self, error: StorageError) {
        self.disk.lock().fault = Some(error);
    }

    /// Batches that a crash could lose now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk.lock().unsynced.len()
    }
}

impl KvRead for MemoryKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.disk.lock().live.get(family, key)
    }

    fn range<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 'a> {
        let maps = self.disk.lock().live.clone();
        let rows: Vec<Row> = maps.range(family, from, to, direction).collect();
        Box::new(rows.into_iter())
    }
}

impl KvStore for MemoryKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(self.disk.lock().live.clone())
    }

    fn write(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        if let Some(fault) = &disk.fault {
            return Err(fault.clone());
        }
        batch.writes().iter().for_each(|write| disk.live.apply(write));
        disk.unsynced.push(batch.clone());
        if sync {
            for batch in std::mem::take(&mut disk.unsynced) {
                batch.writes().iter().for_each(|write| disk.durable.apply(write));
            }
        }
        let bytes = u64::try_from(batch.bytes()).unwrap_or(u64::MAX);
        let stats = &mut disk.stats;
        stats.batches = stats.batches.saturating_add(1);
        stats.synced = stats.synced.saturating_add(u64::from(sync));
        stats.bytes_written = stats.bytes_written.saturating_add(bytes);
        Ok(())
    }

    fn ingest(&self, family: Family, rows: &[IngestRow]) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        if let Some(fault) = &disk.fault {
            return Err(fault.clone());
        }
        for (key, value) in rows {
            let write = Write {
                family,
                key: key.clone(),
                value: value.clone(),
            };
            disk.live.apply(&write);
            disk.durable.apply(&write);
        }
        disk.stats.ingests = disk.stats.ingests.saturating_add(1);
        disk.stats.bytes_written = disk
            .stats
            .bytes_written
            .saturating_add(super::rocks::ingest_bytes(rows));
        Ok(())
    }

    fn stats(&self) -> KvStats {
        self.disk.lock().stats
    }

    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64 {
        let rows = self.range(family, from, Some(to), Direction::Forward);
        rows.flatten().fold(0u64, |sum, (key, value)| {
            sum.saturating_add(u64::try_from(key.len().saturating_add(value.len())).unwrap_or(u64::MAX))
        })
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
