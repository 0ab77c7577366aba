//! A folder that is filled under a temporary name and renamed when it is complete.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::FilesError;
use crate::layout::{UNFINISHED, sync_folder};

/// A folder that is being filled. Dropped before [`NewFolder::place`], it is removed.
#[derive(Debug)]
pub struct NewFolder {
    parent: PathBuf,
    path: PathBuf,
    /// Locked while it is being filled, so that others can distinguish it from remains.
    _lock: File,
    placed: bool,
}

impl NewFolder {
    /// Begins a folder in `parent`, which is created. Remains of killed processes are removed.
    ///
    /// # Errors
    /// [`FilesError::InUse`] while another process fills one of this name.
    pub fn begin(parent: &Path, name: &str) -> Result<Self, FilesError> {
        std::fs::create_dir_all(parent).map_err(FilesError::file("create", parent))?;
        remove_remains(parent)?;
        let path = parent.join(format!("{UNFINISHED}{name}"));
        std::fs::create_dir(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FilesError::InUse { path: path.clone() },
            _ => FilesError::file("create", &path)(error),
        })?;
        let lock = File::open(&path).map_err(FilesError::file("read", &path))?;
        let locked = lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FilesError::InUse { path: path.clone() },
            TryLockError::Error(error) => FilesError::file("lock", &path)(error),
        });
        if let Err(error) = locked {
            // Empty. Where folders cannot be locked, each attempt would leave one.
            let _remains = std::fs::remove_dir(&path);
            return Err(error);
        }
        Ok(Self {
            parent: parent.to_owned(),
            path,
            _lock: lock,
            placed: false,
        })
    }

    /// Its temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs it, gives it its name, and makes the name durable. An existing entry stays.
    ///
    /// # Errors
    /// [`FilesError::Exists`], else the system's.
    pub fn place(mut self, name: &str) -> Result<PathBuf, FilesError> {
        sync_folder(&self.path).map_err(FilesError::file("sync", &self.path))?;
        let target = self.parent.join(name);
        rename_new(&self.path, &target)?;
        self.placed = true;
        sync_folder(&self.parent).map_err(FilesError::file("sync", &self.parent))?;
        Ok(target)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.placed {
            // The next process that works here tries again.
            let _remains = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Renames, but not over an existing entry.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), FilesError> {
    let exists = || FilesError::Exists { path: to.to_owned() };
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(exists());
    }
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => return Err(exists()),
        // The file system has no such rename.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    };
    renamed.map_err(FilesError::file("rename", from))
}

/// Removes folders and files that killed processes left unfinished; those of running ones are locked.
pub fn remove_remains(parent: &Path) -> Result<(), FilesError> {
    let read = |error| FilesError::file("read", parent)(error);
    for entry in std::fs::read_dir(parent).map_err(read)? {
        let entry = entry.map_err(read)?;
        let is_unfinished = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED));
        let path = entry.path();
        let is_folder = path.is_dir();
        if !is_unfinished || path.is_symlink() || !(is_folder || path.is_file()) {
            continue;
        }
        let Ok(remains) = File::open(&path) else {
            continue;
        };
        if remains.try_lock().is_ok() {
            let removed = if is_folder {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(FilesError::file("delete", &path))?;
        }
    }
    Ok(())
}

/// Writes a new file and makes its contents durable.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(FilesError::file("write", path))
}
