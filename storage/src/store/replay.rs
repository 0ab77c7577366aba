//! The state in memory from what the database holds: the materialised state, and the diffs above it.
//!
//! Every start begins here, and so does every rewind once it has cut the chain.

use super::commit::{pending, places_of};
use super::{Published, Writer};
use crate::StorageError;
use crate::kv::KvStore;
use crate::reader::Reader;
use crate::schema::Head;
use crate::state::{Base, Overlay, StateSource, StateView};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// The base in the database at present.
pub(crate) fn read_base(kv: &Arc<dyn KvStore>, epoch: u64) -> Result<Base, StorageError> {
    let snapshot = kv.snapshot();
    let at = Reader::new(&*snapshot).require_materialised()?;
    Ok(Base { snapshot, at, epoch })
}

/// Replays the diffs from the materialised height to the head, and compares every root.
pub(crate) fn replay(source: &Arc<StateSource>, genesis: &Hash) -> Result<(Published, Writer), StorageError> {
    replay_to(source, genesis, Reader::new(&*source.kv).require_head()?)
}

/// [`replay`] up to a block of the chain that is not above its head.
pub(super) fn replay_to(
    source: &Arc<StateSource>,
    genesis: &Hash,
    head: Head,
) -> Result<(Published, Writer), StorageError> {
    let reader = Reader::new(&*source.kv);
    let base = source.base.load_full();
    if base.at.height > head.height {
        let detail = format!(
            "the state is at height {}, so blocks above {} were lost",
            base.at.height, head.height
        );
        return Err(StorageError::corrupt("head", detail));
    }
    let stored = reader.require_header(base.at.height)?.state_root;
    if stored != base.at.root {
        let detail = format!(
            "root {} is stored, the header of height {} says {stored}",
            base.at.root, base.at.height
        );
        return Err(StorageError::corrupt("materialised height", detail));
    }
    let mut view = StateView::of_base(source, base);
    let (mut transactions, mut writer) = (Overlay::default(), Writer::default());
    while view.height() < head.height {
        let height = view.height().saturating_add(1);
        let diff = reader.require_diff(height)?;
        view = view.apply_diff(&diff)?;
        let expected = reader.require_header(height)?.state_root;
        if view.root() != expected {
            let detail = format!("it gives root {}, the header says {expected}", view.root());
            return Err(StorageError::corrupt(format!("diff of height {height}"), detail));
        }
        let ids = reader.transaction_ids(height, genesis)?;
        writer.push(pending(height, &diff, ids.len()));
        transactions = transactions.push(height.0, places_of(height, ids.into_iter()), 0);
    }
    Ok((
        Published {
            head,
            view,
            transactions,
        },
        writer,
    ))
}
