//! Back to an earlier height: an intent first, then the state, then history.
//!
//! The state goes down in steps of bounded size, each one atomic ingest with its height, each root compared
//! with its header. Then history is cut from the top. A crash anywhere finds the intent at the next start
//! and goes on: the state is never above the head, and the head never above what is being cut.

use super::materialise::Step;
use super::open::{read_base, replay};
use super::read::{diff, header, place_ids, read_record};
use super::{Store, StoreConfig};
use crate::StorageError;
use crate::kv::{Batch, Family};
use crate::schema::{self, BlockPart, Head, HeightRecord, Materialised};
use crate::state::{Shared, StateView};
use std::collections::BTreeSet;
use std::sync::Arc;
use vibecoin_primitives::{Hash, Height, StateDiff, encode};

/// Blocks cut from history in one batch.
const CUT_BLOCKS_MAX: u64 = 512;

impl Store {
    /// Takes the chain back to `target`: every block above it is forgotten. Commits wait meanwhile.
    ///
    /// Views made before keep showing what they showed; nothing may be committed on top of them.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the chain is not that high; any other error ends this store.
    pub fn rewind_to(&self, target: Height) -> Result<StateView, StorageError> {
        let core = &self.core;
        let _no_step = core.step.lock();
        let mut writer = core.writer.lock();
        writer.check()?;
        let head = core.published.load().head;
        if target > head.height {
            return Err(StorageError::Refused(format!(
                "cannot rewind to {target}: the head is at {}",
                head.height
            )));
        }
        let mut intent = Batch::new();
        intent.put(Family::Meta, schema::REWIND, encode(&HeightRecord(target)));
        let done = core.kv.write(&intent, true).and_then(|()| {
            finish_rewind(&core.shared, &core.genesis.hash, target, &core.config)?;
            replay(&core.shared, &core.genesis.hash)
        });
        match done {
            Ok((published, fresh)) => {
                let view = published.view.clone();
                core.published.store(Arc::new(published));
                *writer = super::Writer {
                    closing: writer.closing,
                    waiting: writer.waiting,
                    ..fresh
                };
                core.drained.notify_all();
                Ok(view)
            }
            Err(error) => {
                writer.fault = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// Does what the intent says, from wherever it was left.
pub(super) fn finish_rewind(
    shared: &Arc<Shared>,
    genesis: &Hash,
    target: Height,
    config: &StoreConfig,
) -> Result<(), StorageError> {
    while shared.base.load().at.height > target {
        lower_state(shared, genesis, target, config)?;
    }
    cut_history(shared, target)
}

/// One step down: undoes diffs from the materialised height until the target or the bound of a step.
fn lower_state(
    shared: &Arc<Shared>,
    genesis: &Hash,
    target: Height,
    config: &StoreConfig,
) -> Result<(), StorageError> {
    let kv = &*shared.kv;
    let base = shared.base.load_full();
    let (mut height, epoch) = (base.at.height, base.epoch);
    let mut view = StateView::of_base(shared, base);
    let (mut updates, mut gone) = (0usize, BTreeSet::new());
    while height > target && (updates == 0 || updates < config.step_updates) {
        let undone = reversed(diff(kv, height)?);
        updates = updates.saturating_add(undone.entries.len().max(1));
        view = view.apply_diff(&undone)?;
        gone.extend(place_ids(kv, height, genesis)?);
        height = height.saturating_sub(1);
        let expected = header(kv, height)?.state_root;
        if view.root() != expected {
            let detail = format!(
                "undoing it gives root {}, the header below says {expected}",
                view.root()
            );
            return Err(StorageError::corrupt(
                format!("diff of height {}", height.saturating_add(1)),
                detail,
            ));
        }
    }
    let step = Step {
        at: Materialised {
            height,
            root: view.root(),
        },
        rows: view.inner.rows.merged(),
        nodes: view.inner.nodes.merged(),
        transactions: gone.into_iter().map(|id| (id, None)).collect(),
    };
    let (_, _, ingest) = step.into_ingest();
    kv.ingest(Family::State, &ingest)?;
    let epoch = epoch.saturating_add(1);
    shared.cache.clear(epoch);
    shared.base.store(Arc::new(read_base(&shared.kv, epoch)?));
    Ok(())
}

fn reversed(diff: StateDiff) -> StateDiff {
    let mut undone = StateDiff {
        parent_root: diff.root,
        root: diff.parent_root,
        entries: diff.entries,
    };
    for entry in &mut undone.entries {
        std::mem::swap(&mut entry.old, &mut entry.new);
    }
    undone
}

/// Removes the blocks above `target`, the highest first; the last batch removes the intent too.
fn cut_history(shared: &Arc<Shared>, target: Height) -> Result<(), StorageError> {
    let kv = &*shared.kv;
    let head = read_record::<Head>(kv, Family::Meta, schema::HEAD, "head")?;
    let mut height = head.ok_or_else(|| StorageError::missing("head"))?.height;
    loop {
        let floor = target.max(height.saturating_sub(CUT_BLOCKS_MAX));
        let mut batch = Batch::new();
        while height > floor {
            batch.delete(Family::Headers, schema::hash_key(&header(kv, height)?.hash()));
            batch.delete(Family::Headers, schema::header_key(height));
            batch.delete(Family::Headers, schema::certificate_key(height));
            for part in [BlockPart::Body, BlockPart::Receipts, BlockPart::Diff] {
                batch.delete(Family::Blocks, schema::block_key(height, part));
            }
            height = height.saturating_sub(1);
        }
        let hash = header(kv, height)?.hash();
        batch.put(Family::Meta, schema::HEAD, encode(&Head { height, hash }));
        if height <= target {
            batch.delete(Family::Meta, schema::REWIND);
        }
        kv.write(&batch, true)?;
        if height <= target {
            return Ok(());
        }
    }
}
