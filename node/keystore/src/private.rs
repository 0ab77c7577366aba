//! Files and directories that only their owner may access.
//!
//! A file is opened relative to its directory's handle and checked by its own handle, so nothing can be
//! exchanged between the check and the use. Refused are: symbolic links, everything but regular files, files
//! of other users except root, permissions for group or others, files above [`FILE_BYTES_MAX`]. Root may
//! provide this user with a secret; a directory must belong to this user.
//!
//! A write goes to a temporary file beside the target, is synced, renamed over it, and the directory is
//! synced: after a crash there is the old file or the new one, never a part. Changes of a directory are made
//! under its lock, so two processes do not take the same name.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use vibecoin_primitives::text::without_mark;
use zeroize::Zeroizing;

use crate::KeyError;

/// Maximum size of a file with secrets, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// Permissions of files with secrets.
const FILE_MODE: u32 = 0o600;
/// Permissions of directories for them.
const DIR_MODE: u32 = 0o700;

/// Takes the exclusive lock of an open folder at this path, and waits while another process has it.
pub type Wait = fn(&File, &Path) -> io::Result<()>;

/// The wait function of this process.
static WAIT: OnceLock<Wait> = OnceLock::new();

/// Sets the wait function of this process for the locks of folders: one that reports the wait, if there is a
/// user to read it. Only the first call has an effect.
pub fn wait_with(wait: Wait) {
    let _kept = WAIT.set(wait);
}

fn silently(folder: &File, _: &Path) -> io::Result<()> {
    folder.lock()
}

/// Required restriction of a directory's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Other users may not enter it: a key directory.
    ToAll,
    /// Other users may not write to it: a home, which may contain more than keys.
    ToWriters,
}

/// An open directory that passed the checks.
pub(crate) struct PrivateDir {
    path: PathBuf,
    handle: File,
}

/// The exclusive right to change a directory, until dropped.
pub(crate) struct Changing<'a> {
    dir: &'a PrivateDir,
    /// Holds the lock: a separate handle, since a lock belongs to an open file.
    _lock: File,
}

impl PrivateDir {
    /// Opens a directory, and creates it with mode 0700 if it does not exist.
    pub fn create(path: &Path, closed: Closed) -> Result<Self, KeyError> {
        let make = DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
        match Self::open(path, closed) {
            // The error of its creation states the reason.
            Err(KeyError::Missing { .. }) => Err(make.err().map_or_else(
                || KeyError::Missing {
                    path: path.to_owned(),
                },
                KeyError::io("create", path),
            )),
            opened => opened,
        }
    }

    /// Opens a directory that exists.
    pub fn open(path: &Path, closed: Closed) -> Result<Self, KeyError> {
        let handle = open_dir(path)?;
        let stat = rustix::fs::fstat(&handle).map_err(KeyError::io("examine", path))?;
        let forbidden = match closed {
            Closed::ToAll => 0o077,
            Closed::ToWriters => 0o022,
        };
        check_owner(path, &stat, false)?;
        check_mode(path, &stat, forbidden, DIR_MODE | (0o077 & !forbidden))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }

    /// The path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        read_at(&self.handle, name, &self.join(name))
    }

    /// Returns true if there is an entry of this name.
    pub fn contains(&self, name: &str) -> Result<bool, KeyError> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(KeyError::io("examine", &self.join(name))(error)),
        }
    }

    /// The names of all entries, sorted.
    pub fn names(&self) -> Result<Vec<String>, KeyError> {
        let fault = KeyError::io::<Errno>("list", &self.path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(&fault)? {
            if let Ok(name) = entry.map_err(&fault)?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Waits until no other process changes the directory, and locks it.
    pub fn change(&self) -> Result<Changing<'_>, KeyError> {
        let lock = open_dir(&self.path)?;
        let wait = WAIT.get().copied().unwrap_or(silently);
        wait(&lock, &self.path).map_err(KeyError::io("lock", &self.path))?;
        Ok(Changing {
            dir: self,
            _lock: lock,
        })
    }

    fn sync(&self) -> Result<(), KeyError> {
        self.handle.sync_all().map_err(KeyError::io("sync", &self.path))
    }
}

impl Changing<'_> {
    /// Writes a file that must not exist yet.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), KeyError> {
        if self.dir.contains(name)? {
            return Err(KeyError::Exists {
                path: self.dir.join(name),
            });
        }
        self.replace(name, bytes)
    }

    /// Replaces a file of the same name.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), KeyError> {
        let path = self.dir.join(name);
        let temporary = format!(".{name}.tmp");
        // Remains of a crash are removed first; under the lock no other process uses them.
        self.unlink(&temporary)?;
        let written = self.write_synced(&temporary, bytes).and_then(|()| {
            let dir = &self.dir.handle;
            rustix::fs::renameat(dir, temporary.as_str(), dir, name).map_err(KeyError::io("rename to", &path))
        });
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = self.unlink(&temporary);
            return Err(error);
        }
        self.dir.sync()
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<(), KeyError> {
        self.unlink(name)?;
        self.dir.sync()
    }

    fn write_synced(&self, name: &str, bytes: &[u8]) -> Result<(), KeyError> {
        let path = self.dir.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.dir.handle, name, flags, Mode::from_raw_mode(FILE_MODE))
            .map_err(KeyError::io("create", &path))?;
        let mut file = File::from(handle);
        file.write_all(bytes).map_err(KeyError::io("write", &path))?;
        file.sync_all().map_err(KeyError::io("sync", &path))
    }

    fn unlink(&self, name: &str) -> Result<(), KeyError> {
        match rustix::fs::unlinkat(&self.dir.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(KeyError::io("remove", &self.dir.join(name))(error)),
        }
    }
}

