//! A node in a few hundred lines: one validator, blocks on demand, everything in memory.
//!
//! It makes real blocks (ticks, roots, certificates, diffs, proofs), so that what comes out of the server
//! can be checked to the end; its pool and its rules are the simplest that do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "for tests only: a broken assumption should stop the test"
)]

mod peers;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;
use vibecoin_poh::{Chain, Pace};
use vibecoin_primitives::{
    Account, AccountRow, AccountType, Address, Amount, BLOCK_VERSION, Body, BodyV1, ChainParams,
    CommitCertificate, CommitSignature, DiffEntry, Evidence, Hash, Header, Height, Nonce, Operation, Outcome,
    Power, ProposerSchedule, PublicKey, Receipt, ReceiptV1, Receipts, Round, SecretKey, SlotRow, StateDiff,
    StateKey, Tick, TimeMs, Transaction, TransactionBody, TransactionError, Validator, ValidatorSet,
    VerifiedTransaction, Vote, VoteKind, account_key, decode, encode, merkle, records, slot_key, tick_root,
};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

use crate::backend::{
    AccountProof, Admitted, Backend, BackendError, BuildFacts, ChainFacts, CommittedBlock, ConsensusStatus,
    Head, HealthCheck, HeightRounds, NodeStatus, PeersView, PohStatus, PoolAccount, PoolEntry, PoolStatus,
    Read, Refusal, StateContext, StateProofs, SyncStatus, TransactionStatus,
};

pub use peers::MockPeers;

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
    evidence: Vec<Evidence>,
    rounds: Vec<HeightRounds>,
}

/// The node.
pub struct MockBackend {
    facts: ChainFacts,
    /// Of all validators; the node's own is the first.
    keys: Vec<SecretKey>,
    network: Arc<MockPeers>,
    inner: RwLock<Inner>,
    head: RwLock<Arc<Head>>,
    heads: watch::Sender<Height>,
    /// Blocks are made as transactions come.
    instant: AtomicBool,
    ready: AtomicBool,
    earliest: AtomicU64,
}

/// What every account of the mock owns in genesis.
pub const BALANCE: Amount = Amount(1_000_000_000);
/// Accounts in genesis: those of [`MockBackend::key`] 0 to 9.
pub const ACCOUNTS: u8 = 10;

impl MockBackend {
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
            inner: RwLock::default(),
            head: RwLock::new(nothing),
            heads,
            instant: AtomicBool::new(false),
            ready: AtomicBool::new(true),
            earliest: AtomicU64::new(0),
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

    /// What `/readyz` says.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// How many wait for blocks now: every subscription that runs is one.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.heads.receiver_count()
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

    /// Double signatures that wait; the next block carries them.
    pub fn hold_evidence(&self, evidence: Evidence) {
        self.inner.write().evidence.push(evidence);
    }

    /// What `consensus_getRounds` is to find in memory.
    pub fn remember(&self, rounds: HeightRounds) {
        self.inner.write().rounds.push(rounds);
    }

    /// Makes `count` blocks; the first takes everything from the pool that can run.
    pub fn produce(&self, count: u64) {
        for _ in 0..count {
            self.produce_in(Round(0), &[]);
        }
    }

