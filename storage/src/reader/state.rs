//! State roots and diffs by height, and the height of the materialised state.

use super::{Kept, Reader, required};
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, BlockPart, MATERIALISED, Materialised};
use vibecoin_primitives::{Hash, Height, StateDiff};

impl<R: KvRead + ?Sized> Reader<'_, R> {
    /// The state root after a height.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn state_root(&self, height: Height) -> Result<Option<Hash>, StorageError> {
        Ok(self.header(height)?.map(|header| header.state_root))
    }

    /// The state changes of a height; genesis has no diff.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn diff(&self, height: Height) -> Result<Option<StateDiff>, StorageError> {
        self.of_height(
            Kept::Body,
            &schema::block_key(height, BlockPart::Diff),
            "diff",
            height,
        )
    }

    /// The diff of an existing height above the base.
    pub(crate) fn require_diff(&self, height: Height) -> Result<StateDiff, StorageError> {
        required(self.diff(height)?, "diff", height)
    }

    /// The state that the database holds as rows.
    pub(crate) fn require_materialised(&self) -> Result<Materialised, StorageError> {
        self.record(Family::State, MATERIALISED, "materialised height")?
            .ok_or_else(|| StorageError::missing("materialised height"))
    }
}
