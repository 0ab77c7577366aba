//! Implementation of the RPC backend, answered from views. Nothing here waits for the driver.
//!
//! The trait is implemented here, method by method; the work is in the submodules, by topic.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;
use tokio::sync::watch;
use vibecoin_config::Config;
use vibecoin_host::Recovery;
use vibecoin_primitives::{
    Account, Address, Amount, CommitCertificate, Evidence, Hash, Header, Height, PublicKey, Receipt,
    StateDiff, TimeMs, Transaction,
};
use vibecoin_rpc_backend::{
    Admitted, Backend, BackendError, Caller, ChainFacts, CommittedBlock, ConsensusStatus, Head, HealthCheck,
    HeightRounds, NodeStatus, PeersView, PohStatus, PoolAccount, PoolEntry, PoolStatus, Read, Refusal,
    SnapshotMaker, StateProofs, TransactionStatus,
};
use vibecoin_storage::{StorageError, Store};

use crate::clock::Clock;
use crate::driver::NodeEvent;
use crate::faucet::Faucet;
use crate::shared::Shared;
use crate::submissions::SubmissionSender;

mod health;
mod home;
mod node;
mod pool;
mod reads;
mod status;
mod submit;

use home::HomeSize;

/// The node as the RPC server sees it.
pub struct NodeBackend {
    facts: ChainFacts,
    store: Arc<Store>,
    shared: Arc<Shared>,
    submissions: SubmissionSender,
    clock: Clock,
    key: Option<PublicKey>,
    home: Arc<HomeSize>,
    moniker: String,
    pool_count_max: u64,
    pool_bytes_max: u64,
    pool_sender_max: u64,
    nonce_gap_max: u64,
    empty_block_interval_ms: u64,
    handles: Handles,
}

/// Other parts of the node that RPC reaches. Each may be absent: its methods then report that.
#[derive(Default)]
pub struct Handles {
    /// The network.
    pub network: Option<Arc<dyn PeersView>>,
    /// The driver's inbox, for evidence submitted by RPC.
    pub driver: Option<Sender<NodeEvent>>,
    /// The account that pays on a dev chain.
    pub faucet: Option<Faucet>,
    /// The maker of snapshots.
    pub snapshots: Option<Arc<dyn SnapshotMaker>>,
    /// Data found missing at the start.
    pub recovery: Recovery,
}

fn internal(error: impl ToString) -> BackendError {
    BackendError::Internal {
        detail: error.to_string(),
    }
}

fn from_store(error: StorageError) -> BackendError {
    match error {
        StorageError::Pruned { height, earliest } => BackendError::Pruned { height, earliest },
        error => internal(error),
    }
}

impl NodeBackend {
    /// Assembles the backend from its parts.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different part of the node, and there is one caller"
    )]
    pub fn new(
        facts: ChainFacts,
        store: Arc<Store>,
        shared: Arc<Shared>,
        submissions: SubmissionSender,
        clock: Clock,
        key: Option<PublicKey>,
        home: PathBuf,
        config: &Config,
        handles: Handles,
    ) -> Self {
        let empty_block_interval_ms = u64::from(facts.params.empty_block_interval_ms);
        Self {
            facts,
            store,
            shared,
            submissions,
            clock,
            key,
            home: HomeSize::new(home, clock.uptime_ms()),
            moniker: config.node.moniker.clone(),
            pool_count_max: u64::from(config.mempool.transactions_max),
            pool_bytes_max: config.mempool.bytes_max,
            pool_sender_max: u64::from(config.mempool.per_sender_max),
            nonce_gap_max: config.mempool.nonce_gap_max,
            empty_block_interval_ms,
            handles,
        }
    }
}

impl Backend for NodeBackend {
    fn facts(&self) -> &ChainFacts {
        &self.facts
    }

    fn head(&self) -> Arc<Head> {
        self.shared.head()
    }

    fn head_watch(&self) -> watch::Receiver<Height> {
        self.shared.watch()
    }

    fn earliest(&self) -> Height {
        self.store.earliest()
    }

    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError> {
        self.header_at(height)
    }

    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError> {
        self.height_of_block(block)
    }

    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError> {
        self.block_at(height)
    }

    fn count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        self.header_and_count(height)
    }

    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError> {
        self.certificate_at(height)
    }

    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError> {
        self.diff_at(height)
    }

    fn accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<Read<Vec<Option<Account>>>, BackendError> {
        self.read(at, |view| {
            addresses.iter().map(|address| view.account(address)).collect()
        })
    }

    fn slots(
        &self,
        at: Option<Height>,
        address: &Address,
        slots: &[Hash],
    ) -> Result<Read<Vec<Option<Vec<u8>>>>, BackendError> {
        self.read(at, |view| {
            slots.iter().map(|slot| view.slot(address, slot)).collect()
        })
    }

    fn list_accounts(
        &self,
        at: Option<Height>,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Read<Vec<(Address, Account)>>, BackendError> {
        self.read(at, |view| view.accounts_after(after.as_ref(), limit))
    }

    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError> {
        self.proofs(at, keys)
    }

    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError> {
        self.status_of(id)
    }

    fn pooled(&self, id: &Hash) -> Option<PoolEntry> {
        self.shared.pool.get(id).map(|waiting| self.entry(waiting))
    }

    fn in_pool(&self, id: &Hash) -> bool {
        self.shared.pool.contains(id)
    }

    async fn submit(&self, from: Caller, transactions: Vec<Transaction>) -> Vec<Result<Admitted, Refusal>> {
        self.submit_all(from, transactions).await
    }

    fn simulate(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        self.execute_next(transaction)
    }

    fn pool_status(&self) -> PoolStatus {
        self.pool_totals()
    }

    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry> {
        self.list_pool(sender, after, limit)
    }

    fn pool_account(&self, address: &Address) -> PoolAccount {
        self.account_in_pool(address)
    }

    fn poh_status(&self) -> PohStatus {
        self.shared.poh.lock().clone()
    }

    fn consensus_status(&self) -> ConsensusStatus {
        let mut status = self.shared.consensus.lock().clone();
        status.validator = self.key;
        let last = self.shared.last_commit_ms.load(Ordering::Relaxed);
        status.last_commit = (last > 0).then_some(TimeMs(last));
        status
    }

    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        self.shared.rounds.lock().get(height)
    }

    fn evidence_waiting(&self) -> Vec<Evidence> {
        self.shared.evidence.lock().clone()
    }

    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        self.offer_evidence(evidence)
    }

    fn network(&self) -> Option<Arc<dyn PeersView>> {
        self.handles.network.clone()
    }

    fn snapshots(&self) -> Option<Arc<dyn SnapshotMaker>> {
        self.handles.snapshots.clone()
    }

    async fn faucet(&self, to: Address, amount: Amount) -> Result<Hash, Refusal> {
        self.gift(to, amount).await
    }

    fn node_status(&self) -> NodeStatus {
        self.summary()
    }

    fn is_live(&self) -> bool {
        !self.shared.stopping.load(Ordering::Relaxed) && self.driver_turns()
    }

    fn health(&self) -> Vec<HealthCheck> {
        self.checks()
    }
}
