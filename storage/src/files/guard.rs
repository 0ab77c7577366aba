//! The double-sign guard: the last signature of this key, durable before the signature leaves.
//!
//! ```text
//! offset  bytes  field of an entry (integers little-endian); empty before the first signature
//! 0       8      height
//! 8       4      round
//! 12      1      step
//! 13      8      where the consensus log ended; not in version 1
//! 21      ..     payload, opaque here
//! ```

use super::slots::{Kind, Slots};
use super::{DiskFile, RawFile};
use crate::StorageError;
use std::path::Path;
use vibecoin_primitives::{Height, Round};

/// Maximum size of an entry's payload in bytes.
pub const GUARD_PAYLOAD_BYTES_MAX: usize = 512;

const KIND: Kind = Kind {
    magic: *b"VIBEGRD\0",
    version: 2,
};

/// Bytes in front of the payload.
const ENTRY_HEAD: usize = 8 + 4 + 1 + 8;

const _: () = assert!(ENTRY_HEAD + GUARD_PAYLOAD_BYTES_MAX <= super::slots::PAYLOAD_BYTES_MAX);

/// The last signature. Ordered by height, round and step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuardEntry {
    /// Height of the signature.
    pub height: Height,
    /// Round of the signature.
    pub round: Round,
    /// Step of the round; the signer defines the numbers.
    pub step: u8,
    /// Data that the signer needs to repeat the same signature, up to [`GUARD_PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// The guard's file. Height, round and step never decrease, and one step is never signed with two contents.
pub struct GuardFile {
    file: Box<dyn RawFile>,
    slots: Slots,
    latest: Option<GuardEntry>,
    log_end: LogEnd,
}

/// End of the consensus log when the guard's newest entry was made: the causes of that signature are before
/// it.
type LogEnd = Option<u64>;

/// The part of the consensus log that a signature may depend on. Later records arrived after the signature,
/// and the node may lose them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relied {
    /// Unknown, so all of it.
    All,
    /// None of it: the key never signed, or there is no key.
    Nothing,
    /// The newest signature is of this height, and its causes end at this byte of the log of the height.
    Until {
        /// Height of the signature.
        height: Height,
        /// Bytes from the start of the file.
        end: u64,
    },
}

impl Relied {
    /// Returns true if no signature depends on anything from byte `end` of the log of `height` on.
    #[must_use]
    pub fn spares(self, height: Height, end: usize) -> bool {
        match self {
            Self::All => false,
            Self::Nothing => true,
            // A log is of a height before anything of that height is signed. One that is behind the guard is
            // not the log that the signature was made with.
            Self::Until { height: signed, .. } if signed != height => signed < height,
            Self::Until { end: relied, .. } => u64::try_from(end).is_ok_and(|end| relied <= end),
        }
    }
}

impl GuardFile {
    /// Creates the guard of a key that never signed. The file must not exist.
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
    /// intact. In both cases the key must not sign before the operator has approved it.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Self::open_on(Box::new(DiskFile::open(path)?))
    }

    /// The bytes of a guard that never signed, for a caller-provided file.
    #[must_use]
    pub fn fresh() -> Vec<u8> {
        Slots::fresh(KIND, &[])
    }

    /// [`GuardFile::open`] on a caller-provided file.
    ///
    /// # Errors
    /// As [`GuardFile::open`].
    pub fn open_on(mut file: Box<dyn RawFile>) -> Result<Self, StorageError> {
        let (slots, payload) = Slots::open(KIND, &file.name(), &file.read()?)?;
        // A process that was killed in a sync may leave a slot which the disk does not have yet, and the next
        // entry is written over the other one.
        file.sync()?;
        let (latest, log_end) = if payload.is_empty() {
            (None, None)
        } else {
            let (entry, log_end) = decode(&file.name(), slots.version(), &payload)?;
            (Some(entry), log_end)
        };
        Ok(Self {
            file,
            slots,
            latest,
            log_end,
        })
    }

    /// The last signature; `None` when there is none.
    #[must_use]
    pub const fn latest(&self) -> Option<&GuardEntry> {
        self.latest.as_ref()
    }

    /// Returns true if one of the two slots was damaged when the file was opened. After a power cut that is
    /// the trace of a write that never returned, so nothing was signed with it. Without one the disk is
    /// suspect, and the damaged slot may have been the newer: [`crate::start::Remembered`] documents the
    /// consequence.
    #[must_use]
    pub const fn was_torn(&self) -> bool {
        self.slots.was_torn()
    }

    /// The part of the consensus log that must exist. For a guard with a damaged slot all of it: a newer
    /// entry may be lost.
    #[must_use]
    pub const fn relied(&self) -> Relied {
        match (&self.latest, self.log_end) {
            _ if self.slots.was_torn() => Relied::All,
            (None, _) => Relied::Nothing,
            (Some(entry), Some(end)) => Relied::Until {
                height: entry.height,
                end,
            },
            // Of an older version.
            (Some(entry), None) => Relied::Until {
                height: entry.height,
                end: u64::MAX,
            },
        }
    }

    /// Durably records the content about to be signed. An entry that is recorded already costs nothing.
    /// `log_end` is [`ConsensusLog::len`](super::ConsensusLog::len) now, when the causes are in the log and
    /// synced.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when height, round and step decrease or repeat with a different content;
    /// nothing is written then. Any other error: do not sign, stop.
    pub fn store(&mut self, entry: GuardEntry, log_end: usize) -> Result<(), StorageError> {
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
        let log_end = u64::try_from(log_end).unwrap_or(u64::MAX);
        self.slots.store(&mut *self.file, &encode(&entry, log_end))?;
        self.slots.sync(&mut *self.file)?;
        self.latest = Some(entry);
        self.log_end = Some(log_end);
        Ok(())
    }
}

