//! The snapshots in a folder.

use std::path::{Path, PathBuf};

use crate::error::FilesError;
use crate::folder::remove_remains;
use crate::layout::{ARCHIVE_ENDING, MANIFEST, UNFINISHED, digits, is_folder_name, sync_folder};
use crate::source::{Snapshot, SnapshotInfo, not_a_snapshot};

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
/// that are being written are left out, as are others that neither have the name of a snapshot nor hold one; a folder
/// that does not exist has none.
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
        if found.is_err() && !is_folder_name(name) && !name.ends_with(ARCHIVE_ENDING) {
            continue;
        }
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

/// Deletes the snapshot that [`find`] returned: an archive, a link, or a folder that has the name of a snapshot and
/// holds a manifest. A folder disappears by one rename; a process that is killed then leaves remains that the next one
/// removes.
///
/// # Errors
/// [`FilesError::NotASnapshot`] for anything else, which stays; [`FilesError::File`].
pub fn delete(path: &Path) -> Result<(), FilesError> {
    let failed = |error| FilesError::file("delete", path)(error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
    if kind.is_symlink() || (kind.is_file() && name.ends_with(ARCHIVE_ENDING)) {
        std::fs::remove_file(path).map_err(failed)?;
    } else {
        if !is_folder_name(name) || std::fs::symlink_metadata(path.join(MANIFEST)).is_err() {
            let detail =
                "its name is not that of a snapshot, or it holds no file `manifest`; it is not deleted";
            return Err(not_a_snapshot(path, detail));
        }
        remove_remains(folder)?;
        let gone = folder.join(format!("{UNFINISHED}{name}"));
        std::fs::rename(path, &gone).map_err(failed)?;
        match std::fs::remove_dir_all(&gone) {
            // Another process has removed the remains.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(FilesError::file("delete", &gone))?,
        }
    }
    sync_folder(folder).map_err(FilesError::file("sync", folder))
}
