//! The rows of a snapshot in the order in which a store takes them: the accounts, each with the slots of its chunk
//! directly behind it, then the slots of large accounts, which have chunks of their own.
//!
//! That is the order of the manifest, so every chunk is read once.

use std::vec;

use vibecoin_primitives::{StateKey, encode};
use vibecoin_snapshot::{Restore, VerifiedChunk};

use crate::error::FilesError;
use crate::progress::{Phase, Progress, Watch, report};
use crate::source::Snapshot;
use crate::verify;

type Row = (StateKey, Vec<u8>);

/// Rows of a snapshot, in order, each of a verified chunk. The first error is the end.
pub struct Rows<'a> {
    snapshot: &'a Snapshot,
    restore: Restore,
    watch: Watch<'a>,
    /// Position of the next chunk in the manifest.
    next: u32,
    rows: vec::IntoIter<Row>,
    failed: bool,
}

impl<'a> Rows<'a> {
    /// The rows of a snapshot whose manifest was accepted.
    pub fn new(snapshot: &'a Snapshot, restore: Restore, watch: Watch<'a>) -> Self {
        Self {
            snapshot,
            restore,
            watch,
            next: 0,
            rows: Vec::new().into_iter(),
            failed: false,
        }
    }

    /// Checks that every chunk was read.
    ///
    /// # Errors
    /// [`FilesError::ChunkFile`] with the first that was not.
    pub fn finish(self) -> Result<(), FilesError> {
        let missing = self.restore.complete().err();
        missing.map_or(Ok(()), |missing| {
            Err(FilesError::ChunkFile {
                path: self.snapshot.path().to_owned(),
                index: missing.first,
                name: missing.name,
                detail: "it was not read".to_owned(),
            })
        })
    }

    fn next_row(&mut self) -> Result<Option<Row>, FilesError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            let count = self.snapshot.manifest().chunks.len();
            if usize::try_from(self.next).is_ok_and(|next| next >= count) {
                return Ok(None);
            }
            let chunk = verify::checked(self.snapshot, &self.restore, self.next)?;
            self.restore.record(&chunk);
            self.next = self.next.saturating_add(1);
            self.rows = rows_of(chunk).into_iter();
            report(
                self.watch,
                Progress {
                    phase: Phase::Restore,
                    done: self.restore.bytes_present(),
                    all: self.snapshot.manifest().bytes,
                    bytes: self.restore.bytes_present(),
                },
            )?;
        }
    }
}

/// The rows of a chunk: each account with its slots behind it.
fn rows_of(chunk: VerifiedChunk) -> Vec<Row> {
    let (accounts, slots) = chunk.into_rows();
    let mut rows = Vec::with_capacity(accounts.len().saturating_add(slots.len()));
    let mut slots = slots.into_iter().peekable();
    for (account, row) in accounts {
        rows.push((StateKey::Account(account), encode(&row)));
        while let Some((owner, key, slot)) = slots.next_if(|(owner, _, _)| *owner == account) {
            rows.push((StateKey::Slot(owner, key), encode(&slot)));
        }
    }
    // In a chunk of a large account there is nothing else.
    rows.extend(slots.map(|(owner, key, slot)| (StateKey::Slot(owner, key), encode(&slot))));
    rows
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.next_row();
        self.failed = row.is_err();
        row.transpose()
    }
}
