//! Restoring a snapshot into the database of a home.
//!
//! The database is made in a folder beside its final one and renamed when it is complete, flushed and synced. Until
//! then the home has no database, so a node that starts in between creates its own from genesis, and a killed restore
//! is begun again.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vibecoin_storage::kv::RocksConfig;
use vibecoin_storage::{GenesisRecord, Head, RestoreError, RestorePoint, Restored, Store};

use crate::error::FilesError;
use crate::layout::{free_bytes, sync_folder};
use crate::progress::Watch;
use crate::rows::Rows;
use crate::source::Snapshot;
use crate::verify;

/// Bytes of a database for each byte of a snapshot's chunks, at most: rows with their keys, trie nodes, and a second
/// copy of part of them while RocksDB compacts.
const DATABASE_BYTES_PER_BYTE: u64 = 6;
/// Bytes of a database besides.
const DATABASE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// File that every database has.
const CURRENT: &str = "CURRENT";

/// Bytes of the database of a snapshot with so many bytes of chunks, at most.
pub const fn database_bytes(bytes: u64) -> u64 {
    bytes
        .saturating_mul(DATABASE_BYTES_PER_BYTE)
        .saturating_add(DATABASE_BYTES_MIN)
}

/// Result of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredHome {
    /// The block that the database begins with.
    pub base: Head,
    /// Number of accounts.
    pub accounts: u64,
    /// Number of slots.
    pub slots: u64,
}

/// Restores a snapshot into the database folder `db` of a stopped home, which must be absent or empty. Every chunk is
/// verified as it is read, and the store rebuilds the tries from the rows and compares their roots.
///
/// The caller holds the lock of the home. Remains of a killed restore are removed first.
///
/// # Errors
/// [`FilesError::HasDatabase`], [`FilesError::NotEmpty`], [`FilesError::Space`], [`FilesError::OfGenesis`] before
/// anything is written; the damage of the snapshot; a fault of the disk. There is no new database in `db` then, and
/// nothing beside it.
pub fn restore(
    snapshot: &Snapshot,
    genesis: &GenesisRecord,
    db: &Path,
    rocks: RocksConfig,
    watch: Watch<'_>,
) -> Result<RestoredHome, FilesError> {
    let checked = verify::begin(snapshot, genesis)?;
    let point = restore_point(snapshot, genesis)?;
    let place = Place::beside(db)?;
    place.check_space(snapshot.manifest().bytes)?;
    let mut rows = Rows::new(snapshot, checked, watch);
    let filled = fill(&place.new, &point, &mut rows, rocks).and_then(|restored| {
        rows.finish()?;
        Ok(restored)
    });
    let restored = match filled {
        Ok(restored) => restored,
        Err(error) => {
            // The first error counts; the next restore removes what this cannot.
            let _remains = place.clear();
            return Err(error);
        }
    };
    if let Err(error) = place.swap_in() {
        let _remains = place.clear();
        return Err(error);
    }
    Ok(RestoredHome {
        base: restored.base,
        accounts: restored.accounts,
        slots: restored.slots,
    })
}

fn restore_point(snapshot: &Snapshot, genesis: &GenesisRecord) -> Result<RestorePoint, FilesError> {
    let certified = snapshot.certified();
    let Some(certificate) = certified.certificate.clone() else {
        return Err(FilesError::OfGenesis {
            path: snapshot.path().to_owned(),
        });
    };
    let header = certified.manifest.header.clone();
    Ok(RestorePoint::new(genesis.clone(), header, certificate)?)
}

fn fill(
    folder: &Path,
    point: &RestorePoint,
    rows: &mut Rows<'_>,
    rocks: RocksConfig,
) -> Result<Restored, FilesError> {
    Store::restore_path(folder, point, rows, rocks).map_err(|error| match error {
        RestoreError::Rows(error) => error,
        RestoreError::OtherState { height, detail } => FilesError::OtherState { height, detail },
        RestoreError::Storage(error) => error.into(),
        other => FilesError::OtherState {
            height: point.base().height,
            detail: other.to_string(),
        },
    })
}

/// The folder of a database, and the one beside it in which a new one is made.
#[derive(Debug)]
struct Place {
    db: PathBuf,
    parent: PathBuf,
    new: PathBuf,
}

impl Place {
    /// The places of a database. A link to its folder is followed: the rename would replace the link.
    fn of(db: &Path) -> Self {
        let db = std::fs::canonicalize(db).unwrap_or_else(|_| db.to_owned());
        let parent = match db.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = db.file_name().unwrap_or_default();
        let new = parent.join(format!(".{}.restore", name.to_string_lossy()));
        Self { db, parent, new }
    }

    /// Checks that the folder of the database is free, and removes the remains of a killed restore.
    fn beside(db: &Path) -> Result<Self, FilesError> {
        let place = Self::of(db);
        check_free(db)?;
        std::fs::create_dir_all(&place.parent).map_err(FilesError::file("create", &place.parent))?;
        place.clear()?;
        Ok(place)
    }

    fn check_space(&self, bytes: u64) -> Result<(), FilesError> {
        let free = free_bytes(&self.parent).map_err(FilesError::file("read", &self.parent))?;
        let needed = database_bytes(bytes);
        if free >= needed {
            return Ok(());
        }
        Err(FilesError::Space {
            path: self.parent.clone(),
            needed,
            free,
        })
    }

    fn clear(&self) -> Result<(), FilesError> {
        match std::fs::remove_dir_all(&self.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FilesError::file("delete", &self.new)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the new database that of the home. An empty folder is replaced by the rename, one with contents is not.
    fn swap_in(&self) -> Result<(), FilesError> {
        sync_folder(&self.new).map_err(FilesError::file("sync", &self.new))?;
        std::fs::rename(&self.new, &self.db).map_err(FilesError::file("rename", &self.new))?;
        sync_folder(&self.parent).map_err(FilesError::file("sync", &self.parent))
    }
}

/// Checks that a database may be restored into a folder, which must be absent or empty, and on the disk of the folder
/// that it is in.
///
/// # Errors
/// [`FilesError::MountPoint`], [`FilesError::HasDatabase`], [`FilesError::NotEmpty`].
pub fn check_free(db: &Path) -> Result<(), FilesError> {
    let place = Place::of(db);
    // A folder that is absent is made on the disk of the other.
    let disk = |folder: &Path| std::fs::metadata(folder).ok().map(|found| found.dev());
    let (own, around) = (disk(&place.db), disk(&place.parent));
    if own.is_some() && own != around {
        return Err(FilesError::MountPoint { path: db.to_owned() });
    }
    if is_free(db).map_err(FilesError::file("read", db))? {
        return Ok(());
    }
    let path = db.to_owned();
    if has_database(db) {
        return Err(FilesError::HasDatabase { path });
    }
    Err(FilesError::NotEmpty { path })
}

/// Returns true if a folder holds a database.
pub fn has_database(db: &Path) -> bool {
    std::fs::symlink_metadata(db.join(CURRENT)).is_ok()
}

/// Removes the remains of a killed restore.
pub fn remove_unfinished(db: &Path) -> Result<(), FilesError> {
    Place::of(db).clear()
}

/// Returns true if a folder is absent or empty.
fn is_free(folder: &Path) -> io::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().transpose()?.is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
