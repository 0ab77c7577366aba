//! The folder of a devnet: the parts of its path that this program created, and the lock of the command that
//! changes it.
//!
//! The file `lock` holds `{"made":[PATH, …]}`, innermost first, written when the file is created. It stays
//! with the folder when that is moved or copied, so `destroy` can decide whether it may remove the folder; of
//! the surrounding folders it removes only those that are still at the recorded path.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::home::make_private;
use crate::wait::{self, Reporter};

/// The lock's name in the folder.
pub const LOCK_FILE: &str = "lock";
/// Ending of the folders in which new ones are built.
const DRAFT_ENDING: &str = ".new";
/// Age from which such a folder was left by a command that was killed.
const DRAFT_AGE: Duration = Duration::from_secs(60);
/// Maximum number of bytes of the lock file that are read.
const LOCK_BYTES_MAX: usize = 64 * 1024;

/// Contents of the lock file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    /// Folders created for the devnet, the devnet's own first.
    made: Vec<PathBuf>,
}

impl Made {
    /// Reads the lock file; `None` when this program did not write it.
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&files::read_text(path, LOCK_BYTES_MAX).ok()?).ok()
    }
}

/// Returns true if the folder holds nothing but the lock of a devnet that was never created.
///
/// # Errors
/// A folder that cannot be read.
pub fn is_abandoned(dir: &Path) -> Result<bool, Error> {
    let mut names = std::fs::read_dir(dir)
        .map_err(Error::file("read", dir))?
        .flatten()
        .map(|entry| entry.file_name());
    let only = names.next().is_some_and(|name| name == LOCK_FILE) && names.next().is_none();
    Ok(only && Made::read(&dir.join(LOCK_FILE)).is_some())
}

/// A folder's identity on this machine: it survives a move of the folder, and a copy has a different one.
///
/// # Errors
/// A folder that cannot be examined.
pub fn identity(dir: &Path) -> Result<String, Error> {
    let found = std::fs::metadata(dir).map_err(Error::file("examine", dir))?;
    Ok(format!("{}:{}", found.dev(), found.ino()))
}

/// The locked folder of a devnet. One command at a time holds it.
pub struct Locked {
    dir: PathBuf,
    file: File,
    /// True if this command created the lock file.
    new: bool,
}

impl Locked {
    /// Creates the folder if it does not exist, and takes its lock, waiting for the command that holds it.
    ///
    /// # Errors
    /// The error of a folder or of the lock file.
    pub fn take(dir: &Path, reporter: Reporter) -> Result<Self, Error> {
        Self::take_writing(dir, reporter, |file, text| file.write_all(text.as_bytes()))
    }

    /// As [`Locked::take`]; `write` fills the lock file. If it fails, everything that this command created is
    /// removed.
    fn take_writing(
        dir: &Path,
        reporter: Reporter,
        write: impl Fn(&mut File, &str) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        loop {
            let created = create(dir, &write)?;
            let dir = dir.canonicalize().map_err(Error::file("find", dir))?;
            let path = dir.join(LOCK_FILE);
            let Some((mut file, new)) = open(&path)? else {
                continue;
            };
            wait::lock(&file, &path, "another command that changes this devnet", reporter)?;
            // The previous holder may have removed the file with the devnet.
            if !wait::is_at(&file, &path) {
                continue;
            }
            if file.metadata().map_err(Error::file("examine", &path))?.len() == 0 {
                // The folder existed before.
                let text = serde_json::to_string(&Made::default()).unwrap_or_default();
                if let Err(error) = write(&mut file, &text) {
                    let failed = Error::file("write", &path)(error);
                    if new {
                        let _first_error_counts = Self { dir, file, new }.remove_made(&[]);
                    }
                    return Err(failed);
                }
            }
            let new = new || created;
            return Ok(Self { dir, file, new });
        }
    }

    /// Removes the contents that [`Locked::take`] created, if this command created them.
    ///
    /// # Errors
    /// A lock file that cannot be removed.
    pub fn undo(self) -> Result<(), Error> {
        if self.new {
            self.remove()?;
        }
        Ok(())
    }

