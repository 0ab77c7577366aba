//! Interface between the server and a node. The engine implements it; tests use a small chain in
//! memory ([`crate::mock`]).
//!
//! Values are those of `vibecoin-primitives`: their JSON form is defined by the server.
//!
//! Contract of an implementation:
//! - reads never wait for the thread that makes blocks, and are consistent: one call answers from one
//!   state, and names it;
//! - everything it shows is final and durable. [`Backend::head`], [`Backend::head_watch`] and the
//!   answers of one node never go back;
//! - what is final can be read at once, even while indexes are still being written behind the commit;
//! - methods without `async` return within about a millisecond, except those documented as
//!   "expensive": the server calls these on a blocking thread, a bounded number at a time.

mod caller;
mod peers;
mod rounds;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vibecoin_primitives::{
    Account, Address, AddressPrefix, Amount, Body, ChainParams, CommitCertificate, Evidence, Hash, Header,
    Height, Nonce, Outcome, Receipt, Receipts, Round, StateDiff, TimeMs, Transaction, ValidatorSet,
    VerifiedTransaction,
};
use vibecoin_trie::Proof;

pub use caller::Caller;
pub use peers::{Ban, NetworkFacts, Peer, PeersView};
pub use rounds::{BodyVerdict, HeightRounds, RoundOutcome, RoundRecord, Tally, Voters, Wait};

/// Reasons why the node cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The block does not exist yet.
    #[error("height {height} is in the future, the head is {head}")]
    Future {
        /// The requested height.
        height: Height,
        /// The newest height.
        head: Height,
    },
    /// This node no longer has it.
    #[error("height {height} is pruned, the earliest is {earliest}")]
    Pruned {
        /// The requested height.
        height: Height,
        /// The oldest height for which this kind of data is kept.
        earliest: Height,
    },
    /// The feature is switched off on this node.
    #[error("{feature} is not available on this node")]
    Disabled {
        /// Name of the feature.
        feature: &'static str,
    },
    /// The node is stopping.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A bounded queue is full.
    #[error("the node is busy: {queue} is full")]
    Busy {
        /// Name of the queue.
        queue: &'static str,
    },
    /// A read failed or a task died: a fault of the node. The detail is for the log.
    #[error("internal error: {detail}")]
    Internal {
        /// Description of the fault.
        detail: String,
    },
}

/// Facts that are constant while the node runs.
#[derive(Clone, Debug)]
pub struct ChainFacts {
    /// Name of the chain (`chainId`).
    pub chain_id: String,
    /// Hash of block 0.
    pub genesis: Hash,
    /// The chain's rules.
    pub params: ChainParams,
    /// [`ChainParams::prefix`].
    pub prefix: AddressPrefix,
    /// The validators; the set never changes yet.
    pub validators: ValidatorSet,
    /// Version and origin of this program.
    pub build: BuildFacts,
}

/// Version and origin of the program.
#[derive(Clone, Debug, Default)]
pub struct BuildFacts {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, empty when unknown.
    pub git: String,
    /// Compiler version, empty when unknown.
    pub rustc: String,
    /// Features it was built with.
    pub features: Vec<String>,
}

/// The newest block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// Transactions in it.
    pub transactions: u32,
}

/// A block with all that was committed with it.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The body.
    pub body: Body,
    /// One receipt per transaction, in order.
    pub receipts: Receipts,
    /// Proof of finality; `None` for genesis only.
    pub certificate: Option<CommitCertificate>,
}

/// The state that an answer was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateContext {
    /// The state after this block.
    pub height: Height,
    /// The block's hash.
    pub block: Hash,
    /// The state root.
    pub state_root: Hash,
    /// The block's time.
    pub time: TimeMs,
}

/// A value with the state it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// The state.
    pub context: StateContext,
    /// The value.
    pub value: T,
}

/// Proofs of one state, in the order of the request.
#[derive(Clone, Debug)]
pub struct StateProofs {
    /// The header whose state root the proofs lead to.
    pub header: Header,
    /// Its certificate; `None` for genesis only.
    pub certificate: Option<CommitCertificate>,
    /// One per requested account.
    pub accounts: Vec<AccountProof>,
}

