//! Fetching a snapshot from the folder of an HTTP server.
//!
//! The manifest comes first and is compared with the genesis file before anything else is fetched. Each chunk is
//! verified when it arrives and kept under its name, so a fetch that was killed goes on behind the last whole chunk. A
//! source that is damaged or lies is refused at the chunk that shows it.

use std::path::{Path, PathBuf};

use vibecoin_primitives::Encoded as _;
use vibecoin_snapshot::{ChunkInfo, Restore, SnapshotManifest, chunk_hash};
use vibecoin_storage::GenesisRecord;

use crate::error::FilesError;
use crate::http::Url;
use crate::layout::{self, CHUNKS, MANIFEST};
use crate::progress::{Phase, Progress, Watch, report};
use crate::restore::database_bytes;
use crate::source::{Snapshot, chunk_file};
use crate::verify::trust_of;

/// Start of the names of folders with fetched chunks.
const FETCHED: &str = ".snapshot-";

/// A snapshot in a temporary folder.
#[derive(Debug)]
pub struct Fetched {
    /// The snapshot: complete, and every chunk verified.
    pub snapshot: Snapshot,
    folder: PathBuf,
}

impl Fetched {
    /// Removes the folder, when the snapshot is not needed any more.
    ///
    /// # Errors
    /// [`FilesError::File`].
    pub fn remove(self) -> Result<(), FilesError> {
        std::fs::remove_dir_all(&self.folder).map_err(FilesError::file("delete", &self.folder))
    }
}

/// Fetches the snapshot whose files are below `url`, `http://HOST[:PORT]/PATH`, into a folder of its own in `into`.
///
/// Chunks that an interrupted fetch of the same snapshot stored there are reused; leftovers of other snapshots are removed.
/// Memory: one chunk, packed and unpacked, and the manifest.
///
/// # Errors
/// [`FilesError::Source`] names the file that the server does not give, or not in time; [`FilesError::Space`] comes
/// before the first chunk, and names the folder with the chunks of an earlier attempt; else the damage, with the address
/// of the chunk. Chunks that were verified are kept for the next attempt.
pub fn fetch(
    url: &str,
    genesis: &GenesisRecord,
    into: &Path,
    watch: Watch<'_>,
) -> Result<Fetched, FilesError> {
    let url = Url::parse(url)?;
    let manifest = url.get(MANIFEST, SnapshotManifest::BYTES_MAX)?;
    let certified = SnapshotManifest::from_bytes(&manifest).map_err(|source| FilesError::Manifest {
        path: url.of(""),
        source: Box::new(source),
    })?;
    let restore = Restore::begin(&trust_of(genesis), certified).map_err(FilesError::snapshot(&url.of("")))?;
    let folder = begin(into, &restore)?;
    let all = restore.manifest().bytes;
    let mut bytes = 0u64;
    for (index, info) in (0u32..).zip(&restore.manifest().chunks) {
        let file = folder.join(CHUNKS).join(layout::chunk_name(info));
        if !is_kept(&file, info) {
            let stored = fetch_chunk(&url, &restore, index, info)?;
            write_whole(&file, &stored)?;
        }
        bytes = bytes.saturating_add(u64::from(info.bytes));
        let progress = Progress {
            phase: Phase::Fetch,
            done: bytes,
            all,
            bytes,
        };
        report(watch, progress)?;
    }
    write_whole(&folder.join(MANIFEST), &manifest)?;
    Ok(Fetched {
        snapshot: Snapshot::open(&folder)?,
        folder,
    })
}

/// Makes the folder of this snapshot, and removes those of others. Checks the space for the fetch and the restore.
fn begin(into: &Path, restore: &Restore) -> Result<PathBuf, FilesError> {
    let manifest = restore.manifest();
    let name = layout::folder_name(manifest.header.height.0, restore.id());
    let folder = into.join(format!("{FETCHED}{name}"));
    remove_fetched(into, Some(&folder))?;
    let chunks = folder.join(CHUNKS);
    // For the missing chunks and the database, checked before the first request.
    let is_there = |info: &&ChunkInfo| chunks.join(layout::chunk_name(info)).exists();
    let kept = manifest
        .chunks
        .iter()
        .filter(is_there)
        .fold(0u64, |sum, info| sum.saturating_add(u64::from(info.bytes)));
    let needed = manifest
        .bytes
        .saturating_sub(kept)
        .saturating_add(database_bytes(manifest.bytes));
    let free = layout::free_bytes(into).map_err(FilesError::file("read", into))?;
    if free < needed {
        let path = if kept > 0 { folder } else { into.to_owned() };
        return Err(FilesError::Space { path, needed, free });
    }
    std::fs::create_dir_all(&chunks).map_err(FilesError::file("create", &chunks))?;
    Ok(folder)
}

/// Removes the folders with fetched chunks in a home, except one.
pub fn remove_fetched(home: &Path, except: Option<&Path>) -> Result<(), FilesError> {
    let read = |error| FilesError::file("read", home)(error);
    for entry in std::fs::read_dir(home).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_fetched = name.strip_prefix(FETCHED).is_some_and(layout::is_folder_name);
        if is_fetched && Some(path.as_path()) != except && path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path).map_err(FilesError::file("delete", &path))?;
        }
    }
    Ok(())
}

/// Returns true if a file has this chunk.
fn is_kept(file: &Path, info: &ChunkInfo) -> bool {
    let max = layout::stored_bytes_max(info);
    let stored = layout::open_plain(file).and_then(|file| layout::read_bounded(file, max));
    let chunk = stored
        .ok()
        .flatten()
        .and_then(|stored| layout::unstore(&stored, info).ok());
    chunk.is_some_and(|chunk| chunk_hash(&chunk) == info.hash)
}

fn fetch_chunk(url: &Url, restore: &Restore, index: u32, info: &ChunkInfo) -> Result<Vec<u8>, FilesError> {
    let name = format!("{CHUNKS}/{}", layout::chunk_name(info));
    let stored = url.get(&name, layout::stored_bytes_max(info))?;
    let at = url.of(&name);
    let chunk = layout::unstore(&stored, info).map_err(|detail| chunk_file(&at, index, info, detail))?;
    restore
        .verify(index, &chunk)
        .map_err(|source| FilesError::Chunk {
            path: at,
            source: Box::new(source),
        })?;
    Ok(stored)
}

/// Writes a file under a temporary name. It is not synced: it is verified again before it is used.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(FilesError::file("write", &part))?;
    std::fs::rename(&part, path).map_err(FilesError::file("rename", &part))
}
