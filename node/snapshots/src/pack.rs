//! A snapshot as one file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::FilesError;
use crate::layout::{ARCHIVE_MAGIC, UNFINISHED, sync_folder};
use crate::progress::{Phase, Progress, Watch, report};
use crate::source::Snapshot;

/// Copies a snapshot into an archive, which appears complete and synced under its name. Chunks are copied as they are
/// stored, unverified: verify the result.
///
/// # Errors
/// [`FilesError::Exists`] when there is an entry of this name, else the fault of a chunk or of the disk; nothing is
/// left then.
pub fn pack(snapshot: &Snapshot, to: &Path, watch: Watch<'_>) -> Result<(), FilesError> {
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(FilesError::Exists { path: to.to_owned() });
    }
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let new = Unfinished(folder.join(format!("{UNFINISHED}{name}")));
    write(snapshot, &new.0, watch)?;
    std::fs::rename(&new.0, to).map_err(FilesError::file("rename", &new.0))?;
    sync_folder(folder).map_err(FilesError::file("sync", folder))
}

/// A temporary file. One that a killed process left is overwritten by the next of its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there after the rename.
        let _renamed = std::fs::remove_file(&self.0);
    }
}

fn write(snapshot: &Snapshot, to: &Path, watch: Watch<'_>) -> Result<(), FilesError> {
    let failed = |error| FilesError::file("write", to)(error);
    let mut out = BufWriter::new(File::create(to).map_err(failed)?);
    let manifest = snapshot.certified().to_bytes();
    out.write_all(&ARCHIVE_MAGIC).map_err(failed)?;
    framed(&mut out, &manifest).map_err(failed)?;
    let mut bytes = 0u64;
    for (index, info) in (0u32..).zip(&snapshot.manifest().chunks) {
        let (_, stored) = snapshot.stored_chunk(index)?;
        framed(&mut out, &stored).map_err(failed)?;
        bytes = bytes.saturating_add(u64::from(info.bytes));
        report(
            watch,
            Progress {
                phase: Phase::Pack,
                done: bytes,
                all: snapshot.manifest().bytes,
                bytes,
            },
        )?;
    }
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// Writes bytes behind their length. Manifests and chunks are shorter than 2^32 bytes.
fn framed(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(bytes)
}