    /// Makes a block in a round; `silent` validators do not sign it.
    pub fn produce_in(&self, round: Round, silent: &[PublicKey]) {
        let mut inner = self.inner.write();
        let before = inner.states.last().unwrap().clone();
        let parent = Arc::clone(inner.blocks.last().unwrap());
        let height = parent.header.height.next().unwrap();
        let mut state = before.clone();
        let mut transactions: Vec<Arc<VerifiedTransaction>> = inner.pool.values().cloned().collect();
        transactions.sort_by_key(|transaction| (transaction.sender(), transaction.body().nonce));
        transactions.retain(|transaction| {
            let next = state
                .accounts
                .get(&transaction.sender())
                .copied()
                .unwrap_or_default()
                .nonce;
            let runs = transaction.body().nonce == next;
            if runs {
                execute(&mut state, transaction);
            }
            runs
        });
        let set = &self.facts.validators;
        let system = state.slots.entry(Address::system()).or_default();
        let schedule: ProposerSchedule = decode(&system[&records::SCHEDULE]).unwrap();
        let proposer = schedule.proposer(set, height, round).unwrap().key;
        system.insert(records::SCHEDULE, encode(&schedule.after(set, height, round)));
        seal_storage(&mut state);
        let evidence = std::mem::take(&mut inner.evidence);
        let receipts = Receipts(
            transactions
                .iter()
                .map(|transaction| receipt(transaction))
                .collect(),
        );
        let ticks = self.ticks(&parent, height, (round, proposer), &transactions);
        let roots: Vec<Hash> = ticks.iter().map(|tick| tick_root(&leaves(tick))).collect();
        let body = Body::V1(BodyV1 {
            ticks,
            last_commit: parent.certificate.clone(),
            evidence,
        });
        let params = &self.facts.params;
        let header = Header {
            height,
            round,
            proposer,
            evidence_root: body.evidence_root(),
            parent: parent.hash,
            time: TimeMs(parent.header.time.0 + 100),
            ticks: params.ticks_per_block,
            poh_seq: parent.header.poh_seq
                + u64::from(params.ticks_per_block) * u64::from(params.hashes_per_tick),
            poh_hash: body.v1().ticks.last().unwrap().hash,
            body_hash: body.hash(),
            tx_root: merkle::root(&roots),
            receipt_root: receipts.root(),
            state_root: build(&state).0.root(),
            last_commit_hash: parent
                .certificate
                .as_ref()
                .map_or(Hash::ZERO, CommitCertificate::hash),
            ..empty_header(&self.facts)
        };
        let hash = header.hash();
        for (transaction, index) in transactions.iter().zip(0u32..) {
            inner.pool.remove(transaction.id());
            inner.places.insert(*transaction.id(), (height, index));
        }
        inner
            .diffs
            .push(Arc::new(diff(&parent.header, &header, &before, &state)));
        inner.states.push(state);
        let certificate = Some(self.certify(&header, hash, silent));
        let head = Head {
            header: header.clone(),
            hash,
            transactions: transactions.len() as u32,
        };
        inner.blocks.push(Arc::new(CommittedBlock {
            header,
            hash,
            body,
            receipts,
            certificate,
        }));
        *self.head.write() = Arc::new(head);
        drop(inner);
        self.heads.send_replace(height);
    }

    /// All transactions in the first tick.
    fn ticks(
        &self,
        parent: &CommittedBlock,
        height: Height,
        (round, proposer): (Round, PublicKey),
        transactions: &[Arc<VerifiedTransaction>],
    ) -> Vec<Tick> {
        let params = &self.facts.params;
        let pace = Pace::new(
            u64::from(params.hashes_per_tick),
            u64::from(params.ticks_per_block),
        )
        .unwrap();
        let seed = vibecoin_poh::seed(parent.hash, height.0, round.0, &proposer.0);
        let mut chain = Chain::new(pace, seed);
        let mut list: Vec<Transaction> = transactions.iter().map(|t| t.transaction().clone()).collect();
        (0..params.ticks_per_block)
            .map(|_| {
                let mut tick = Tick {
                    hash: Hash::ZERO,
                    transactions: std::mem::take(&mut list),
                };
                tick.hash = chain
                    .finish_tick(vibecoin_poh::mixin(&leaves(&tick)))
                    .unwrap()
                    .hash;
                tick
            })
            .collect()
    }

    fn certify(&self, header: &Header, hash: Hash, silent: &[PublicKey]) -> CommitCertificate {
        let (height, round) = (header.height, header.round);
        let sign = |key: &SecretKey| {
            let validator = key.public_key();
            let vote = Vote {
                kind: VoteKind::Precommit,
                height,
                round,
                block: Some(hash),
                validator,
            };
            let signature = vote.sign(&self.facts.genesis, key).signature;
            CommitSignature { validator, signature }
        };
        let mut signatures: Vec<CommitSignature> = self.keys.iter().map(sign).collect();
        signatures.retain(|entry| !silent.contains(&entry.validator));
        signatures.sort_by_key(|entry| entry.validator);
        CommitCertificate {
            height,
            round,
            block: hash,
            signatures,
        }
    }