/// Proof of one account or of its absence, and of some of its slots.
#[derive(Clone, Debug)]
pub struct AccountProof {
    /// In the account trie, under `account_key(address)`.
    pub account: Proof,
    /// In its storage trie, under `slot_key(slot)`, one per requested slot. Empty when the account is
    /// absent or has no storage trie (then every slot is proven absent by the account alone).
    pub slots: Vec<Proof>,
}

/// Status of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Never seen here, or long forgotten.
    Unknown,
    /// In the pool and next in line for its sender.
    Pending,
    /// In the pool behind a gap of nonces.
    Queued {
        /// The nonce that is missing first.
        expected: Nonce,
    },
    /// Left this node's pool, and a later block may include it all the same: other nodes may have it. It ends when
    /// a block uses its nonce, or with its last height.
    Departed {
        /// Id of the replacement, if it was replaced.
        by: Option<Hash>,
        /// Reason for which it left.
        reason: String,
        /// The last height whose block may include it.
        valid_until: Height,
    },
    /// In a block: final.
    Included {
        /// The block.
        height: Height,
        /// Position in the block, from zero.
        index: u32,
        /// Success or failure of its operations.
        outcome: Outcome,
    },
    /// Left the pool, and another transaction used its nonce.
    Dropped {
        /// Reason of the drop.
        reason: String,
    },
    /// Another transaction with the same sender and nonce is in a block.
    Replaced {
        /// Its id.
        by: Hash,
    },
    /// Its `valid_until` passed before a block included it.
    Expired,
}

impl TransactionStatus {
    /// Returns true if the status is final.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !matches!(
            self,
            Self::Unknown | Self::Pending | Self::Queued { .. } | Self::Departed { .. }
        )
    }
}

/// A transaction that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// [`Transaction::id`].
    pub id: Hash,
    /// Pending or queued; or its existing status, when the same bytes were sent before.
    pub status: TransactionStatus,
}

