//! The cost of a leaf beside cleared slots: a few reads, however many were cleared, where they are still in
//! the overlay and where they are tombstones of the database.

use super::overlay::VISITS;
use super::{Base, StateSource, StateView};
use crate::kv::{Direction, Family, IngestRow, KvRead, KvStore, RocksConfig, RocksKv, Row as KvRow};
use crate::schema::{self, Materialised};
use crate::{StorageError, StoreConfig};
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vibecoin_execution::StateChanges;
use vibecoin_primitives::{Account, Address, Domain, Hash, Height, account_key, slot_key};
use vibecoin_trie::model::naive_root;
use vibecoin_trie::{TrieKind, verify};

const OWNER: Address = Address([7; 32]);
const CLEARED: u64 = 2_000;
/// Maximum number of rows that a change of one slot, or a proof of one, may read or step over: account, slot,
/// the nodes on the path and the leaf beside it, each once or twice in the overlay and in the base.
const VISITS_MAX: u64 = 32;

fn slot(n: u64) -> Hash {
    Domain::Evidence.hash(&n.to_le_bytes())
}

fn top(n: u64) -> u8 {
    slot_key(&slot(n)).0[0] >> 4
}

/// A snapshot that counts reads and the rows that scans return.
struct Counted {
    rows: Arc<dyn KvRead>,
    visits: Arc<AtomicU64>,
}

impl Counted {
    fn visit(&self) {
        self.visits.fetch_add(1, Ordering::Relaxed);
    }
}

impl KvRead for Counted {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.visit();
        self.rows.get(family, key)
    }

    fn range<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = KvRow> + 'a> {
        self.visit();
        Box::new(
            self.rows
                .range(family, from, to, direction)
                .inspect(|_| self.visit()),
        )
    }
}

/// One account, its expected slots, and a view of it over RocksDB.
struct World {
    kv: RocksKv,
    source: Arc<StateSource>,
    visits: Arc<AtomicU64>,
    view: StateView,
    live: BTreeSet<u64>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kv = RocksKv::open(folder.path(), RocksConfig::default()).expect("a database");
        let visits = Arc::default();
        let at = Materialised {
            height: Height(0),
            root: Hash::ZERO,
        };
        let config = StoreConfig {
            rows_cached_max: 1,
            ..StoreConfig::default()
        };
        let store = Arc::new(crate::kv::MemoryKv::new());
        let source = Arc::new(StateSource::new(store, base(&kv, &visits, at, 0), &config));
        let view = StateView::of_base(&source, source.base.load_full());
        Self {
            kv,
            source,
            visits,
            view,
            live: BTreeSet::new(),
            _folder: folder,
        }
    }

    /// A block that sets or clears slots.
    fn apply(&mut self, slots: impl Iterator<Item = u64>, set: bool) {
        let mut changes = StateChanges::default();
        changes.accounts.insert(OWNER, Account::default());
        for n in slots {
            changes
                .slots
                .insert((OWNER, slot(n)), set.then(|| n.to_le_bytes().to_vec()));
            if set {
                self.live.insert(n);
            } else {
                self.live.remove(&n);
            }
        }
        self.view = self.view.apply(&changes).expect("a sound state").0;
        let model: BTreeMap<_, _> = self
            .live
            .iter()
            .map(|n| (slot_key(&slot(*n)), n.to_le_bytes().to_vec()))
            .collect();
        assert_eq!(self.storage_root(), naive_root(TrieKind::Storage, &model));
    }

    fn storage_root(&self) -> Hash {
        schema::storage_root(self.view.account(&OWNER).expect("a sound state").as_ref())
    }

    /// Writes the overlay to the database, as a step of the materialiser does.
    fn materialise(&mut self) {
        let layers = &self.view.layers;
        let rows = layers.rows.merged().into_iter();
        let mut ingest: Vec<IngestRow> = rows
            .map(|(key, row)| (schema::flat_key(&key), row.map(|row| row.to_vec())))
            .collect();
        let nodes = layers.nodes.merged().into_iter();
        ingest.extend(
            nodes.map(|((owner, path), node)| {
                (schema::node_key(&owner, &path), node.map(|node| node.encode()))
            }),
        );
        ingest.sort();
        self.kv.ingest(Family::State, &ingest).expect("a good disk");
        let at = Materialised {
            height: self.view.height(),
            root: self.view.root(),
        };
        let epoch = layers.base.epoch + 1;
        self.source.cache.clear(epoch);
        let base = base(&self.kv, &self.visits, at, epoch);
        self.view = StateView::of_base(&self.source, Arc::new(base));
    }

    /// Rows that `run` reads and steps over, of the overlay, of the base, and tombstones inside the base.
    fn visits(&mut self, run: impl FnOnce(&mut Self)) -> u64 {
        set_perf_stats(PerfStatsLevel::EnableCount);
        let mut inside = PerfContext::default();
        inside.reset();
        VISITS.set(0);
        self.visits.store(0, Ordering::Relaxed);
        run(self);
        let tombstones = inside.metric(PerfMetric::InternalDeleteSkippedCount);
        set_perf_stats(PerfStatsLevel::Disable);
        VISITS.get() + self.visits.load(Ordering::Relaxed) + tombstones
    }

    /// Sets and clears a slot, which splits the leaf beside it and leaves it alone again, and proves the slot
    /// in between; no step may cost more than a few reads.
    fn check_toggles(&mut self, n: u64, context: &str) {
        let root = self.storage_root();
        for round in 0..4 {
            for set in [true, false] {
                let visits = self.visits(|world| {
                    let changes = StateChanges {
                        accounts: [(OWNER, Account::default())].into(),
                        slots: [((OWNER, slot(n)), set.then(|| vec![1]))].into(),
                    };
                    world.view = world.view.apply(&changes).expect("a sound state").0;
                });
                assert!(
                    (1..=VISITS_MAX).contains(&visits),
                    "{context}, round {round}, set {set}: {visits} visits"
                );
                self.check_proof(n, set.then(|| vec![1]), context);
                assert_eq!(
                    self.storage_root() == root,
                    !set,
                    "{context}: a slot more is another root"
                );
            }
        }
    }

    fn check_proof(&mut self, n: u64, value: Option<Vec<u8>>, context: &str) {
        let root = self.storage_root();
        let visits = self.visits(|world| {
            let proofs = world.view.prove_slots(&OWNER, &[slot(n)]).expect("a sound state");
            let [proof] = proofs.as_slice() else {
                panic!("one proof")
            };
            assert_eq!(proof.value, value);
            let proven = verify(TrieKind::Storage, &root, &slot_key(&slot(n)), &proof.proof);
            assert_eq!(proven, Ok(value.as_deref()));
        });
        assert!(
            (1..=VISITS_MAX).contains(&visits),
            "{context}, proof of {n}: {visits} visits"
        );
    }
}

