//! Rows of a database in creation, written in pieces of bounded size.

use crate::StorageError;
use crate::kv::{Family, IngestRow, KvStore};

/// Number of rows written at a time.
const PIECE_ROWS_MAX: usize = 100_000;
/// Bytes of keys and values written at a time; slots have up to 4 KiB. With its overhead a piece takes up to twice as
/// much memory.
const PIECE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Rows being written into the database. They need not become visible together: while the row `creating`
/// exists, there is no chain yet.
pub(super) struct Pieces<'a> {
    kv: &'a dyn KvStore,
    rows: Vec<IngestRow>,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    /// Rows of family `state` of this database.
    pub(super) const fn new(kv: &'a dyn KvStore) -> Self {
        Self {
            kv,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a row, in any order of keys.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StorageError> {
        let bytes = key.len().saturating_add(value.len());
        self.bytes = self.bytes.saturating_add(bytes);
        self.rows.push((key, Some(value)));
        if self.rows.len() < PIECE_ROWS_MAX && self.bytes < PIECE_BYTES_MAX {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Writes all rows that were added: they can be read from now on.
    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        let mut rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.kv.ingest(Family::State, &rows)
    }
}
