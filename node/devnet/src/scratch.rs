//! Temporary homes of `node --dev`: removed after a clean stop, kept after a failure, and removed by the next
//! such node when their own was killed.
//!
//! A temporary home has a marker whose lock its node holds. A home with an unlocked marker was left by a node
//! that was killed. Homes that are kept lose their marker.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::Error;
use crate::wait::Reporter;

/// Prefix of the names of temporary homes.
const PREFIX: &str = "vibecoin-dev-";
/// The marker in a temporary home.
const MARKER: &str = ".temporary";
/// The marker's name before it is locked.
const NEW_MARKER: &str = ".temporary.new";
/// Age of a folder without the marker after which no process is about to create it there.
const UNMARKED_FOR: Duration = Duration::from_secs(60);

/// A temporary home; removed when dropped.
pub struct Scratch {
    dir: TempDir,
    _marker: File,
}

impl Scratch {
    /// Creates a temporary home in the folder for temporary files, and removes those whose nodes were killed.
    ///
    /// # Errors
    /// The error of a folder or of a file in it.
    pub fn new(place: &Path, reporter: Reporter) -> Result<Self, Error> {
        remove_abandoned(place, reporter);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(place)
            .map_err(Error::file("make a temporary home in", place))?;
        let (new, path) = (dir.path().join(NEW_MARKER), dir.path().join(MARKER));
        let marker = File::create_new(&new).map_err(Error::file("make", &new))?;
        marker.lock().map_err(Error::file("lock", &new))?;
        // Under this name it is never visible without its lock while this process lives.
        std::fs::rename(&new, &path).map_err(Error::file("make", &path))?;
        Ok(Self { dir, _marker: marker })
    }

    /// The home.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the home for inspection.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        let _not_there = std::fs::remove_file(self.path().join(MARKER));
        self.dir.keep()
    }
}

/// Removes temporary homes of this user whose nodes have ended. Failures are ignored: the homes are not
/// needed.
fn remove_abandoned(place: &Path, reporter: Reporter) {
    let user = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        // Of the entry itself, not of a link's target.
        let own = entry
            .metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == user);
        if own && is_abandoned(&path) && std::fs::remove_dir_all(&path).is_ok() {
            reporter.note(&format!(
                "removed {}, the temporary home of a node that was killed",
                path.display()
            ));
        }
    }
}

fn is_abandoned(home: &Path) -> bool {
    match File::open(home.join(MARKER)) {
        Ok(marker) => marker.try_lock().is_ok(),
        Err(_) => is_unmarked(home),
    }
}

/// Returns true if a node was killed before its home had a marker, or any other file.
fn is_unmarked(home: &Path) -> bool {
    let bare = std::fs::read_dir(home).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == NEW_MARKER))
    });
    let changed = std::fs::metadata(home).and_then(|found| found.modified());
    let age = changed.ok().and_then(|at| at.elapsed().ok());
    bare && age.is_some_and(|age| age > UNMARKED_FOR)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_killed_node_goes_and_those_of_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        let made = || Scratch::new(place, Reporter::SILENT).unwrap();
        let (running, kept) = (made(), made().keep());
        std::fs::write(kept.join("db"), "").unwrap();
        // As a kill leaves it: the marker without its lock.
        let killed = place.join("vibecoin-dev-killed");
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.join(MARKER), "").unwrap();
        std::fs::write(killed.join("db"), "").unwrap();
        // Another process may be about to create the marker here.
        let starting = place.join("vibecoin-dev-starting");
        std::fs::create_dir(&starting).unwrap();
        // A foreign folder, and a link to one.
        let other = place.join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join(MARKER), "").unwrap();
        let link = place.join("vibecoin-dev-link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let next = made();
        assert!(!killed.exists());
        for path in [running.path(), &kept, &starting, &other, next.path(), &link] {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(other.join(MARKER).exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
