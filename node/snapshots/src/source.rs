//! A snapshot that was opened: its manifest, and its chunks one by one.
//!
//! Opening checks the form of the manifest and nothing else: its contents are foreign until [`crate::verify()`] or
//! [`crate::restore()`] has compared them with the genesis file.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use vibecoin_primitives::{Encoded as _, Hash, Height, TimeMs};
use vibecoin_snapshot::{ChunkInfo, Manifest, SnapshotManifest};

use crate::error::FilesError;
use crate::layout::{self, ARCHIVE_MAGIC, CHUNKS, MANIFEST};

/// A folder or an archive with a snapshot.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    certified: SnapshotManifest,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder,
    Archive { file: File, chunks: Vec<Span> },
}

/// A stored chunk in an archive.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u64,
    bytes: u32,
}

/// Description of a snapshot. Unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Id: the hash of the manifest.
    pub id: Hash,
    /// Genesis hash of its chain.
    pub genesis: Hash,
    /// Height of its block.
    pub height: Height,
    /// Hash of the block.
    pub hash: Hash,
    /// Time of the block.
    pub time: TimeMs,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// Version of the format.
    pub format: u32,
    /// Number of chunks.
    pub chunks: usize,
    /// Number of rows: accounts and slots.
    pub rows: u64,
    /// Bytes of the chunks, uncompressed; equal for all snapshots of one state.
    pub bytes: u64,
    /// The folder or archive.
    pub path: PathBuf,
}

impl Snapshot {
    /// Opens the snapshot in a folder or an archive.
    ///
    /// # Errors
    /// [`FilesError`]: the path cannot be read, is no snapshot, or its manifest is malformed; an archive is cut short
    /// or goes on behind its last chunk.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let found = std::fs::metadata(path).map_err(FilesError::file("read", path))?;
        if found.is_dir() {
            return Self::open_folder(path);
        }
        if found.is_file() {
            return Self::open_archive(path);
        }
        Err(not_a_snapshot(path, "it is neither a folder nor a file"))
    }

    fn open_folder(path: &Path) -> Result<Self, FilesError> {
        let manifest = path.join(MANIFEST);
        let file = layout::open_plain(&manifest).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_a_snapshot(path, "it holds no file `manifest`"),
            _ if layout::is_damage(&error) => {
                not_a_snapshot(path, &format!("its manifest cannot be read: {error}"))
            }
            _ => FilesError::file("read", &manifest)(error),
        })?;
        let bytes = layout::read_bounded(file, SnapshotManifest::BYTES_MAX)
            .map_err(FilesError::file("read", &manifest))?
            .ok_or_else(|| not_a_snapshot(path, "its manifest is longer than any"))?;
        Ok(Self {
            path: path.to_owned(),
            certified: read_manifest(path, &bytes)?,
            place: Place::Folder,
        })
    }

    fn open_archive(path: &Path) -> Result<Self, FilesError> {
        let read = |error| FilesError::file("read", path)(error);
        let file = File::open(path).map_err(read)?;
        let end = file.metadata().map_err(read)?.len();
        let (mut magic, mut len) = ([0; ARCHIVE_MAGIC.len()], [0; LENGTH_BYTES]);
        let head = file
            .read_exact_at(&mut magic, 0)
            .and_then(|()| file.read_exact_at(&mut len, AFTER_MAGIC));
        let is_cut = match head {
            Err(error) if !layout::is_damage(&error) => return Err(read(error)),
            head => head.is_err(),
        };
        if is_cut || magic != ARCHIVE_MAGIC {
            return Err(not_a_snapshot(
                path,
                "it does not begin as an archive of one does",
            ));
        }
        let from = AFTER_MAGIC.saturating_add(LENGTH_BYTES as u64);
        let bytes = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
        let behind = end.saturating_sub(from);
        if bytes > SnapshotManifest::BYTES_MAX || u64::try_from(bytes).is_ok_and(|bytes| bytes > behind) {
            let detail = format!("its manifest of {bytes} bytes is longer than any, or cut short");
            return Err(not_a_snapshot(path, &detail));
        }
        let mut manifest = vec![0; bytes];
        file.read_exact_at(&mut manifest, from)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => not_a_snapshot(path, "its manifest is cut short"),
                _ => read(error),
            })?;
        let certified = read_manifest(path, &manifest)?;
        let first = from.saturating_add(u64::from(u32::from_le_bytes(len)));
        let chunks = spans(path, &file, &certified.manifest, first, end)?;
        Ok(Self {
            path: path.to_owned(),
            certified,
            place: Place::Archive { file, chunks },
        })
    }

    /// The folder or archive.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if it is a folder.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        matches!(self.place, Place::Folder)
    }

    /// The manifest with its certificate.
    #[must_use]
    pub const fn certified(&self) -> &SnapshotManifest {
        &self.certified
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.certified.manifest
    }

    /// The description.
    #[must_use]
    pub fn info(&self) -> SnapshotInfo {
        let manifest = self.manifest();
        SnapshotInfo {
            id: manifest.id(),
            genesis: manifest.genesis,
            height: manifest.header.height,
            hash: manifest.header.hash(),
            time: manifest.header.time,
            state_root: manifest.header.state_root,
            format: manifest.format,
            chunks: manifest.chunks.len(),
            rows: manifest.rows,
            bytes: manifest.bytes,
            path: self.path.clone(),
        }
    }

    /// Bytes on disk of the manifest and the chunks that are there.
    ///
    /// # Errors
    /// [`FilesError::File`].
    pub fn stored_bytes(&self) -> Result<u64, FilesError> {
        let size = |path: &Path| match std::fs::symlink_metadata(path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(FilesError::file("read", path)(error)),
        };
        if !self.is_folder() {
            return size(&self.path);
        }
        let mut sum = size(&self.path.join(MANIFEST))?;
        for info in &self.manifest().chunks {
            sum = sum.saturating_add(size(&self.chunk_path(info))?);
        }
        Ok(sum)
    }

    /// The file with a chunk: in the folder, or the archive.
    #[must_use]
    pub fn chunk_path(&self, info: &ChunkInfo) -> PathBuf {
        if self.is_folder() {
            self.path.join(CHUNKS).join(layout::chunk_name(info))
        } else {
            self.path.clone()
        }
    }

    /// The stored form of a chunk, of bounded size and unchecked.
    pub(crate) fn stored_chunk(&self, index: u32) -> Result<(ChunkInfo, Vec<u8>), FilesError> {
        let info = self.info_of(index)?;
        let damaged = |detail: String| chunk_file(&self.chunk_path(&info), index, &info, detail);
        let unread = |error| unread_chunk(&self.chunk_path(&info), index, &info, error);
        let stored = match &self.place {
            Place::Folder => {
                let max = layout::stored_bytes_max(&info);
                layout::open_plain(&self.chunk_path(&info))
                    .and_then(|file| layout::read_bounded(file, max))
                    .map_err(unread)?
                    .ok_or_else(|| damaged(format!("more than {max} bytes, the most that it can have")))?
            }
            Place::Archive { file, chunks } => {
                let span = usize::try_from(index).ok().and_then(|index| chunks.get(index));
                let span = span.ok_or_else(|| damaged("not in the archive".to_owned()))?;
                let mut stored = vec![0; usize::try_from(span.bytes).unwrap_or(0)];
                file.read_exact_at(&mut stored, span.at).map_err(unread)?;
                stored
            }
        };
        Ok((info, stored))
    }

    /// A chunk, unpacked to the size that the manifest states. Its contents are unchecked.
    ///
    /// # Errors
    /// [`FilesError::ChunkFile`] names the chunk and the damage.
    pub fn chunk(&self, index: u32) -> Result<Vec<u8>, FilesError> {
        let (info, stored) = self.stored_chunk(index)?;
        layout::unstore(&stored, &info)
            .map_err(|detail| chunk_file(&self.chunk_path(&info), index, &info, detail))
    }

    pub(crate) fn info_of(&self, index: u32) -> Result<ChunkInfo, FilesError> {
        let chunks = &self.manifest().chunks;
        let info = usize::try_from(index).ok().and_then(|index| chunks.get(index));
        info.copied().ok_or_else(|| FilesError::ChunkFile {
            path: self.path.clone(),
            index,
            name: "not in the manifest".to_owned(),
            detail: format!("the snapshot has {} chunks", chunks.len()),
        })
    }
}

