//! A node that begins at a snapshot decides as one that has the whole chain: proposers, penalties, recorded offences and
//! nonces are all in the state, and nothing below the snapshot is missed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::sync::Arc;

use vibecoin_execution::{DecidedBlock, read_schedule};
use vibecoin_genesis::Genesis;
use vibecoin_host::{Files, Recovery, Role, certified_block, genesis_state, head_of, recover};
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{Amount, Evidence, Hash, Height, Operation, Round, TimeMs, TransactionBody};
use vibecoin_replica::build::Built;
use vibecoin_replica::check::judge;
use vibecoin_replica::{Chain, Parent, Validation};
use vibecoin_storage::files::{ConsensusLog, GuardFile, HeadWitness, MemoryFile, RawFile, SALT_BYTES};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::{Head, RestorePoint, StateView, StorageError, Store, StoreConfig};
use vibecoin_tests_support::{
    ChainBuilder, address, body, double_vote, key, params, transfer, validator, verdict,
};

/// The validators have the keys 1 to 4, the users 20 to 23.
const VALIDATORS: u8 = 4;
const USERS: u8 = 4;
/// Height of the snapshot.
const BASE: u64 = 12;
/// Height of the last block.
const LAST: u64 = 40;

fn config() -> StoreConfig {
    StoreConfig {
        background: false,
        step_updates: 60,
        ..StoreConfig::default()
    }
}

/// The chain, and a store that has all of it.
struct Whole {
    blocks: ChainBuilder<StateView>,
    store: Store,
    decided: Vec<DecidedBlock<StateView>>,
}

impl Whole {
    /// A chain of `BASE` blocks.
    fn new() -> Self {
        let genesis = Genesis {
            time: TimeMs(1_000_000),
            params: params(),
            validators: (1..=VALIDATORS).map(validator).collect(),
            accounts: (20..20 + USERS)
                .map(|user| (address(user), Amount(500_000_000)))
                .collect(),
        };
        let genesis = genesis.build().unwrap();
        let store = Store::create(Arc::new(MemoryKv::new()), &genesis_state(&genesis), config()).unwrap();
        let chain = Chain::new(genesis.hash, genesis.params, genesis.validators);
        let parent = head_of(&store).unwrap().parent;
        let keys = (1..=VALIDATORS).map(key).collect();
        let mut whole = Self {
            blocks: ChainBuilder::above(chain, parent, keys),
            store,
            decided: Vec::new(),
        };
        for height in 1..=BASE {
            // Recorded below the snapshot.
            let evidence = (height == 4).then(|| whole.offence(2, 3));
            whole.grow(evidence.into_iter().collect());
        }
        whole
    }

    /// A double vote of a validator.
    fn offence(&self, validator: u8, height: u64) -> Evidence {
        double_vote(
            &self.blocks.chain.genesis,
            &key(validator),
            Height(height),
            Round(0),
        )
    }

    /// The next block: a payment that also sets a slot, and in every fifth one a missed turn.
    fn build(&self, evidence: Vec<Evidence>) -> Built<StateView> {
        let (chain, height) = (&self.blocks.chain, self.blocks.height());
        let number = u8::try_from(height.0).unwrap();
        let user = 20 + number % USERS;
        let account = self.blocks.parent.state.account(&address(user)).unwrap();
        let nonce = account.map_or(0, |account| account.nonce.0);
        let set = Operation::SetStorage {
            slot: Hash([number % 3; 32]),
            value: vec![number; 20],
        };
        let payment = TransactionBody {
            fee: Amount(100_000),
            ..body(
                &chain.genesis,
                &key(user),
                nonce,
                vec![transfer(30 + number % 7, 5_000), set],
            )
        };
        let payment = payment.sign(&chain.genesis, &key(user));
        let payment = payment.verify(&chain.genesis).unwrap();
        let mut pool = Mempool::new(MempoolConfig::default(), chain.params.clone());
        pool.insert(Arc::new(payment), account.as_ref(), height, 0)
            .unwrap();
        let round = Round(u32::from(height.0 % 5 == 3));
        self.blocks.build(&mut pool, round, evidence).unwrap()
    }

    /// Makes the next block and stores it.
    fn grow(&mut self, evidence: Vec<Evidence>) {
        let built = self.build(evidence);
        let decided = self.blocks.commit(built);
        self.store.commit(&decided).unwrap();
        self.decided.push(decided);
    }

    /// A store that begins at the newest block.
    fn restored(&self) -> Store {
        let source = self.store.snapshot_source().unwrap();
        let (genesis, header) = (source.genesis().clone(), source.header().clone());
        let point = RestorePoint::new(genesis, header, source.certificate().clone()).unwrap();
        let kv = MemoryKv::new();
        Store::restore(&kv, &point, source.rows().unwrap()).unwrap();
        Store::open(Arc::new(kv), Some(&self.blocks.chain.genesis), config()).unwrap()
    }
}

/// Judges a decided block on top of `parent`, stores it and makes it the parent.
fn follow(store: &Store, chain: &Chain, parent: &mut Parent<StateView>, block: &DecidedBlock<StateView>) {
    let executed = match judge(chain, parent, &block.header, &block.body, &|_| None) {
        Validation::Valid(executed) => executed,
        Validation::Invalid(error) => panic!("{error}"),
        Validation::Fault(error) => panic!("{error}"),
    };
    assert_eq!(executed.diff, block.diff);
    let state = store
        .commit(&DecidedBlock {
            receipts: executed.outcome.receipts,
            diff: executed.diff,
            ids: executed.ids,
            state: executed.state,
            ..block.clone()
        })
        .unwrap();
    *parent = Parent {
        header: block.header.clone(),
        hash: block.hash,
        schedule: read_schedule(&state).unwrap(),
        state,
    };
}

