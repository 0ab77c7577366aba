//! Two slots, written in turn, so that the entry before a torn one is always intact.
//!
//! ```text
//! offset  bytes  field (integers little-endian)
//! 0       8      magic: what kind of file
//! 8       4      version
//! 12      8      sequence: one more for each entry
//! 20      4      length of the payload
//! 24      32     BLAKE3, in a domain of its own, over bytes 0 to 24 and the payload
//! 56      ..     payload
//! ```
//!
//! The second slot is at offset [`SLOT_BYTES`], in another page. A new file has its first entry in both, as 1
//! in the second and as 2 in the first, so that a slot of zeros is always damage: a page that the disk lost.
//! Files of earlier versions began with the first slot alone, as 1.

use super::RawFile;
use crate::StorageError;

/// Bytes from one slot to the next.
pub(super) const SLOT_BYTES: usize = 4096;
/// Bytes of both slots.
pub(super) const SLOTS_BYTES: usize = 2 * SLOT_BYTES;
const HEAD_BYTES: usize = 24;
const PAYLOAD_AT: usize = HEAD_BYTES + 32;
/// Maximum size of a payload in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1024;

const _: () = assert!(PAYLOAD_AT + PAYLOAD_BYTES_MAX <= SLOT_BYTES);

/// Kind of the file with the slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) magic: [u8; 8],
    pub(super) version: u32,
}

/// The slots of an open file.
#[derive(Debug)]
pub(super) struct Slots {
    kind: Kind,
    sequence: u64,
    /// The slot that holds the newest entry that is durable; the other one is written next.
    durable: usize,
    /// True if the other slot holds a newer entry that is not durable yet.
    ahead: bool,
    /// True if one of the slots was damaged when the file was opened.
    torn: bool,
    /// The version of the entry that was read.
    version: u32,
}

enum Slot {
    /// All zeros.
    Empty,
    /// Sequence, version and payload.
    Whole(u64, u32, Vec<u8>),
    Damaged(&'static str),
}

impl Slots {
    /// The bytes of a new file whose first entry is `payload`.
    pub(super) fn fresh(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = encode(kind, 2, payload);
        bytes.resize(SLOT_BYTES, 0);
        bytes.extend(encode(kind, 1, payload));
        bytes.resize(SLOTS_BYTES, 0);
        bytes
    }

    /// Reads the newest intact entry.
    pub(super) fn open(kind: Kind, name: &str, bytes: &[u8]) -> Result<(Self, Vec<u8>), StorageError> {
        let (Some(first), Some(second)) = (bytes.get(..SLOT_BYTES), bytes.get(SLOT_BYTES..SLOTS_BYTES))
        else {
            return Err(StorageError::corrupt(
                name,
                format!("{} bytes, two slots are {SLOTS_BYTES}", bytes.len()),
            ));
        };
        let (first, second) = (parse(kind, first)?, parse(kind, second)?);
        let torn = match (&first, &second) {
            // A file of an earlier version that holds only its first entry.
            (Slot::Whole(1, ..), Slot::Empty) => false,
            (first, second) => [first, second]
                .iter()
                .any(|slot| !matches!(slot, Slot::Whole(..))),
        };
        let made = |durable, sequence, version, payload| {
            Ok((
                Self {
                    kind,
                    sequence,
                    durable,
                    ahead: false,
                    torn,
                    version,
                },
                payload,
            ))
        };
        match (first, second) {
            (Slot::Whole(a, ..), Slot::Whole(b, version, payload)) if b > a => made(1, b, version, payload),
            (Slot::Whole(a, version, payload), _) => made(0, a, version, payload),
            (_, Slot::Whole(b, version, payload)) => made(1, b, version, payload),
            (Slot::Damaged(detail), _) | (_, Slot::Damaged(detail)) => {
                Err(StorageError::corrupt(name, detail))
            }
            (Slot::Empty, Slot::Empty) => Err(StorageError::corrupt(name, "it was never written")),
        }
    }

