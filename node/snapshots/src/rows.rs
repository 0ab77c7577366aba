//! The rows of a snapshot in the order of the flat state: all accounts, then all slots by account.
//!
//! Slots of small accounts are in the chunks of their accounts, those of large ones in chunks of their own. So the
//! chunks with accounts that have slots behind them are read twice, and the two kinds are merged by account. Every
//! chunk is verified whenever it is read.

use std::collections::VecDeque;
use std::vec;

use vibecoin_primitives::{Hash, SlotRow, StateKey, encode};
use vibecoin_snapshot::Restore;

use crate::error::FilesError;
use crate::progress::{Phase, Progress, Watch};
use crate::source::Snapshot;
use crate::verify;

type Row = (StateKey, Vec<u8>);
type Slot = (Hash, Hash, SlotRow);

/// Rows of a snapshot, in order. The first error is the end.
pub struct Rows<'a> {
    snapshot: &'a Snapshot,
    restore: Restore,
    watch: Watch<'a>,
    /// Chunks of the account trie that were not read yet.
    accounts: VecDeque<u32>,
    /// Chunks of it that were read and have slots.
    inline: VecDeque<u32>,
    /// Chunks of the storage tries of large accounts, ascending by account.
    large: VecDeque<u32>,
    rows: vec::IntoIter<Row>,
    inline_slots: VecDeque<Slot>,
    done: u64,
    all: u64,
    slots_begun: bool,
    failed: bool,
}

impl<'a> Rows<'a> {
    /// The rows of a snapshot whose manifest was accepted.
    pub fn new(snapshot: &'a Snapshot, restore: Restore, watch: Watch<'a>) -> Self {
        let chunks = || (0u32..).zip(&snapshot.manifest().chunks);
        let of_accounts = || chunks().filter(|(_, info)| info.owner.is_zero());
        Self {
            accounts: of_accounts().map(|(index, _)| index).collect(),
            inline: VecDeque::new(),
            large: chunks()
                .filter(|(_, info)| !info.owner.is_zero())
                .map(|(index, _)| index)
                .collect(),
            rows: Vec::new().into_iter(),
            inline_slots: VecDeque::new(),
            done: 0,
            all: of_accounts().fold(0, |sum, (_, info)| sum.saturating_add(u64::from(info.bytes))),
            slots_begun: false,
            failed: false,
            snapshot,
            restore,
            watch,
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

    fn load(&mut self, index: u32, phase: Phase) -> Result<vibecoin_snapshot::VerifiedChunk, FilesError> {
        let chunk = verify::checked(self.snapshot, &self.restore, index)?;
        // False for a chunk that is read a second time.
        let _is_new = self.restore.record(&chunk);
        let bytes = u64::from(self.snapshot.info_of(index)?.bytes);
        self.done = self.done.saturating_add(bytes);
        (self.watch)(Progress {
            phase,
            done: self.done,
            all: self.all,
            bytes: self.done,
        });
        Ok(chunk)
    }

    fn next_row(&mut self) -> Result<Option<Row>, FilesError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            if let Some(index) = self.accounts.pop_front() {
                self.load_accounts(index)?;
                continue;
            }
            if !self.slots_begun {
                self.begin_slots()?;
            }
            if !self.load_slots()? {
                return Ok(None);
            }
        }
    }

    fn load_accounts(&mut self, index: u32) -> Result<(), FilesError> {
        let chunk = self.load(index, Phase::Accounts)?;
        if !chunk.slots().is_empty() {
            self.inline.push_back(index);
        }
        let (accounts, _) = chunk.into_rows();
        let rows = accounts
            .iter()
            .map(|(key, row)| (StateKey::Account(*key), encode(row)));
        self.rows = rows.collect::<Vec<_>>().into_iter();
        Ok(())
    }

    fn begin_slots(&mut self) -> Result<(), FilesError> {
        self.slots_begun = true;
        (self.done, self.all) = (0, 0);
        for index in self.inline.iter().chain(&self.large) {
            let bytes = u64::from(self.snapshot.info_of(*index)?.bytes);
            self.all = self.all.saturating_add(bytes);
        }
        Ok(())
    }

    /// Takes the slots of the next accounts of one kind, up to the next account of the other; the kinds share none.
    /// Returns false behind the last.
    fn load_slots(&mut self) -> Result<bool, FilesError> {
        if self.inline_slots.is_empty()
            && let Some(index) = self.inline.pop_front()
        {
            let (_, slots) = self.load(index, Phase::Slots)?.into_rows();
            self.inline_slots = slots.into();
        }
        let large = match self.large.front() {
            Some(index) => Some(self.snapshot.info_of(*index)?.owner),
            None => None,
        };
        let is_before = |(owner, _, _): &Slot| large.is_none_or(|large| *owner < large);
        let mut rows = Vec::new();
        while let Some(slot) = self.inline_slots.pop_front_if(|slot| is_before(slot)) {
            rows.push(row_of(&slot));
        }
        if rows.is_empty() {
            let Some(index) = self.large.pop_front() else {
                return Ok(false);
            };
            let (_, slots) = self.load(index, Phase::Slots)?.into_rows();
            rows = slots.iter().map(row_of).collect();
        }
        self.rows = rows.into_iter();
        Ok(true)
    }
}

fn row_of((owner, key, row): &Slot) -> Row {
    (StateKey::Slot(*owner, *key), encode(row))
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
