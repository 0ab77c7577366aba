//! Lock of a home directory: one process at a time.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::KeyError;

/// The lock file's name in the home.
pub const LOCK_FILE: &str = "LOCK";
/// Maximum number of bytes of a lock file that are read.
const LOCK_BYTES_MAX: u64 = 32;

/// The exclusive right to use a home directory, until dropped or until the process ends, for any reason.
///
/// The operating system holds the lock on `<home>/LOCK`; the file itself stays and has no meaning, so there
/// is no stale lock to clear. It contains the PID for the error message of other processes.
#[derive(Debug)]
pub struct HomeLock {
    home: PathBuf,
    _file: File,
}

impl HomeLock {
    /// Takes the lock of `home`, which must exist, or returns its holder. Does not wait.
    ///
    /// # Errors
    /// [`KeyError::Locked`] with the PID of the holder, and [`KeyError::Io`].
    pub fn acquire(home: impl AsRef<Path>) -> Result<Self, KeyError> {
        let home = home.as_ref();
        let path = home.join(LOCK_FILE);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(handle.map_err(KeyError::io("open", &path))?);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(KeyError::Locked {
                    home: home.to_owned(),
                    pid: read_pid(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(KeyError::io("lock", &path)(error)),
        }
        file.set_len(0).map_err(KeyError::io("write", &path))?;
        writeln!(file, "{}", std::process::id()).map_err(KeyError::io("write", &path))?;
        Ok(Self {
            home: home.to_owned(),
            _file: file,
        })
    }

    /// The process in the lock file of `home`; it may have ended.
    #[must_use]
    pub fn holder(home: &Path) -> Option<u32> {
        read_pid(&File::open(home.join(LOCK_FILE)).ok()?)
    }

    /// The locked home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }
}

/// The PID in a lock file; `None` when its holder has not written it yet.
fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