/// Bytes of a length in an archive.
const LENGTH_BYTES: usize = 4;
/// Position of the length of the manifest.
const AFTER_MAGIC: u64 = ARCHIVE_MAGIC.len() as u64;

/// Where each chunk is in an archive: their lengths are read, and nothing else.
fn spans(
    path: &Path,
    file: &File,
    manifest: &Manifest,
    first: u64,
    end: u64,
) -> Result<Vec<Span>, FilesError> {
    let mut at = first;
    let mut spans = Vec::with_capacity(manifest.chunks.len());
    for (index, info) in (0u32..).zip(&manifest.chunks) {
        let mut len = [0; LENGTH_BYTES];
        let damaged = |detail: String| chunk_file(path, index, info, detail);
        file.read_exact_at(&mut len, at)
            .map_err(|error| unread_chunk(path, index, info, error))?;
        let bytes = u32::from_le_bytes(len);
        at = at.saturating_add(LENGTH_BYTES as u64);
        let max = layout::stored_bytes_max(info);
        if usize::try_from(bytes).map_or(true, |bytes| bytes > max) {
            return Err(damaged(format!("{bytes} bytes, it can have no more than {max}")));
        }
        spans.push(Span { at, bytes });
        at = at.saturating_add(u64::from(bytes));
        if at > end {
            return Err(damaged(format!(
                "the archive ends at byte {end}, the chunk at {at}"
            )));
        }
    }
    if at == end {
        return Ok(spans);
    }
    Err(FilesError::Surplus {
        path: format!("{} from byte {at} on", path.display()).into(),
    })
}

fn read_manifest(path: &Path, bytes: &[u8]) -> Result<SnapshotManifest, FilesError> {
    SnapshotManifest::from_bytes(bytes).map_err(|source| FilesError::Manifest {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

pub(crate) fn not_a_snapshot(path: &Path, detail: &str) -> FilesError {
    FilesError::NotASnapshot {
        path: path.to_owned(),
        detail: detail.to_owned(),
    }
}

/// The error of a chunk that cannot be read: damage, or a fault of the system.
fn unread_chunk(path: &Path, index: u32, info: &ChunkInfo, error: std::io::Error) -> FilesError {
    if layout::is_damage(&error) {
        return chunk_file(path, index, info, format!("cannot be read: {error}"));
    }
    FilesError::file("read", path)(error)
}

pub(crate) fn chunk_file(path: &Path, index: u32, info: &ChunkInfo, detail: String) -> FilesError {
    FilesError::ChunkFile {
        path: path.to_owned(),
        index,
        name: info.to_string(),
        detail,
    }
}