/// Reasons why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The signature rule does not hold.
    #[error("bad signature: {detail}")]
    BadSignature {
        /// Message of the verifier.
        detail: String,
    },
    /// Made for another chain.
    #[error("the transaction names chain {got}, this chain is {expected}")]
    WrongChain {
        /// This chain's prefix of the genesis hash.
        expected: String,
        /// The prefix in the transaction.
        got: String,
    },
    /// The nonce is used.
    #[error("nonce {got} is used, the next one is {expected}")]
    NonceTooLow {
        /// The account's next nonce.
        expected: Nonce,
        /// Nonce of the transaction.
        got: Nonce,
    },
    /// The nonce is too far ahead.
    #[error("nonce {got} is more than {gap_max} ahead of the next one, {expected}")]
    NonceTooHigh {
        /// The account's next nonce.
        expected: Nonce,
        /// Nonce of the transaction.
        got: Nonce,
        /// Maximum gap that the pool allows.
        gap_max: u64,
    },
    /// The sender cannot pay fee and amount, transactions in the pool included.
    #[error("the sender needs {needed} and has {available}")]
    InsufficientFunds {
        /// Required balance.
        needed: Amount,
        /// Available balance.
        available: Amount,
    },
    /// The fee is too low.
    #[error("the fee is {got}, the least is {least}")]
    FeeTooLow {
        /// Minimum fee.
        least: Amount,
        /// Fee of the transaction.
        got: Amount,
    },
    /// Too many bytes or operations, or a slot value too long.
    #[error("too large: {what} {got}, the limit is {limit}")]
    TooLarge {
        /// The bounded quantity: `bytes`, `operations`, …
        what: &'static str,
        /// Size of the transaction.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// No operations, or an operation that can never apply.
    #[error("malformed: {detail}")]
    Malformed {
        /// Description of the fault.
        detail: String,
    },
    /// `valid_until` has passed, or is too far ahead.
    #[error("validUntil {valid_until} is outside {least} to {most}")]
    Expired {
        /// `valid_until` of the transaction.
        valid_until: Height,
        /// The next block's height.
        least: Height,
        /// The highest allowed height.
        most: Height,
    },
    /// The pool has a transaction with this nonce, and this one does not pay enough more.
    #[error("a replacement must pay at least {least}, this one pays {got}")]
    ReplacementUnderpriced {
        /// Minimum fee.
        least: Amount,
        /// Fee of the transaction.
        got: Amount,
    },
    /// A transaction with this nonce is in a block that is being made: the nonce is used, or free again, once that
    /// block is decided.
    #[error("a transaction with nonce {nonce} is in a block that is being made and cannot be replaced now")]
    InBlock {
        /// The nonce.
        nonce: Nonce,
    },
    /// The pool is full.
    #[error("the pool is full: {detail}")]
    PoolFull {
        /// The bound that was reached, and the fee that would be accepted.
        detail: String,
    },
    /// The sender has too many transactions in the pool.
    #[error("the sender has {limit} transactions in the pool, which is the limit")]
    AccountLimit {
        /// The bound.
        limit: u64,
    },
    /// The node cannot answer at present.
    #[error(transparent)]
    Unavailable(#[from] BackendError),
}

/// Contents and limits of the pool.
#[derive(Clone, Debug, Default)]
pub struct PoolStatus {
    /// Transactions.
    pub count: u64,
    /// Bytes of memory that the transactions take.
    pub bytes: u64,
    /// Transactions that are next in line for their senders, without a gap.
    pub pending: u64,
    /// Transactions behind a gap.
    pub queued: u64,
    /// Arrival time of the oldest; `None` when empty.
    pub oldest: Option<TimeMs>,
    /// Minimum fee of a small transaction that would be accepted now.
    pub fee_min: Amount,
    /// Bound on `count`.
    pub count_max: u64,
    /// Bound on `bytes`.
    pub bytes_max: u64,
    /// Bound on the transactions of one sender.
    pub per_sender_max: u64,
}

/// One transaction in the pool.
#[derive(Clone, Debug)]
pub struct PoolEntry {
    /// The verified transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// True if it is behind a gap of nonces.
    pub queued: bool,
}

/// Transactions of one account in the pool.
#[derive(Clone, Debug, Default)]
pub struct PoolAccount {
    /// Ascending by nonce.
    pub entries: Vec<PoolEntry>,
    /// The next free nonce, counting pending transactions; `None` when there are none.
    pub next_nonce: Option<Nonce>,
}

/// Progress of the proposer's Proof of History.
#[derive(Clone, Debug, Default)]
pub struct PohStatus {
    /// The height in progress.
    pub height: Height,
    /// Number of completed ticks of it.
    pub tick: u32,
    /// The newest hash.
    pub hash: Hash,
    /// Hashes per second measured on this machine, 0 when not measured.
    pub measured_hash_rate: u64,
    /// Delay of the newest tick of the node's own block.
    pub drift_ms: i64,
}

/// State of consensus.
#[derive(Clone, Debug, Default)]
pub struct ConsensusStatus {
    /// The height being decided.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// `propose`, `prevote`, `precommit`, `commit` or `idle`.
    pub step: &'static str,
    /// Public key with which this node votes; `None` when it does not vote.
    pub validator: Option<vibecoin_primitives::PublicKey>,
    /// Time of the newest commit on this node.
    pub last_commit: Option<TimeMs>,
    /// The double-sign guard keeps this node from voting at this height.
    pub abstaining: bool,
    /// Expired timeouts since the start.
    pub timeouts: u64,
}

/// Progress of synchronization.
#[derive(Clone, Debug, Default)]
pub struct SyncStatus {
    /// True if it is at the head as far as it knows.
    pub synced: bool,
    /// The stage, for humans: `synced`, `blocks`, `snapshot`, …
    pub stage: String,
    /// The highest height that is known to exist.
    pub target: Height,
    /// Peers that blocks can be fetched from.
    pub peers: u32,
    /// Recent rate, in blocks per 1,000 seconds.
    pub blocks_per_1000_s: u64,
    /// Estimated milliseconds left; `None` when unknown.
    pub eta_ms: Option<u64>,
}

/// Condition that a node waits for before it takes part again, or before it has the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A stable name: `blocks_lost`, `may_have_signed`, `no_network`, `peers`, `quorum`, `blocks`.
    pub reason: &'static str,
    /// The height that ends the wait.
    pub through: Height,
    /// Description for humans.
    pub detail: String,
}