#[test]
fn a_store_that_begins_at_a_snapshot_decides_as_the_whole_one() {
    let mut whole = Whole::new();
    let store = whole.restored();
    let head = head_of(&store).unwrap();
    assert_eq!(
        head.certificate.as_ref(),
        Some(&whole.decided.last().unwrap().certificate)
    );
    let mut parent = head.parent;
    assert_eq!(parent.schedule, whole.blocks.parent.schedule);
    assert!(
        parent.schedule.turns.iter().any(|turn| turn.penalty > 0),
        "a missed turn counts beyond the snapshot"
    );
    // An offence that is recorded below the snapshot is known above it.
    let chain = whole.blocks.chain.clone();
    let repeated = whole.build(vec![whole.offence(2, 3)]);
    assert_eq!(repeated.body.v1().evidence.len(), 1);
    for parent in [&parent, &whole.blocks.parent] {
        let found = verdict(&chain, parent, &repeated.header, &repeated.body);
        found.expect_err("recorded twice");
    }
    for height in BASE + 1..=LAST {
        // One about a height below the snapshot that is new.
        let evidence = (height == 20).then(|| whole.offence(3, 5));
        whole.grow(evidence.into_iter().collect());
        follow(&store, &chain, &mut parent, whole.decided.last().unwrap());
        assert_eq!(parent.schedule, whole.blocks.parent.schedule);
    }
    assert_eq!(store.head(), whole.store.head());
    assert_eq!(store.view().root(), whole.store.view().root());
    let paid = whole.decided.iter().filter(|block| !block.ids.is_empty());
    assert!(paid.count() > 20, "payments are in the blocks");
}

#[test]
fn a_peer_gets_the_blocks_above_the_snapshot_and_none_below() {
    let mut whole = Whole::new();
    let store = whole.restored();
    let mut parent = head_of(&store).unwrap().parent;
    let chain = whole.blocks.chain.clone();
    for _ in BASE..LAST {
        whole.grow(Vec::new());
        follow(&store, &chain, &mut parent, whole.decided.last().unwrap());
    }
    for height in (0..=LAST + 1).map(Height) {
        let given = certified_block(&store, height).unwrap();
        if height > Height(BASE) {
            assert_eq!(given, certified_block(&whole.store, height).unwrap());
        } else {
            assert_eq!(given, None, "{height}");
        }
    }
    assert!(certified_block(&store, Height(LAST)).unwrap().is_some());
}

/// The files beside a database, in memory.
struct Beside {
    witness: MemoryFile,
    guard: MemoryFile,
    log: Option<MemoryFile>,
}

impl Files for Beside {
    fn witness(&mut self) -> Result<HeadWitness, StorageError> {
        HeadWitness::open_on(Box::new(self.witness.clone()))
    }

    fn guard(&mut self) -> Result<GuardFile, StorageError> {
        GuardFile::open_on(Box::new(self.guard.clone()))
    }

    fn log(&mut self) -> Result<Option<Box<dyn RawFile>>, StorageError> {
        let log = self.log.clone();
        Ok(log.map(|file| Box::new(file) as Box<dyn RawFile>))
    }

    fn create_log(&mut self, content: &[u8]) -> Result<Box<dyn RawFile>, StorageError> {
        let file = MemoryFile::new(content.to_vec());
        self.log = Some(file.clone());
        Ok(Box::new(file))
    }

    fn salt(&mut self) -> Result<[u8; SALT_BYTES], StorageError> {
        Ok([7; SALT_BYTES])
    }
}

#[test]
fn a_validator_recovers_beside_a_snapshot_with_new_files_or_older_ones() {
    let whole = Whole::new();
    let store = whole.restored();
    let role = Role {
        key: Some(key(1).public_key()),
        validators: &whole.blocks.chain.validators,
        fault_model: whole.blocks.chain.fault_model(),
        dev: false,
        has_network: true,
    };
    let witness = MemoryFile::new(HeadWitness::fresh());
    let guard = MemoryFile::new(GuardFile::fresh());
    let fresh = Beside {
        witness: witness.clone(),
        guard: guard.clone(),
        log: None,
    };
    // Of a database that ended at height 5, which the snapshot replaced.
    let older = Beside {
        witness: MemoryFile::new(HeadWitness::fresh()),
        guard,
        log: Some(MemoryFile::new(ConsensusLog::fresh(Height(6), [7; SALT_BYTES]))),
    };
    let mut record = HeadWitness::open_on(Box::new(older.witness.clone())).unwrap();
    record
        .record(Head {
            height: Height(5),
            hash: whole.decided[4].hash,
        })
        .unwrap();
    record.sync().unwrap();
    for (mut files, was_older) in [(fresh, false), (older, true)] {
        let recovered = recover(&mut files, &store, &role).unwrap();
        assert_eq!(recovered.recovery, Recovery::default());
        assert_eq!(recovered.files.log().height(), Height(BASE + 1));
        assert_eq!(recovered.log_was_older, was_older);
        assert!(recovered.records.is_empty());
    }
}
