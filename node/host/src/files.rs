//! The files that a running replica writes: the consensus log and the double-sign guard.

use vibecoin_consensus::{GuardEntry, GuardStep, LogRecord};
use vibecoin_primitives::{Height, encode};
use vibecoin_storage::StorageError;
use vibecoin_storage::files::{self, ConsensusLog, GuardFile};

use crate::planted;

/// A write that failed. The file returns the same error from then on; the node stops.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct HostError {
    /// The operation, for the message.
    pub context: &'static str,
    /// The error of the store.
    pub source: StorageError,
}

/// Maps an error of the store to a [`HostError`] with the operation.
pub(crate) const fn during(context: &'static str) -> impl Fn(StorageError) -> HostError {
    move |source| HostError { context, source }
}

/// Destination of guard entries.
pub enum GuardStore {
    /// A two-slot file, synced before a signature leaves.
    File(Box<GuardFile>),
    /// For the only validator of a dev chain: no other node relies on its signatures, and it must be able to rewind.
    Memory,
}

impl GuardStore {
    /// Durably records the content about to be signed. `log_end` is the end of the consensus log, which has
    /// the causes.
    ///
    /// # Errors
    /// [`HostError`]: nothing may be signed in that case.
    pub fn store(&mut self, entry: &GuardEntry, log_end: usize) -> Result<(), HostError> {
        let Self::File(file) = self else {
            return Ok(());
        };
        let row = files::GuardEntry {
            height: entry.height,
            round: entry.round,
            step: match entry.step {
                GuardStep::Building => 0,
                GuardStep::Proposal => 1,
                GuardStep::Prevote => 2,
                GuardStep::Precommit => 3,
            },
            payload: encode(entry),
        };
        file.store(row, log_end)
            .map_err(during("write the double-sign guard"))
    }
}

/// The consensus log and the double-sign guard of a running replica.
///
/// D1: a record is appended, the log synced and the guard entry made durable before the message leaves that depends
/// on them. The replica emits the three actions in this order; nothing here delays or joins them.
pub struct ConsensusFiles {
    log: ConsensusLog,
    guard: GuardStore,
}

impl ConsensusFiles {
    /// Takes the opened files.
    #[must_use]
    pub const fn new(log: ConsensusLog, guard: GuardStore) -> Self {
        Self { log, guard }
    }

    /// W1: appends a record, which is durable only after the next sync.
    ///
    /// # Errors
    /// [`HostError`] of the write.
    pub fn append(&mut self, record: &LogRecord) -> Result<(), HostError> {
        self.log
            .append(&encode(record))
            .map_err(during("append to the log"))
    }

    /// W2: makes the records durable: they are the causes of the next signature.
    ///
    /// # Errors
    /// [`HostError`] of the sync.
    pub fn sync_log(&mut self) -> Result<(), HostError> {
        planted::sync(|| self.log.sync()).map_err(during("sync the log"))
    }

    /// D1: makes the content about to be signed durable, before the signature leaves.
    ///
    /// # Errors
    /// [`HostError`]: nothing may be signed in that case.
    pub fn store_guard(&mut self, entry: &GuardEntry) -> Result<(), HostError> {
        self.guard.store(entry, self.log.len())?;
        planted::sync_late(|| self.log.sync()).map_err(during("sync the log"))
    }

    /// W5: empties the log for `height`; the block below is durable.
    ///
    /// # Errors
    /// [`HostError`] of the write.
    pub fn reset_log(&mut self, height: Height) -> Result<(), HostError> {
        self.log.reset(height).map_err(during("reset the log"))
    }

    /// The consensus log.
    #[must_use]
    pub const fn log(&self) -> &ConsensusLog {
        &self.log
    }

    /// The double-sign guard; `None` where signatures are not recorded in a file.
    #[must_use]
    pub fn guard(&self) -> Option<&GuardFile> {
        match &self.guard {
            GuardStore::File(file) => Some(file),
            GuardStore::Memory => None,
        }
    }
}