/// State of the node.
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// Name of the node, for humans.
    pub moniker: String,
    /// `validator`, `full` or `dev`.
    pub role: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Connected peers.
    pub peers: u32,
    /// Bytes of the home directory, 0 when unknown.
    pub disk_bytes: u64,
    /// Bytes free on its file system, 0 when unknown.
    pub disk_free_bytes: u64,
    /// Progress of synchronization.
    pub sync: SyncStatus,
    /// Condition that it waits for before it takes part again; `None` when it takes part.
    pub waiting: Option<Waiting>,
}

/// One check of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// A stable name: `database`, `synced`, `head_age`, `shutdown`, …
    pub name: &'static str,
    /// True if the check passes.
    pub ok: bool,
    /// Result of the check, for humans.
    pub detail: String,
}

fn unsettled<'f>(
    found: &'f mut [TransactionStatus],
    ids: &'f [Hash],
) -> impl Iterator<Item = (&'f mut TransactionStatus, &'f Hash)> {
    let all = found.iter_mut().zip(ids);
    all.filter(|(status, _)| !status.is_settled())
}

/// The node, as the server sees it.
pub trait Backend: Send + Sync + 'static {
    /// Facts that never change.
    fn facts(&self) -> &ChainFacts;

    /// The newest block. Memory only.
    fn head(&self) -> Arc<Head>;

    /// Watch of the newest height. A height is announced after everything of its block can be read.
    fn head_watch(&self) -> watch::Receiver<Height>;

    /// The oldest height whose body and receipts are kept.
    fn earliest(&self) -> Height;

    /// The header at `height` with its hash; `None` above the head.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError>;

    /// The height of the block with this hash.
    ///
    /// # Errors
    /// [`BackendError::Internal`].
    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError>;

    /// The block at `height` with its receipts and certificate; `None` above the head. New blocks
    /// should be served from memory: every subscriber asks for them.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError>;

    /// The header at `height` and the number of its transactions; `None` above the head. Without the body.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        let block = self.block(height)?;
        Ok(block.map(|block| {
            let count = u32::try_from(block.receipts.0.len()).unwrap_or(u32::MAX);
            (block.header.clone(), count)
        }))
    }

    /// The certificate of the block at `height`; `None` above the head and for genesis.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError>;

    /// Changes of the state by the block at `height`; `None` above the head.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError>;

    /// Accounts, in the order of the request, all from one state: the newest when `at` is `None`.
    ///
    /// # Errors
    /// [`BackendError::Future`], [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<Read<Vec<Option<Account>>>, BackendError>;

    /// Values of an account's slots, as [`Backend::accounts`].
    ///
    /// # Errors
    /// As [`Backend::accounts`].
    fn slots(
        &self,
        at: Option<Height>,
        address: &Address,
        slots: &[Hash],
    ) -> Result<Read<Vec<Option<Vec<u8>>>>, BackendError>;

    /// Up to `limit` accounts in trie-key order, from the first key above `after`. Expensive.
    ///
    /// # Errors
    /// As [`Backend::accounts`].
    fn list_accounts(
        &self,
        at: Option<Height>,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Read<Vec<(Address, Account)>>, BackendError>;

    /// Proofs of accounts and of the named slots of each, from one state. Expensive.
    ///
    /// # Errors
    /// As [`Backend::accounts`]; [`BackendError::Pruned`] contains the first height that can be
    /// proven.
    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError>;

    /// Status of the transaction with this id.
    ///
    /// # Errors
    /// [`BackendError::Internal`].
    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError>;

    /// The transaction with this id while it is in the pool.
    fn pooled(&self, id: &Hash) -> Option<PoolEntry>;

    /// Returns true while the transaction with this id is in the pool. One look-up in memory: called at
    /// every block for each transaction that is waited for. Those of a block have left the pool when
    /// [`Backend::head_watch`] reports it.
    fn in_pool(&self, id: &Hash) -> bool {
        self.pooled(id).is_some()
    }

    /// Checks signatures and offers the transactions to the pool: one verdict each, in order. Sending the
    /// same bytes again is not an error. The answer is sent when the verdicts are known, not later. Callers
    /// take turns; when `from` or all of them have too much waiting, the verdicts are [`BackendError::Busy`],
    /// at the first poll.
    fn submit(
        &self,
        from: Caller,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Admitted, Refusal>>> + Send;

    /// Waits until all of `ids` are settled, or `timeout` is over, and returns the status of each.
    ///
    /// The default looks again whenever a block is committed; a transaction that leaves the pool between
    /// two blocks is noticed at the next one. One that was found in the pool is not looked up again until
    /// it has left.
    ///
    /// # Errors
    /// [`BackendError::Internal`] and [`BackendError::ShuttingDown`].
    fn settle(
        &self,
        ids: Vec<Hash>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<TransactionStatus>, BackendError>> + Send {
        async move {
            let mut watch = self.head_watch();
            let deadline = tokio::time::Instant::now().checked_add(timeout);
            let mut found = vec![TransactionStatus::Unknown; ids.len()];
            loop {
                // Marked as seen first: a block that is committed during the look is not missed.
                watch.borrow_and_update();
                for (status, id) in unsettled(&mut found, &ids) {
                    let was_in_pool = *status != TransactionStatus::Unknown;
                    if !(was_in_pool && self.in_pool(id)) {
                        *status = self.status(id)?;
                    }
                }
                if found.iter().all(TransactionStatus::is_settled) {
                    return Ok(found);
                }
                let changed = match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline, watch.changed()).await,
                    None => Ok(watch.changed().await),
                };
                match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(BackendError::ShuttingDown),
                    Err(_) => break,
                }
            }
            // A transaction that is still in the pool may be pending now and was queued before.
            for (status, id) in unsettled(&mut found, &ids) {
                *status = self.status(id)?;
            }
            Ok(found)
        }
    }

    /// Result of `transaction` if it were executed next, without executing it. Expensive.
    ///
    /// # Errors
    /// [`Refusal`] when no block could include it. The default reports that simulation is
    /// unavailable.
    fn simulate(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        drop(transaction);
        Err(BackendError::Disabled {
            feature: "simulation",
        }
        .into())
    }

    /// Contents and limits of the pool.
    fn pool_status(&self) -> PoolStatus;

    /// Up to `limit` transactions in ascending order of ids above `after`, of `sender` or of all.
    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry>;

    /// Transactions of one account in the pool.
    fn pool_account(&self, address: &Address) -> PoolAccount;

    /// Progress of the Proof of History.
    fn poh_status(&self) -> PohStatus;

    /// State of consensus.
    fn consensus_status(&self) -> ConsensusStatus;

    /// The rounds of a height, if they are still in memory. Memory only.
    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        let _ = height;
        None
    }

    /// Double-sign evidence that waits for a block.
    fn evidence_waiting(&self) -> Vec<Evidence> {
        Vec::new()
    }

    /// Accepts verified double-sign evidence, to be broadcast and included in a block.
    ///
    /// # Errors
    /// [`BackendError::Busy`], [`BackendError::Disabled`] and [`BackendError::ShuttingDown`].
    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        drop(evidence);
        Err(BackendError::Disabled {
            feature: "taking evidence",
        })
    }

    /// The network; `None` when this node runs without one.
    fn network(&self) -> Option<Arc<dyn PeersView>> {
        None
    }

    /// State of the node.
    fn node_status(&self) -> NodeStatus;

    /// Returns true if the main loop makes progress: `/livez`. Independent of peers and sync.
    fn is_live(&self) -> bool;

    /// The checks behind `/readyz`; ready when all pass.
    fn health(&self) -> Vec<HealthCheck>;

    /// Sends funds from the faucet of a dev chain and returns the transaction's id.
    fn faucet(&self, to: Address, amount: Amount) -> impl Future<Output = Result<Hash, Refusal>> + Send {
        let _ = (to, amount);
        async {
            Err(BackendError::Disabled {
                feature: "the faucet",
            }
            .into())
        }
    }
}
