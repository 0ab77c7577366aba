//! Implementation of the RPC backend, answered from views. Nothing here waits for the driver.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::{oneshot, watch};
use vibecoin_config::Config;
use vibecoin_execution::{BlockContext, BlockExecutor, ExecutionError, InvalidTransaction};
use vibecoin_host::Recovery;
use vibecoin_mempool::{Inserted, MempoolError, Status};
use vibecoin_primitives::{
    Account, Address, Amount, CommitCertificate, Evidence, Hash, Header, Height, Nonce, PublicKey, Receipt,
    StateDiff, Transaction, TransactionError,
};
use vibecoin_rpc_server::backend::{
    AccountProof, Admitted, Backend, BackendError, Caller, ChainFacts, CommittedBlock, ConsensusStatus, Head,
    HealthCheck, HeightRounds, NodeStatus, PeersView, PohStatus, PoolAccount, PoolEntry, PoolStatus, Read,
    Refusal, StateContext, StateProofs, TransactionStatus,
};
use vibecoin_storage::{StateView, StorageError, Store};

use crate::clock::Clock;
use crate::driver::NodeEvent;
use crate::fates::{Departed, End, Fate};
use crate::faucet::Faucet;
use crate::shared::Shared;
use crate::submissions::{Refused, SubmissionSender};
use crate::verify::SubmitError;

mod health;
mod home;

use home::{HomeSize, Measurement};

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
    /// Data found missing at the start.
    pub recovery: Recovery,
}

/// The queue of submissions is full for a caller or for all callers: the caller may try again.
const SUBMISSIONS_BUSY: BackendError = BackendError::Busy {
    queue: "signature checks",
};

fn internal(error: impl ToString) -> BackendError {
    BackendError::Internal {
        detail: error.to_string(),
    }
}

