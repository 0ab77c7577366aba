//! What the server asks of a node. The engine implements it; tests have a small chain of their own
//! ([`crate::mock`]).
//!
//! Values are those of `vibecoin-primitives`: how they look in JSON is the server's business.
//!
//! What an implementation promises:
//! - reads never wait for the thread that makes blocks, and are consistent: one call answers from one
//!   state, and names it;
//! - everything it shows is final and durable. [`Backend::head`], [`Backend::head_watch`] and the
//!   answers of one node never go back;
//! - what is final can be read at once, even while indexes are still being written behind the commit;
//! - methods without `async` return within about a millisecond, except those that say "expensive":
//!   the server calls these on a blocking thread, a bounded number at a time.

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

/// Why the node cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The block does not exist yet.
    #[error("height {height} is in the future, the head is {head}")]
    Future {
        /// Asked for.
        height: Height,
        /// The newest height.
        head: Height,
    },
    /// This node no longer has it.
    #[error("height {height} is pruned, the earliest is {earliest}")]
    Pruned {
        /// Asked for.
        height: Height,
        /// The oldest height for which this kind of data is kept.
        earliest: Height,
    },
    /// The feature is switched off on this node.
    #[error("{feature} is not available on this node")]
    Disabled {
        /// What was asked for.
        feature: &'static str,
    },
    /// The node is stopping.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A bounded queue is full.
    #[error("the node is busy: {queue} is full")]
    Busy {
        /// Which queue.
        queue: &'static str,
    },
    /// A read failed or a task died: the node's own fault. The detail is for the log.
    #[error("internal error: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

/// What does not change while the node runs.
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
    /// Who made this program.
    pub build: BuildFacts,
}

/// Facts about the program.
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
    /// Why it is final; `None` for genesis only.
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

/// Proofs of one state, in the order asked for.
#[derive(Clone, Debug)]
pub struct StateProofs {
    /// The header whose state root the proofs lead to.
    pub header: Header,
    /// Its certificate; `None` for genesis only.
    pub certificate: Option<CommitCertificate>,
    /// One per account asked for.
    pub accounts: Vec<AccountProof>,
}

/// Proof of one account or of its absence, and of some of its slots.
#[derive(Clone, Debug)]
pub struct AccountProof {
    /// In the account trie, under `account_key(address)`.
    pub account: Proof,
    /// In its storage trie, under `slot_key(slot)`, one per slot asked for. Empty when the account is
    /// absent or has no storage trie (then every slot is proven absent by the account itself).
    pub slots: Vec<Proof>,
}

/// Where a transaction stands.
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
    /// In a block: final.
    Included {
        /// The block.
        height: Height,
        /// Position in the block, from zero.
        index: u32,
        /// Whether its operations applied.
        outcome: Outcome,
    },
    /// Left the pool.
    Dropped {
        /// Why.
        reason: String,
    },
    /// Another transaction with the same sender and nonce took its place.
    Replaced {
        /// That one.
        by: Hash,
    },
    /// Its `valid_until` passed before it came into a block.
    Expired,
}

impl TransactionStatus {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Pending | Self::Queued { .. })
    }
}

