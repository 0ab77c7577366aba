//! Making a snapshot of a store.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use vibecoin_primitives::Hash;
use vibecoin_snapshot::{BuildError, Builder, ChunkInfo, ChunkSizes, Manifest, SnapshotManifest};
use vibecoin_storage::SnapshotSource;
use vibecoin_trie::{Nibbles, PrefixProof, Trie};

use crate::error::FilesError;
use crate::folder::{NewFolder, write_new};
use crate::layout::{self, CHUNKS, MANIFEST};
use crate::list::list;
use crate::progress::{Phase, Progress, Watch, report};
use crate::source::{Snapshot, SnapshotInfo};

/// Number of positions in the key space that progress distinguishes: the first four bytes of a key.
const POSITIONS: u64 = 1 << 32;
/// Bytes that stay free on the disk of a snapshot, which is often that of the node's database.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// Number of chunks between two checks of the free space; together they are smaller than the reserve.
const CHUNKS_PER_CHECK: u64 = 16;

/// Writes the snapshot of a state below `folder`, which is created. The files are synced, and appear by one rename of
/// the whole folder; a name that is taken is not replaced.
///
/// The store commits meanwhile. Memory: one chunk and the rows of the next, about 10 MiB.
///
/// # Errors
/// [`FilesError::Exists`] when the folder has the snapshot of this block, [`FilesError::Space`] before the disk is full,
/// else a fault of the disk or the database. Nothing is left then.
pub fn create(source: &SnapshotSource, folder: &Path, watch: Watch<'_>) -> Result<SnapshotInfo, FilesError> {
    create_in_chunks(source, folder, ChunkSizes::default(), watch)
}

/// As [`create`], in chunks of other sizes than those of the format: many chunks of few rows, for tests.
///
/// # Errors
/// As [`create`].
pub fn create_in_chunks(
    source: &SnapshotSource,
    folder: &Path,
    sizes: ChunkSizes,
    watch: Watch<'_>,
) -> Result<SnapshotInfo, FilesError> {
    if let Some(path) = snapshot_of(source, folder)? {
        return Err(FilesError::Exists { path });
    }
    let height = source.header().height.0;
    let new = NewFolder::begin(folder, &height.to_string())?;
    let chunks = new.path().join(CHUNKS);
    std::fs::create_dir(&chunks).map_err(FilesError::file("create", &chunks))?;
    let manifest = write_chunks(source, folder, &chunks, sizes, watch)?;
    layout::sync_folder(&chunks).map_err(FilesError::file("sync", &chunks))?;
    let genesis = source.genesis();
    let certified = SnapshotManifest::new(
        manifest,
        Some(source.certificate().clone()),
        genesis.params.fault_model,
        &genesis.validators,
    );
    write_new(&new.path().join(MANIFEST), &certified.to_bytes())?;
    let name = layout::folder_name(height, &certified.manifest.id());
    let path = new.place(&name)?;
    Ok(Snapshot::open(&path)?.info())
}

/// The snapshot of the same block in a folder.
fn snapshot_of(source: &SnapshotSource, folder: &Path) -> Result<Option<PathBuf>, FilesError> {
    let same = list(folder)?.into_iter().find(|listed| {
        listed
            .found
            .as_ref()
            .is_ok_and(|info| info.hash == source.hash() && info.path.is_dir())
    });
    Ok(same.map(|listed| listed.path))
}

/// Writes the chunks into `folder`, as long as its disk has enough space; `disk` is a folder on it that stays.
fn write_chunks(
    source: &SnapshotSource,
    disk: &Path,
    folder: &Path,
    sizes: ChunkSizes,
    watch: Watch<'_>,
) -> Result<Manifest, FilesError> {
    let builder = Builder {
        sizes,
        ..Builder::new(source.genesis().hash, source.header().clone())
    };
    // Keys are hashes, so the position of the last account is the share that is done.
    let position = Cell::new(0u32);
    let accounts = source.accounts_from(Hash::ZERO)?.map(|row| {
        let (key, row) = row?;
        let [a, b, c, d, ..] = key.0;
        position.set(u32::from_be_bytes([a, b, c, d]));
        Ok((key, row))
    });
    let slots = source.slots_from((Hash::ZERO, Hash::ZERO))?;
    let slots = slots.map(|row| row.map_err(FilesError::from));
    let (mut bytes, mut count) = (0u64, 0u64);
    let emit = |info: &ChunkInfo, chunk: Vec<u8>| {
        if count.is_multiple_of(CHUNKS_PER_CHECK) {
            check_space(disk)?;
        }
        count = count.saturating_add(1);
        write_new(&folder.join(layout::chunk_name(info)), &layout::store(&chunk))?;
        bytes = bytes.saturating_add(u64::from(info.bytes));
        report(
            watch,
            Progress {
                phase: Phase::Create,
                done: u64::from(position.get()),
                all: POSITIONS,
                bytes,
            },
        )?;
        Ok::<(), FilesError>(())
    };
    let prove = |owner: &Hash, root: &Hash, prefix: &Nibbles| prove(source, owner, root, prefix);
    builder.build(accounts, slots, prove, emit).map_err(build_error)
}

fn check_space(disk: &Path) -> Result<(), FilesError> {
    let free = layout::free_bytes(disk).map_err(FilesError::file("read", disk))?;
    if free >= RESERVE_BYTES {
        return Ok(());
    }
    Err(FilesError::Space {
        path: disk.to_owned(),
        needed: RESERVE_BYTES,
        free,
    })
}

fn prove(
    source: &SnapshotSource,
    owner: &Hash,
    root: &Hash,
    prefix: &Nibbles,
) -> Result<PrefixProof, FilesError> {
    let trie = if owner.is_zero() {
        source.trie()
    } else {
        Trie::storage(*owner, *root)
    };
    Ok(trie.prove_prefix(prefix, source)?)
}

fn build_error(error: BuildError<FilesError>) -> FilesError {
    match error {
        BuildError::Caller(error) => error,
        other => FilesError::Store {
            detail: other.to_string(),
        },
    }
}