fn base(kv: &RocksKv, visits: &Arc<AtomicU64>, at: Materialised, epoch: u64) -> Base {
    let snapshot = Arc::new(Counted {
        rows: kv.snapshot(),
        visits: Arc::clone(visits),
    });
    Base { snapshot, at, epoch }
}

fn check(live: u64, context: &str) {
    // An absent slot with just one live slot beside it, with which it splits the leaf; and one of those that
    // are set and cleared around the two.
    let lonely = |n: &u64| (0..live).filter(|other| top(*other) == top(*n)).count() == 1;
    let toggled = (10_000..).find(lonely).expect("one of many");
    let cleared = 1_000..1_000 + CLEARED;
    let beside = cleared.clone().find(|n| top(*n) == top(toggled));
    let beside = beside.expect("a sixteenth of them");
    let neighbour = (0..live).find(|n| top(*n) == top(toggled)).expect("it is lonely");

    let mut world = World::new();
    world.apply(0..live, true);
    world.apply(cleared.clone(), true);
    world.materialise();
    world.apply(cleared, false);
    for place in ["overlay", "database"] {
        let context = format!("{context}, cleared rows in the {place}");
        world.check_proof(beside, None, &context);
        world.check_proof(neighbour, Some(neighbour.to_le_bytes().to_vec()), &context);
        world.check_toggles(toggled, &context);
        world.check_proof(beside, None, &context);
        world.materialise();
    }
}

#[test]
fn a_slot_is_toggled_and_proven_beside_thousands_of_cleared_ones_with_a_few_reads() {
    check(12, "a leaf in a branch");
}

#[test]
fn the_only_slot_of_an_account_is_found_beside_thousands_of_cleared_ones_with_a_few_reads() {
    check(1, "the only leaf");
}

#[test]
fn the_end_of_the_list_of_accounts_is_found_before_thousands_of_cleared_slots() {
    let mut world = World::new();
    let cleared = 0..CLEARED;
    world.apply(cleared.clone(), true);
    world.materialise();
    world.apply(cleared, false);
    for place in ["overlay", "database"] {
        let visits = world.visits(|world| {
            let last = account_key(&OWNER);
            let listed = world.view.accounts_after(None, 10).expect("a sound state");
            assert_eq!(listed.len(), 1);
            let behind = world.view.accounts_after(Some(&last), 10).expect("a sound state");
            assert_eq!(behind, []);
        });
        assert!((1..=VISITS_MAX).contains(&visits), "{place}: {visits} visits");
        world.materialise();
    }
}