/// A transaction that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// [`Transaction::id`].
    pub id: Hash,
    /// Pending or queued; or where it stands already, when the same bytes were sent before.
    pub status: TransactionStatus,
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The signature rule does not hold.
    #[error("bad signature: {detail}")]
    BadSignature {
        /// What the verifier said.
        detail: String,
    },
    /// Made for another chain.
    #[error("the transaction names chain {got}, this chain is {expected}")]
    WrongChain {
        /// This chain's prefix of the genesis hash.
        expected: String,
        /// The prefix found.
        got: String,
    },
    /// The nonce is used.
    #[error("nonce {got} is used, the next one is {expected}")]
    NonceTooLow {
        /// The account's next nonce.
        expected: Nonce,
        /// The transaction's.
        got: Nonce,
    },
    /// The nonce is too far ahead.
    #[error("nonce {got} is more than {gap_max} ahead of the next one, {expected}")]
    NonceTooHigh {
        /// The account's next nonce.
        expected: Nonce,
        /// The transaction's.
        got: Nonce,
        /// How far ahead the pool allows.
        gap_max: u64,
    },
    /// The sender cannot pay fee and amount, what already waits included.
    #[error("the sender needs {needed} and has {available}")]
    InsufficientFunds {
        /// Needed.
        needed: Amount,
        /// There.
        available: Amount,
    },
    /// The fee is too low.
    #[error("the fee is {got}, the least is {least}")]
    FeeTooLow {
        /// Least fee.
        least: Amount,
        /// The transaction's.
        got: Amount,
    },
    /// Too many bytes or operations, or a slot value too long.
    #[error("too large: {what} {got}, the limit is {limit}")]
    TooLarge {
        /// Of what: `bytes`, `operations`, …
        what: &'static str,
        /// Found.
        got: u64,
        /// Allowed.
        limit: u64,
    },
    /// No operations, or an operation that can never apply.
    #[error("malformed: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// `valid_until` has passed, or is too far ahead.
    #[error("validUntil {valid_until} is outside {least} to {most}")]
    Expired {
        /// The transaction's.
        valid_until: Height,
        /// The next block's height.
        least: Height,
        /// The furthest that is allowed.
        most: Height,
    },
    /// A transaction with this nonce waits already, and this one does not pay enough more.
    #[error("a replacement must pay at least {least}, this one pays {got}")]
    ReplacementUnderpriced {
        /// Least fee.
        least: Amount,
        /// The transaction's.
        got: Amount,
    },
    /// The pool is full.
    #[error("the pool is full: {detail}")]
    PoolFull {
        /// Which bound, and what would get in.
        detail: String,
    },
    /// The sender has too many transactions in the pool.
    #[error("the sender has {limit} transactions in the pool, which is the limit")]
    AccountLimit {
        /// The bound.
        limit: u64,
    },
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] BackendError),
}

/// What is in the pool.
#[derive(Clone, Debug, Default)]
pub struct PoolStatus {
    /// Transactions.
    pub count: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Of these, next in line for their senders without a gap.
    pub pending: u64,
    /// Of these, behind a gap.
    pub queued: u64,
    /// When the oldest came in; `None` when empty.
    pub oldest: Option<TimeMs>,
    /// Least fee of a small transaction that would get in now.
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
    /// The transaction, checked.
    pub transaction: Arc<VerifiedTransaction>,
    /// Whether it is behind a gap of nonces.
    pub queued: bool,
}

/// What the pool holds for one account.
#[derive(Clone, Debug, Default)]
pub struct PoolAccount {
    /// Ascending by nonce.
    pub entries: Vec<PoolEntry>,
    /// The nonce to use next, counting what is pending; `None` when nothing is.
    pub next_nonce: Option<Nonce>,
}

/// The proposer's Proof of History as it runs.
#[derive(Clone, Debug, Default)]
pub struct PohStatus {
    /// The height that is being worked on.
    pub height: Height,
    /// Ticks of it that are done.
    pub tick: u32,
    /// The newest hash.
    pub hash: Hash,
    /// Hashes per second measured on this machine, 0 when not measured.
    pub measured_hash_rate: u64,
    /// How late the newest tick of the node's own block ended.
    pub drift_ms: i64,
}

/// Where consensus stands.
#[derive(Clone, Debug, Default)]
pub struct ConsensusStatus {
    /// The height being decided.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// `propose`, `prevote`, `precommit`, `commit` or `idle`.
    pub step: &'static str,
    /// Whether this node votes, and with which key.
    pub validator: Option<vibecoin_primitives::PublicKey>,
    /// When the newest block was committed here.
    pub last_commit: Option<TimeMs>,
    /// The double-sign guard keeps this node from voting at this height.
    pub abstaining: bool,
    /// Waits that ran out since the start.
    pub timeouts: u64,
}

/// Where the node stands in catching up.
#[derive(Clone, Debug, Default)]
pub struct SyncStatus {
    /// Whether it is at the head as far as it knows.
    pub synced: bool,
    /// The stage, for people: `synced`, `blocks`, `snapshot`, …
    pub stage: String,
    /// The height that is known to exist.
    pub target: Height,
    /// Peers that blocks can be fetched from.
    pub peers: u32,
    /// Blocks per 1,000 seconds, over the last while.
    pub blocks_per_1000_s: u64,
    /// Milliseconds left, when they can be told.
    pub eta_ms: Option<u64>,
}

/// What a node waits for before it takes part again, or before it has the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A stable name: `blocks_lost`, `may_have_signed`, `no_network`, `peers`, `quorum`, `blocks`.
    pub reason: &'static str,
    /// The height that ends it.
    pub through: Height,
    /// The same for people.
    pub detail: String,
}

