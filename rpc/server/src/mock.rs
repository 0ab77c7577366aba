//! A node in a few hundred lines: one validator, blocks on demand, everything in memory.
//!
//! It makes real blocks (ticks, roots, certificates, diffs, proofs), so that the server's output can be
//! verified completely; its pool and its rules are the simplest that work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "for tests only: a broken assumption should stop the test"
)]

mod answers;
mod chain;
mod gate;
mod peers;
mod produce;
mod snapshots;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;
use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::MempoolError;
use vibecoin_poh::{Chain, Pace};
use vibecoin_primitives::{
    Account, AccountRow, AccountType, Address, Amount, BLOCK_VERSION, Body, BodyV1, ChainParams,
    CommitCertificate, CommitSignature, DiffEntry, Evidence, Hash, Header, Height, Nonce, Operation, Outcome,
    Power, ProposerSchedule, PublicKey, Receipt, ReceiptV1, Receipts, Round, SecretKey, SlotRow, StateDiff,
    StateKey, Tick, TimeMs, Transaction, TransactionBody, Validator, ValidatorSet, VerifiedTransaction, Vote,
    VoteKind, account_key, decode, encode, merkle, records, slot_key, tick_root,
};
use vibecoin_rpc_backend::{
    AccountProof, Admitted, Backend, BackendError, BuildFacts, Caller, ChainFacts, CommittedBlock,
    ConsensusStatus, Head, HealthCheck, HeightRounds, NodeStatus, PeersView, PohStatus, PoolAccount,
    PoolEntry, PoolStatus, Read, Refusal, SnapshotMaker, StateContext, StateProofs, SyncStatus,
    TransactionStatus,
};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

use chain::{build, diff, execute, insert, leaves, receipt, seal_storage, slot_rows};
pub use gate::Gate;
pub use peers::MockPeers;
pub use snapshots::MockSnapshots;

type Accounts = BTreeMap<Address, Account>;
type Slots = BTreeMap<Address, BTreeMap<Hash, Vec<u8>>>;

/// A state as of one height.
#[derive(Clone, Default)]
struct State {
    accounts: Accounts,
    slots: Slots,
}

#[derive(Default)]
struct Inner {
    states: Vec<State>,
    blocks: Vec<Arc<CommittedBlock>>,
    diffs: Vec<Arc<StateDiff>>,
    places: HashMap<Hash, (Height, u32)>,
    pool: BTreeMap<Hash, Arc<VerifiedTransaction>>,
    /// The newer versions of transactions that were replaced in the pool.
    replaced: HashMap<Hash, Arc<VerifiedTransaction>>,
    evidence: Vec<Evidence>,
    rounds: Vec<HeightRounds>,
}

/// The node.
pub struct MockBackend {
    facts: ChainFacts,
    /// Keys of all validators; the node's is the first.
    keys: Vec<SecretKey>,
    network: Arc<MockPeers>,
    snapshots: Arc<MockSnapshots>,
    inner: RwLock<Inner>,
    head: RwLock<Arc<Head>>,
    heads: watch::Sender<Height>,
    /// Blocks are made as transactions arrive.
    instant: AtomicBool,
    ready: AtomicBool,
    status_calls: AtomicU64,
    earliest: AtomicU64,
    /// While closed, reading a diff takes as long as a test wants.
    diffs_gate: Arc<Gate>,
    /// The same for blocks.
    blocks_gate: Arc<Gate>,
}

/// Genesis balance of every account of the mock.
pub const BALANCE: Amount = Amount(1_000_000_000);
/// Accounts in genesis: those of [`MockBackend::key`] 0 to 9.
pub const ACCOUNTS: u8 = 10;

impl MockBackend {
    /// Makes every reader of a diff wait until the gate is opened.
    #[must_use]
    pub fn close_diffs(&self) -> Arc<Gate> {
        self.diffs_gate.close();
        Arc::clone(&self.diffs_gate)
    }

    /// Makes every reader of a block wait until the gate is opened.
    #[must_use]
    pub fn close_blocks(&self) -> Arc<Gate> {
        self.blocks_gate.close();
        Arc::clone(&self.blocks_gate)
    }

    /// The key of an account.
    #[must_use]
    pub fn key(n: u8) -> SecretKey {
        SecretKey::from_seed(&[n + 100; 32])
    }

    /// The address of an account.
    #[must_use]
    pub fn address(n: u8) -> Address {
        Address::from(Self::key(n).public_key())
    }

    /// A chain with block 0.
    #[must_use]
    pub fn new() -> Self {
        Self::with_params(ChainParams {
            ticks_per_block: 2,
            hashes_per_tick: 10,
            quiet_ticks: 0,
            ..ChainParams::dev()
        })
    }

    /// A chain with these rules.
    #[must_use]
    pub fn with_params(params: ChainParams) -> Self {
        Self::with_validators(params, 1)
    }