fn from_store(error: StorageError) -> BackendError {
    internal(error)
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

    /// The view for height `at`; only the newest state is kept readable in this schema.
    fn view(&self, at: Option<Height>) -> Result<(Arc<Head>, StateView), BackendError> {
        let (head, view) = self.shared.newest();
        match at {
            None => Ok((head, view)),
            Some(at) if at == view.height() => Ok((head, view)),
            Some(at) if at > view.height() => Err(BackendError::Future {
                height: at,
                head: view.height(),
            }),
            Some(at) => Err(BackendError::Pruned {
                height: at,
                earliest: view.height(),
            }),
        }
    }

    fn context(head: &Head) -> StateContext {
        StateContext {
            height: head.header.height,
            block: head.hash,
            state_root: head.header.state_root,
            time: head.header.time,
        }
    }

    fn read<T>(
        &self,
        at: Option<Height>,
        read: impl FnOnce(&StateView) -> Result<T, StorageError>,
    ) -> Result<Read<T>, BackendError> {
        let (head, view) = self.view(at)?;
        let value = read(&view).map_err(from_store)?;
        Ok(Read {
            context: Self::context(&head),
            value,
        })
    }

    /// The missing nonce if a transaction in the pool waits behind a nonce gap.
    fn gap(&self, sender: &Address, nonce: Nonce) -> Option<Nonce> {
        let committed = self.committed_nonce(sender);
        self.shared.pool.gap(sender, nonce, committed)
    }

    fn committed_nonce(&self, sender: &Address) -> Nonce {
        self.store
            .view()
            .account(sender)
            .ok()
            .flatten()
            .map_or(Nonce(0), |account| account.nonce)
    }

    fn entry(&self, waiting: crate::pool_index::Waiting) -> PoolEntry {
        let queued = self
            .gap(&waiting.transaction.sender(), waiting.transaction.body().nonce)
            .is_some();
        PoolEntry {
            transaction: waiting.transaction,
            queued,
        }
    }

    fn included(&self, id: &Hash) -> Result<Option<TransactionStatus>, BackendError> {
        let Some(place) = self.store.place(id).map_err(from_store)? else {
            return Ok(None);
        };
        // The store is slightly ahead of the published head.
        if place.height > self.shared.head().header.height {
            return Ok(None);
        }
        let index = place.index as usize;
        let outcome = match self.shared.recent(place.height) {
            Some(block) => block.receipts.0.get(index).map(|receipt| receipt.v1().outcome),
            None => {
                let receipts = self.store.reader().receipts(place.height).map_err(from_store)?;
                receipts.and_then(|receipts| receipts.0.get(index).map(|receipt| receipt.v1().outcome))
            }
        };
        let outcome = outcome
            .ok_or_else(|| internal(format!("receipt {index} of height {} is missing", place.height)))?;
        Ok(Some(TransactionStatus::Included {
            height: place.height,
            index: place.index,
            outcome,
        }))
    }

    /// Status of a transaction that left the pool: an end is answered only when the published chain has decided it.
    fn departed(
        &self,
        id: &Hash,
        departed: &Departed,
        replacements: &[Hash],
    ) -> Result<TransactionStatus, BackendError> {
        // Read before the blocks are searched: these are of that height or a later one.
        let (head, view) = self.shared.newest();
        let account = view.account(&departed.sender).map_err(from_store)?;
        let at = (
            head.header.height,
            account.map_or(Nonce(0), |account| account.nonce),
        );
        let end = match departed.fate(id, at, replacements, |id| self.included(id))? {
            Fate::Included(status) => return Ok(status),
            Fate::Open => {
                return Ok(TransactionStatus::Departed {
                    by: departed.replaced_by(),
                    reason: departed.reason.to_string(),
                    valid_until: departed.valid_until,
                });
            }
            Fate::Ended(end) => self.shared.fates.lock().end(id, end),
        };
        Ok(match end {
            End::Replaced(by) => TransactionStatus::Replaced { by },
            End::Expired => TransactionStatus::Expired,
            End::Dropped => TransactionStatus::Dropped {
                reason: format!("{}; its nonce is used by another transaction", departed.reason),
            },
        })
    }

    /// Status of a submitted transaction that the pool refused because of the chain's state: it may be in a block,
    /// also in one that the pool knows and that is not published yet.
    fn submitted_before(&self, id: &Hash) -> Result<Option<TransactionStatus>, BackendError> {
        if let Some(status) = self.included(id)? {
            return Ok(Some(status));
        }
        let place = self.store.place(id).map_err(from_store)?;
        Ok(place.map(|_| TransactionStatus::Pending))
    }

    /// Converts the pool's verdict to RPC's types. Submitting the same bytes again is not a refusal.
    fn verdict(&self, verdict: Result<(Hash, Inserted), SubmitError>) -> Result<Admitted, Refusal> {
        match verdict {
            Ok((id, inserted)) => Ok(Admitted {
                id,
                status: Self::inserted(&inserted),
            }),
            Err(SubmitError::Transaction(error)) => Err(match error {
                TransactionError::WrongChain { expected, got } => Refusal::WrongChain { expected, got },
                TransactionError::OperationCount { got } => Refusal::Malformed {
                    detail: TransactionError::OperationCount { got }.to_string(),
                },
                other => Refusal::BadSignature {
                    detail: other.to_string(),
                },
            }),
            Err(SubmitError::Pool { id, error }) => self.pool_refusal(id, error),
            Err(SubmitError::Busy) => Err(Refusal::Unavailable(SUBMISSIONS_BUSY)),
        }
    }

    fn inserted(inserted: &Inserted) -> TransactionStatus {
        match inserted.status {
            Status::Queued { expected } => TransactionStatus::Queued { expected },
            _ => TransactionStatus::Pending,
        }
    }

    fn pool_refusal(&self, id: Hash, error: MempoolError) -> Result<Admitted, Refusal> {
        let known = |status| Ok(Admitted { id, status });
        match error {
            MempoolError::AlreadyKnown { .. } => {
                let status = self.status(&id).map_err(Refusal::from)?;
                // It may have left the pool between the two lookups.
                known(if status == TransactionStatus::Unknown {
                    TransactionStatus::Pending
                } else {
                    status
                })
            }
            MempoolError::Invalid(reason) => {
                // A block that includes it passes its nonce, and may pass its last height.
                let by_state = matches!(
                    reason,
                    InvalidTransaction::NonceTooLow { .. } | InvalidTransaction::Expired { .. }
                );
                if by_state && let Some(status) = self.submitted_before(&id).map_err(Refusal::from)? {
                    return known(status);
                }
                Err(self.invalid(reason))
            }
            MempoolError::NonceGap {
                expected,
                got,
                gap_max,
            } => Err(Refusal::NonceTooHigh {
                expected,
                got,
                gap_max,
            }),
            MempoolError::InsufficientFunds { needed, available } => {
                Err(Refusal::InsufficientFunds { needed, available })
            }
            MempoolError::ReplacementUnderpriced { least, got, .. } => {
                Err(Refusal::ReplacementUnderpriced { least, got })
            }
            // That block is not decided: the nonce may be free again in a moment.
            MempoolError::InBlock { nonce, .. } => Err(Refusal::InBlock { nonce }),
            MempoolError::SenderLimit { limit } => Err(Refusal::AccountLimit { limit: limit as u64 }),
            other => Err(Refusal::PoolFull {
                detail: other.to_string(),
            }),
        }
    }

    fn invalid(&self, reason: InvalidTransaction) -> Refusal {
        use InvalidTransaction as I;
        let next = self.shared.head().header.height.saturating_add(1);
        let most = next.saturating_add(self.facts.params.validity_window);
        match reason {
            I::TooLarge { limit, got } => Refusal::TooLarge {
                what: "bytes",
                got: u64::from(got),
                limit: u64::from(limit),
            },
            I::OperationCount { limit, got } => Refusal::TooLarge {
                what: "operations",
                got: got as u64,
                limit: u64::from(limit),
            },
            I::Demand(excess) => Refusal::TooLarge {
                what: excess.what,
                got: excess.got,
                limit: u64::from(excess.limit),
            },
            I::FeeTooLow { least, got } => Refusal::FeeTooLow { least, got },
            I::Expired { valid_until, .. } | I::ValidTooLong { valid_until, .. } => Refusal::Expired {
                valid_until,
                least: next,
                most,
            },
            I::NonceTooLow { expected, got } => Refusal::NonceTooLow { expected, got },
            I::NonceTooHigh { expected, got } => Refusal::NonceTooHigh {
                expected,
                got,
                gap_max: self.nonce_gap_max,
            },
            I::FeeUnpayable { fee, available } => Refusal::InsufficientFunds {
                needed: fee,
                available,
            },
            other => Refusal::Malformed {
                detail: other.to_string(),
            },
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
        Height(0)
    }

    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError> {
        let head = self.shared.head();
        if height == head.header.height {
            return Ok(Some((head.header.clone(), head.hash)));
        }
        if height > head.header.height {
            return Ok(None);
        }
        let header = self.store.reader().header(height).map_err(from_store)?;
        Ok(header.map(|header| {
            let hash = header.hash();
            (header, hash)
        }))
    }

    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError> {
        let height = self.store.reader().height_of(block).map_err(from_store)?;
        Ok(height.filter(|height| *height <= self.shared.head().header.height))
    }

    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError> {
        if let Some(block) = self.shared.recent(height) {
            return Ok(Some(block));
        }
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        let blocks = self.store.reader();
        let Some(block) = blocks.block(height).map_err(from_store)? else {
            return Ok(None);
        };
        let receipts = blocks.receipts(height).map_err(from_store)?.unwrap_or_default();
        let certificate = blocks.certificate(height).map_err(from_store)?;
        let hash = block.header.hash();
        Ok(Some(Arc::new(CommittedBlock {
            header: block.header,
            hash,
            body: block.body,
            receipts,
            certificate,
        })))
    }

    fn count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        if let Some(block) = self.shared.recent(height) {
            let count = u32::try_from(block.receipts.0.len()).unwrap_or(u32::MAX);
            return Ok(Some((block.header.clone(), count)));
        }
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        let blocks = self.store.reader();
        let Some(header) = blocks.header(height).map_err(from_store)? else {
            return Ok(None);
        };
        let count = blocks.receipt_count(height).map_err(from_store)?;
        Ok(Some((header, count.unwrap_or_default())))
    }

    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError> {
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        self.store.reader().certificate(height).map_err(from_store)
    }

    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError> {
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        Ok(self
            .store
            .reader()
            .diff(height)
            .map_err(from_store)?
            .map(Arc::new))
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
        let (head, view) = self.view(at)?;
        let mut accounts = Vec::with_capacity(keys.len());
        for (address, slots) in keys {
            let proven = view.prove_account(address).map_err(from_store)?;
            let has_storage = proven
                .account
                .is_some_and(|account| account.storage_root.is_some());
            let slots = if has_storage {
                view.prove_slots(address, slots).map_err(from_store)?
            } else {
                Vec::new()
            };
            accounts.push(AccountProof {
                account: proven.proof,
                slots: slots.into_iter().map(|slot| slot.proof).collect(),
            });
        }
        let certificate = self.certificate(head.header.height)?;
        Ok(StateProofs {
            header: head.header.clone(),
            certificate,
            accounts,
        })
    }

    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError> {
        if let Some(waiting) = self.shared.pool.get(id) {
            let head = self.shared.head().header.height;
            // The block may have become final since the lookup in the pool.
            if let Some(status) = self.included(id)? {
                return Ok(status);
            }
            let body = waiting.transaction.body();
            // The pool removes a bounded number at a time of the transactions that expire at one height.
            if body.valid_until <= head {
                return Ok(TransactionStatus::Expired);
            }
            let gap = self.gap(&waiting.transaction.sender(), body.nonce);
            return Ok(match gap {
                Some(expected) => TransactionStatus::Queued { expected },
                None => TransactionStatus::Pending,
            });
        }
        let departed = self.shared.fates.lock().get(id);
        match departed {
            None => Ok(self.included(id)?.unwrap_or(TransactionStatus::Unknown)),
            Some((departed, replacements)) => self.departed(id, &departed, &replacements),
        }
    }

    fn pooled(&self, id: &Hash) -> Option<PoolEntry> {
        self.shared.pool.get(id).map(|waiting| self.entry(waiting))
    }

    fn in_pool(&self, id: &Hash) -> bool {
        self.shared.pool.contains(id)
    }

    async fn submit(&self, from: Caller, transactions: Vec<Transaction>) -> Vec<Result<Admitted, Refusal>> {
        let count = transactions.len();
        let refuse = |error: BackendError| vec![Err(Refusal::Unavailable(error)); count];
        if self.shared.stopping.load(Ordering::Relaxed) {
            return refuse(BackendError::ShuttingDown);
        }
        let (reply, answer) = oneshot::channel();
        match self.submissions.push(from, transactions, reply) {
            Ok(()) => {}
            Err(Refused::Full) => return refuse(SUBMISSIONS_BUSY),
            Err(Refused::Ended) => return refuse(BackendError::ShuttingDown),
        }
        match answer.await {
            Ok(verdicts) => verdicts
                .into_iter()
                .map(|verdict| self.verdict(verdict))
                .collect(),
            Err(_) => refuse(BackendError::ShuttingDown),
        }
    }

    fn simulate(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        let verified = transaction
            .verify(&self.facts.genesis)
            .map_err(|error| self.verdict(Err(SubmitError::Transaction(error))).err())
            .map_err(|refusal| {
                refusal.unwrap_or(Refusal::Malformed {
                    detail: "not a transaction".to_owned(),
                })
            })?;
        let (head, view) = self.view(None)?;
        let context = BlockContext {
            params: Arc::new(self.facts.params.clone()),
            validators: Arc::new(self.facts.validators.clone()),
            height: view.height().saturating_add(1),
            payout: self
                .facts
                .validators
                .members()
                .first()
                .map_or_else(Address::system, |v| v.payout),
        };
        let read = Self::context(&head);
        let mut executor = BlockExecutor::new(view, context);
        match executor.execute(&verified) {
            Ok(receipt) => Ok(Read {
                context: read,
                value: receipt.clone(),
            }),
            Err(ExecutionError::Invalid { reason, .. }) => Err(self.invalid(reason)),
            Err(error) => Err(Refusal::Unavailable(internal(error))),
        }
    }

    fn pool_status(&self) -> PoolStatus {
        let totals = self.shared.pool.totals();
        let queued = self.shared.queued.load(Ordering::Relaxed).min(totals.count);
        PoolStatus {
            count: totals.count,
            bytes: totals.bytes,
            pending: totals.count.saturating_sub(queued),
            queued,
            oldest: self.shared.pool.oldest(),
            fee_min: Amount(self.shared.fee_min.load(Ordering::Relaxed)),
            count_max: self.pool_count_max,
            bytes_max: self.pool_bytes_max,
            per_sender_max: self.pool_sender_max,
        }
    }

    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry> {
        let waiting = match sender {
            None => self.shared.pool.list(after, limit),
            Some(sender) => {
                let mut all = self.shared.pool.of_sender(sender);
                all.sort_by_key(|waiting| *waiting.transaction.id());
                all.retain(|waiting| after.is_none_or(|after| waiting.transaction.id() > after));
                all.truncate(limit);
                all
            }
        };
        waiting.into_iter().map(|waiting| self.entry(waiting)).collect()
    }

    fn pool_account(&self, address: &Address) -> PoolAccount {
        let head = self.shared.head().header.height;
        let mut waiting = self.shared.pool.of_sender(address);
        // Expired transactions that are still in the pool do not count: a nonce behind them is never reached.
        waiting.retain(|waiting| waiting.transaction.body().valid_until > head);
        let mut next = self.committed_nonce(address);
        let mut entries = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            let queued = waiting.transaction.body().nonce > next;
            if waiting.transaction.body().nonce == next {
                next = next.saturating_add(1);
            }
            entries.push(PoolEntry {
                transaction: waiting.transaction,
                queued,
            });
        }
        let any_pending = entries.iter().any(|entry| !entry.queued);
        PoolAccount {
            entries,
            next_nonce: any_pending.then_some(next),
        }
    }

    fn poh_status(&self) -> PohStatus {
        self.shared.poh.lock().clone()
    }

    fn consensus_status(&self) -> ConsensusStatus {
        let mut status = self.shared.consensus.lock().clone();
        status.validator = self.key;
        let last = self.shared.last_commit_ms.load(Ordering::Relaxed);
        status.last_commit = (last > 0).then_some(vibecoin_primitives::TimeMs(last));
        status
    }

    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        self.shared.rounds.lock().get(height)
    }

    fn evidence_waiting(&self) -> Vec<Evidence> {
        self.shared.evidence.lock().clone()
    }

    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        let Some(driver) = &self.handles.driver else {
            return Err(BackendError::Disabled {
                feature: "taking evidence",
            });
        };
        driver
            .try_send(NodeEvent::Evidence(Box::new(evidence)))
            .map_err(|error| match error {
                TrySendError::Full(_) => BackendError::Busy {
                    queue: "the driver's inbox",
                },
                TrySendError::Disconnected(_) => BackendError::ShuttingDown,
            })
    }

    fn network(&self) -> Option<Arc<dyn PeersView>> {
        self.handles.network.clone()
    }

    async fn faucet(&self, to: Address, amount: Amount) -> Result<Hash, Refusal> {
        let Some(faucet) = &self.handles.faucet else {
            return Err(BackendError::Disabled {
                feature: "the faucet",
            }
            .into());
        };
        let _turn = faucet.turn().await;
        let waiting = self.pool_account(faucet.address()).next_nonce;
        let nonce = waiting.unwrap_or_else(|| self.committed_nonce(faucet.address()));
        let head = self.shared.head().header.height;
        let gift = faucet.gift(&self.facts.genesis, &self.facts.params, head, nonce, to, amount);
        let verdict = self.submit(Caller::NODE, vec![gift]).await.into_iter().next();
        verdict
            .ok_or(BackendError::ShuttingDown)?
            .map(|admitted| admitted.id)
    }

    fn node_status(&self) -> NodeStatus {
        let role = match (self.facts.params.dev, self.key) {
            (true, _) => "dev",
            (false, Some(_)) => "validator",
            (false, None) => "full",
        };
        let mut sync = self.shared.sync.lock().status(self.clock.uptime_ms());
        // Blocks may have been committed since the driver's snapshot.
        let head = self.shared.head().header.height;
        let waiting = self.waiting(head);
        sync.target = sync.target.max(head);
        if let Some(lost) = self.lost_through(head) {
            sync.target = sync.target.max(lost);
            sync.synced = false;
            "blocks".clone_into(&mut sync.stage);
        }
        NodeStatus {
            moniker: self.moniker.clone(),
            role: role.to_owned(),
            uptime_ms: self.clock.uptime_ms(),
            peers: self.peers(),
            disk_bytes: self.home.bytes(self.clock.uptime_ms(), on_a_blocking_thread),
            disk_free_bytes: free_bytes(self.home.path()),
            sync,
            waiting,
        }
    }

    fn is_live(&self) -> bool {
        !self.shared.stopping.load(Ordering::Relaxed) && self.driver_turns()
    }

    fn health(&self) -> Vec<HealthCheck> {
        self.checks()
    }
}

impl NodeBackend {
    fn peers(&self) -> u32 {
        let network = self.handles.network.as_ref();
        network.map_or(0, |network| {
            u32::try_from(network.peers().len()).unwrap_or(u32::MAX)
        })
    }
}

fn free_bytes(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Outside of the runtime that serves calls the figure stays as it is.
fn on_a_blocking_thread(measurement: Measurement) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn_blocking(move || measurement.run());
    }
}
