//! The stored chain: one value that the node opens, commits to, reads from and closes.
//!
//! Reading order: `genesis` and `open` (create, open), `restore` (create from a snapshot), `replay` (the state in memory
//! from the diffs), `commit` (the one batch), `materialise` (the deferred writes), `rewind` (return to an earlier height).

mod commit;
mod genesis;
mod materialise;
mod open;
mod pieces;
mod replay;
mod restore;
mod rewind;

pub use genesis::GenesisState;
pub(crate) use open::read_genesis;
pub(crate) use replay::{read_base, replay};
pub use restore::{RestoreError, RestorePoint, Restored};
pub(crate) use rewind::undo;

use crate::StorageError;
use crate::kv::{KvStats, KvStore, RocksConfig};
use crate::reader::{Reader, StoredTransaction};
use crate::schema::{GenesisRecord, Head, Place};
use crate::state::{Overlay, StateSource, StateView};
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use vibecoin_primitives::{Hash, Height};

/// Settings of a store. The defaults suit a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database's settings; used by [`Store::open_path`] and its like.
    pub rocks: RocksConfig,
    /// Rows kept in memory, about 250 bytes each and no more than 320 on average. Too few: every account is
    /// read from the database.
    pub rows_cached_max: usize,
    /// Trie nodes kept in memory, about 500 bytes each; twice as many temporarily. Too few: nodes are read
    /// from the database for every block.
    pub trie_nodes_max: usize,
    /// Changed rows and places of transactions that start a materialiser step. Small steps write more bytes for
    /// each row.
    pub step_updates: usize,
    /// Bytes of both that start a step.
    pub step_bytes: usize,
    /// Maximum number of pending changed rows and places. Commits wait when it is reached; it also bounds the
    /// replay after a crash.
    pub pending_updates_max: usize,
    /// True if a thread of the store materialises. Otherwise commits do it when it is due.
    pub background: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            rocks: RocksConfig::default(),
            rows_cached_max: 65_536,
            trie_nodes_max: 150_000,
            step_updates: 150_000,
            step_bytes: 32 * 1024 * 1024,
            pending_updates_max: 300_000,
            background: true,
        }
    }
}

/// The chain on disk. One per database; share it by `Arc`.
///
/// One thread commits. Any number of threads read, and none of them waits for it. Dropping a store stops its
/// thread and leaves pending work to the next start, as a crash would; [`Store::close`] also writes the
/// pending data.
pub struct Store {
    chain: Arc<StoredChain>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The open chain, which the store and its thread share.
pub(crate) struct StoredChain {
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) genesis: GenesisRecord,
    /// The block of the snapshot that the database began with.
    base: Option<Head>,
    config: StoreConfig,
    source: Arc<StateSource>,
    published: ArcSwap<Published>,
    writer: Mutex<Writer>,
    /// Held for a step of the materialiser and for a rewind. Taken before `writer`, never after.
    step: Mutex<()>,
    work: Condvar,
    drained: Condvar,
}

/// State visible to readers: swapped as one value.
pub(crate) struct Published {
    pub(crate) head: Head,
    pub(crate) view: StateView,
    /// Places of the transactions above the view's base.
    pub(crate) transactions: Overlay<Hash, Place>,
}

#[derive(Default)]
pub(crate) struct Writer {
    /// Blocks above the materialised height, oldest first.
    pending: VecDeque<Pending>,
    pending_updates: usize,
    pending_bytes: usize,
    /// Number of commits waiting for space.
    waiting: usize,
    fault: Option<StorageError>,
    closing: bool,
}

struct Pending {
    height: Height,
    updates: usize,
    bytes: usize,
}

impl Writer {
    fn push(&mut self, block: Pending) {
        self.pending_updates = self.pending_updates.saturating_add(block.updates);
        self.pending_bytes = self.pending_bytes.saturating_add(block.bytes);
        self.pending.push_back(block);
    }

