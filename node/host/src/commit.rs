//! Committing a decided block: the database first, then the head witness.

use vibecoin_execution::DecidedBlock;
use vibecoin_primitives::{Hash, Height};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{Head, StateView, StorageError};

use crate::files::{HostError, during};
use crate::planted;

/// A block that was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A write failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The witness recorded a different block of the same height: the chain of the peers is not the one that was
    /// committed on this node. Nothing was written.
    #[error("block {height} of the peers is {decided}, but {committed} was committed here")]
    OtherThanWitness {
        /// The height.
        height: Height,
        /// Hash of the block that was decided now.
        decided: Hash,
        /// Hash in the witness.
        committed: Hash,
    },
}

/// D2, D4: stores the block with `store`, one atomic synced write, then records it where a damaged database cannot
/// hide it. Returns the state to publish: readers may be notified now.
///
/// While a home fetches blocks that it lost, the witness keeps the newest block that was ever committed, so that
/// another start waits for it too; and the fetched block of that height must be the same.
///
/// # Errors
/// [`CommitError`]; nothing is retried.
pub fn commit(
    block: &DecidedBlock<StateView>,
    witness: &mut HeadWitness,
    store: impl FnOnce(&DecidedBlock<StateView>) -> Result<StateView, StorageError>,
) -> Result<StateView, CommitError> {
    let (height, hash) = (block.header.height, block.hash);
    let seen = witness.head();
    compare(seen, height, hash)?;
    let mut record = || {
        if seen.is_none_or(|seen| seen.height < height) {
            witness
                .record(Head { height, hash })
                .map_err(during("write the head witness"))?;
        }
        Ok::<_, HostError>(())
    };
    planted::record_early(&mut record)?;
    let state = store(block).map_err(during("commit a block"))?;
    record()?;
    Ok(state)
}

/// Compares a block with the witness's record of its height.
fn compare(seen: Option<Head>, height: Height, decided: Hash) -> Result<(), CommitError> {
    match seen {
        Some(seen) if seen.height == height && seen.hash != decided => Err(CommitError::OtherThanWitness {
            height,
            decided,
            committed: seen.hash,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_block_at_the_height_of_the_witness_is_refused_with_both_hashes() {
        let (hash, other) = (Hash([7; 32]), Hash([8; 32]));
        let head = Head {
            height: Height(9),
            hash,
        };
        for (seen, height, decided) in [
            (None, 9, other),
            (Some(head), 8, other),
            (Some(head), 9, hash),
            (Some(head), 10, other),
        ] {
            compare(seen, Height(height), decided).unwrap();
        }
        let text = compare(Some(head), Height(9), other).unwrap_err().to_string();
        assert!(
            text.contains(&other.to_string()) && text.contains(&hash.to_string()),
            "{text}"
        );
    }
}
