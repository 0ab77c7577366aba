//! The consensus log: messages and actions of this node at the height in progress.
//!
//! ```text
//! offset  bytes  field (integers little-endian)
//! 0       8192   two slots (`slots`); the payload is the height (8) and the salt of the file (16), the
//!                sequence is the log's generation
//! 8192    ..     records, one behind the other:
//!                  0   4   length of the payload
//!                  4   8   mark of the generation
//!                  12  16  keyed BLAKE3 over offset of the record, payload
//!                  28  ..  payload, opaque here
//! ```
//!
//! Key and mark are the first 32 and the next 8 bytes of BLAKE3, in a separate domain, over salt and
//! generation.
//!
//! A new height is a new generation in the slots; records of older generations are void, wherever they are
//! still on disk. At open, the first record that is not intact ends the log: if no intact record follows it,
//! it is the torn tail of a crash and is dropped. If one does, a power cut made later pages of an append
//! durable and earlier ones not, or the disk lost data. The double-sign guard decides: it records the end of
//! the log at the key's last signature. Damage behind that is dropped like a torn tail, since nothing was
//! signed for it; any other is refused.
//!
//! Payloads contain bytes chosen by others: a user's transaction is in the block's body. The search for a
//! following record visits every offset, because the length of a damaged record is unreliable, so those bytes
//! are searched too. The salt is random and never leaves the file; without it no attacker can put an intact
//! record into a payload, and without the mark none can make the search hash the rest of the file at many
//! offsets.

use super::slots::{Kind, SLOTS_BYTES, Slots};
use super::{DiskFile, RawFile, Relied};
use crate::{StorageError, planted};
use std::path::Path;
use vibecoin_primitives::Height;

/// Maximum size of a record's payload in bytes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

const KIND: Kind = Kind {
    magic: *b"VIBELOG\0",
    version: 2,
};
const RECORD_HEAD: usize = 4 + 8 + 16;

/// Bytes of the salt of a log.
pub const SALT_BYTES: usize = 16;

/// The log's file.
pub struct ConsensusLog {
    file: Box<dyn RawFile>,
    slots: Slots,
    height: Height,
    salt: [u8; SALT_BYTES],
    generation: Generation,
    end: usize,
    synced: bool,
}

/// The result of opening a log.
pub struct OpenedLog {
    /// The log, ready for appends.
    pub log: ConsensusLog,
    /// The payloads of its records, oldest first.
    pub records: Vec<Vec<u8>>,
    /// Number of dropped bytes: a torn tail, and those that a power cut left behind one.
    pub dropped_bytes: usize,
    /// The file existed, and every byte of it is valid: everything that this node appended and synced is in
    /// `records`.
    pub whole: bool,
}

impl OpenedLog {
    /// Empties a log of a height below `next`: the process ended between the commit of a block and the reset
    /// of the log. Otherwise later records would follow records of a different height, and damage before them
    /// would count as damage to data that was signed for.
    ///
    /// # Errors
    /// A fault of the disk; stop then.
    pub fn brought_to(mut self, next: Height) -> Result<Self, StorageError> {
        if self.log.height() < next {
            self.log.reset(next)?;
            self.records.clear();
        }
        Ok(self)
    }
}

impl ConsensusLog {
    /// Opens the log, or creates an empty one for `height`. `salt` is for a new one: secret random bytes.
    /// `relied` is of the guard of the key that signs with this log.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when the file is damaged before its end where a signature may depend on it,
    /// else a fault of the disk.
    pub fn open_or_create(
        path: &Path,
        height: Height,
        salt: [u8; SALT_BYTES],
        relied: Relied,
    ) -> Result<OpenedLog, StorageError> {
        match DiskFile::open(path) {
            Err(StorageError::Missing { .. }) => {
                let made = DiskFile::create(path, &Self::fresh(height, salt))?;
                Ok(OpenedLog {
                    whole: false,
                    ..Self::open_on(Box::new(made), relied)?
                })
            }
            opened => Self::open_on(Box::new(opened?), relied),
        }
    }

    /// The bytes of an empty log, for a caller-provided file.
    #[must_use]
    pub fn fresh(height: Height, salt: [u8; SALT_BYTES]) -> Vec<u8> {
        Slots::fresh(KIND, &entry(height, salt))
    }