/// How the node is.
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// Name of the node, for people.
    pub moniker: String,
    /// `validator`, `full` or `dev`.
    pub role: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Connected peers.
    pub peers: u32,
    /// Bytes of the home directory, 0 when not known.
    pub disk_bytes: u64,
    /// Bytes free on its file system, 0 when not known.
    pub disk_free_bytes: u64,
    /// Catching up.
    pub sync: SyncStatus,
    /// What it waits for before it takes part again; `None` when it does.
    pub waiting: Option<Waiting>,
}

/// One check of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// A stable name: `database`, `synced`, `head_age`, `shutdown`, …
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found, for people.
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
    /// What does not change.
    fn facts(&self) -> &ChainFacts;

    /// The newest block. Memory only.
    fn head(&self) -> Arc<Head>;

    /// Tells of new blocks: the newest height, after everything of that block can be read.
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
    /// should come from memory: every subscriber asks for them.
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

    /// What the block at `height` changed in the state; `None` above the head.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError>;

    /// Accounts, in the order asked for, all from one state: the newest when `at` is `None`.
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

    /// At most `limit` accounts in trie-key order, from the first key above `after`. Expensive.
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
    /// As [`Backend::accounts`]; [`BackendError::Pruned`] says from where on proofs can be made.
    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError>;

    /// Where the transaction with this id stands.
    ///
    /// # Errors
    /// [`BackendError::Internal`].
    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError>;

    /// The transaction with this id while it is in the pool.
    fn pooled(&self, id: &Hash) -> Option<PoolEntry>;

    /// Returns true while the transaction with this id is in the pool. One look-up in memory: asked at every
    /// block for each transaction that is waited for. Those of a block have left the pool when
    /// [`Backend::head_watch`] reports it.
    fn in_pool(&self, id: &Hash) -> bool {
        self.pooled(id).is_some()
    }

    /// Checks signatures and offers the transactions to the pool: one verdict each, in order. Sending
    /// the same bytes again is no error. The answer comes when the verdicts are known, not later. Callers
    /// take turns; when `from` or all of them have too much waiting, the verdicts are [`BackendError::Busy`],
    /// at the first poll.
    fn submit(
        &self,
        from: Caller,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Admitted, Refusal>>> + Send;

    /// Waits until all of `ids` are settled, or `timeout` is over, and says where each stands.
    ///
    /// The default looks again whenever a block is committed; a transaction that leaves the pool
    /// between two blocks is noticed at the next one. One that was found in the pool is not asked for again
    /// until it has left.
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
            // What is still in the pool may be pending now and was queued before.
            for (status, id) in unsettled(&mut found, &ids) {
                *status = self.status(id)?;
            }
            Ok(found)
        }
    }

    /// What `transaction` would do if it were next, without doing it. Expensive.
    ///
    /// # Errors
    /// [`Refusal`] when it could not be in a block at all. The default says it is not available.
    fn simulate(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        drop(transaction);
        Err(BackendError::Disabled {
            feature: "simulation",
        }
        .into())
    }

    /// The pool in figures.
    fn pool_status(&self) -> PoolStatus;

    /// At most `limit` transactions in ascending order of ids above `after`, of `sender` or of all.
    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry>;

    /// What the pool holds for one account.
    fn pool_account(&self, address: &Address) -> PoolAccount;

    /// The Proof of History as it runs.
    fn poh_status(&self) -> PohStatus;

    /// Where consensus stands.
    fn consensus_status(&self) -> ConsensusStatus;

    /// The rounds of a height, if they are still remembered. Memory only.
    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        let _ = height;
        None
    }

    /// Double signatures that wait here for a block.
    fn evidence_waiting(&self) -> Vec<Evidence> {
        Vec::new()
    }

    /// Takes a double signature that has been checked, to be told to others and put into a block.
    ///
    /// # Errors
    /// [`BackendError::Busy`], [`BackendError::Disabled`] and [`BackendError::ShuttingDown`].
    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        drop(evidence);
        Err(BackendError::Disabled {
            feature: "taking evidence",
        })
    }

    /// The network; `None` when this node has none.
    fn network(&self) -> Option<Arc<dyn PeersView>> {
        None
    }

    /// How the node is.
    fn node_status(&self) -> NodeStatus;

    /// Whether the main loop turns: `/livez`. Nothing about peers or sync.
    fn is_live(&self) -> bool;

    /// The checks behind `/readyz`; ready when all hold.
    fn health(&self) -> Vec<HealthCheck>;

    /// Sends money from the faucet of a dev chain and returns the transaction's id.
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
