//! Errors of storage, and the class of each.

use vibecoin_primitives::{CodecError, FaultClass, Hash, Height};
use vibecoin_trie::{NotAscending, TrieError};

/// Reason for a refusal or a failure. Cloned, because every later commit returns the first fault of a
/// background thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Stored bytes are invalid.
    #[error("{what} is corrupt: {detail}")]
    Corrupt {
        /// The record or file.
        what: String,
        /// Description of the fault.
        detail: String,
    },
    /// A required record or file is missing.
    #[error("{what} is missing")]
    Missing {
        /// The record or file.
        what: String,
    },
    /// The disk is full. Nothing of the failed write takes effect.
    #[error("disk full while writing {what}: {detail}")]
    DiskFull {
        /// The data being written.
        what: String,
        /// The system's message.
        detail: String,
    },
    /// The disk failed. The node stops: a failed sync is never retried.
    #[error("i/o error on {what}: {detail}")]
    Io {
        /// The data being read or written.
        what: String,
        /// The system's message.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error("the database has schema {found}, this program knows schema {known}; run the newer program")]
    SchemaTooNew {
        /// Version in the database.
        found: u32,
        /// Version of this program.
        known: u32,
    },
    /// The database was written by an older program, and this one does not convert it.
    #[error(
        "the database has schema {found}, this program needs schema {known}; \
         start with an empty data folder and sync, or run the program that wrote it"
    )]
    SchemaTooOld {
        /// Version in the database.
        found: u32,
        /// Version of this program.
        known: u32,
    },
    /// The database belongs to a different chain.
    #[error("the database holds the chain {found}, the genesis given is {expected}")]
    GenesisMismatch {
        /// Hash of the genesis given.
        expected: Hash,
        /// Hash of the genesis stored.
        found: Hash,
    },
    /// Another process has the database open.
    #[error("{what} is in use by another process")]
    Locked {
        /// The database folder.
        what: String,
    },
    /// There is no chain here yet.
    #[error("{what} holds no chain yet")]
    NotCreated {
        /// The database folder.
        what: String,
    },
    /// A block that does not follow from the head, or a state that is not the block's.
    #[error("block {height} cannot be committed: {detail}")]
    NotNext {
        /// Height of the block offered.
        height: Height,
        /// Description of the mismatch.
        detail: String,
    },
    /// The height is below those that this database keeps. It began at a snapshot, or dropped old blocks.
    #[error("height {height} is pruned, the earliest is {earliest}")]
    Pruned {
        /// The requested height.
        height: Height,
        /// The lowest height for which this kind of record is kept.
        earliest: Height,
    },
    /// The caller requested an impossible operation.
    #[error("{0}")]
    Refused(String),
}

impl StorageError {
    /// Class of this error.
    #[must_use]
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Corrupt { .. } | Self::Missing { .. } => FaultClass::Corruption,
            Self::DiskFull { .. } => FaultClass::DiskFull,
            Self::Io { .. } => FaultClass::Io,
            Self::SchemaTooNew { .. } | Self::SchemaTooOld { .. } => FaultClass::OtherSchema,
            Self::GenesisMismatch { .. } => FaultClass::GenesisMismatch,
            Self::Locked { .. } => FaultClass::Locked,
            Self::NotCreated { .. } => FaultClass::NotCreated,
            Self::NotNext { .. } | Self::Pruned { .. } | Self::Refused(_) => FaultClass::Safety,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Corrupt {
            what: what.into(),
            detail: detail.to_string(),
        }
    }

    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::Missing { what: what.into() }
    }

    pub(crate) fn codec(what: impl Into<String>) -> impl FnOnce(CodecError) -> Self {
        move |error| Self::corrupt(what, error)
    }

    /// An error of the file system, classified by its kind.
    pub(crate) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        let (what, detail) = (what.into(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { what, detail }
            }
            std::io::ErrorKind::NotFound => Self::Missing { what },
            _ => Self::Io { what, detail },
        }
    }

    /// An error of the file system during a creation: a missing part of the path is not damage.
    pub(crate) fn make(what: impl Into<String>, error: &std::io::Error) -> Self {
        match Self::io(what, error) {
            Self::Missing { what } => Self::Io {
                what,
                detail: error.to_string(),
            },
            other => other,
        }
    }

    /// An error of RocksDB. Its C interface returns only the message, so it is classified by that.
    pub(crate) fn rocks(what: impl Into<String>, error: &rocksdb::Error) -> Self {
        let (what, detail) = (what.into(), error.as_ref().to_owned());
        if detail.contains("No space left") || detail.contains("NoSpace") || detail.contains("quota exceeded")
        {
            return Self::DiskFull { what, detail };
        }
        if detail.contains("lock hold by") || detail.contains("While lock file") {
            return Self::Locked { what };
        }
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt { what, detail },
            rocksdb::ErrorKind::IOError if detail.contains("No such file") => Self::Corrupt { what, detail },
            _ => Self::Io { what, detail },
        }
    }
}

impl From<TrieError> for StorageError {
    fn from(error: TrieError) -> Self {
        if let TrieError::Read { source, .. } = &error
            && let Some(inner) = source.downcast_ref::<Self>()
        {
            return inner.clone();
        }
        match &error {
            TrieError::NotAscending { .. } | TrieError::ValueTooLarge { .. } => {
                Self::Refused(error.to_string())
            }
            _ => Self::corrupt("state trie", error),
        }
    }
}

impl From<NotAscending> for StorageError {
    fn from(error: NotAscending) -> Self {
        Self::corrupt("flat state", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_failing_disk_are_classes_of_their_own() {
        let full = std::io::Error::from_raw_os_error(28);
        let failing = std::io::Error::from_raw_os_error(5);
        assert_eq!(StorageError::io("log", &full).class(), FaultClass::DiskFull);
        assert_eq!(StorageError::io("log", &failing).class(), FaultClass::Io);
    }
}
