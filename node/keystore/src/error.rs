//! Why a key could not be had, and which exit code says so.

use std::io;
use std::path::{Path, PathBuf};

use vibecoin_primitives::text::quoted_path;

/// What kind of failure it is; the discriminant is the exit code of a command that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Something else is wrong.
    Failure = 1,
    /// The caller asked for something that cannot be.
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

/// Why a key operation was refused. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key of this name or address.
    #[error("no key {query:?} in {}", dir.display())]
    NotFound {
        /// The name or address asked for.
        query: String,
        /// The key directory.
        dir: PathBuf,
    },
    /// A key file that must be there is not.
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
    /// A name that cannot be used.
    #[error(
        "{name:?} cannot name a key: a name is 1 to 40 of a-z, 0-9, '_' and '-', begins with neither '-' nor 0x, and is no address"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There are as many keys as a directory may have.
    #[error("{} has {most} keys already, the most it may have", dir.display())]
    TooMany {
        /// The key directory.
        dir: PathBuf,
        /// The limit.
        most: usize,
    },
    /// Others may read or enter it.
    #[error("{} has mode {mode:04o}, allowed is {allowed:04o}: run `chmod {allowed:o} {}`", path.display(), quoted_path(path))]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The widest permissions allowed.
        allowed: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {found}, this process runs as user {expected}", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// Who runs this process.
        expected: u32,
    },
    /// A link, pipe, device, or directory where a file should be, or the other way round.
    #[error("{} is {found}, expected {expected}", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// More bytes than any key file has.
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
        /// What is wrong with it.
        detail: String,
    },
    /// Key derivation that would cost too much, or that cannot be done.
    #[error("key derivation parameter {name} is {found}, allowed is {least} to {most}")]
    Kdf {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: u32,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// There is not enough memory for the key derivation.
    #[error("key derivation failed: {detail}")]
    Derivation {
        /// What the library said.
        detail: String,
    },
    /// The authentication tag does not fit: the two causes cannot be told apart.
    #[error("wrong passphrase for key {name:?}, or its file is damaged")]
    Passphrase {
        /// The key.
        name: String,
    },
    /// An unencrypted key where encrypted ones are wanted.
    #[error("key {name:?} is not encrypted, and unencrypted keys were not allowed")]
    Unencrypted {
        /// The key.
        name: String,
    },
    /// Nobody could be asked for the passphrase, or they gave none.
    #[error("no passphrase: {detail}")]
    NoPassphrase {
        /// Why.
        detail: String,
    },
    /// A mnemonic, seed or foreign key file that is not what it should be.
    #[error("cannot import: {detail}")]
    Import {
        /// What is wrong with it, without any of it.
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
    /// The operating system gave no random bytes.
    #[error("no randomness from the operating system: {detail}")]
    Random {
        /// What it said.
        detail: String,
    },
    /// A read, write or sync failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl KeyError {
    /// The command that mends it, where one does.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, allowed, .. } => Some(format!("chmod {allowed:o} {}", quoted_path(path))),
            _ => None,
        }
    }

    /// The kind of failure, and with it the exit code.
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
        self.class() as u8
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
