//! Errors of snapshots as files.

use std::io;
use std::path::{Path, PathBuf};

use vibecoin_primitives::Height;
use vibecoin_snapshot::{ChunkError, ManifestError, SnapshotError, TrustError};
use vibecoin_storage::StorageError;
use vibecoin_trie::TrieError;

/// Reason why an operation on a snapshot failed. Nothing of it took effect then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The system refused an operation on a file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The operation: `read`, `write`, `create`, `rename`, `delete`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Neither a folder with a manifest nor an archive.
    #[error("{} is no snapshot: {detail}", path.display())]
    NotASnapshot {
        /// The path.
        path: PathBuf,
        /// The difference.
        detail: String,
    },
    /// The manifest contradicts itself.
    #[error("the manifest of {}: {source}", path.display())]
    Manifest {
        /// The snapshot.
        path: PathBuf,
        /// The violation.
        source: Box<ManifestError>,
    },
    /// The manifest does not follow from the genesis file.
    #[error("the manifest of {}: {source}", path.display())]
    Trust {
        /// The snapshot.
        path: PathBuf,
        /// The violation.
        source: Box<TrustError>,
    },
    /// The contents of a chunk are not those of the state.
    #[error("{}: {source}", path.display())]
    Chunk {
        /// The file of the chunk, or the archive.
        path: PathBuf,
        /// The chunk and the violation.
        source: Box<ChunkError>,
    },
    /// A chunk is missing, cut short, too long, or not what was written. A fault of the system while it is read is
    /// [`FilesError::File`].
    #[error("{}: chunk {index} ({name}): {detail}", path.display())]
    ChunkFile {
        /// The file of the chunk, or the archive.
        path: PathBuf,
        /// Its position in the manifest, from zero.
        index: u32,
        /// Its trie and prefix.
        name: String,
        /// The damage.
        detail: String,
    },
    /// There is a file that no chunk of the manifest has, or an archive goes on behind its last chunk.
    #[error("{} is no part of the snapshot", path.display())]
    Surplus {
        /// The file; for an archive, its path and the position.
        path: PathBuf,
    },
    /// A server does not give a file, or not in time.
    #[error("cannot fetch {url}: {detail}")]
    Source {
        /// Address of the file.
        url: String,
        /// The reason.
        detail: String,
    },
    /// The snapshot is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The snapshot, or the archive.
        path: PathBuf,
    },
    /// The folder of the database has one.
    #[error("{} holds a database already", path.display())]
    HasDatabase {
        /// The folder of the database.
        path: PathBuf,
    },
    /// The folder of the database has something else.
    #[error("{} is not empty and holds no database", path.display())]
    NotEmpty {
        /// The folder of the database.
        path: PathBuf,
    },
    /// The folder of the database is the root of a disk, which no rename replaces.
    #[error("{} is a mount point, and a database is made beside its folder", path.display())]
    MountPoint {
        /// The folder of the database.
        path: PathBuf,
    },
    /// Too little space on the disk. Nothing is left of what was written, except the verified chunks of a fetch.
    #[error("{} has {free} bytes of space, about {needed} are needed", path.display())]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes needed, estimated.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Another process makes a snapshot of this height in this folder.
    #[error("another process is making {}", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// The snapshot is of block 0.
    #[error("{} is a snapshot of the genesis state, which the genesis file has already", path.display())]
    OfGenesis {
        /// The snapshot.
        path: PathBuf,
    },
    /// No snapshot has this id.
    #[error("no snapshot in {} has the id {id}", folder.display())]
    NotFound {
        /// The id as given.
        id: String,
        /// The folder of the snapshots.
        folder: PathBuf,
    },
    /// Several snapshots have ids that begin like this.
    #[error("{count} snapshots in {} have ids that begin with {id}", folder.display())]
    Ambiguous {
        /// The id as given.
        id: String,
        /// Number of snapshots.
        count: usize,
        /// The folder of the snapshots.
        folder: PathBuf,
    },
    /// The verified rows are not the state of the certified block: an error of this program or of the disk between
    /// two reads.
    #[error("the rows are not the state of block {height}: {detail}")]
    OtherState {
        /// Height of the block.
        height: Height,
        /// The first difference.
        detail: String,
    },
    /// The receiver of the progress ended it.
    #[error("stopped before the end; nothing was changed")]
    Stopped,
    /// The rows of the store are not a state.
    #[error("the database is damaged, no snapshot was made: {detail}")]
    Store {
        /// The violation.
        detail: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FilesError {
    /// Returns true if the snapshot itself is at fault: damaged, of another chain, or not certified.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::NotASnapshot { .. }
                | Self::Manifest { .. }
                | Self::Trust { .. }
                | Self::Chunk { .. }
                | Self::ChunkFile { .. }
                | Self::Surplus { .. }
                | Self::OtherState { .. }
        )
    }

    /// Position in the manifest of the chunk that is damaged.
    #[must_use]
    pub const fn chunk(&self) -> Option<u32> {
        match self {
            Self::Chunk { source, .. } => Some(source.index),
            Self::ChunkFile { index, .. } => Some(*index),
            _ => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn snapshot(path: &Path) -> impl FnOnce(SnapshotError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            SnapshotError::Manifest(source) => Self::Manifest {
                path,
                source: Box::new(source),
            },
            SnapshotError::Trust(source) => Self::Trust {
                path,
                source: Box::new(source),
            },
            other => Self::NotASnapshot {
                path,
                detail: other.to_string(),
            },
        }
    }
}

impl From<TrieError> for FilesError {
    fn from(error: TrieError) -> Self {
        Self::Storage(error.into())
    }
}