    /// Removes the lock and the folders that were created for the devnet and are empty now. Returns true if
    /// the devnet's own folder is gone.
    ///
    /// # Errors
    /// A lock file that cannot be removed.
    pub fn remove(self) -> Result<bool, Error> {
        let path = self.dir.join(LOCK_FILE);
        let made = Made::read(&path).unwrap_or_default().made;
        self.remove_made(&made)
    }

    fn remove_made(self, made: &[PathBuf]) -> Result<bool, Error> {
        let path = self.dir.join(LOCK_FILE);
        if wait::is_at(&self.file, &path) {
            std::fs::remove_file(&path).map_err(Error::file("delete", &path))?;
        }
        Ok(remove_folders(&self.dir, made))
    }
}

/// Removes the folders that were created for a devnet and are empty now, its own first. Returns true if that
/// is gone.
fn remove_folders(dir: &Path, made: &[PathBuf]) -> bool {
    if made.is_empty() || std::fs::remove_dir(dir).is_err() {
        return false;
    }
    let mut inner = dir;
    for outer in made.iter().skip(1) {
        // A moved devnet leaves its new surrounding folders alone.
        if inner.parent() != Some(outer.as_path()) || std::fs::remove_dir(outer).is_err() {
            break;
        }
        inner = outer;
    }
    true
}

/// Creates a folder that does not exist with its missing parents and its lock, in one step: they are built beside the
/// outermost of them and renamed. A command that is killed leaves no folder without a record of its origin. Returns false
/// if the folder exists.
fn create(dir: &Path, write: &impl Fn(&mut File, &str) -> std::io::Result<()>) -> Result<bool, Error> {
    let dir = std::path::absolute(dir).map_err(Error::file("find", dir))?;
    let missing: Vec<&Path> = dir.ancestors().take_while(|folder| !folder.exists()).collect();
    let Some(outer) = missing.last() else {
        return Ok(false);
    };
    let (Some(around), Some(name), Ok(inside)) = (outer.parent(), outer.file_name(), dir.strip_prefix(outer))
    else {
        return make_private(&dir).map(|()| false);
    };
    if outer.is_symlink() {
        return make_private(outer).map(|()| false);
    }
    let around = around.canonicalize().map_err(Error::file("find", around))?;
    let prefix = format!(".{}.", name.to_string_lossy());
    remove_drafts(&around, &prefix);
    let draft = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(DRAFT_ENDING)
        .tempdir_in(&around)
        .map_err(Error::file("make the directory", &dir))?;
    let root = draft.path().join("folder");
    let inner = root.join(inside);
    make_private(&inner)?;
    let made = missing.iter().filter_map(|folder| {
        let relative = folder.strip_prefix(outer).ok()?;
        Some(around.join(name).join(relative).components().collect())
    });
    let made = Made { made: made.collect() };
    let text = serde_json::to_string(&made).unwrap_or_default();
    File::create_new(inner.join(LOCK_FILE))
        .and_then(|mut file| write(&mut file, &text))
        .map_err(Error::file("write", &dir.join(LOCK_FILE)))?;
    match std::fs::rename(&root, around.join(name)) {
        Ok(()) => Ok(true),
        // Another command was faster.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(Error::file("make the directory", &dir)(error)),
    }
}

