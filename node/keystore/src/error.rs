//! Errors of key operations, and the exit code of each.

use std::io;
use std::path::{Path, PathBuf};

use vibecoin_primitives::text::quoted_path;

/// Class of a failure; the discriminant is the exit code of a command that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Any other failure.
    Failure = 1,
    /// The caller requested an impossible operation.
    Usage = 2,
    /// The named key does not exist.
    NotFound = 5,
    /// Another process holds the home directory.
    Locked = 9,
    /// A write failed for lack of space.
    DiskFull = 21,
    /// A read, write or sync failed.
    Io = 22,
    /// Key file missing, damaged, too open, of another owner, or wrong passphrase.
    Key = 40,
}

impl ErrorClass {
    /// The exit code of a command that ends with a failure of this class.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

/// Reason for which a key operation was refused. Never contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key of this name or address.
    #[error("no key {query:?} in {}", dir.display())]
    NotFound {
        /// The requested name or address.
        query: String,
        /// The key directory.
        dir: PathBuf,
    },
    /// A required key file is missing.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The name is taken; key files are never overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// An invalid name.
    #[error(
        "{name:?} cannot name a key: a name is 1 to 40 of a-z, 0-9, '_' and '-', begins with neither '-' nor 0x, and is no address"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The directory has the maximum number of keys.
    #[error("{} has {most} keys already, the most it may have", dir.display())]
    TooMany {
        /// The key directory.
        dir: PathBuf,
        /// The limit.
        most: usize,
    },
    /// Other users may read or enter it.
    #[error("{} has mode {mode:04o}, allowed is {allowed:04o}: run `chmod {allowed:o} {}`", path.display(), quoted_path(path))]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The widest permissions allowed.
        allowed: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to user {found}, this process runs as user {expected}", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// The user of this process.
        expected: u32,
    },
    /// A link, pipe, device, or directory where a file should be, or vice versa.
    #[error("{} is {found}, expected {expected}", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// The kind of the entry found.
        found: &'static str,
        /// The expected kind.
        expected: &'static str,
    },
    /// Larger than any key file.
    #[error("{} has more than {most} bytes, the most a key file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// Not a key file of the format that this program writes.
    #[error("{} is no valid key file: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Description of the fault.
        detail: String,
    },
    /// A key derivation that is too expensive or impossible.
    #[error("key derivation parameter {name} is {found}, allowed is {least} to {most}")]
    Kdf {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: u32,
        /// Minimum allowed value.
        least: u32,
        /// Maximum allowed value.
        most: u32,
    },
    /// There is not enough memory for the key derivation.
    #[error("key derivation failed: {detail}")]
    Derivation {
        /// The library's message.
        detail: String,
    },
    /// The authentication tag is invalid: the two causes cannot be distinguished.
    #[error("wrong passphrase for key {name:?}, or its file is damaged")]
    Passphrase {
        /// The key.
        name: String,
    },
    /// An unencrypted key where encrypted ones are required.
    #[error("key {name:?} is not encrypted, and unencrypted keys were not allowed")]
    Unencrypted {
        /// The key.
        name: String,
    },
    /// No source of the passphrase, or none was given.
    #[error("no passphrase: {detail}")]
    NoPassphrase {
        /// Description of the cause.
        detail: String,
    },
    /// A malformed mnemonic, seed or foreign key file.
    #[error("cannot import: {detail}")]
    Import {
        /// Description of the fault, without any of the content.
        detail: String,
    },
    /// Another process holds the home directory.
    #[error("{} is in use by {}", home.display(), holder(*pid))]
    Locked {
        /// The home directory.
        home: PathBuf,
        /// The process, when the lock file names one.
        pid: Option<u32>,
    },
    /// The operating system returned no random bytes.
    #[error("no randomness from the operating system: {detail}")]
    Random {
        /// The system's message.
        detail: String,
    },
    /// A read, write or sync failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl KeyError {
    /// The command that repairs it, if there is one.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, allowed, .. } => Some(format!("chmod {allowed:o} {}", quoted_path(path))),
            _ => None,
        }
    }

    /// Class of this failure, which determines the exit code.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound { .. } => ErrorClass::NotFound,
            Self::Exists { .. } | Self::TooMany { .. } | Self::Random { .. } => ErrorClass::Failure,
            Self::Name { .. } => ErrorClass::Usage,
            Self::Locked { .. } => ErrorClass::Locked,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorClass::DiskFull,
                io::ErrorKind::PermissionDenied => ErrorClass::Key,
                _ => ErrorClass::Io,
            },
            _ => ErrorClass::Key,
        }
    }

    /// The exit code of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.class().exit_code()
    }

    /// For `map_err`: an I/O error of this kind at this path.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl Fn(E) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn malformed(path: &Path, detail: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }

    pub(crate) fn import(detail: impl Into<String>) -> Self {
        Self::Import {
            detail: detail.into(),
        }
    }
}