    fn pop_through(&mut self, height: Height) {
        while let Some(block) = self.pending.pop_front_if(|block| block.height <= height) {
            self.pending_updates = self.pending_updates.saturating_sub(block.updates);
            self.pending_bytes = self.pending_bytes.saturating_sub(block.bytes);
        }
    }

    fn check(&self) -> Result<(), StorageError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.closing {
            return Err(StorageError::Refused("the store is closed".to_owned()));
        }
        self.check()
    }
}

/// Figures about a store, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The last committed block.
    pub head: Head,
    /// Height of the materialised state.
    pub materialised: Height,
    /// Changed rows and places of transactions not yet materialised.
    pub pending_updates: usize,
    /// Trie nodes in memory.
    pub trie_nodes: usize,
    /// The database's figures.
    pub kv: KvStats,
}

impl Store {
    /// The initial data of the chain.
    #[must_use]
    pub fn genesis(&self) -> &GenesisRecord {
        &self.chain.genesis
    }

    /// The last committed block.
    #[must_use]
    pub fn head(&self) -> Head {
        self.chain.published.load().head
    }

    /// The first block of this database: genesis, or the block of the snapshot that it began with. Its header and its
    /// certificate are kept, and those of every block above it. Constant while the store is open.
    #[must_use]
    pub fn base(&self) -> Head {
        self.chain.base.unwrap_or(Head {
            height: Height::ZERO,
            hash: self.chain.genesis.hash,
        })
    }

    /// The lowest height whose body and receipts are kept. One above the head where nothing has been committed since
    /// the snapshot. Constant while the store is open.
    #[must_use]
    pub fn earliest(&self) -> Height {
        self.chain
            .base
            .map_or(Height::ZERO, |base| base.height.saturating_add(1))
    }

    /// The state after the last committed block. Never waits.
    #[must_use]
    pub fn view(&self) -> StateView {
        self.chain.published.load().view.clone()
    }

    /// The database below.
    #[must_use]
    pub fn kv(&self) -> &Arc<dyn KvStore> {
        &self.chain.kv
    }

    /// Reads of the live database: blocks, receipts, diffs.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&*self.chain.kv)
    }

    /// Position of the committed transaction with this identifier.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn place(&self, id: &Hash) -> Result<Option<Place>, StorageError> {
        // Overlay and base of one published value: together they have every committed transaction.
        let published = self.chain.published.load();
        if let Some(place) = published.transactions.get(id) {
            return Ok(Some(*place));
        }
        Reader::new(&*published.view.layers.base.snapshot).place(id)
    }

    /// The committed transaction with this identifier and its receipt.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn transaction(&self, id: &Hash) -> Result<Option<StoredTransaction>, StorageError> {
        let place = self.place(id)?;
        place
            .map(|place| self.reader().transaction_at(id, place))
            .transpose()
    }

    /// The height of the state that the database holds as rows.
    #[must_use]
    pub fn materialised(&self) -> Height {
        self.chain.source.base.load().at.height
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let published = self.chain.published.load();
        StoreStats {
            head: published.head,
            materialised: self.materialised(),
            pending_updates: self.chain.writer.lock().pending_updates,
            trie_nodes: published.view.trie_nodes(),
            kv: self.chain.kv.stats(),
        }
    }

    /// The fault that stopped the store, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<StorageError> {
        self.chain.writer.lock().fault.clone()
    }

    /// Materialises the pending data, flushes the database and stops: commits are refused from now on, and
    /// the next start has nothing to replay. The database is released when the last owner drops the store.
    ///
    /// # Errors
    /// The first [`StorageError`] of any operation of this store.
    pub fn close(&self) -> Result<(), StorageError> {
        self.stop();
        self.chain.writer.lock().check()?;
        self.chain.materialise()?;
        self.chain.kv.flush()
    }

    fn stop(&self) {
        self.chain.writer.lock().closing = true;
        self.chain.work.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}