/// Reads a file with a secret (a passphrase, a seed, a mnemonic) under the rules for key files. A byte-order mark is
/// dropped.
///
/// # Errors
/// [`KeyError::Missing`], [`KeyError::Kind`], [`KeyError::Owner`], [`KeyError::TooOpen`],
/// [`KeyError::TooLarge`], [`KeyError::Import`] when it is not UTF-8, and [`KeyError::Io`].
pub fn read_secret_text(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let bytes = read_at(CWD, path, path)?;
    let text = str::from_utf8(&bytes)
        .map_err(|_| KeyError::import(format!("{} is not UTF-8 text", path.display())))?;
    Ok(Zeroizing::new(without_mark(text).to_owned()))
}

/// Writes a new file with a secret that only this user can read, durably. Nothing is overwritten, and no link
/// is followed.
///
/// # Errors
/// [`KeyError::Exists`] when there is an entry of this name, and [`KeyError::Io`].
pub fn create_secret_text(path: &Path, text: &str) -> Result<(), KeyError> {
    let exists = || KeyError::Exists {
        path: path.to_owned(),
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let (folder, name) = split(path)?;
    // It is named only when it is complete: a process that is killed here leaves no part of a secret under
    // the name.
    let new = folder.join(format!(".{name}.new"));
    match rustix::fs::unlink(&new) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(KeyError::io("remove", &new)(error)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::openat(CWD, &new, flags, Mode::from_raw_mode(FILE_MODE))
        .map_err(KeyError::io("create", path))
        .and_then(|handle| {
            let mut file = File::from(handle);
            file.write_all(text.as_bytes())
                .map_err(KeyError::io("write", path))?;
            file.sync_all().map_err(KeyError::io("sync", path))?;
            name_new(&new, path).map_err(|error| match error {
                Errno::EXIST => exists(),
                error => KeyError::io("create", path)(error),
            })
        });
    if written.is_err() {
        // The first error is the one to report.
        let _ = rustix::fs::unlink(&new);
    }
    written?;
    open_dir(folder)?.sync_all().map_err(KeyError::io("sync", folder))
}

/// Gives a file its name, which must be free.
fn name_new(new: &Path, path: &Path) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, new, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that does not support that operation.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::link(new, path)?;
            rustix::fs::unlink(new)
        }
        done => done,
    }
}

fn read_at<P: rustix::path::Arg>(
    dir: impl std::os::fd::AsFd,
    name: P,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Without NONBLOCK, opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => KeyError::Missing {
            path: path.to_owned(),
        },
        Errno::LOOP => KeyError::Kind {
            path: path.to_owned(),
            found: "a symbolic link",
            expected: "a regular file",
        },
        error => KeyError::io("open", path)(error),
    })?;
    let stat = rustix::fs::fstat(&handle).map_err(KeyError::io("examine", path))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(KeyError::Kind {
            path: path.to_owned(),
            found: name_of(kind),
            expected: "a regular file",
        });
    }
    check_owner(path, &stat, true)?;
    check_mode(path, &stat, 0o077, FILE_MODE)?;
    // The full capacity from the start: a buffer that grows leaves copies behind.
    let most = FILE_BYTES_MAX.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    File::from(handle)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(KeyError::io("read", path))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(KeyError::TooLarge {
            path: path.to_owned(),
            most: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

fn open_dir(path: &Path) -> Result<File, KeyError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Without a trailing slash, with which the system would follow a link all the same.
    let plain: PathBuf = path.components().collect();
    let opened = rustix::fs::openat(CWD, &plain, flags, Mode::empty());
    opened.map(File::from).map_err(|error| match error {
        Errno::NOENT => KeyError::Missing {
            path: path.to_owned(),
        },
        Errno::NOTDIR | Errno::LOOP => KeyError::Kind {
            path: path.to_owned(),
            found: if plain.is_symlink() {
                "a symbolic link"
            } else {
                "no directory"
            },
            expected: "a directory",
        },
        error => KeyError::Io {
            action: "open",
            path: path.to_owned(),
            source: io::Error::from(error),
        },
    })
}

fn check_owner(path: &Path, stat: &Stat, or_root: bool) -> Result<(), KeyError> {
    let expected = rustix::process::geteuid().as_raw();
    if stat.st_uid == expected || (or_root && stat.st_uid == 0) {
        return Ok(());
    }
    Err(KeyError::Owner {
        path: path.to_owned(),
        found: stat.st_uid,
        expected,
    })
}

fn check_mode(path: &Path, stat: &Stat, forbidden: u32, allowed: u32) -> Result<(), KeyError> {
    let mode = Mode::from_raw_mode(stat.st_mode).as_raw_mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(KeyError::TooOpen {
        path: path.to_owned(),
        mode,
        allowed,
    })
}

const fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no regular file",
    }
}

/// The folder and the name of a file.
pub(crate) fn split(path: &Path) -> Result<(&Path, &str), KeyError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| KeyError::Kind {
        path: path.to_owned(),
        found: "no name of a file",
        expected: "a path that ends in one",
    })?;
    // A path of one part is a file in the working directory.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}
