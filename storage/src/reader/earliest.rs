//! The lowest height of a database: genesis, or the block of the snapshot that it began with.

use super::Reader;
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, Head};
use vibecoin_primitives::Height;

/// The records of a height that are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Header and certificate: from the base on.
    Header,
    /// Body, receipts and diff: not of the base itself.
    Body,
}

impl Kept {
    /// The family that has them.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Header => Family::Headers,
            Self::Body => Family::Blocks,
        }
    }
}

impl<R: KvRead + ?Sized> Reader<'_, R> {
    /// The block of the snapshot that this database began with; `None` where the chain begins with genesis.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn base(&self) -> Result<Option<Head>, StorageError> {
        let base = self.record::<Head>(Family::Meta, schema::BASE, "base")?;
        if base.is_some_and(|base| base.height == Height::ZERO) {
            return Err(StorageError::corrupt("base", "its height is that of genesis"));
        }
        Ok(base)
    }

    /// The lowest height with a header.
    pub(crate) fn base_height(&self) -> Result<Height, StorageError> {
        Ok(self.base()?.map_or(Height::ZERO, |base| base.height))
    }

    /// `found`, or [`StorageError::Pruned`] where it is missing because the height is too low. A record that is found
    /// costs no further read.
    pub(super) fn unless_pruned<T>(
        &self,
        found: Option<T>,
        kept: Kept,
        height: Height,
    ) -> Result<Option<T>, StorageError> {
        if found.is_some() {
            return Ok(found);
        }
        let Some(base) = self.base()? else { return Ok(None) };
        let earliest = match kept {
            Kept::Header => base.height,
            Kept::Body => base.height.saturating_add(1),
        };
        if height < earliest {
            return Err(StorageError::Pruned { height, earliest });
        }
        Ok(None)
    }
}
