//! A snapshot as one file.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::FilesError;
use crate::folder::{remove_remains, rename_new};
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
    // Remains that cannot be removed, as those of another user, are not in the way.
    let _remains = remove_remains(folder);
    let (new, file) = Unfinished::begin(folder)?;
    write(snapshot, &file, &new.0, watch)?;
    rename_new(&new.0, to)?;
    sync_folder(folder).map_err(FilesError::file("sync", folder))
}

/// A temporary file with a name of its own, removed when it is dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    fn begin(folder: &Path) -> Result<(Self, File), FilesError> {
        // The keys of a hasher are random.
        let number = RandomState::new().build_hasher().finish();
        let path = folder.join(format!("{UNFINISHED}{number:016x}"));
        let file = File::create_new(&path).map_err(FilesError::file("create", &path))?;
        // Where files cannot be locked, remains of others are not removed either.
        let _locked = file.try_lock();
        Ok((Self(path), file))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there after the rename.
        let _renamed = std::fs::remove_file(&self.0);
    }
}

fn write(snapshot: &Snapshot, file: &File, to: &Path, watch: Watch<'_>) -> Result<(), FilesError> {
    let failed = |error| FilesError::file("write", to)(error);
    let mut out = BufWriter::new(file);
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
    out.flush().map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Writes bytes behind their length. Manifests and chunks are shorter than 2^32 bytes.
fn framed(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(bytes)
}
