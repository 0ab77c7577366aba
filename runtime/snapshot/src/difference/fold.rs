//! Making a difference: the diffs of the blocks between two states, folded into one.

use std::collections::BTreeMap;

use vibecoin_light::minimal_certificate;
use vibecoin_primitives::{
    AccountRow, CodecError, CommitCertificate, FaultModel, Hash, Header, SlotRow, StateDiff, StateKey,
    ValidatorSet, decode, encode, encoded_len,
};

use super::{
    Base, CHUNK_CHANGES_BYTES_MAX, CertifiedDifference, DIFFERENCE_CHUNKS_MAX, DIFFERENCE_FORMAT,
    DifferenceChunk, DifferenceChunkInfo, DifferenceManifest, RowChange, difference_chunk_hash,
};

/// Reason why no difference was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// A diff does not follow the one before it, or the header is not of the last one.
    #[error("a diff begins at root {got}, expected {expected}")]
    Gap {
        /// Root after the diff before it.
        expected: Hash,
        /// Root before the diff, or in the header.
        got: Hash,
    },
    /// A row of a diff is malformed.
    #[error(transparent)]
    Row(#[from] CodecError),
    /// So much changed that a whole snapshot is the better choice.
    #[error("the difference has more than {DIFFERENCE_CHUNKS_MAX} chunks")]
    TooLarge,
}

/// Folds diffs, in order of their heights, into what differs between the first state and the last.
#[derive(Clone, Debug)]
pub struct DifferenceBuilder {
    base: Base,
    root: Hash,
    /// First old row and last new row of each key.
    rows: BTreeMap<StateKeyOrder, Sides>,
    bytes: usize,
}

/// Account key, then slot key: the order of a difference.
type StateKeyOrder = (Hash, Option<Hash>);
/// The row before and the row after.
type Sides = (Option<Vec<u8>>, Option<Vec<u8>>);

const fn order(key: &StateKey) -> StateKeyOrder {
    match key {
        StateKey::Account(account) => (*account, None),
        StateKey::Slot(account, slot) => (*account, Some(*slot)),
    }
}

impl DifferenceBuilder {
    /// Begins at a state.
    #[must_use]
    pub const fn new(base: Base) -> Self {
        Self {
            base,
            root: base.root,
            rows: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Adds the diff of the next block.
    ///
    /// # Errors
    /// [`FoldError::Gap`] when it does not follow, [`FoldError::TooLarge`] when there is more than a difference may
    /// have.
    pub fn add(&mut self, diff: StateDiff) -> Result<(), FoldError> {
        if diff.parent_root != self.root {
            return Err(FoldError::Gap {
                expected: self.root,
                got: diff.parent_root,
            });
        }
        self.root = diff.root;
        for entry in diff.entries {
            let len = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
            let (_, new) = self
                .rows
                .entry(order(&entry.key))
                .or_insert_with(|| (entry.old, None));
            self.bytes = self
                .bytes
                .saturating_add(len(&entry.new))
                .saturating_sub(len(new));
            *new = entry.new;
        }
        if self.bytes > DIFFERENCE_CHUNKS_MAX.saturating_mul(CHUNK_CHANGES_BYTES_MAX) {
            return Err(FoldError::TooLarge);
        }
        Ok(())
    }

    /// The manifest with its certificate, and the chunks in its order.
    ///
    /// # Errors
    /// [`FoldError`]: the header is not of the last diff, a row is malformed, or there is too much.
    pub fn build(
        self,
        genesis: Hash,
        header: Header,
        certificate: Option<CommitCertificate>,
        fault_model: FaultModel,
        set: &ValidatorSet,
    ) -> Result<(CertifiedDifference, Vec<Vec<u8>>), FoldError> {
        if header.state_root != self.root {
            return Err(FoldError::Gap {
                expected: self.root,
                got: header.state_root,
            });
        }
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        let mut open = DifferenceChunk::default();
        let mut open_bytes = 0usize;
        for (key, (old, new)) in self.rows {
            if old == new {
                continue;
            }
            let change = change(key, new.as_deref())?;
            let bytes = encoded_len(&change);
            if open_bytes.saturating_add(bytes) > CHUNK_CHANGES_BYTES_MAX {
                chunks.push(encode(&std::mem::take(&mut open)));
                open_bytes = 0;
            }
            open_bytes = open_bytes.saturating_add(bytes);
            open.changes.push(change);
        }
        if !open.changes.is_empty() {
            chunks.push(encode(&open));
        }
        if chunks.len() > DIFFERENCE_CHUNKS_MAX {
            return Err(FoldError::TooLarge);
        }
        let info = |bytes: &Vec<u8>| DifferenceChunkInfo {
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: difference_chunk_hash(bytes),
        };
        let manifest = DifferenceManifest {
            format: DIFFERENCE_FORMAT,
            genesis,
            base: self.base,
            header,
            chunks: chunks.iter().map(info).collect(),
        };
        let certificate = certificate.map(|full| minimal_certificate(full, fault_model, set));
        Ok((
            CertifiedDifference {
                manifest,
                certificate,
            },
            chunks,
        ))
    }
}

fn change(key: StateKeyOrder, new: Option<&[u8]>) -> Result<RowChange, FoldError> {
    Ok(match (key, new) {
        ((_, None), Some(row)) => RowChange::Account(decode::<AccountRow>(row)?),
        ((account, None), None) => RowChange::NoAccount(account),
        ((account, Some(_)), Some(row)) => RowChange::Slot(account, decode::<SlotRow>(row)?),
        ((account, Some(slot)), None) => RowChange::NoSlot(account, slot),
    })
}
