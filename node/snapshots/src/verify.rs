//! Verifying a snapshot against the genesis file, without a database.

use std::collections::BTreeSet;
use std::ffi::OsString;

use vibecoin_snapshot::{Restore, TrustedSet, VerifiedChunk};
use vibecoin_storage::GenesisRecord;

use crate::error::FilesError;
use crate::layout::{self, CHUNKS, MANIFEST};
use crate::progress::{Phase, Progress, Watch, report};
use crate::source::Snapshot;

/// The trust that a genesis file gives.
#[must_use]
pub fn trust_of(genesis: &GenesisRecord) -> TrustedSet {
    TrustedSet::genesis(genesis.hash, genesis.params.clone(), genesis.validators.clone())
}

/// Begins to check a snapshot: its manifest against the trust.
pub(crate) fn begin(snapshot: &Snapshot, genesis: &GenesisRecord) -> Result<Restore, FilesError> {
    Restore::begin(&trust_of(genesis), snapshot.certified().clone())
        .map_err(FilesError::snapshot(snapshot.path()))
}

/// Reads a chunk and checks it.
pub(crate) fn checked(
    snapshot: &Snapshot,
    restore: &Restore,
    index: u32,
) -> Result<VerifiedChunk, FilesError> {
    let chunk = snapshot.chunk(index)?;
    restore.verify(index, &chunk).map_err(|source| FilesError::Chunk {
        path: snapshot
            .info_of(index)
            .map_or_else(|_| snapshot.path().to_owned(), |info| snapshot.chunk_path(&info)),
        source: Box::new(source),
    })
}

/// Verifies a snapshot completely: that the genesis validators certified its block, that every chunk holds all rows of
/// its prefix under the block's state root, and that there are no other files. In the order of the manifest, and
/// stops at the first damage.
///
/// # Errors
/// [`FilesError`]; [`FilesError::is_damage`] distinguishes a damaged snapshot from a failing disk.
pub fn verify(snapshot: &Snapshot, genesis: &GenesisRecord, watch: Watch<'_>) -> Result<(), FilesError> {
    let restore = begin(snapshot, genesis)?;
    let mut bytes = 0u64;
    for (index, info) in (0u32..).zip(&snapshot.manifest().chunks) {
        checked(snapshot, &restore, index)?;
        bytes = bytes.saturating_add(u64::from(info.bytes));
        report(
            watch,
            Progress {
                phase: Phase::Verify,
                done: bytes,
                all: snapshot.manifest().bytes,
                bytes,
            },
        )?;
    }
    no_surplus(snapshot)
}

/// Refuses files that are no part of a snapshot: a renamed chunk is one.
fn no_surplus(snapshot: &Snapshot) -> Result<(), FilesError> {
    if !snapshot.is_folder() {
        // Checked when it was opened.
        return Ok(());
    }
    let chunks = snapshot.manifest().chunks.iter();
    let names = chunks.map(|info| layout::chunk_name(info).into()).collect();
    only(&snapshot.path().join(CHUNKS), &names)?;
    only(snapshot.path(), &[MANIFEST, CHUNKS].map(OsString::from).into())
}

fn only(folder: &std::path::Path, names: &BTreeSet<OsString>) -> Result<(), FilesError> {
    let read = |error| FilesError::file("read", folder)(error);
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        if !names.contains(&entry.file_name()) {
            return Err(FilesError::Surplus { path: entry.path() });
        }
    }
    Ok(())
}
