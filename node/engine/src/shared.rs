//! State that the threads share with readers: the newest view, the newest blocks, and the figures of status.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use vibecoin_mempool::{Departure, Reason};
use vibecoin_primitives::{Evidence, Hash, Height, TimeMs};
use vibecoin_rpc_backend::{CommittedBlock, ConsensusStatus, Head, PohStatus};

use vibecoin_storage::StateView;

use crate::fates::Fates;
use crate::metrics::Metrics;
use crate::pool_index::PoolIndex;
use crate::rounds::RoundBook;
use crate::sync_view::SyncView;

/// Maximum number of recent blocks kept in memory for subscribers.
pub const RECENT_BLOCKS_MAX: usize = 64;
/// Maximum bytes of encoded bodies among them.
pub const RECENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// State published to readers. Written only by `persist` and `driver`.
pub struct Shared {
    /// Head and state as one value: a response never mixes two heights.
    newest: RwLock<(Arc<Head>, StateView)>,
    height: watch::Sender<Height>,
    recent: Mutex<Recent>,
    /// Readers' copy of the pool.
    pub pool: PoolIndex,
    /// Transactions that left the pool.
    pub fates: Mutex<Fates>,
    /// Transactions in the pool behind a gap of nonces.
    pub queued: AtomicU64,
    /// Minimum fee of a transfer that the pool would accept.
    pub fee_min: AtomicU64,
    /// Height, round and step of consensus.
    pub consensus: Mutex<ConsensusStatus>,
    /// The rounds of the newest heights; updated by the driver.
    pub rounds: Mutex<RoundBook>,
    /// Progress of catching up; updated by the driver.
    pub sync: Mutex<SyncView>,
    /// Double signatures not yet in a block; a copy that the driver updates when they change.
    pub evidence: Mutex<Vec<Evidence>>,
    /// Metrics for Prometheus.
    pub metrics: Metrics,
    /// Progress of the Proof of History.
    pub poh: Mutex<PohStatus>,
    /// Hashes per second measured after start; 0 before.
    pub hash_rate: AtomicU64,
    /// Time of the driver's last iteration, in milliseconds since the start.
    pub driver_beat_ms: AtomicU64,
    /// Wall-clock time of the last commit on this node, in milliseconds; 0 before the first.
    pub last_commit_ms: AtomicU64,
    /// The node is stopping.
    pub stopping: AtomicBool,
}

#[derive(Default)]
struct Recent {
    blocks: VecDeque<(Arc<CommittedBlock>, usize)>,
    bytes: usize,
}

impl Shared {
    /// Initial state with the stored head.
    pub fn new(head: Head, view: StateView, rounds: RoundBook) -> Self {
        let height = head.header.height;
        Self {
            newest: RwLock::new((Arc::new(head), view)),
            height: watch::Sender::new(height),
            recent: Mutex::new(Recent::default()),
            pool: PoolIndex::default(),
            fates: Mutex::new(Fates::default()),
            queued: AtomicU64::new(0),
            fee_min: AtomicU64::new(0),
            consensus: Mutex::new(ConsensusStatus::default()),
            rounds: Mutex::new(rounds),
            sync: Mutex::new(SyncView::default()),
            evidence: Mutex::new(Vec::new()),
            metrics: Metrics::default(),
            poh: Mutex::new(PohStatus::default()),
            hash_rate: AtomicU64::new(0),
            driver_beat_ms: AtomicU64::new(0),
            last_commit_ms: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// The newest block.
    pub fn head(&self) -> Arc<Head> {
        self.newest.read().0.clone()
    }

    /// The newest block with the state after it.
    pub fn newest(&self) -> (Arc<Head>, StateView) {
        self.newest.read().clone()
    }

    /// Subscribes to new heights.
    pub fn watch(&self) -> watch::Receiver<Height> {
        self.height.subscribe()
    }

    /// Publishes a block that is durable and readable. `ids` are its transactions.
    ///
    /// They leave the pool once they are found in the block, and before waiting subscribers are notified: at
    /// every moment a transaction is found in the pool or in the block.
    pub fn publish(
        &self,
        head: Head,
        view: StateView,
        block: Arc<CommittedBlock>,
        body_bytes: usize,
        ids: &[Hash],
        now: TimeMs,
    ) {
        let height = head.header.height;
        {
            let mut recent = self.recent.lock();
            recent.blocks.push_back((block, body_bytes));
            recent.bytes = recent.bytes.saturating_add(body_bytes);
            while recent.blocks.len() > RECENT_BLOCKS_MAX || recent.bytes > RECENT_BYTES_MAX {
                let Some((_, bytes)) = recent.blocks.pop_front() else {
                    break;
                };
                recent.bytes = recent.bytes.saturating_sub(bytes);
            }
        }
        *self.newest.write() = (Arc::new(head), view);
        self.last_commit_ms.store(now.0, Ordering::Relaxed);
        self.pool.remove(ids);
        self.height.send_replace(height);
    }

    /// Records transactions that left the pool.
    pub fn note_departures<'a>(&self, departed: impl Iterator<Item = &'a Departure>) {
        let mut gone = Vec::new();
        let head = self.head().header.height;
        let mut fates = self.fates.lock();
        for departure in departed {
            let Departure { id, reason, .. } = departure;
            self.metrics.departed(reason);
            // A transaction in a block is found in the store. `persist` removes it from the index, but it may
            // have arrived in between: then nothing else would remove it.
            if let Reason::Included { height } = reason {
                if *height <= head {
                    gone.push(*id);
                }
                continue;
            }
            gone.push(*id);
            fates.note(departure);
        }
        drop(fates);
        self.pool.remove(&gone);
    }

    /// A recent block, from memory.
    pub fn recent(&self, height: Height) -> Option<Arc<CommittedBlock>> {
        let recent = self.recent.lock();
        recent
            .blocks
            .iter()
            .rev()
            .find(|(block, _)| block.header.height == height)
            .map(|(block, _)| block.clone())
    }
}
