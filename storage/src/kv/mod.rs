//! The key-value store below all others: four ordered families, atomic batches, snapshots.
//!
//! [`RocksKv`] is the node's, [`MemoryKv`] the simulator's; `tests/kv_contract.rs` holds both to one
//! contract. Guarantees of a store:
//!
//! - A [`Batch`] is atomic over all families, and so is an [`KvStore::ingest`] within its family.
//! - After [`KvStore::write`] with `sync` returned, that batch and every batch before it survive a crash.
//!   Batches without `sync` may be lost, the newest first, never one from the middle.
//! - An ingest survives a crash once it returned, even if batches before it do not. So only data that synced
//!   batches can rebuild may be ingested.
//! - A snapshot is of one moment and is unaffected by later writes.

mod memory;
mod rocks;

pub use memory::MemoryKv;
pub use rocks::{RocksConfig, RocksKv};

use crate::StorageError;
use std::sync::Arc;

/// A group of keys with a separate order and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Head, schema version, genesis, intents.
    Meta,
    /// Headers, certificates, heights by hash: small and never pruned.
    Headers,
    /// Bodies, receipts, diffs by height: large, and pruned by range.
    Blocks,
    /// Flat rows, trie nodes, transaction index, materialised height.
    State,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Meta, Self::Headers, Self::Blocks, Self::State];

    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Headers => "headers",
            Self::Blocks => "blocks",
            Self::State => "state",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Meta => 0,
            Self::Headers => 1,
            Self::Blocks => 2,
            Self::State => 3,
        }
    }
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The family.
    pub family: Family,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or `None` to delete the key.
    pub value: Option<Vec<u8>>,
}

/// Changes that are applied atomically. Of two changes to one key the later wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self { writes: Vec::new() }
    }

    /// Sets a key.
    pub fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write {
            family,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    /// Deletes a key; a missing one is not an error.
    pub fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.writes.push(Write {
            family,
            key: key.into(),
            value: None,
        });
    }

    /// Number of changes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns true if there are no changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The changes, in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let size = |write: &Write| {
            write
                .key
                .len()
                .saturating_add(write.value.as_ref().map_or(0, Vec::len))
        };
        self.writes
            .iter()
            .fold(0, |sum, write| sum.saturating_add(size(write)))
    }
}

/// A row of an ingest: a key and its value, or `None` to delete it.
pub type IngestRow = (Vec<u8>, Option<Vec<u8>>);

/// A row found by a scan.
pub type Row = Result<(Vec<u8>, Vec<u8>), StorageError>;

/// Direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// Reads, from the live store or a snapshot.
pub trait KvRead: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StorageError`] when the disk fails or the block that holds the key is damaged.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// As [`KvRead::get`], for a value that the caller caches: it does not displace entries of the store's
    /// own cache.
    ///
    /// # Errors
    /// As [`KvRead::get`].
    fn get_uncached(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(family, key)
    }

    /// The rows with `from <= key < to`, in the given direction; without `to`, to the end of the family.
    fn range<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 'a>;

    /// As [`KvRead::range`], ascending, for a scan of much of a family: it displaces no entry of the store's own cache.
    fn range_uncached<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Row> + 'a> {
        self.range(family, from, to, Direction::Forward)
    }

    /// The rows whose key starts with `prefix`, ascending.
    fn prefix<'a>(&'a self, family: Family, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        self.range(family, prefix, prefix_end(prefix).as_deref(), Direction::Forward)
    }
}

/// A store.
pub trait KvStore: KvRead {
    /// A snapshot of the present state.
    fn snapshot(&self) -> Arc<dyn KvRead>;

    /// Writes a batch; with `sync`, durably.
    ///
    /// # Errors
    /// [`StorageError`] when the write failed; the store must not be written again then.
    fn write(&self, batch: &Batch, sync: bool) -> Result<(), StorageError>;

    /// Writes many rows at once, durably, past the log. `rows` are strictly ascending by key.
    ///
    /// # Errors
    /// As [`KvStore::write`].
    fn ingest(&self, family: Family, rows: &[IngestRow]) -> Result<(), StorageError>;

    /// Counts and sizes.
    fn stats(&self) -> KvStats;

    /// Approximate bytes on disk of the keys `from <= key < to`.
    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64;

    /// Flushes and compacts all data to its final place. Never needed for safety; shortens the next start.
    ///
    /// # Errors
    /// As [`KvStore::write`].
    fn flush(&self) -> Result<(), StorageError>;
}

/// Counts and sizes of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KvStats {
    /// Batches written since the store was opened.
    pub batches: u64,
    /// Batches among them that were synced.
    pub synced: u64,
    /// Ingests since the store was opened.
    pub ingests: u64,
    /// Bytes of keys and values in batches and ingests, before compression.
    pub bytes_written: u64,
    /// Bytes on disk in sorted files.
    pub disk_bytes: u64,
    /// Bytes of memory in write buffers.
    pub write_buffer_bytes: u64,
    /// Bytes of memory in the block cache.
    pub block_cache_bytes: u64,
}

/// The lowest key above every key with this prefix; `None` when there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if let Some(next) = last.checked_add(1) {
            *last = next;
            return Some(end);
        }
        end.pop();
    }
    None
}
