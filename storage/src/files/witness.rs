//! The head witness: a record of the database's head outside of the database.
//!
//! RocksDB rolls back silently when its log is damaged or missing. The witness is written after each commit,
//! so a head below it at the next start means that committed blocks were lost.

use super::slots::{Kind, Slots};
use super::{DiskFile, RawFile};
use crate::{Head, StorageError};
use std::path::Path;
use vibecoin_primitives::{decode, encode};

const KIND: Kind = Kind {
    magic: *b"VIBEWIT\0",
    version: 1,
};

/// Heads recorded between two syncs. A killed process loses none of them, a power cut up to this many: the
/// witness is then behind the database, which is not a fault.
pub const WITNESS_SYNC_EVERY: u64 = 64;

/// The witness's file.
pub struct HeadWitness {
    file: Box<dyn RawFile>,
    slots: Slots,
    head: Option<Head>,
    unsynced: u64,
}

impl HeadWitness {
    /// Opens the witness, or creates an empty one.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when no entry is intact, else a fault of the disk.
    pub fn open_or_create(path: &Path) -> Result<Self, StorageError> {
        let file = match DiskFile::open(path) {
            Err(StorageError::Missing { .. }) => DiskFile::create(path, &Self::fresh())?,
            opened => opened?,
        };
        Self::open_on(Box::new(file))
    }

    /// The bytes of an empty witness, for a caller-provided file.
    #[must_use]
    pub fn fresh() -> Vec<u8> {
        Slots::fresh(KIND, &[])
    }

    /// Opens the witness on a caller-provided file.
    ///
    /// # Errors
    /// As [`HeadWitness::open_or_create`].
    pub fn open_on(file: Box<dyn RawFile>) -> Result<Self, StorageError> {
        let (slots, payload) = Slots::open(KIND, &file.name(), &file.read()?)?;
        let head = (!payload.is_empty()).then(|| decode(&payload)).transpose();
        let head = head.map_err(StorageError::codec(file.name()))?;
        Ok(Self {
            file,
            slots,
            head,
            unsynced: 0,
        })
    }

    /// The last recorded head.
    #[must_use]
    pub const fn head(&self) -> Option<Head> {
        self.head
    }

    /// Returns true if one of the two slots was damaged when the file was opened. The recorded head may then
    /// be up to [`WITNESS_SYNC_EVERY`] blocks older than the newest one.
    #[must_use]
    pub const fn was_torn(&self) -> bool {
        self.slots.was_torn()
    }

    /// Records a head that the database holds durably. Before a rewind, record its target and sync: a witness
    /// that is behind is not a fault, one that is ahead indicates lost blocks.
    ///
    /// # Errors
    /// [`StorageError`] of the disk; stop then.
    pub fn record(&mut self, head: Head) -> Result<(), StorageError> {
        self.slots.store(&mut *self.file, &encode(&head))?;
        self.head = Some(head);
        self.unsynced = self.unsynced.saturating_add(1);
        if self.unsynced >= WITNESS_SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes the newest head durable: at a clean stop, and before a rewind.
    ///
    /// # Errors
    /// As [`HeadWitness::record`].
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.slots.sync(&mut *self.file)?;
        self.unsynced = 0;
        Ok(())
    }
}