    /// A chain with these rules and `count` validators of power 1.
    #[must_use]
    pub fn with_validators(params: ChainParams, count: u8) -> Self {
        let keys: Vec<SecretKey> = (1..=count).map(|n| SecretKey::from_seed(&[n; 32])).collect();
        let payout = Self::address(ACCOUNTS - 1);
        let validators = ValidatorSet::new(
            keys.iter()
                .map(|key| Validator {
                    key: key.public_key(),
                    power: Power(1),
                    payout,
                })
                .collect(),
        )
        .unwrap();
        let mut state = State::default();
        for n in 0..ACCOUNTS {
            state.accounts.insert(
                Self::address(n),
                Account {
                    balance: BALANCE,
                    ..Account::default()
                },
            );
        }
        let supply = BALANCE.0 * u64::from(ACCOUNTS);
        let system = state.slots.entry(Address::system()).or_default();
        system.insert(records::SUPPLY, supply.to_le_bytes().to_vec());
        system.insert(records::BURNED, 0u64.to_le_bytes().to_vec());
        system.insert(records::SCHEDULE, encode(&ProposerSchedule::genesis(&validators)));
        seal_storage(&mut state);
        let facts = ChainFacts {
            chain_id: "mock-1".to_owned(),
            genesis: Hash::ZERO,
            prefix: params.prefix().unwrap(),
            params,
            validators,
            build: BuildFacts {
                version: "0.0.0-mock".to_owned(),
                ..BuildFacts::default()
            },
        };
        let (heads, _) = watch::channel(Height(0));
        let nothing = Arc::new(Head {
            header: empty_header(&facts),
            hash: Hash::ZERO,
            transactions: 0,
        });
        let mut mock = Self {
            facts,
            keys,
            network: Arc::default(),
            snapshots: Arc::default(),
            inner: RwLock::default(),
            head: RwLock::new(nothing),
            heads,
            instant: AtomicBool::new(false),
            ready: AtomicBool::new(true),
            status_calls: AtomicU64::new(0),
            earliest: AtomicU64::new(0),
            diffs_gate: Arc::default(),
            blocks_gate: Arc::default(),
        };
        mock.found(state);
        mock
    }

    /// Makes block 0.
    fn found(&mut self, state: State) {
        let header = Header {
            state_root: build(&state).0.root(),
            body_hash: Body::V1(BodyV1::default()).hash(),
            time: TimeMs(1_700_000_000_000),
            ..empty_header(&self.facts)
        };
        let hash = header.hash();
        self.facts.genesis = hash;
        let block = CommittedBlock {
            header: header.clone(),
            hash,
            body: Body::V1(BodyV1::default()),
            receipts: Receipts::default(),
            certificate: None,
        };
        let inner = self.inner.get_mut();
        inner.blocks.push(Arc::new(block));
        inner.states.push(state);
        inner.diffs.push(Arc::new(StateDiff::default()));
        *self.head.get_mut() = Arc::new(Head {
            header,
            hash,
            transactions: 0,
        });
    }

    /// From now on every submission is followed by a block.
    pub fn make_blocks_instantly(&self) {
        self.instant.store(true, Ordering::SeqCst);
    }

