//! Files that are read and written within bounds, and replaced as a whole or not at all.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_primitives::text::without_mark;

use crate::error::{Class, Error};

/// Reads up to `most` bytes of a file; `-` is stdin.
///
/// # Errors
/// The error of the file, or more bytes in it.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(Error::file("read", path))?;
    if bytes.len() > most {
        let message = format!(
            "{} has more than {most} bytes, the most such a file may have",
            path.display()
        );
        return Err(Error::new(Class::InvalidFile, message));
    }
    Ok(bytes)
}

/// Reads a text file, without the byte-order mark that some editors write.
///
/// # Errors
/// As [`read`], or bytes that are not UTF-8.
pub fn read_text(path: &Path, most: usize) -> Result<String, Error> {
    let text = String::from_utf8(read(path, most)?).map_err(|_| {
        Error::new(
            Class::InvalidFile,
            format!("{} is not UTF-8 text", path.display()),
        )
    })?;
    Ok(match without_mark(&text) {
        plain if plain.len() < text.len() => plain.to_owned(),
        _ => text,
    })
}

/// Returns true if there is an entry of this name, even a dangling link. An entry that cannot be examined is
/// not reported as absent.
///
/// # Errors
/// The error of the system.
pub fn exists(path: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            _ => Err(Error::file("read", path)(error)),
        },
    }
}

/// Writes a file atomically: to an unnamed file in the same folder, synced, then named, then the folder
/// synced. After a crash or on a full disk there is the old file or the new one. An existing file stays
/// unless `overwrite`. Devices and pipes (`/dev/stdout`) are written directly; a symbolic link is followed.
///
/// # Errors
/// The fault `exists`, or the error of the file.
pub fn write(path: &Path, text: &str, overwrite: bool) -> Result<(), Error> {
    let done = match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => special(path, text),
        Ok(_) if !overwrite => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(there) => std::fs::canonicalize(path)
            .and_then(|target| replace(&target, text, Some(there.permissions()), overwrite)),
        Err(_) => replace(path, text, None, overwrite),
    };
    done.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(Class::Failure, format!("{} exists already", path.display())).reason("exists")
        }
        _ => Error::file("write", path)(error),
    })
}

fn special(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Permissions of new files, less the umask.
const FILE_MODE: u32 = 0o666;

fn replace(
    path: &Path,
    text: &str,
    permissions: Option<std::fs::Permissions>,
    overwrite: bool,
) -> io::Result<()> {
    let folder = folder_of(path);
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let unnamed = rustix::fs::openat(CWD, folder, flags, Mode::from_raw_mode(FILE_MODE));
    let Ok(unnamed) = unnamed.map(std::fs::File::from) else {
        // A file system without such files, or a folder that cannot be written: the fallback distinguishes
        // them.
        return replace_named(path, folder, text, permissions, overwrite);
    };
    fill(&unnamed, text, permissions)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", unnamed.as_raw_fd()));
    let name = |target: &Path| rustix::fs::linkat(CWD, &source, CWD, target, AtFlags::SYMLINK_FOLLOW);
    if overwrite {
        let named = temporary().make_in(folder, |target| Ok(name(target)?))?;
        named
            .into_temp_path()
            .persist(path)
            .map_err(|error| error.error)?;
    } else {
        name(path)?;
    }
    std::fs::File::open(folder)?.sync_all()
}

fn replace_named(
    path: &Path,
    folder: &Path,
    text: &str,
    permissions: Option<std::fs::Permissions>,
    overwrite: bool,
) -> io::Result<()> {
    let file = temporary()
        .permissions(std::fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)?;
    fill(file.as_file(), text, permissions)?;
    let kept = if overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    kept.map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Prefix of the temporary names of files being written.
pub const TEMPORARY: &str = ".vibecoin-";

fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    builder
}

fn fill(mut file: &std::fs::File, text: &str, permissions: Option<std::fs::Permissions>) -> io::Result<()> {
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file that only the holder of a lock writes, as [`write`] with `overwrite`. The temporary file always has
/// the name [`locked_name`], so one that a killed process left is replaced by the next write.
///
/// # Errors
/// The error of the file.
pub fn write_locked(path: &Path, text: &str) -> Result<(), Error> {
    let folder = folder_of(path);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let new = folder.join(locked_name(name));
    fill_and_rename(&new, path, folder, text).map_err(|error| {
        let _first_error_counts = std::fs::remove_file(&new);
        Error::file("write", path)(error)
    })
}

fn fill_and_rename(new: &Path, path: &Path, folder: &Path, text: &str) -> io::Result<()> {
    fill(&std::fs::File::create(new)?, text, None)?;
    std::fs::rename(new, path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// The name of the temporary file of [`write_locked`].
#[must_use]
pub fn locked_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Deletes a folder or a file, or a link without its target.
///
/// # Errors
/// The error of the system, unless there is nothing at the path.
pub fn remove(path: &Path) -> Result<(), Error> {
    let done = if path.is_dir() && !path.is_symlink() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("delete", path)(error)),
        _ => Ok(()),
    }
}

/// Reads a genesis file.
///
/// # Errors
/// As [`read_text`], or the fault of the genesis.
pub fn genesis(path: &Path) -> Result<Genesis, Error> {
    let text = read_text(path, GENESIS_BYTES_MAX)?;
    Genesis::parse(&text).map_err(Error::genesis(path))
}

/// Builds block 0 of a genesis file.
///
/// # Errors
/// The fault of the genesis.
pub fn build(path: &Path, genesis: &Genesis) -> Result<BuiltGenesis, Error> {
    genesis.build().map_err(Error::genesis(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_there_and_what_is_below_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(exists(&link).unwrap());
        let is_absent = |error: Error| matches!(error, Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound);
        assert!(is_absent(read_text(&link, 1).unwrap_err()));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!exists(&file.join("below")).unwrap());
        assert!(!exists(&folder.path().join("none")).unwrap());
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        write(&target, "one", false).unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        write(&link, "two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "two");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("is a folder");
        std::fs::create_dir(&path).unwrap();
        assert!(write(&path, "x", true).is_err());
        assert!(write(&folder.path().join("no").join("a"), "x", false).is_err());
        let left = std::fs::read_dir(folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["is a folder"]);
    }
}