    /// Opens the log in a caller-provided file.
    ///
    /// # Errors
    /// As [`ConsensusLog::open_or_create`].
    pub fn open_on(mut file: Box<dyn RawFile>, relied: Relied) -> Result<OpenedLog, StorageError> {
        let (name, bytes) = (file.name(), file.read()?);
        let (slots, payload) = Slots::open(KIND, &name, &bytes)?;
        let (height, salt) = read_entry(&name, &payload)?;
        let generation = Generation::new(salt, slots.sequence());
        let (mut records, mut end) = (Vec::new(), SLOTS_BYTES);
        while let Some(payload) = record_at(&bytes, &generation, end) {
            end = end.saturating_add(RECORD_HEAD).saturating_add(payload.len());
            records.push(payload.to_vec());
        }
        let behind = end.saturating_add(1)..bytes.len();
        let follows = |at: &usize| record_at(&bytes, &generation, *at).is_some();
        if !relied.spares(height, end)
            && let Some(at) = behind.into_iter().find(follows)
        {
            let detail = format!(
                "record {} at byte {end} is damaged, a whole one follows at byte {at}, and this key may have signed for it",
                records.len()
            );
            return Err(StorageError::corrupt(name, detail));
        }
        let dropped_bytes = bytes.len().saturating_sub(end);
        if dropped_bytes > 0 {
            file.truncate(end as u64)?;
        }
        // A process that was killed leaves records which the kernel has and the disk does not. Signatures may
        // be derived from them, so they are made durable before they are returned.
        file.sync()?;
        // A reset makes the new generation durable, not the truncation after it: after a power cut records of
        // the previous height may be there again, or any sectors of them. The first sync of this height would
        // have made the truncation durable, so nothing of it was ever synced, and nothing is missing. Each
        // reset syncs the truncation of the previous one, so they are of the previous generation.
        let older = Generation::new(salt, slots.sequence().saturating_sub(1));
        let dropped = bytes.get(end..).unwrap_or_default();
        let is_cut_undone = dropped
            .windows(older.mark.len())
            .any(|bytes| *bytes == older.mark);
        let whole = (dropped_bytes == 0 || is_cut_undone) && !slots.was_torn();
        Ok(OpenedLog {
            log: Self {
                file,
                slots,
                height,
                salt,
                generation,
                end,
                synced: true,
            },
            records,
            dropped_bytes,
            whole,
        })
    }

    /// The height of the log's records.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end
    }

    /// Returns true if the log has no records.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= SLOTS_BYTES
    }

    /// Appends a record. Not durable before [`ConsensusLog::sync`].
    ///
    /// # Errors
    /// [`StorageError::Refused`] when it is too long, else a fault of the disk; stop then.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= RECORD_BYTES_MAX);
        let length = length.ok_or_else(|| {
            StorageError::Refused(format!(
                "a log record of {} bytes is over {RECORD_BYTES_MAX}",
                payload.len()
            ))
        })?;
        let mut bytes = Vec::with_capacity(RECORD_HEAD.saturating_add(payload.len()));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.generation.mark);
        bytes.extend_from_slice(&self.generation.checksum(self.end, payload));
        bytes.extend_from_slice(payload);
        self.file.write_at(self.end as u64, &bytes)?;
        self.end = self.end.saturating_add(bytes.len());
        self.synced = false;
        Ok(())
    }

    /// Makes all records durable. Costs nothing when they are.
    ///
    /// # Errors
    /// A fault of the disk; stop then.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        if !self.synced {
            self.file.sync()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Empties the log for a new height, durably. Call it when the block below is committed.
    ///
    /// # Errors
    /// A fault of the disk; stop then.
    pub fn reset(&mut self, height: Height) -> Result<(), StorageError> {
        self.slots.store(&mut *self.file, &entry(height, self.salt))?;
        self.slots.sync(&mut *self.file)?;
        // The truncated records are void already, so the truncation itself need not be durable.
        self.file.truncate(SLOTS_BYTES as u64)?;
        self.height = height;
        self.generation = Generation::new(self.salt, self.slots.sequence());
        self.end = SLOTS_BYTES;
        self.synced = true;
        Ok(())
    }
}

/// The payload of a slot.
fn entry(height: Height, salt: [u8; SALT_BYTES]) -> Vec<u8> {
    [&height.0.to_le_bytes()[..], &salt].concat()
}

fn read_entry(name: &str, bytes: &[u8]) -> Result<(Height, [u8; SALT_BYTES]), StorageError> {
    let wrong = || {
        let detail = match bytes.len() {
            8 => {
                "it has version 1, this program reads version 2: move this file (no other) away, it holds the height in progress only"
            }
            _ => "its entry is not a height and a salt",
        };
        StorageError::corrupt(name, detail)
    };
    let (height, salt) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let salt = salt.try_into().map_err(|_| wrong())?;
    Ok((Height(u64::from_le_bytes(*height)), salt))
}

/// Secrets of the records of one generation.
struct Generation {
    key: [u8; 32],
    mark: [u8; 8],
}

impl Generation {
    fn new(salt: [u8; SALT_BYTES], number: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("vibecoin consensus log generation v2");
        hasher.update(&salt);
        hasher.update(&number.to_le_bytes());
        let (mut key, mut mark) = ([0; 32], [0; 8]);
        let mut bytes = hasher.finalize_xof();
        bytes.fill(&mut key);
        bytes.fill(&mut mark);
        Self { key, mark }
    }

    fn checksum(&self, offset: usize, payload: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(offset as u64).to_le_bytes());
        hasher.update(payload);
        let mut sum = [0; 16];
        hasher.finalize_xof().fill(&mut sum);
        sum
    }
}

/// The payload of the intact record of `generation` at `offset`, if there is one.
fn record_at<'a>(bytes: &'a [u8], generation: &Generation, offset: usize) -> Option<&'a [u8]> {
    let (length, rest) = bytes.get(offset..)?.split_first_chunk::<4>()?;
    let (mark, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<16>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if *mark != generation.mark || length > RECORD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..length)?;
    planted::intact(generation.checksum(offset, payload) == *sum).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::super::MemoryFile;
    use super::*;

    #[test]
    fn a_log_without_a_salt_is_refused_with_a_way_out() {
        let older = Kind { version: 1, ..KIND };
        let file = MemoryFile::new(Slots::fresh(older, &7u64.to_le_bytes()));
        let error = ConsensusLog::open_on(Box::new(file), Relied::All)
            .err()
            .expect("version 1");
        let text = error.to_string();
        assert!(
            text.contains("version 1") && text.contains("move this file"),
            "{text}"
        );
    }
}