    /// Sequence number of the newest entry.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Format version of the entry that was read at open.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Returns true if one slot was damaged when the file was opened: a torn write, or a bad disk.
    pub(super) const fn was_torn(&self) -> bool {
        self.torn
    }

    /// Writes an entry over the older one. Until the next sync, later entries go to the same slot.
    pub(super) fn store(&mut self, file: &mut dyn RawFile, payload: &[u8]) -> Result<(), StorageError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(StorageError::Refused(format!(
                "an entry of {} bytes is too long",
                payload.len()
            )));
        }
        let sequence = self.sequence.saturating_add(1);
        let offset = if self.durable == 0 { SLOT_BYTES as u64 } else { 0 };
        file.write_at(offset, &encode(self.kind, sequence, payload))?;
        self.sequence = sequence;
        self.ahead = true;
        Ok(())
    }

    /// Makes the newest entry durable.
    pub(super) fn sync(&mut self, file: &mut dyn RawFile) -> Result<(), StorageError> {
        if self.ahead {
            file.sync()?;
            self.durable ^= 1;
            self.ahead = false;
        }
        Ok(())
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("vibecoin two-slot file v1");
    hasher.update(head);
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

fn encode(kind: Kind, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAYLOAD_AT.saturating_add(payload.len()));
    bytes.extend_from_slice(&kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    let checksum = checksum(&bytes, payload);
    bytes.extend_from_slice(&checksum);
    bytes.extend_from_slice(payload);
    bytes
}

fn parse(kind: Kind, slot: &[u8]) -> Result<Slot, StorageError> {
    if slot.iter().all(|byte| *byte == 0) {
        return Ok(Slot::Empty);
    }
    let damaged = |detail| Ok(Slot::Damaged(detail));
    let Some((head, rest)) = slot.split_at_checked(HEAD_BYTES) else {
        return damaged("too short");
    };
    let field = |from: usize| {
        head.get(from..)
            .and_then(|tail| tail.first_chunk::<4>())
            .copied()
            .unwrap_or_default()
    };
    let long = head
        .get(12..)
        .and_then(|tail| tail.first_chunk::<8>())
        .copied()
        .unwrap_or_default();
    let length = u32::from_le_bytes(field(20)) as usize;
    let Some((sum, rest)) = rest.split_at_checked(32) else {
        return damaged("too short");
    };
    let Some(payload) = rest.get(..length).filter(|_| length <= PAYLOAD_BYTES_MAX) else {
        return damaged("its length is out of range");
    };
    if checksum(head, payload) != sum {
        return damaged("its checksum does not match");
    }
    if !head.starts_with(&kind.magic) {
        return damaged("it is another kind of file");
    }
    match u32::from_le_bytes(field(8)) {
        version if version > kind.version => Err(StorageError::SchemaTooNew {
            found: version,
            known: kind.version,
        }),
        version => Ok(Slot::Whole(u64::from_le_bytes(long), version, payload.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        magic: *b"VIBETEST",
        version: 1,
    };

    /// A file with these entries; 0 is a slot of zeros.
    fn is_torn(first: u64, second: u64) -> bool {
        let bytes = [first, second].map(|sequence| {
            let entry = Some(encode(KIND, sequence, b"entry")).filter(|_| sequence > 0);
            let mut slot = entry.unwrap_or_default();
            slot.resize(SLOT_BYTES, 0);
            slot
        });
        let (slots, payload) = Slots::open(KIND, "file", &bytes.concat()).expect("an entry");
        assert_eq!(
            (slots.sequence(), payload),
            (first.max(second), b"entry".to_vec())
        );
        slots.was_torn()
    }

    #[test]
    fn a_slot_of_zeros_is_torn_except_in_an_older_file_with_one_entry() {
        assert!(!is_torn(1, 0), "as earlier versions made it");
        for (first, second) in [(2, 0), (3, 0), (64, 0), (0, 1), (0, 2), (0, 65)] {
            assert!(is_torn(first, second), "{first} {second}");
        }
        for (first, second) in [(2, 1), (1, 2), (3, 2)] {
            assert!(!is_torn(first, second), "{first} {second}");
        }
    }
}
