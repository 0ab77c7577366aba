//! The double-sign guard: what this key signed last, durable before the signature leaves.

use super::slots::{Kind, Slots};
use super::{DiskFile, RawFile};
use crate::StorageError;
use std::path::Path;
use vibecoin_primitives::{Height, Round};

/// Most bytes of an entry's payload.
pub const GUARD_PAYLOAD_BYTES_MAX: usize = 512;

const KIND: Kind = Kind {
    magic: *b"VIBEGRD\0",
    version: 1,
};

/// Bytes in front of the payload: height, round, step.
const ENTRY_HEAD: usize = 8 + 4 + 1;

const _: () = assert!(ENTRY_HEAD + GUARD_PAYLOAD_BYTES_MAX <= super::slots::PAYLOAD_BYTES_MAX);

/// What was signed last. Ordered by height, round and step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuardEntry {
    /// At which height.
    pub height: Height,
    /// In which round.
    pub round: Round,
    /// In which step of the round; the signer says what the numbers mean.
    pub step: u8,
    /// What the signer needs to give the same signature again, at most [`GUARD_PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// The guard's file. Height, round and step never go back, and one step is never two things.
pub struct GuardFile {
    file: Box<dyn RawFile>,
    slots: Slots,
    latest: Option<GuardEntry>,
}

impl GuardFile {
    /// Makes the guard of a key that never signed. The file must not exist.
    ///
    /// # Errors
    /// [`StorageError`] of the disk.
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        Self::open_on(Box::new(DiskFile::create(path, &Slots::fresh(KIND, &[]))?))
    }

    /// Opens the guard of a key that may have signed.
    ///
    /// # Errors
    /// [`StorageError::Missing`] when there is no file, [`StorageError::Corrupt`] when no entry in it is
    /// whole. In both cases the key must not sign before somebody has answered for it.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Self::open_on(Box::new(DiskFile::open(path)?))
    }

    /// The bytes of a guard that never signed, for a file of the caller's.
    #[must_use]
    pub fn fresh() -> Vec<u8> {
        Slots::fresh(KIND, &[])
    }

    /// [`GuardFile::open`] on a file of the caller's.
    ///
    /// # Errors
    /// As [`GuardFile::open`].
    pub fn open_on(mut file: Box<dyn RawFile>) -> Result<Self, StorageError> {
        let (slots, payload) = Slots::open(KIND, &file.name(), &file.read()?)?;
        // A process that was killed in a sync may leave a slot which the disk does not have yet, and the
        // next entry is written over the other one.
        file.sync()?;
        let latest = if payload.is_empty() {
            None
        } else {
            Some(decode(&file.name(), &payload)?)
        };
        Ok(Self { file, slots, latest })
    }

    /// What was signed last; `None` when nothing was.
    #[must_use]
    pub const fn latest(&self) -> Option<&GuardEntry> {
        self.latest.as_ref()
    }

    /// Returns true if one of the two slots was damaged when the file was opened. After a power cut that is
    /// the trace of a write that never returned, so nothing was signed with it. Without one the disk is
    /// suspect, and the damaged slot may have been the newer: [`crate::start::Remembered`] says what follows.
    #[must_use]
    pub const fn was_torn(&self) -> bool {
        self.slots.was_torn()
    }

    /// Records what is about to be signed, durably. The entry that is recorded already costs nothing.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when height, round and step go back or say something else than before;
    /// nothing is written then. Any other error: do not sign, stop.
    pub fn store(&mut self, entry: GuardEntry) -> Result<(), StorageError> {
        if entry.payload.len() > GUARD_PAYLOAD_BYTES_MAX {
            return Err(StorageError::Refused(format!(
                "a guard entry of {} bytes is too long",
                entry.payload.len()
            )));
        }
        if let Some(latest) = &self.latest {
            if entry == *latest {
                return Ok(());
            }
            let at = |entry: &GuardEntry| (entry.height, entry.round, entry.step);
            if at(&entry) <= at(latest) {
                return Err(StorageError::Refused(format!(
                    "guard: asked to sign {:?}, signed {:?} already",
                    at(&entry),
                    at(latest)
                )));
            }
        }
        self.slots.store(&mut *self.file, &encode(&entry))?;
        self.slots.sync(&mut *self.file)?;
        self.latest = Some(entry);
        Ok(())
    }
}

fn encode(entry: &GuardEntry) -> Vec<u8> {
    let mut bytes = entry.height.0.to_le_bytes().to_vec();
    bytes.extend_from_slice(&entry.round.0.to_le_bytes());
    bytes.push(entry.step);
    bytes.extend_from_slice(&entry.payload);
    bytes
}

fn decode(name: &str, bytes: &[u8]) -> Result<GuardEntry, StorageError> {
    let parts = bytes.split_first_chunk::<8>().and_then(|(height, rest)| {
        let (round, rest) = rest.split_first_chunk::<4>()?;
        let (step, payload) = rest.split_first()?;
        Some((height, round, step, payload))
    });
    let (height, round, step, payload) =
        parts.ok_or_else(|| StorageError::corrupt(name, "its entry is too short"))?;
    Ok(GuardEntry {
        height: Height(u64::from_le_bytes(*height)),
        round: Round(u32::from_le_bytes(*round)),
        step: *step,
        payload: payload.to_vec(),
    })
}
