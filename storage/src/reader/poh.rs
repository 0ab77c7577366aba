//! The Proof of History by height, as in headers and bodies.

use super::Reader;
use crate::StorageError;
use crate::kv::KvRead;
use vibecoin_primitives::{Block, Hash, Height};

/// Position of the Proof of History after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PohPosition {
    /// Hashes since genesis.
    pub sequence: u64,
    /// The last hash.
    pub hash: Hash,
    /// The hash of every tick of the block.
    pub ticks: Vec<Hash>,
}

impl<R: KvRead + ?Sized> Reader<'_, R> {
    /// The position of the Proof of History after a height.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn poh_position(&self, height: Height) -> Result<Option<PohPosition>, StorageError> {
        let Some(Block { header, body }) = self.block(height)? else {
            return Ok(None);
        };
        let ticks = body.v1().ticks.iter().map(|tick| tick.hash).collect();
        Ok(Some(PohPosition {
            sequence: header.poh_seq,
            hash: header.poh_hash,
            ticks,
        }))
    }
}