    /// Sets the result of `/readyz`.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Number of tasks that wait for blocks: every running subscription is one.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.heads.receiver_count()
    }

    /// Number of requests for the status of a transaction.
    #[must_use]
    pub fn status_calls(&self) -> u64 {
        self.status_calls.load(Ordering::SeqCst)
    }

    /// Forgets the blocks below `height`.
    pub fn prune_below(&self, height: Height) {
        self.earliest.store(height.0, Ordering::SeqCst);
    }

    /// A signed transfer.
    #[must_use]
    pub fn transfer(&self, from: u8, nonce: u64, to: Address, amount: u64) -> Transaction {
        self.sign(
            from,
            nonce,
            vec![Operation::Transfer {
                to,
                amount: Amount(amount),
            }],
        )
    }

    /// A signed transaction.
    #[must_use]
    pub fn sign(&self, from: u8, nonce: u64, operations: Vec<Operation>) -> Transaction {
        let key = Self::key(from);
        let body = TransactionBody {
            chain: self.facts.genesis.prefix(),
            sender: key.public_key(),
            nonce: Nonce(nonce),
            fee: Amount(10_000),
            valid_until: Height(1_000),
            operations,
        };
        body.sign(&self.facts.genesis, &key)
    }

    /// Replaces a transaction in the pool by another one with the same sender and nonce.
    pub fn replace(&self, old: &Hash, new: Transaction) {
        let new = Arc::new(new.verify(&self.facts.genesis).unwrap());
        let mut inner = self.inner.write();
        inner.pool.remove(old);
        inner.pool.insert(*new.id(), Arc::clone(&new));
        inner.replaced.insert(*old, new);
    }

    /// Stores evidence; the next block carries it.
    pub fn hold_evidence(&self, evidence: Evidence) {
        self.inner.write().evidence.push(evidence);
    }

    /// Stores rounds for `consensus_getRounds`.
    pub fn remember(&self, rounds: HeightRounds) {
        self.inner.write().rounds.push(rounds);
    }

    fn admit(&self, transaction: Transaction) -> Result<Admitted, Refusal> {
        let verified = transaction.verify(&self.facts.genesis)?;
        let id = *verified.id();
        let known = self.status(&id)?;
        if known != TransactionStatus::Unknown {
            return Ok(Admitted { id, status: known });
        }
        let body = verified.body();
        let mut inner = self.inner.write();
        let account = inner
            .states
            .last()
            .unwrap()
            .accounts
            .get(&verified.sender())
            .copied()
            .unwrap_or_default();
        let least = self.facts.params.fee_for(verified.byte_len(), body.slot_count());
        if body.fee < least {
            return Err(refuse(InvalidTransaction::FeeTooLow { least, got: body.fee }));
        }
        if body.nonce < account.nonce {
            return Err(refuse(InvalidTransaction::NonceTooLow {
                expected: account.nonce,
                got: body.nonce,
            }));
        }
        if body.nonce.0 > account.nonce.0 + 64 {
            return Err(refuse(MempoolError::NonceGap {
                expected: account.nonce,
                got: body.nonce,
                gap_max: 64,
            }));
        }
        if account.balance < body.fee {
            return Err(refuse(InvalidTransaction::FeeUnpayable {
                fee: body.fee,
                available: account.balance,
            }));
        }
        inner.pool.insert(id, Arc::new(verified));
        drop(inner);
        Ok(Admitted {
            id,
            status: self.status(&id)?,
        })
    }

    fn context(inner: &Inner, height: Height) -> StateContext {
        let block = &inner.blocks[height.0 as usize];
        StateContext {
            height,
            block: block.hash,
            state_root: block.header.state_root,
            time: block.header.time,
        }
    }

    fn at(&self, inner: &Inner, at: Option<Height>) -> Result<Height, BackendError> {
        let head = inner.blocks.last().unwrap().header.height;
        let height = at.unwrap_or(head);
        if height > head {
            return Err(BackendError::Future { height, head });
        }
        self.kept(height)?;
        Ok(height)
    }

    fn kept(&self, height: Height) -> Result<(), BackendError> {
        let earliest = self.earliest();
        if height < earliest {
            Err(BackendError::Pruned { height, earliest })
        } else {
            Ok(())
        }
    }

    fn read<T>(&self, at: Option<Height>, read: impl FnOnce(&State) -> T) -> Result<Read<T>, BackendError> {
        let inner = self.inner.read();
        let height = self.at(&inner, at)?;
        Ok(Read {
            context: Self::context(&inner, height),
            value: read(&inner.states[height.0 as usize]),
        })
    }

    /// Returns the gap, if a nonce below this one is neither used nor in the pool.
    fn gap_below(inner: &Inner, transaction: &VerifiedTransaction) -> Option<Nonce> {
        let (sender, nonce) = (transaction.sender(), transaction.body().nonce);
        let next = inner
            .states
            .last()
            .unwrap()
            .accounts
            .get(&sender)
            .copied()
            .unwrap_or_default()
            .nonce;
        let waiting = |n: u64| {
            inner
                .pool
                .values()
                .any(|t| t.sender() == sender && t.body().nonce.0 == n)
        };
        (next.0..nonce.0).find(|n| !waiting(*n)).map(Nonce)
    }

    fn entry(inner: &Inner, transaction: &Arc<VerifiedTransaction>) -> PoolEntry {
        let queued = Self::gap_below(inner, transaction).is_some();
        PoolEntry {
            transaction: Arc::clone(transaction),
            queued,
        }
    }
}

impl Default for MockBackend {
    fn default() -> Self {
        Self::new()
    }
}

fn refuse(reason: impl Into<MempoolError>) -> Refusal {
    Refusal::Pool(reason.into())
}

fn empty_header(facts: &ChainFacts) -> Header {
    Header {
        version: BLOCK_VERSION,
        height: Height::ZERO,
        round: Round::ZERO,
        proposer: PublicKey([0; 32]),
        parent: Hash::ZERO,
        time: TimeMs::ZERO,
        ticks: 0,
        poh_seq: 0,
        poh_hash: Hash::ZERO,
        body_hash: Hash::ZERO,
        tx_root: Hash::ZERO,
        receipt_root: Hash::ZERO,
        evidence_root: Hash::ZERO,
        state_root: Hash::ZERO,
        validators_hash: facts.validators.hash(),
        next_validators_hash: facts.validators.hash(),
        params_hash: facts.params.hash(),
        last_commit_hash: Hash::ZERO,
    }
}
