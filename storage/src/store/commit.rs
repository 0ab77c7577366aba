//! Commit of a block: a check that it follows, one synced batch, one swap.

use super::{Pending, Published, Store, StoredChain};
use crate::StorageError;
use crate::kv::{Batch, Family};
use crate::planted;
use crate::schema::{self, BlockPart, COMMIT_KEYS, Head, HeightRecord, Place};
use crate::state::StateView;
use std::sync::Arc;
use vibecoin_execution::DecidedBlock;
use vibecoin_primitives::{Hash, Height, StateDiff, encode};

impl Store {
    /// Writes a block durably and makes it the head. Returns the view that is published to readers.
    ///
    /// The block must follow from the head and its parts must belong together; its validity was decided by
    /// consensus. Waits while too much is pending. One fsync.
    ///
    /// # Errors
    /// [`StorageError::NotNext`] before anything is written; any other error ends this store permanently.
    pub fn commit(&self, block: &DecidedBlock<StateView>) -> Result<StateView, StorageError> {
        self.chain.commit(block)
    }
}

impl StoredChain {
    fn commit(&self, block: &DecidedBlock<StateView>) -> Result<StateView, StorageError> {
        let hash = block.hash;
        let pending = pending(block.header.height, &block.diff, block.ids.len());
        self.wait_for_capacity(pending.updates)?;
        let mut writer = self.writer.lock();
        writer.check_open()?;
        let published = self.published.load_full();
        check_next(block, &published)?;
        let batch = commit_batch(block);
        if let Err(error) = self.kv.write(&batch, planted::synced(true)) {
            writer.fault = Some(error.clone());
            return Err(error);
        }
        let head = Head {
            height: block.header.height,
            hash,
        };
        let view = block.state.rebased();
        let transactions = published
            .transactions
            .push(head.height.0, places(block), view.boundary());
        self.published.store(Arc::new(Published {
            head,
            view: view.clone(),
            transactions,
        }));
        writer.push(pending);
        if self.is_due(&writer) {
            self.work.notify_one();
            if !self.config.background {
                drop(writer);
                self.materialise()?;
            }
        }
        Ok(view)
    }

    /// Waits until `updates` more changed rows and places may be pending. A single block of any size is
    /// always admitted.
    fn wait_for_capacity(&self, updates: usize) -> Result<(), StorageError> {
        let mut writer = self.writer.lock();
        loop {
            writer.check_open()?;
            let sum = writer.pending_updates.saturating_add(updates);
            if writer.pending.is_empty() || sum <= self.config.pending_updates_max {
                return Ok(());
            }
            if !self.config.background {
                drop(writer);
                self.materialise()?;
                writer = self.writer.lock();
                continue;
            }
            writer.waiting = writer.waiting.saturating_add(1);
            self.work.notify_one();
            self.drained.wait(&mut writer);
            writer.waiting = writer.waiting.saturating_sub(1);
        }
    }
}

fn check_next(block: &DecidedBlock<StateView>, published: &Published) -> Result<(), StorageError> {
    let DecidedBlock {
        header,
        hash,
        body,
        certificate,
        receipts,
        diff,
        state,
        ids,
    } = block;
    let head = published.head;
    let refuse = |detail: String| {
        Err(StorageError::NotNext {
            height: header.height,
            detail,
        })
    };
    if Some(header.height) != head.height.next() {
        return refuse(format!("the head is at height {}", head.height));
    }
    if header.parent != head.hash {
        return refuse(format!(
            "its parent is {}, the head is {}",
            header.parent, head.hash
        ));
    }
    if header.hash() != *hash {
        return refuse(format!("its hash is {hash}, its header has {}", header.hash()));
    }
    if certificate.height != header.height || certificate.block != *hash {
        return refuse(format!(
            "its certificate is for {} at {}",
            certificate.block, certificate.height
        ));
    }
    let root = published.view.root();
    if diff.parent_root != root {
        return refuse(format!(
            "its diff starts from root {}, the head has {root}",
            diff.parent_root
        ));
    }
    for (what, found) in [("diff", diff.root), ("state", state.root())] {
        if found != header.state_root {
            return refuse(format!(
                "its {what} has root {found}, its header says {}",
                header.state_root
            ));
        }
    }
    if state.height() != header.height {
        return refuse(format!("its state is of height {}", state.height()));
    }
    let count = body.transaction_count();
    if receipts.0.len() != count || ids.len() != count {
        return refuse(format!(
            "{count} transactions, {} receipts, {} identifiers",
            receipts.0.len(),
            ids.len()
        ));
    }
    Ok(())
}

fn commit_batch(block: &DecidedBlock<StateView>) -> Batch {
    let (height, hash) = (block.header.height, block.hash);
    let mut batch = Batch::new();
    batch.put(Family::Headers, schema::header_key(height), encode(&block.header));
    batch.put(
        Family::Headers,
        schema::certificate_key(height),
        encode(&block.certificate),
    );
    batch.put(
        Family::Headers,
        schema::hash_key(&hash),
        encode(&HeightRecord(height)),
    );
    batch.put(
        Family::Blocks,
        schema::block_key(height, BlockPart::Body),
        encode(&block.body),
    );
    batch.put(
        Family::Blocks,
        schema::block_key(height, BlockPart::Receipts),
        encode(&block.receipts),
    );
    batch.put(
        Family::Blocks,
        schema::block_key(height, BlockPart::Diff),
        encode(&block.diff),
    );
    batch.put(Family::Meta, schema::HEAD, encode(&Head { height, hash }));
    assert_eq!(
        batch.len(),
        COMMIT_KEYS,
        "the price of a commit does not grow with the block"
    );
    batch
}

fn places(block: &DecidedBlock<StateView>) -> Vec<(Hash, Place)> {
    places_of(block.header.height, block.ids.iter().copied())
}

/// Index entries of a block, sorted by identifier.
pub(super) fn places_of(height: Height, ids: impl Iterator<Item = Hash>) -> Vec<(Hash, Place)> {
    let mut places: Vec<_> = ids
        .zip(0u32..)
        .map(|(id, index)| (id, Place { height, index }))
        .collect();
    places.sort_unstable();
    places.dedup_by_key(|(id, _)| *id);
    places
}

/// The pending work of a block. The places of its transactions count like rows: few accounts can send many
/// transactions, so a bound on rows alone bounds neither memory nor the work of the next start.
pub(super) fn pending(height: Height, diff: &StateDiff, transactions: usize) -> Pending {
    Pending {
        height,
        updates: diff.entries.len().saturating_add(transactions),
        bytes: diff_bytes(diff).saturating_add(transactions.saturating_mul(size_of::<(Hash, Place)>())),
    }
}

/// Bytes of the rows that a diff will write.
fn diff_bytes(diff: &StateDiff) -> usize {
    let bytes = diff
        .entries
        .iter()
        .map(|entry| entry.new.as_ref().map_or(0, Vec::len).saturating_add(64));
    bytes.fold(0, usize::saturating_add)
}