    fn admit(&self, transaction: Transaction) -> Result<Admitted, Refusal> {
        let verified = transaction
            .verify(&self.facts.genesis)
            .map_err(|error| match error {
                TransactionError::WrongChain { expected, got } => Refusal::WrongChain { expected, got },
                TransactionError::Signature(fault) => Refusal::BadSignature {
                    detail: fault.to_string(),
                },
                other => Refusal::Malformed {
                    detail: other.to_string(),
                },
            })?;
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
        let least = self.facts.params.fee_for(verified.byte_len());
        if body.fee < least {
            return Err(Refusal::FeeTooLow { least, got: body.fee });
        }
        if body.nonce < account.nonce {
            return Err(Refusal::NonceTooLow {
                expected: account.nonce,
                got: body.nonce,
            });
        }
        if body.nonce.0 > account.nonce.0 + 64 {
            return Err(Refusal::NonceTooHigh {
                expected: account.nonce,
                got: body.nonce,
                gap_max: 64,
            });
        }
        if account.balance < body.fee {
            return Err(Refusal::InsufficientFunds {
                needed: body.fee,
                available: account.balance,
            });
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

    /// Whether a nonce below this one is neither used nor in the pool.
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

fn leaves(tick: &Tick) -> Vec<Hash> {
    tick.transactions.iter().map(Transaction::hash).collect()
}

/// Every transaction succeeds or is impossible: enough for a server that does not look inside.
fn execute(state: &mut State, transaction: &VerifiedTransaction) {
    let body = transaction.body();
    let sender = transaction.sender();
    let account = state.accounts.get_mut(&sender).unwrap();
    account.nonce = account.nonce.next().unwrap();
    account.balance = account.balance.checked_sub(body.fee).unwrap();
    let payout = state
        .accounts
        .entry(MockBackend::address(ACCOUNTS - 1))
        .or_default();
    payout.balance = payout.balance.checked_add(body.fee).unwrap();
    for operation in &body.operations {
        match operation {
            Operation::Transfer { to, amount } => {
                let from = state.accounts.get_mut(&sender).unwrap();
                from.balance = from
                    .balance
                    .checked_sub(*amount)
                    .expect("tests pay what they have");
                let to = state.accounts.entry(*to).or_default();
                to.balance = to.balance.checked_add(*amount).unwrap();
            }
            Operation::SetStorage { slot, value } => {
                state
                    .slots
                    .entry(sender)
                    .or_default()
                    .insert(*slot, value.clone());
            }
        }
    }
}

fn receipt(transaction: &VerifiedTransaction) -> Receipt {
    Receipt::V1(ReceiptV1 {
        transaction: *transaction.id(),
        fee: transaction.body().fee,
        burned: Amount(0),
        outcome: Outcome::Success,
    })
}

/// Puts the roots of the storage tries into their accounts.
fn seal_storage(state: &mut State) {
    for (address, slots) in &state.slots {
        let root = insert(
            &mut MemoryState::default(),
            &Trie::storage(account_key(address), Hash::ZERO),
            slot_rows(slots),
        );
        let account = state.accounts.entry(*address).or_default();
        account.storage_root = Some(root.root());
        if *address == Address::system() {
            account.kind = AccountType::System;
        }
    }
}

fn slot_rows(slots: &BTreeMap<Hash, Vec<u8>>) -> Vec<(Hash, Vec<u8>)> {
    slots
        .iter()
        .map(|(slot, value)| (slot_key(slot), value.clone()))
        .collect()
}

fn insert(memory: &mut MemoryState, trie: &Trie, mut rows: Vec<(Hash, Vec<u8>)>) -> Trie {
    rows.sort();
    let changes: Vec<Change<'_>> = rows
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            old: None,
            new: Some(value),
        })
        .collect();
    let (after, writes) = trie.update(&changes, memory, &Sequential).unwrap();
    memory.apply(&writes, &changes);
    after
}

/// The account trie, from scratch.
fn build(state: &State) -> (Trie, MemoryState) {
    let mut memory = MemoryState::default();
    let rows = state
        .accounts
        .iter()
        .map(|(address, account)| (account_key(address), encode(account)))
        .collect();
    let trie = insert(&mut memory, &Trie::accounts(Hash::ZERO), rows);
    (trie, memory)
}

fn diff(parent: &Header, header: &Header, before: &State, after: &State) -> StateDiff {
    let row = |state: &State, address: &Address| {
        state.accounts.get(address).map(|account| {
            encode(&AccountRow {
                address: *address,
                account: *account,
            })
        })
    };
    let mut entries: Vec<DiffEntry> = after
        .accounts
        .keys()
        .map(|address| DiffEntry {
            key: StateKey::Account(account_key(address)),
            old: row(before, address),
            new: row(after, address),
        })
        .filter(|entry| entry.old != entry.new)
        .collect();
    let schedule = |state: &State| {
        let value = state.slots[&Address::system()][&records::SCHEDULE].clone();
        let slot = records::SCHEDULE;
        Some(encode(&SlotRow { slot, value }))
    };
    let (old, new) = (schedule(before), schedule(after));
    if old != new {
        let key = StateKey::Slot(account_key(&Address::system()), slot_key(&records::SCHEDULE));
        entries.push(DiffEntry { key, old, new });
    }
    entries.sort_by_key(|entry| entry.key);
    StateDiff {
        parent_root: parent.state_root,
        root: header.state_root,
        entries,
    }
}

impl Backend for MockBackend {
    fn facts(&self) -> &ChainFacts {
        &self.facts
    }

    fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head.read())
    }

    fn head_watch(&self) -> watch::Receiver<Height> {
        self.heads.subscribe()
    }

    fn earliest(&self) -> Height {
        Height(self.earliest.load(Ordering::SeqCst))
    }

    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError> {
        Ok(self
            .block(height)?
            .map(|block| (block.header.clone(), block.hash)))
    }

    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError> {
        Ok(self
            .inner
            .read()
            .blocks
            .iter()
            .find(|found| found.hash == *block)
            .map(|found| found.header.height))
    }

    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError> {
        self.kept(height)?;
        Ok(self.inner.read().blocks.get(height.0 as usize).cloned())
    }

    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError> {
        Ok(self.block(height)?.and_then(|block| block.certificate.clone()))
    }

    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError> {
        self.kept(height)?;
        Ok(self.inner.read().diffs.get(height.0 as usize).cloned())
    }

    fn accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<Read<Vec<Option<Account>>>, BackendError> {
        self.read(at, |state| {
            addresses
                .iter()
                .map(|address| state.accounts.get(address).copied())
                .collect()
        })
    }

    fn slots(
        &self,
        at: Option<Height>,
        address: &Address,
        slots: &[Hash],
    ) -> Result<Read<Vec<Option<Vec<u8>>>>, BackendError> {
        self.read(at, |state| {
            let own = state.slots.get(address);
            slots
                .iter()
                .map(|slot| own.and_then(|own| own.get(slot)).cloned())
                .collect()
        })
    }

    fn list_accounts(
        &self,
        at: Option<Height>,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Read<Vec<(Address, Account)>>, BackendError> {
        self.read(at, |state| {
            let mut rows: Vec<(Hash, Address, Account)> = state
                .accounts
                .iter()
                .map(|(address, account)| (account_key(address), *address, *account))
                .collect();
            rows.sort_by_key(|(key, _, _)| *key);
            let rows = rows
                .into_iter()
                .filter(|(key, _, _)| after.is_none_or(|after| *key > after));
            rows.take(limit)
                .map(|(_, address, account)| (address, account))
                .collect()
        })
    }

    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError> {
        let inner = self.inner.read();
        let height = self.at(&inner, at)?;
        let state = &inner.states[height.0 as usize];
        let (trie, memory) = build(state);
        let prove = |(address, slots): &(Address, Vec<Hash>)| {
            let row = state.accounts.get(address).map(encode);
            let account = trie
                .prove(&account_key(address), row.as_deref(), &memory)
                .unwrap();
            let slots = state.slots.get(address).map_or_else(Vec::new, |own| {
                let mut memory = MemoryState::default();
                let storage = Trie::storage(account_key(address), Hash::ZERO);
                let storage = insert(&mut memory, &storage, slot_rows(own));
                let value = |slot: &Hash| own.get(slot).map(Vec::as_slice);
                slots
                    .iter()
                    .map(|slot| storage.prove(&slot_key(slot), value(slot), &memory).unwrap())
                    .collect()
            });
            AccountProof { account, slots }
        };
        let block = &inner.blocks[height.0 as usize];
        Ok(StateProofs {
            header: block.header.clone(),
            certificate: block.certificate.clone(),
            accounts: keys.iter().map(prove).collect(),
        })
    }

    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError> {
        let inner = self.inner.read();
        if let Some((height, index)) = inner.places.get(id) {
            let outcome = Outcome::Success;
            return Ok(TransactionStatus::Included {
                height: *height,
                index: *index,
                outcome,
            });
        }
        Ok(inner
            .pool
            .get(id)
            .map_or(TransactionStatus::Unknown, |transaction| {
                match Self::gap_below(&inner, transaction) {
                    Some(expected) => TransactionStatus::Queued { expected },
                    None => TransactionStatus::Pending,
                }
            }))
    }

    fn pooled(&self, id: &Hash) -> Option<PoolEntry> {
        let inner = self.inner.read();
        inner
            .pool
            .get(id)
            .map(|transaction| Self::entry(&inner, transaction))
    }

    async fn submit(&self, transactions: Vec<Transaction>) -> Vec<Result<Admitted, Refusal>> {
        let verdicts = transactions
            .into_iter()
            .map(|transaction| self.admit(transaction))
            .collect();
        if self.instant.load(Ordering::SeqCst) {
            self.produce(1);
        }
        verdicts
    }

    fn pool_status(&self) -> PoolStatus {
        let inner = self.inner.read();
        let queued = inner
            .pool
            .values()
            .filter(|t| Self::gap_below(&inner, t).is_some())
            .count() as u64;
        let count = inner.pool.len() as u64;
        PoolStatus {
            count,
            bytes: inner
                .pool
                .values()
                .map(|transaction| u64::from(transaction.byte_len()))
                .sum(),
            pending: count - queued,
            queued,
            oldest: None,
            fee_min: self.facts.params.fee_min,
            count_max: 1000,
            bytes_max: 1 << 20,
            per_sender_max: 64,
        }
    }

    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry> {
        let inner = self.inner.read();
        let own = inner
            .pool
            .values()
            .filter(|t| sender.is_none_or(|sender| t.sender() == *sender));
        let own = own.filter(|t| after.is_none_or(|after| t.id() > after));
        own.take(limit)
            .map(|transaction| Self::entry(&inner, transaction))
            .collect()
    }

    fn pool_account(&self, address: &Address) -> PoolAccount {
        let mut entries = self.pool_list(Some(address), None, usize::MAX);
        entries.sort_by_key(|entry| entry.transaction.body().nonce);
        let last = entries.iter().rfind(|entry| !entry.queued);
        PoolAccount {
            next_nonce: last.and_then(|entry| entry.transaction.body().nonce.next()),
            entries,
        }
    }

    fn poh_status(&self) -> PohStatus {
        let head = self.head();
        PohStatus {
            height: head.header.height.next().unwrap(),
            hash: head.header.poh_hash,
            ..PohStatus::default()
        }
    }

    fn consensus_status(&self) -> ConsensusStatus {
        ConsensusStatus {
            height: self.head().header.height.next().unwrap(),
            step: "idle",
            validator: Some(self.keys[0].public_key()),
            ..ConsensusStatus::default()
        }
    }

    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        let inner = self.inner.read();
        inner.rounds.iter().find(|seen| seen.height == height).cloned()
    }

    fn evidence_waiting(&self) -> Vec<Evidence> {
        self.inner.read().evidence.clone()
    }

    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        self.hold_evidence(evidence);
        Ok(())
    }

    fn network(&self) -> Option<Arc<dyn PeersView>> {
        Some(Arc::clone(&self.network) as Arc<dyn PeersView>)
    }

    fn node_status(&self) -> NodeStatus {
        NodeStatus {
            role: "dev".to_owned(),
            sync: SyncStatus {
                synced: true,
                stage: "synced".to_owned(),
                target: self.head().header.height,
                ..SyncStatus::default()
            },
            ..NodeStatus::default()
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn health(&self) -> Vec<HealthCheck> {
        let ok = self.ready.load(Ordering::SeqCst);
        vec![HealthCheck {
            name: "database",
            ok,
            detail: "as the test says".to_owned(),
        }]
    }

    async fn faucet(&self, to: Address, amount: Amount) -> Result<Hash, Refusal> {
        let giver = ACCOUNTS - 2;
        let nonce = self
            .read(None, |state| state.accounts[&Self::address(giver)].nonce)?
            .value;
        let verdicts = self
            .submit(vec![self.transfer(giver, nonce.0, to, amount.0)])
            .await;
        verdicts.into_iter().next().unwrap().map(|admitted| admitted.id)
    }
}
