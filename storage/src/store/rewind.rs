//! Rewind to an earlier height: everything verified, an intent, then the state, then history.
//!
//! The intent binds every later start, so it is written only after all records that the rewind will read have
//! been read and verified: a damaged diff refuses the rewind and changes nothing.
//!
//! The state is lowered in steps of bounded size, each one atomic ingest with its height, each root compared
//! with its header. Then history is cut from the top. After a crash at any point the next start finds the
//! intent and continues: the state is never above the head, and the head never above the part being cut.

use super::materialise::Step;
use super::replay::{read_base, replay, replay_to};
use super::{Store, StoreConfig, StoredChain};
use crate::StorageError;
use crate::kv::{Batch, Family};
use crate::reader::Reader;
use crate::schema::{self, BlockPart, Head, HeightRecord, Materialised};
use crate::state::{StateSource, StateView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vibecoin_primitives::{Hash, Height, StateDiff, StateKey, body_hash, encode};

/// Number of blocks cut from history in one batch.
const CUT_BLOCKS_MAX: u64 = 512;

impl Store {
    /// Rewinds the chain to `target`: every block above it is removed. Commits wait meanwhile.
    ///
    /// Earlier views remain valid; nothing may be committed on top of them. Before anything is written the
    /// whole way is traversed in memory: that takes the rows and trie nodes that differ between the
    /// materialised state and the target's, each once.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the chain is not that high, [`StorageError::Pruned`] when the database begins
    /// above it, [`StorageError::Corrupt`] or [`StorageError::Missing`] when a record on the way is damaged: nothing
    /// has changed then. An error while writing ends this store.
    pub fn rewind_to(&self, target: Height) -> Result<StateView, StorageError> {
        let chain = &self.chain;
        let _no_step = chain.step.lock();
        let mut writer = chain.writer.lock();
        writer.check()?;
        let head = chain.published.load().head;
        if target > head.height {
            return Err(StorageError::Refused(format!(
                "cannot rewind to {target}: the head is at {}",
                head.height
            )));
        }
        let earliest = self.base().height;
        if target < earliest {
            return Err(StorageError::Pruned {
                height: target,
                earliest,
            });
        }
        verify(chain, head, target)?;
        let mut intent = Batch::new();
        intent.put(Family::Meta, schema::REWIND, encode(&HeightRecord(target)));
        let done = chain.kv.write(&intent, true).and_then(|()| {
            finish_rewind(&chain.source, &chain.genesis.hash, target, &chain.config)?;
            replay(&chain.source, &chain.genesis.hash)
        });
        match done {
            Ok((published, fresh)) => {
                let view = published.view.clone();
                chain.published.store(Arc::new(published));
                *writer = super::Writer {
                    closing: writer.closing,
                    waiting: writer.waiting,
                    ..fresh
                };
                chain.drained.notify_all();
                Ok(view)
            }
            Err(error) => {
                writer.fault = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// Traverses the whole way in memory: the headers from the head, the bodies whose transactions leave the
/// index, the diffs to undo, or those that lead from the materialised state up to the target.
fn verify(chain: &StoredChain, head: Head, target: Height) -> Result<(), StorageError> {
    let (reader, base) = (Reader::new(&*chain.kv), chain.source.base.load_full());
    let mut at = head;
    loop {
        let header = reader.require_header(at.height)?;
        let found = header.hash();
        if found != at.hash {
            let detail = format!("its hash is {found}, the block above names {}", at.hash);
            return Err(StorageError::corrupt(
                format!("header of height {}", at.height),
                detail,
            ));
        }
        if at.height <= target {
            break;
        }
        if at.height <= base.at.height {
            let body = reader.body_bytes(at.height)?;
            if body.is_none_or(|body| body_hash(&body) != header.body_hash) {
                let detail = "it is missing or not the one of its header";
                return Err(StorageError::corrupt(
                    format!("body of height {}", at.height),
                    detail,
                ));
            }
        }
        at = Head {
            height: at.height.saturating_sub(1),
            hash: header.parent,
        };
    }
    let mut height = base.at.height;
    if height <= target {
        return replay_to(&chain.source, &chain.genesis.hash, at).map(|_| ());
    }
    let mut view = StateView::of_base(&chain.source, base);
    while height > target {
        (view, _) = undo(reader, &view, height)?;
        height = height.saturating_sub(1);
    }
    Ok(())
}

/// Executes the intent, from any intermediate state.
pub(super) fn finish_rewind(
    source: &Arc<StateSource>,
    genesis: &Hash,
    target: Height,
    config: &StoreConfig,
) -> Result<(), StorageError> {
    while source.base.load().at.height > target {
        lower_state(source, genesis, target, config)?;
    }
    cut_history(source, target)
}

/// One step down: undoes diffs from the materialised height until the target or the bound of a step.
fn lower_state(
    source: &Arc<StateSource>,
    genesis: &Hash,
    target: Height,
    config: &StoreConfig,
) -> Result<(), StorageError> {
    let reader = Reader::new(&*source.kv);
    let base = source.base.load_full();
    let (mut height, epoch) = (base.at.height, base.epoch);
    let mut view = StateView::of_base(source, base);
    let (mut updates, mut gone) = (0usize, BTreeSet::new());
    while height > target && (updates == 0 || updates < config.step_updates) {
        let (lower, undone) = undo(reader, &view, height)?;
        view = lower;
        updates = updates.saturating_add(undone.max(1));
        gone.extend(reader.transaction_ids(height, genesis)?);
        height = height.saturating_sub(1);
    }
    let step = Step {
        at: Materialised {
            height,
            root: view.root(),
        },
        rows: view.layers.rows.merged(),
        nodes: view.layers.nodes.merged(),
        transactions: gone.into_iter().map(|id| (id, None)).collect(),
    };
    let (_, _, ingest) = step.into_ingest();
    source.kv.ingest(Family::State, &ingest)?;
    let epoch = epoch.saturating_add(1);
    source.cache.clear(epoch);
    source.base.store(Arc::new(read_base(&source.kv, epoch)?));
    Ok(())
}

/// The state below `height` from `view`, the one after it, and the number of rows that differ between the
/// two.
///
/// Every row after it must equal the one in the diff, every row before it must be of its key, and the root
/// before it must be the one in the header below. So a wrong byte anywhere in a diff is found, and so is its
/// height.
pub(crate) fn undo(
    reader: Reader<'_>,
    view: &StateView,
    height: Height,
) -> Result<(StateView, usize), StorageError> {
    let wrong = |detail: String| StorageError::corrupt(format!("diff of height {height}"), detail);
    let undone = reversed(reader.require_diff(height)?);
    if !undone.entries.is_sorted_by(|a, b| a.key < b.key) {
        return Err(wrong("its keys are not strictly ascending".to_owned()));
    }
    for entry in &undone.entries {
        let key = name(&entry.key);
        if view.row(&entry.key)?.as_deref() != entry.old.as_deref() {
            return Err(wrong(format!(
                "the new row of {key} is not the one that the state has"
            )));
        }
        if let Some(row) = &entry.new {
            schema::check_row(&entry.key, row)
                .map_err(|error| wrong(format!("the old row of {key}: {error}")))?;
        }
    }
    let below = reader.require_header(height.saturating_sub(1))?.state_root;
    let detail = match view.apply_diff(&undone) {
        Ok(lower) if lower.root() == below => return Ok((lower, undone.entries.len())),
        Ok(lower) => format!(
            "undoing it gives root {}, the header below says {below}",
            lower.root()
        ),
        Err(StorageError::Corrupt { detail, .. }) => format!("undoing it fails: {detail}"),
        Err(other) => return Err(other),
    };
    Err(wrong(match suspect(reader, height, &undone) {
        Some(key) => format!("{detail}; look at the old row of {}", name(&key)),
        None => detail,
    }))
}

/// The row at fault in an undone diff that is known to be damaged: the first that differs from the diff of a
/// lower height, else the first that no lower diff has.
fn suspect(reader: Reader<'_>, height: Height, undone: &StateDiff) -> Option<StateKey> {
    let mut open: BTreeMap<_, _> = undone
        .entries
        .iter()
        .map(|entry| (entry.key, &entry.new))
        .collect();
    let base = reader.base_height().ok()?;
    let mut below = height.saturating_sub(1);
    while below > base && !open.is_empty() {
        for entry in reader.require_diff(below).ok()?.entries {
            if open.remove(&entry.key).is_some_and(|row| *row != entry.new) {
                return Some(entry.key);
            }
        }
        below = below.saturating_sub(1);
    }
    open.into_keys().next()
}

/// Names a row in messages.
pub(super) fn name(key: &StateKey) -> String {
    match key {
        StateKey::Account(account) => format!("account {account}"),
        StateKey::Slot(owner, slot) => format!("slot {slot} of account {owner}"),
    }
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
fn cut_history(source: &Arc<StateSource>, target: Height) -> Result<(), StorageError> {
    let reader = Reader::new(&*source.kv);
    let mut height = reader.require_head()?.height;
    loop {
        let floor = target.max(height.saturating_sub(CUT_BLOCKS_MAX));
        let mut batch = Batch::new();
        while height > floor {
            batch.delete(
                Family::Headers,
                schema::hash_key(&reader.require_header(height)?.hash()),
            );
            batch.delete(Family::Headers, schema::header_key(height));
            batch.delete(Family::Headers, schema::certificate_key(height));
            for part in [BlockPart::Body, BlockPart::Receipts, BlockPart::Diff] {
                batch.delete(Family::Blocks, schema::block_key(height, part));
            }
            height = height.saturating_sub(1);
        }
        let hash = reader.require_header(height)?.hash();
        batch.put(Family::Meta, schema::HEAD, encode(&Head { height, hash }));
        if height <= target {
            batch.delete(Family::Meta, schema::REWIND);
        }
        source.kv.write(&batch, true)?;
        if height <= target {
            return Ok(());
        }
    }
}