/// Removes the drafts of commands that were killed. Those of the last minute may be in use.
fn remove_drafts(around: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(around) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if name.starts_with(prefix) && name.ends_with(DRAFT_ENDING) && age.is_some_and(|age| age > DRAFT_AGE)
        {
            // A draft that cannot be removed is harmless.
            let _stays = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Opens the lock file, or creates it. `None` when the folder was removed meanwhile.
fn open(path: &Path) -> Result<Option<(File, bool)>, Error> {
    use ErrorKind::{AlreadyExists, NotFound};
    let options = || {
        let mut options = File::options();
        options.read(true).write(true);
        options
    };
    match options().create_new(true).open(path) {
        Ok(file) => return Ok(Some((file, true))),
        Err(error) if error.kind() == AlreadyExists => {}
        Err(error) if error.kind() == NotFound => return Ok(None),
        Err(error) => return Err(Error::file("make", path)(error)),
    }
    match options().open(path) {
        Ok(file) => Ok(Some((file, false))),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => Err(Error::file("open", path)(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_removed_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        // Two folders that did not exist, around the devnet's own.
        let deep = root.join("a/b/net");
        assert!(Locked::take(&deep, Reporter::SILENT).unwrap().remove().unwrap());
        assert!(!root.join("a").exists());
        // One of them has other contents since.
        let locked = Locked::take(&deep, Reporter::SILENT).unwrap();
        std::fs::write(root.join("a/mine"), "precious").unwrap();
        assert!(locked.remove().unwrap());
        assert!(root.join("a/mine").exists() && !root.join("a/b").exists());
        // A folder of the user.
        let own = root.join("own");
        std::fs::create_dir(&own).unwrap();
        assert!(!Locked::take(&own, Reporter::SILENT).unwrap().remove().unwrap());
        assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_that_cannot_be_written_leaves_nothing() {
        let full = |file: &mut File, text: &str| {
            // As on a disk that is full after the first bytes.
            file.write_all(&text.as_bytes()[..4])?;
            Err(std::io::ErrorKind::StorageFull.into())
        };
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        let refused = Locked::take_writing(&root.join("a/net"), Reporter::SILENT, full)
            .err()
            .unwrap();
        assert!(matches!(refused, Error::File { source, .. } if source.kind() == ErrorKind::StorageFull));
        assert!(!root.join("a").exists());
        // A folder of the user stays, without a lock.
        let own = root.join("own");
        std::fs::create_dir(&own).unwrap();
        assert!(Locked::take_writing(&own, Reporter::SILENT, full).is_err());
        assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_appears_with_the_record_of_its_origin_and_old_drafts_go() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let drafts = [".a.old.new", ".a.young.new", ".b.old.new"].map(|name| root.join(name));
        for draft in &drafts {
            std::fs::create_dir_all(draft.join("folder/net")).unwrap();
        }
        let long_ago = std::time::SystemTime::now()
            .checked_sub(DRAFT_AGE.saturating_mul(2))
            .unwrap();
        for old in [&drafts[0], &drafts[2]] {
            File::open(old).unwrap().set_modified(long_ago).unwrap();
        }
        let seen = |file: &mut File, text: &str| {
            assert!(!root.join("a").exists(), "the record is written first");
            file.write_all(text.as_bytes())
        };
        let locked = Locked::take_writing(&root.join("a/net"), Reporter::SILENT, seen).unwrap();
        let made = Made::read(&root.join("a/net/lock")).unwrap().made;
        assert_eq!(made, [root.join("a/net"), root.join("a")]);
        assert_eq!(drafts.map(|draft| draft.exists()), [false, true, true]);
        assert_eq!(
            std::fs::read_dir(&root).unwrap().count(),
            3,
            "no new draft is left"
        );
        assert!(locked.remove().unwrap());
        assert!(!root.join("a").exists());
    }

    #[test]
    fn a_moved_devnet_leaves_the_folders_around_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        drop(Locked::take(&root.join("a/net"), Reporter::SILENT).unwrap());
        std::fs::create_dir(root.join("elsewhere")).unwrap();
        std::fs::rename(root.join("a/net"), root.join("elsewhere/net")).unwrap();
        let locked = Locked::take(&root.join("elsewhere/net"), Reporter::SILENT).unwrap();
        assert!(locked.remove().unwrap());
        assert!(root.join("a").exists() && root.join("elsewhere").exists());
        assert!(!root.join("elsewhere/net").exists());
    }

    #[test]
    fn a_lock_that_was_removed_while_it_was_waited_for_is_taken_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("net");
        let first = Locked::take(&dir, Reporter::SILENT).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Locked::take(&dir, Reporter::SILENT).unwrap());
            first.remove().unwrap();
            let second = second.join().unwrap();
            assert!(wait::is_at(&second.file, &second.dir.join(LOCK_FILE)));
        });
    }

    #[test]
    fn only_a_lock_of_this_program_marks_an_abandoned_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("net");
        drop(Locked::take(&dir, Reporter::SILENT).unwrap());
        assert!(is_abandoned(&dir).unwrap());
        std::fs::write(dir.join("other"), "").unwrap();
        assert!(!is_abandoned(&dir).unwrap());
        let other = scratch.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert!(!is_abandoned(&other).unwrap());
        std::fs::write(other.join(LOCK_FILE), "").unwrap();
        assert!(!is_abandoned(&other).unwrap());
    }
}
