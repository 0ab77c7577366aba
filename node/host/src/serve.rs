//! Stored blocks for a peer that requests them.

use vibecoin_primitives::Height;
use vibecoin_primitives::limits::MIB;
use vibecoin_replica::{CertifiedBlock, SYNC_BLOCKS_MAX};
use vibecoin_storage::{StorageError, Store};

/// Maximum bytes of bodies in one answer; a single larger block is sent alone.
pub const BODIES_BYTES_MAX: usize = 4 * MIB;

/// Blocks for one answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// Ascending, without gaps; empty when the first requested block does not exist.
    pub blocks: Vec<CertifiedBlock>,
    /// The read that ended it, if one failed.
    pub error: Option<StorageError>,
}

/// Collects the blocks of an answer: from `from` on, up to `count`, none after the one that brings their bodies to
/// `bytes_enough`.
pub fn blocks(
    from: Height,
    count: u32,
    bytes_enough: usize,
    read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError>,
) -> Answer {
    let count = usize::try_from(count).map_or(SYNC_BLOCKS_MAX, |count| count.clamp(1, SYNC_BLOCKS_MAX));
    let mut answer = Answer::default();
    let mut bytes = 0_usize;
    for height in (from.0..=u64::MAX).map(Height).take(count) {
        let block = match read(height) {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(error) => {
                answer.error = Some(error);
                break;
            }
        };
        bytes = bytes.saturating_add(block.body.len());
        if !answer.blocks.is_empty() && bytes > BODIES_BYTES_MAX {
            break;
        }
        answer.blocks.push(block);
        if bytes >= bytes_enough {
            break;
        }
    }
    answer
}

/// Reads a block with its certificate; `None` when it is not stored, or is genesis, which has no certificate: every
/// node derives that block locally. A store that began at a snapshot has no block up to that height, and to be asked for
/// one is not a fault.
///
/// # Errors
/// [`StorageError`] of the reads.
pub fn certified_block(store: &Store, height: Height) -> Result<Option<CertifiedBlock>, StorageError> {
    if height < store.earliest() {
        return Ok(None);
    }
    let blocks = store.reader();
    let Some(header) = blocks.header(height)? else {
        return Ok(None);
    };
    let Some(certificate) = blocks.certificate(height)? else {
        return Ok(None);
    };
    let body = blocks.body_bytes(height)?;
    Ok(body.map(|body| CertifiedBlock {
        header,
        body,
        certificate,
    }))
}