fn encode(entry: &GuardEntry, log_end: u64) -> Vec<u8> {
    let mut bytes = entry.height.0.to_le_bytes().to_vec();
    bytes.extend_from_slice(&entry.round.0.to_le_bytes());
    bytes.push(entry.step);
    bytes.extend_from_slice(&log_end.to_le_bytes());
    bytes.extend_from_slice(&entry.payload);
    bytes
}

fn decode(name: &str, version: u32, bytes: &[u8]) -> Result<(GuardEntry, LogEnd), StorageError> {
    let parts = bytes.split_first_chunk::<8>().and_then(|(height, rest)| {
        let (round, rest) = rest.split_first_chunk::<4>()?;
        let (step, rest) = rest.split_first()?;
        let (log_end, payload) = match version {
            1 => (None, rest),
            _ => rest
                .split_first_chunk::<8>()
                .map(|(end, payload)| (Some(u64::from_le_bytes(*end)), payload))?,
        };
        let entry = GuardEntry {
            height: Height(u64::from_le_bytes(*height)),
            round: Round(u32::from_le_bytes(*round)),
            step: *step,
            payload: payload.to_vec(),
        };
        Some((entry, log_end))
    });
    parts.ok_or_else(|| StorageError::corrupt(name, "its entry is too short"))
}

#[cfg(test)]
mod tests {
    use super::super::MemoryFile;
    use super::*;

    fn entry() -> GuardEntry {
        GuardEntry {
            height: Height(7),
            round: Round(1),
            step: 2,
            payload: vec![9; 30],
        }
    }

    #[test]
    fn an_entry_of_version_1_counts_and_may_have_been_made_for_the_whole_log() {
        let older = Kind { version: 1, ..KIND };
        let mut payload = encode(&entry(), 77);
        payload.drain(13..21);
        let file = MemoryFile::new(Slots::fresh(older, &payload));
        let mut guard = GuardFile::open_on(Box::new(file.clone())).expect("version 1");
        assert_eq!(guard.latest(), Some(&entry()));
        assert!(!guard.relied().spares(Height(7), usize::MAX - 1));
        assert!(guard.relied().spares(Height(8), 0));
        let next = GuardEntry { step: 3, ..entry() };
        guard.store(next.clone(), 9_000).expect("the next step");
        let guard = GuardFile::open_on(Box::new(file)).expect("version 2");
        assert_eq!(guard.latest(), Some(&next));
        let expected = Relied::Until {
            height: Height(7),
            end: 9_000,
        };
        assert_eq!(guard.relied(), expected);
    }

    #[test]
    fn a_signature_relies_on_what_was_in_the_log_of_its_height() {
        let until = Relied::Until {
            height: Height(7),
            end: 9_000,
        };
        for (relied, height, end, spares) in [
            (Relied::All, 7, usize::MAX, false),
            (Relied::Nothing, 7, 0, true),
            (until, 7, 8_999, false),
            (until, 7, 9_000, true),
            (until, 8, 0, true),
            (until, 6, usize::MAX, false),
        ] {
            assert_eq!(
                relied.spares(Height(height), end),
                spares,
                "{relied:?} {height} {end}"
            );
        }
    }
}
