//! The snapshots in a folder.

use std::path::{Path, PathBuf};

use crate::error::FilesError;
use crate::folder::remove_remains;
use crate::layout::{ARCHIVE_ENDING, UNFINISHED, digits, sync_folder};
use crate::source::{Snapshot, SnapshotInfo};

/// Minimum number of digits of an id that name a snapshot.
const ID_DIGITS_MIN: usize = 4;

/// An entry of a folder that has the name of a snapshot, or holds one.
#[derive(Debug)]
pub struct Listed {
    /// The folder or archive.
    pub path: PathBuf,
    /// Its description, unverified, or the reason why it has none.
    pub found: Result<SnapshotInfo, FilesError>,
}

/// The snapshots in a folder: folders and archives, ascending by height, those without a description last. Folders
/// that are being written are left out; a folder that does not exist has none.
///
/// # Errors
/// [`FilesError::File`].
pub fn list(folder: &Path) -> Result<Vec<Listed>, FilesError> {
    let read = |error| FilesError::file("read", folder)(error);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || !(path.is_dir() || name.ends_with(ARCHIVE_ENDING)) {
            continue;
        }
        let found = Snapshot::open(&path).map(|snapshot| snapshot.info());
        all.push(Listed { path, found });
    }
    all.sort_by_key(|listed| {
        let height = listed.found.as_ref().map_or(u64::MAX, |info| info.height.0);
        (height, listed.path.clone())
    });
    Ok(all)
}

/// The path of the snapshot with this id in a folder: the name of its folder or archive, which a damaged one has too,
/// or its id from the first digits on, with or without `0x`.
///
/// # Errors
/// [`FilesError::NotFound`], [`FilesError::Ambiguous`].
pub fn find(folder: &Path, id: &str) -> Result<PathBuf, FilesError> {
    let named = |listed: &Listed| {
        listed
            .path
            .file_name()
            .is_some_and(|name| name.to_str() == Some(id))
    };
    let text = id.strip_prefix("0x").unwrap_or(id).to_ascii_lowercase();
    let begins = |listed: &Listed| match &listed.found {
        Ok(info) => text.len() >= ID_DIGITS_MIN && digits(&info.id).starts_with(&text),
        Err(_) => false,
    };
    let mut all = list(folder)?;
    let mut found: Vec<Listed> = match all.iter().position(named) {
        Some(index) => vec![all.swap_remove(index)],
        None => all.into_iter().filter(begins).collect(),
    };
    let id = || id.to_owned();
    let folder = || folder.to_owned();
    match (found.pop(), found.len()) {
        (None, _) => Err(FilesError::NotFound {
            id: id(),
            folder: folder(),
        }),
        (Some(one), 0) => Ok(one.path),
        (Some(_), more) => Err(FilesError::Ambiguous {
            id: id(),
            count: more.saturating_add(1),
            folder: folder(),
        }),
    }
}

/// Deletes the snapshot that [`find`] returned. It disappears by one rename; a process that is killed then leaves
/// remains that the next one removes.
///
/// # Errors
/// [`FilesError::File`].
pub fn delete(path: &Path) -> Result<(), FilesError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let gone = folder.join(format!("{UNFINISHED}{name}"));
        std::fs::rename(path, &gone).map_err(FilesError::file("delete", path))?;
        remove_remains(folder)?;
    } else {
        std::fs::remove_file(path).map_err(FilesError::file("delete", path))?;
    }
    sync_folder(folder).map_err(FilesError::file("sync", folder))
}
