//! Files that commands read and write, within bounds.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_keystore::{KeyError, private};
use vibecoin_light::Trust;
use vibecoin_primitives::text::without_mark;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::exit::Exit;

/// Reads up to `most` bytes of a file; `-` is stdin.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(CliError::file("read", path))?;
    if bytes.len() > most {
        let message = format!(
            "{} has more than {most} bytes, the most such a file may have",
            path.display()
        );
        return Err(CliError::new(Exit::InvalidFile, message));
    }
    Ok(bytes)
}

/// Reads a text file, without the byte-order mark that some editors write.
pub fn read_text(path: &Path, most: usize) -> Result<String, CliError> {
    let text = String::from_utf8(read(path, most)?)
        .map_err(|_| CliError::new(Exit::InvalidFile, format!("{} is not UTF-8 text", path.display())))?;
    Ok(match without_mark(&text) {
        plain if plain.len() < text.len() => plain.to_owned(),
        _ => text,
    })
}

/// Returns true if there is an entry of this name, even a dangling link. An entry that cannot be examined is
/// not reported as absent.
pub fn exists(path: &Path) -> Result<bool, CliError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            _ => Err(CliError::file("read", path)(error)),
        },
    }
}

/// Reads a text with a secret: a file of this user that no other user can read, not reached through a link;
/// `-` is stdin.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    if path != Path::new("-") {
        return private::read_secret_text(path);
    }
    let refused = |detail: String| KeyError::Import {
        detail: format!("stdin: {detail}"),
    };
    let most = private::FILE_BYTES_MAX;
    // The whole capacity from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() > most {
        return Err(refused(format!("more than {most} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refused("not UTF-8 text".to_owned()))?;
    Ok(Zeroizing::new(without_mark(text).to_owned()))
}

/// Writes a file atomically: to an unnamed file in the same folder, synced, then named, then the folder
/// synced. After a crash or on a full disk there is the old file or the new one. An existing file stays
/// unless `overwrite`. Devices and pipes (`/dev/stdout`) are written directly; a symbolic link is followed.
pub fn write(path: &Path, text: &str, overwrite: bool) -> Result<(), CliError> {
    let done = match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => special(path, text),
        Ok(_) if !overwrite => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(there) => std::fs::canonicalize(path)
            .and_then(|target| replace(&target, text, Some(there.permissions()), overwrite)),
        Err(_) => replace(path, text, None, overwrite),
    };
    done.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::new(Exit::Failure, format!("{} exists already", path.display())).reason("exists")
        }
        _ => CliError::file("write", path)(error),
    })
}

/// Writes the result of a command with `--out`: an existing file stays unless `force`.
pub fn write_out(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    write(path, text, force).map_err(|error| match error.reason.as_str() {
        "exists" => error.hint("--force replaces it, another --out leaves it"),
        _ => error,
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
pub fn write_locked(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = folder_of(path);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let new = folder.join(locked_name(name));
    fill_and_rename(&new, path, folder, text).map_err(|error| {
        let _first_error_counts = std::fs::remove_file(&new);
        CliError::file("write", path)(error)
    })
}

fn fill_and_rename(new: &Path, path: &Path, folder: &Path, text: &str) -> io::Result<()> {
    fill(&std::fs::File::create(new)?, text, None)?;
    std::fs::rename(new, path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// The name of the temporary file of [`write_locked`].
pub fn locked_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Reads a genesis file.
pub fn genesis(path: &Path) -> Result<Genesis, CliError> {
    let text = read_text(path, GENESIS_BYTES_MAX)?;
    Genesis::parse(&text).map_err(|error| CliError::genesis(path, &error))
}

/// Reads a genesis file that may still lack accounts and validators.
pub fn genesis_draft(path: &Path) -> Result<Genesis, CliError> {
    let text = read_text(path, GENESIS_BYTES_MAX)?;
    Genesis::parse_draft(&text).map_err(|error| CliError::genesis(path, &error))
}

/// Builds block 0 of a genesis file.
pub fn build(path: &Path, genesis: &Genesis) -> Result<BuiltGenesis, CliError> {
    genesis.build().map_err(|error| CliError::genesis(path, &error))
}

/// The trust anchor that a genesis file provides.
pub fn trust(genesis: &BuiltGenesis) -> Trust {
    Trust::new(genesis.hash, &genesis.params, genesis.validators.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, "one", false).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = write_out(&path, "two", false).unwrap_err();
        assert_eq!((error.exit, error.reason.as_str()), (Exit::Failure, "exists"));
        assert!(error.hint.unwrap().contains("--force"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let reader = std::fs::File::open(&path).unwrap();
        write(&path, "two", true).unwrap();
        let mut old = String::new();
        (&reader).read_to_string(&mut old).unwrap();
        assert_eq!(
            old, "one",
            "an open reader keeps the old file: it was not written over"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "permissions stay");
        assert_eq!(names(folder.path()), ["a"], "no temporary file is left");
    }

    #[test]
    fn a_mark_in_front_of_a_text_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (bytes, text) in [
            (&b"\xef\xbb\xbf{}"[..], "{}"),
            (b"{}", "{}"),
            (b"\xef\xbb\xbf", ""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(read_text(&path, 100).unwrap(), text);
            assert_eq!(read_secret(&path).unwrap().as_str(), text);
        }
        // Microsoft's "Unicode" encoding is not guessed.
        std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().exit, Exit::InvalidFile);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_there_and_what_is_below_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(exists(&link), Ok(true));
        assert_eq!(read_text(&link, 1).unwrap_err().exit, Exit::NotFound);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(exists(&file.join("below")), Ok(false));
        assert_eq!(exists(&folder.path().join("none")), Ok(false));
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
        assert_eq!(names(folder.path()), ["is a folder"]);
    }
}
