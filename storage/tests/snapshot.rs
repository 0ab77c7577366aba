//! A chain that begins at a snapshot: the source of one, its restoration, and the chain that goes on from it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod support;

use proptest::prelude::*;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::*;
use vibecoin_primitives::*;
use vibecoin_storage::check::{CheckOptions, Fault, Record, check};
use vibecoin_storage::kv::*;
use vibecoin_storage::schema::{self, BlockPart};
use vibecoin_storage::start::check_start;
use vibecoin_storage::{Head, RestoreError, RestorePoint, Restored, SnapshotSource, StorageError, Store};
use vibecoin_trie::{TrieKind, verify};

type StateRow = (StateKey, Vec<u8>);

fn rows_of(source: &SnapshotSource) -> Vec<StateRow> {
    source.rows().unwrap().map(Result::unwrap).collect()
}

fn point_of(source: &SnapshotSource) -> RestorePoint {
    let (genesis, header) = (source.genesis().clone(), source.header().clone());
    RestorePoint::new(genesis, header, source.certificate().clone()).unwrap()
}

fn restore(
    kv: &dyn KvStore,
    point: &RestorePoint,
    rows: &[StateRow],
) -> Result<Restored, RestoreError<Infallible>> {
    Store::restore(kv, point, rows.iter().cloned().map(Ok))
}

fn open(kv: &MemoryKv, chain: &Chain) -> Store {
    Store::open(Arc::new(kv.clone()), Some(&chain.hash()), config()).unwrap()
}

fn fault(kv: &MemoryKv) -> Option<Fault> {
    let kv: Arc<dyn KvStore> = Arc::new(kv.clone());
    check(&kv, CheckOptions::default(), &mut |_| {}).unwrap().fault
}

fn put(kv: &MemoryKv, family: Family, key: &[u8], value: Option<Vec<u8>>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(family, key, value),
        None => batch.delete(family, key),
    }
    kv.write(&batch, true).unwrap();
}

/// Everything of family `state` but the transaction index, which a snapshot does not have.
fn state_of(kv: &dyn KvRead) -> Vec<(Vec<u8>, Vec<u8>)> {
    kv.range(
        Family::State,
        &[],
        Some(&[schema::TRANSACTIONS]),
        Direction::Forward,
    )
    .map(Result::unwrap)
    .collect()
}

/// A chain of ten blocks, and a database that was restored from its state.
fn restored() -> (Chain, MemoryKv) {
    let (chain, _, store) = chain_in_memory(10, 21);
    let source = store.snapshot_source().unwrap();
    let kv = MemoryKv::new();
    restore(&kv, &point_of(&source), &rows_of(&source)).unwrap();
    (chain, kv)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_restored_state_is_byte_for_byte_the_state_of_its_source(
        draw in 0u64..1_000_000,
        blocks in 1u64..14,
        materialised in 0u64..14,
    ) {
        let (mut chain, kv, store) = chain_in_memory(0, 0);
        for n in 0..blocks {
            chain.grow(&store, 1, draw + n);
            if n == materialised {
                store.materialise().unwrap();
            }
        }
        let source = store.snapshot_source().unwrap();
        let rows = rows_of(&source);
        prop_assert!(rows.is_sorted_by(|a, b| a.0 < b.0));
        let other = MemoryKv::new();
        let restored = restore(&other, &point_of(&source), &rows).unwrap();
        store.materialise().unwrap();
        prop_assert_eq!(state_of(&other), state_of(&kv));
        prop_assert_eq!(restored.base, store.head());
        prop_assert_eq!(restored.accounts + restored.slots, rows.len() as u64);
        let copy = open(&other, &chain);
        prop_assert_eq!(copy.view().root(), store.view().root());
        prop_assert_eq!(content(&copy.view()), content(&store.view()));
        // The copy is as good a source as the original.
        let again = copy.snapshot_source().unwrap();
        prop_assert_eq!(rows_of(&again), rows);
        prop_assert_eq!(again.header(), source.header());
        prop_assert_eq!(again.hash(), source.hash());
    }
}

#[test]
fn a_restored_chain_goes_on_and_every_check_of_it_is_clean() {
    let (mut chain, kv) = restored();
    assert_eq!(fault(&kv), None, "right after the restore");
    let store = open(&kv, &chain);
    assert_eq!((store.head(), store.base()), (store.base(), store.head()));
    assert_eq!((store.base().height, store.earliest()), (Height(10), Height(11)));
    let report = check_start(&store, Some(store.head()), Some(Height(11))).unwrap();
    assert_eq!((report.damage, report.checked_from), (vec![], Height(10)));
    chain.grow(&store, 5, 31);
    let reference = content(&store.view());
    assert_eq!(fault(&kv), None, "with blocks that are not materialised");
    let store = open(&kv.crash(), &chain);
    assert_eq!(
        (store.head().height, content(&store.view())),
        (Height(15), reference)
    );
    store.materialise().unwrap();
    let report = check_start(&store, Some(store.head()), None).unwrap();
    assert_eq!((report.damage, report.checked_from), (vec![], Height(10)));
    drop(store);
    let store = open(&kv, &chain);
    store.materialise().unwrap();
    chain.grow(&store, 70, 32);
    store.close().unwrap();
    assert_eq!(fault(&kv), None, "materialised");
    let store = open(&kv, &chain);
    let report = check_start(&store, None, None).unwrap();
    assert_eq!((report.damage, report.checked_from), (vec![], Height(22)));
}

#[test]
fn a_reader_tells_what_is_below_the_base_from_what_is_above_the_head() {
    let (mut chain, kv) = restored();
    let store = open(&kv, &chain);
    chain.grow(&store, 3, 41);
    let reader = store.reader();
    assert_eq!(reader.base().unwrap(), Some(store.base()));
    let pruned = |height, earliest| StorageError::Pruned {
        height: Height(height),
        earliest: Height(earliest),
    };
    for below in [0, 1, 9] {
        let at = Height(below);
        assert_eq!(reader.header(at), Err(pruned(below, 10)));
        assert_eq!(reader.state_root(at), Err(pruned(below, 10)));
        assert_eq!(reader.certificate(at), Err(pruned(below, 10)));
        assert_eq!(reader.block(at), Err(pruned(below, 10)));
        assert_eq!(reader.poh_position(at), Err(pruned(below, 10)));
    }
    for below in [0, 9, 10] {
        let at = Height(below);
        assert_eq!(reader.body(at), Err(pruned(below, 11)));
        assert_eq!(reader.body_bytes(at), Err(pruned(below, 11)));
        assert_eq!(reader.receipts(at), Err(pruned(below, 11)));
        assert_eq!(reader.receipt_count(at), Err(pruned(below, 11)));
        assert_eq!(reader.diff(at), Err(pruned(below, 11)));
    }
    assert_eq!(reader.block(Height(10)), Err(pruned(10, 11)));
    assert_eq!(reader.poh_position(Height(10)), Err(pruned(10, 11)));
    assert_eq!(
        reader.header(Height(10)).unwrap().unwrap().hash(),
        store.base().hash
    );
    assert_eq!(reader.height_of(&store.base().hash).unwrap(), Some(Height(10)));
    assert!(reader.certificate(Height(10)).unwrap().is_some());
    for height in 11..=13 {
        assert!(reader.block(Height(height)).unwrap().is_some());
        assert!(reader.diff(Height(height)).unwrap().is_some());
    }
    for above in [14, u64::MAX] {
        let at = Height(above);
        assert_eq!(reader.header(at), Ok(None));
        assert_eq!(reader.block(at), Ok(None));
        assert_eq!(reader.receipts(at), Ok(None));
        assert_eq!(reader.diff(at), Ok(None));
    }
    // A chain from genesis has nothing below.
    let (_, _, store) = chain_in_memory(2, 1);
    let reader = store.reader();
    assert_eq!((reader.base().unwrap(), store.earliest()), (None, Height(0)));
    assert_eq!(store.base().hash, store.genesis().hash);
    assert_eq!(reader.diff(Height(0)), Ok(None), "genesis has no diff");
    assert_eq!(reader.header(Height(3)), Ok(None));
}

#[test]
fn a_rewind_goes_to_the_base_and_no_further() {
    let (mut chain, kv) = restored();
    let before = state_of(&kv);
    for materialised in [0, 4, 6] {
        let kv = kv.crash();
        let store = open(&kv, &chain);
        chain.back_to(&store, Height(10));
        for n in 0..6 {
            chain.grow(&store, 1, 51 + n);
            if n + 1 == materialised {
                store.materialise().unwrap();
            }
        }
        let refused = store.rewind_to(Height(9)).unwrap_err();
        let (height, earliest) = (Height(9), Height(10));
        assert_eq!(refused, StorageError::Pruned { height, earliest });
        assert_eq!((store.head().height, store.fault()), (Height(16), None));
        let view = store.rewind_to(Height(10)).unwrap();
        assert_eq!((view.height(), store.head()), (Height(10), store.base()));
        assert_eq!(state_of(&kv), before);
        assert_eq!(fault(&kv), None);
        chain.back_to(&store, Height(10));
        chain.grow(&store, 2, 60);
        assert_eq!(store.head().height, Height(12), "the chain goes on");
    }
}

#[test]
fn a_witness_of_the_database_before_the_restore_is_no_damage() {
    let (chain, kv) = restored();
    let store = open(&kv, &chain);
    let witness = |height| Head {
        height: Height(height),
        hash: Hash([1; 32]),
    };
    let damage = |head| check_start(&store, Some(head), None).unwrap().damage;
    assert_eq!(damage(witness(9)), []);
    assert_eq!(damage(witness(10)).len(), 1, "another block than the base");
    assert!(damage(witness(12))[0].is_mended_by_peers());
}

#[test]
fn a_check_finds_a_wrong_base_and_rows_below_it() {
    let (mut chain, kv) = restored();
    let store = open(&kv, &chain);
    chain.grow(&store, 4, 71);
    store.materialise().unwrap();
    drop(store);
    assert_eq!(fault(&kv), None);
    let base = kv.get(Family::Meta, schema::BASE).unwrap().unwrap();
    for at in 0..base.len() {
        let damaged = kv.crash();
        let mut bytes = base.clone();
        bytes[at] ^= 1;
        put(&damaged, Family::Meta, schema::BASE, Some(bytes));
        assert!(fault(&damaged).is_some(), "byte {at} is missed");
    }
    let damaged = kv.crash();
    put(&damaged, Family::Meta, schema::BASE, None);
    assert_eq!(fault(&damaged).unwrap().record, Record::Header, "no base");
    let zero = Head {
        height: Height(0),
        hash: chain.hash(),
    };
    put(&damaged, Family::Meta, schema::BASE, Some(encode(&zero)));
    assert_eq!(
        fault(&damaged).unwrap().record,
        Record::Meta,
        "genesis as the base"
    );
    let certificate = kv.get(Family::Headers, &schema::certificate_key(Height(10)));
    let header = kv.get(Family::Headers, &schema::header_key(Height(10)));
    let (certificate, header) = (certificate.unwrap().unwrap(), header.unwrap().unwrap());
    for (family, key, value, record) in [
        (
            Family::Headers,
            schema::header_key(Height(9)),
            &header,
            Record::Header,
        ),
        (
            Family::Headers,
            schema::certificate_key(Height(9)),
            &certificate,
            Record::Header,
        ),
        (
            Family::Blocks,
            schema::block_key(Height(10), BlockPart::Body),
            &header,
            Record::Body,
        ),
        (
            Family::Blocks,
            schema::block_key(Height(10), BlockPart::Diff),
            &header,
            Record::Body,
        ),
        (
            Family::Headers,
            schema::hash_key(&Hash([3; 32])),
            &encode(&schema::HeightRecord(Height(9))),
            Record::BlockHash,
        ),
    ] {
        let stray = kv.crash();
        put(&stray, family, &key, Some(value.clone()));
        assert_eq!(fault(&stray).expect("a stray row").record, record, "{key:?}");
    }
    for key in [
        schema::header_key(Height(10)),
        schema::certificate_key(Height(10)),
    ] {
        let damaged = kv.crash();
        put(&damaged, Family::Headers, &key, None);
        assert!(fault(&damaged).is_some());
        let store = Store::open(Arc::new(damaged), None, config());
        let refuses = store.map_or(true, |store| {
            let report = check_start(&store, None, None).unwrap();
            report.unmendable().is_some()
        });
        assert!(refuses, "a start misses {key:?}");
    }
}

/// A database whose writes fail after a number of them, as of a process that was killed there.
struct Killed {
    kv: MemoryKv,
    left: AtomicUsize,
}

impl Killed {
    fn write_one(&self) -> Result<(), StorageError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StorageError::Io {
                what: "database".to_owned(),
                detail: "killed".to_owned(),
            });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

impl KvRead for Killed {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.kv.get(family, key)
    }

    fn range<'a>(
        &'a self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = vibecoin_storage::kv::Row> + 'a> {
        self.kv.range(family, from, to, direction)
    }
}

impl KvStore for Killed {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        self.kv.snapshot()
    }

    fn write(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        self.write_one()?;
        self.kv.write(batch, sync)
    }

    fn ingest(&self, family: Family, rows: &[IngestRow]) -> Result<(), StorageError> {
        self.write_one()?;
        self.kv.ingest(family, rows)
    }

    fn stats(&self) -> KvStats {
        self.kv.stats()
    }

    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64 {
        self.kv.approximate_bytes(family, from, to)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.kv.flush()
    }
}

#[test]
fn a_restore_that_is_killed_at_any_write_leaves_no_chain_and_can_be_begun_again() {
    let (chain, _, store) = chain_in_memory(10, 21);
    let source = store.snapshot_source().unwrap();
    let (point, rows) = (point_of(&source), rows_of(&source));
    let whole = MemoryKv::new();
    restore(&whole, &point, &rows).unwrap();
    let (mut begun, mut writes) = (MemoryKv::new(), 0);
    loop {
        let killed = Killed {
            kv: begun.clone(),
            left: AtomicUsize::new(writes),
        };
        let ended = restore(&killed, &point, &rows);
        // As after a power cut. The next attempt finds the remains of this one.
        begun = begun.crash();
        if ended.is_ok() {
            break;
        }
        let opened = Store::open(Arc::new(begun.clone()), None, config());
        assert_eq!(
            opened.err().map(|error| error.class()),
            Some(FaultClass::NotCreated),
            "after {writes} writes"
        );
        writes += 1;
        assert!(writes < 100, "it ends");
    }
    assert!(writes > 5, "{writes} writes");
    let dump = |kv: &MemoryKv| {
        let all = |family| kv.prefix(family, &[]).map(Result::unwrap).collect::<Vec<_>>();
        Family::ALL.map(all)
    };
    assert_eq!(dump(&begun), dump(&whole));
    assert_eq!(content(&open(&begun, &chain).view()), content(&store.view()));
    // Where a chain is, nothing is restored over it.
    let refused = restore(&begun, &point, &rows).unwrap_err();
    assert!(
        matches!(refused, RestoreError::Storage(StorageError::Refused(_))),
        "{refused}"
    );
    assert_eq!(dump(&begun), dump(&whole));
    // A start without the snapshot does not take the remains for a chain either.
    let begun = MemoryKv::new();
    let killed = Killed {
        kv: begun.clone(),
        left: AtomicUsize::new(3),
    };
    restore(&killed, &point, &rows).unwrap_err();
    let store = chain.store(Arc::new(begun));
    assert_eq!((store.head().height, store.base().height), (Height(0), Height(0)));
}

#[test]
fn rows_that_are_not_the_certified_state_are_refused() {
    let (chain, _, store) = chain_in_memory(10, 21);
    let source = store.snapshot_source().unwrap();
    let (point, rows) = (point_of(&source), rows_of(&source));
    let slots = rows
        .iter()
        .position(|(key, _)| matches!(key, StateKey::Slot(..)))
        .expect("slots");
    let owner = |at: usize| match rows[at].0 {
        StateKey::Slot(owner, _) => owner,
        StateKey::Account(_) => panic!("a slot"),
    };
    let last = rows.len() - 1;
    assert!(slots > 2 && last > slots + 2, "accounts and slots");
    let kv = MemoryKv::new();
    let refuses = |what: &str, change: &dyn Fn(&mut Vec<StateRow>), word: &str| {
        let mut rows = rows.clone();
        change(&mut rows);
        let error = restore(&kv, &point, &rows).expect_err(what);
        assert!(
            matches!(&error, RestoreError::OtherState { height: Height(10), detail } if detail.contains(word)),
            "{what}: {error}"
        );
        let opened = Store::open(Arc::new(kv.clone()), None, config());
        assert_eq!(
            opened.err().map(|error| error.class()),
            Some(FaultClass::NotCreated),
            "{what}"
        );
    };
    let root = "its accounts have root";
    refuses("no rows", &|rows| rows.clear(), root);
    refuses("no accounts", &|rows| drop(rows.drain(..slots)), root);
    refuses("the first account is missing", &|rows| drop(rows.remove(0)), root);
    refuses(
        "the last account is missing",
        &|rows| drop(rows.remove(slots - 1)),
        root,
    );
    refuses("no slots", &|rows| rows.truncate(slots), "are missing");
    let first_owner = rows
        .iter()
        .filter(|(key, _)| matches!(key, StateKey::Slot(of, _) if *of == owner(slots)));
    let first_owner = first_owner.count();
    refuses(
        "all slots of an owner are missing",
        &|rows| drop(rows.drain(slots..slots + first_owner)),
        "are missing",
    );
    for at in [slots, last] {
        let alone = rows
            .iter()
            .filter(|(key, _)| matches!(key, StateKey::Slot(of, _) if *of == owner(at)));
        let word = if alone.count() > 1 {
            "have root"
        } else {
            "are missing"
        };
        refuses("a slot is missing", &|rows| drop(rows.remove(at)), word);
    }
    refuses(
        "two accounts change places",
        &|rows| rows.swap(0, 1),
        "does not come after",
    );
    refuses(
        "a slot before an account",
        &|rows| rows.swap(slots - 1, slots),
        root,
    );
    refuses(
        "an account twice",
        &|rows| rows.insert(1, rows[0].clone()),
        "does not come after",
    );
    for at in [0, 1, slots - 1] {
        refuses(
            "another balance",
            &|rows| {
                let mut row = schema::read_account_row(&rows[at].1).unwrap();
                row.account.balance.0 += 1;
                rows[at].1 = schema::account_row(&row);
            },
            root,
        );
        // No root covers the address.
        refuses("another address", &|rows| rows[at].1[0] ^= 1, "another key");
        refuses("a row with bytes behind it", &|rows| rows[at].1.push(0), "");
        refuses("a row cut off", &|rows| drop(rows[at].1.pop()), "");
    }
    for at in [slots, last] {
        refuses(
            "another value",
            &|rows| *rows[at].1.last_mut().unwrap() ^= 1,
            "have root",
        );
        refuses("another slot", &|rows| rows[at].1[0] ^= 1, "another key");
        refuses(
            "a slot of no account",
            &|rows| {
                let StateKey::Slot(_, key) = rows[at].0 else {
                    panic!("a slot")
                };
                rows.push((StateKey::Slot(Hash([255; 32]), key), rows[at].1.clone()));
            },
            "is no account",
        );
    }
    restore(&kv, &point, &rows).unwrap();
    assert_eq!(content(&open(&kv, &chain).view()), content(&store.view()));
}

/// The rows with the slots of each account directly behind it, unless `is_behind` leaves them behind all accounts.
fn interleaved(rows: &[StateRow], is_behind: impl Fn(&Hash) -> bool) -> Vec<StateRow> {
    let of = |row: &StateRow| match row.0 {
        StateKey::Slot(owner, _) => Some(owner),
        StateKey::Account(_) => None,
    };
    let mut ordered = Vec::new();
    for account in rows.iter().filter(|row| of(row).is_none()) {
        let StateKey::Account(key) = account.0 else {
            continue;
        };
        ordered.push(account.clone());
        if !is_behind(&key) {
            ordered.extend(rows.iter().filter(|row| of(row) == Some(key)).cloned());
        }
    }
    let behind = |row: &&StateRow| of(row).is_some_and(|owner| is_behind(&owner));
    ordered.extend(rows.iter().filter(behind).cloned());
    ordered
}

#[test]
fn slots_come_directly_behind_their_account_or_behind_all_accounts() {
    let (_, _, store) = chain_in_memory(30, 21);
    let source = store.snapshot_source().unwrap();
    let (point, rows) = (point_of(&source), rows_of(&source));
    let flat = MemoryKv::new();
    let expected = restore(&flat, &point, &rows).unwrap();
    let mut owners: Vec<Hash> = rows
        .iter()
        .filter_map(|(key, _)| match key {
            StateKey::Slot(owner, _) => Some(*owner),
            StateKey::Account(_) => None,
        })
        .collect();
    owners.dedup();
    assert!(owners.len() > 4, "{} owners", owners.len());
    let some = |owner: &Hash| owner.0[0] & 1 == 0;
    let orders = [
        interleaved(&rows, |_| false),
        interleaved(&rows, some),
        interleaved(&rows, |owner| *owner == owners[0]),
        interleaved(&rows, |owner| *owner == owners[owners.len() - 1]),
    ];
    assert_eq!(interleaved(&rows, |_| true), rows);
    for order in &orders {
        let kv = MemoryKv::new();
        assert_eq!(restore(&kv, &point, order).unwrap(), expected);
        assert_eq!(state_of(&kv), state_of(&flat));
    }
    let refuses = |rows: Vec<StateRow>, word: &str| {
        let error = restore(&MemoryKv::new(), &point, &rows).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    // One owner's slots twice, in place of another's.
    let twice = |owner: Hash, missing: Hash| {
        let is_behind = |of: &Hash| *of == owner || *of == missing;
        let mut rows = interleaved(&rows, is_behind);
        let of = |row: &StateRow, owner| matches!(row.0, StateKey::Slot(of, _) if of == owner);
        let slots: Vec<_> = rows.iter().filter(|row| of(row, owner)).cloned().collect();
        rows.retain(|row| !of(row, missing));
        let key = StateKey::Account(owner);
        let at = rows.iter().position(|row| row.0 == key).unwrap();
        drop(rows.splice(at + 1..at + 1, slots));
        rows
    };
    refuses(twice(owners[0], owners[1]), "in two places");
    refuses(twice(owners[1], owners[0]), "in two places");
    // Owners behind all accounts that do not ascend.
    let mut turned = rows.clone();
    let first = turned
        .iter()
        .position(|(key, _)| matches!(key, StateKey::Slot(..)))
        .unwrap();
    let count = turned[first..]
        .iter()
        .filter(|(key, _)| matches!(key, StateKey::Slot(of, _) if *of == owners[0]))
        .count();
    turned[first..].rotate_left(count);
    refuses(turned, "does not come after");
    // Slots of an account that is still to come.
    let mut early = interleaved(&rows, |_| false);
    let at = early
        .iter()
        .position(|row| row.0 == StateKey::Account(owners[1]))
        .unwrap();
    early.swap(at, at + 1);
    refuses(early, "its accounts have root");
}

#[test]
fn the_error_of_the_source_comes_back_as_it_is() {
    let (_, _, store) = chain_in_memory(4, 21);
    let source = store.snapshot_source().unwrap();
    let (point, rows) = (point_of(&source), rows_of(&source));
    let lost = || StorageError::Refused("chunk 7 is lost".to_owned());
    for at in [0, 3, rows.len()] {
        let kv = MemoryKv::new();
        let some = rows.iter().take(at).cloned().map(Ok).chain([Err(lost())]);
        let error = Store::restore(&kv, &point, some).unwrap_err();
        assert!(
            matches!(&error, RestoreError::Rows(error) if *error == lost()),
            "{error}"
        );
        assert!(kv.get(Family::Meta, schema::SCHEMA).unwrap().is_none());
    }
}

#[test]
fn a_point_is_a_certified_block_of_the_chain() {
    let (chain, _, store) = chain_in_memory(3, 21);
    let genesis = store.genesis().clone();
    let block = |height| {
        let (reader, at) = (store.reader(), Height(height));
        (
            reader.header(at).unwrap().unwrap(),
            reader.certificate(at).unwrap().unwrap(),
        )
    };
    let ((second, of_second), (third, of_third)) = (block(2), block(3));
    let refused =
        |genesis: &vibecoin_storage::GenesisRecord, header: &Header, certificate: &CommitCertificate| {
            let point = RestorePoint::new(genesis.clone(), header.clone(), certificate.clone());
            let error = point.expect_err("not a block of this chain");
            assert!(matches!(error, StorageError::Refused(_)), "{error}");
        };
    RestorePoint::new(genesis.clone(), third.clone(), of_third.clone()).unwrap();
    refused(&genesis, &third, &of_second);
    refused(&genesis, &second, &of_third);
    refused(&genesis, &chain.genesis.header, &of_third);
    let mut forged = third.clone();
    forged.state_root = Hash([1; 32]);
    let mut renamed = of_third.clone();
    renamed.block = forged.hash();
    refused(&genesis, &forged, &of_third);
    refused(&genesis, &forged, &renamed);
    let mut unsigned = of_third.clone();
    unsigned.signatures.clear();
    refused(&genesis, &third, &unsigned);
    let mut other = genesis.clone();
    other.hash = Hash([1; 32]);
    refused(&other, &third, &of_third);
    let mut other = genesis.clone();
    other.params.hashes_per_tick += 1;
    refused(&other, &third, &of_third);
}

#[test]
fn a_source_shows_its_block_while_the_chain_goes_on() {
    let (mut chain, _, store) = chain_in_memory(6, 81);
    let source = store.snapshot_source().unwrap();
    let before = rows_of(&source);
    let from_the_middle = before[before.len() / 2].0;
    let accounts = source.accounts_from(Hash::ZERO).unwrap().map(|row| {
        let (key, row) = row.unwrap();
        (StateKey::Account(key), encode(&row))
    });
    let slots = source.slots_from((Hash::ZERO, Hash::ZERO)).unwrap().map(|row| {
        let (owner, key, row) = row.unwrap();
        (StateKey::Slot(owner, key), encode(&row))
    });
    assert_eq!(accounts.chain(slots).collect::<Vec<_>>(), before);
    for round in 0..6 {
        chain.grow(&store, 4, 90 + round);
        store.materialise().unwrap();
        assert_eq!(rows_of(&source), before);
        let rows: Vec<_> = source
            .rows_from(from_the_middle)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows, before[before.len() / 2..]);
        assert_eq!(source.header().height, Height(6));
        let view = store.view();
        assert_ne!(rows_of(&store.snapshot_source().unwrap()), before, "{view:?}");
    }
    assert_ne!(source.header().state_root, store.view().root());
}

#[test]
fn the_trie_of_a_source_proves_its_accounts_and_slots() {
    for materialised in [false, true] {
        let (mut chain, _, store) = chain_in_memory(12, 5);
        if materialised {
            store.materialise().unwrap();
        }
        let source = store.snapshot_source().unwrap();
        chain.grow(&store, 8, 6);
        store.materialise().unwrap();
        let (trie, root) = (source.trie(), source.header().state_root);
        let (mut accounts, mut slots) = (0, 0);
        for (key, row) in rows_of(&source) {
            match key {
                StateKey::Account(path) => {
                    let leaf = schema::account_leaf(&row).unwrap();
                    let proof = trie.prove(&path, Some(leaf), &source).unwrap();
                    assert_eq!(verify(TrieKind::Account, &root, &path, &proof), Ok(Some(leaf)));
                    accounts += 1;
                }
                StateKey::Slot(owner, path) => {
                    let leaf = schema::slot_leaf(&row).unwrap();
                    let storage = source.storage_trie(&owner).unwrap();
                    let proof = storage.prove(&path, Some(leaf), &source).unwrap();
                    assert_eq!(
                        verify(TrieKind::Storage, &storage.root(), &path, &proof),
                        Ok(Some(leaf))
                    );
                    slots += 1;
                }
            }
        }
        assert!(accounts > 40 && slots > 2, "{accounts} accounts, {slots} slots");
        assert!(source.storage_trie(&Hash([9; 32])).unwrap().root().is_zero());
    }
}

#[test]
fn there_is_no_source_of_genesis_of_a_candidate_or_of_a_block_that_was_undone() {
    let (mut chain, _, store) = chain_in_memory(0, 0);
    assert!(matches!(store.snapshot_source(), Err(StorageError::Refused(_))));
    chain.grow(&store, 3, 7);
    let (candidate, _) = store.view().apply(&changes(&store.view(), 20)).unwrap();
    assert_eq!(candidate.height(), Height(4));
    assert!(SnapshotSource::of_view(&store, candidate.clone()).is_err());
    chain.grow(&store, 1, 8);
    assert!(
        SnapshotSource::of_view(&store, candidate).is_err(),
        "another block was decided"
    );
    let held = store.view();
    assert!(SnapshotSource::of_view(&store, held.clone()).is_ok());
    store.rewind_to(Height(2)).unwrap();
    assert!(SnapshotSource::of_view(&store, held).is_err());
}

#[test]
fn a_database_on_disk_is_restored_from_another_one_that_is_stopped() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = folders.each_ref().map(|folder| folder.path().join("db"));
    let mut chain = Chain::new();
    let store = Store::open_or_create_path(&first, &chain.genesis, config()).unwrap();
    chain.grow(&store, 9, 3);
    store.materialise().unwrap();
    chain.grow(&store, 4, 4);
    let reference = content(&store.view());
    drop(store);
    // The last four blocks are in memory only, and stay so.
    let stopped = Store::open_path(&first, None, config()).unwrap();
    let source = stopped.snapshot_source().unwrap();
    let rows = source.rows().unwrap();
    let restored = Store::restore_path(&second, &point_of(&source), rows, RocksConfig::default()).unwrap();
    assert_eq!(restored.base, stopped.head());
    assert_eq!(stopped.materialised(), Height(9));
    let moved = folders[1].path().join("moved");
    std::fs::rename(&second, &moved).unwrap();
    let store = Store::open_path(&moved, Some(&chain.hash()), config()).unwrap();
    assert_eq!(content(&store.view()), reference);
    chain.grow(&store, 3, 5);
    store.close().unwrap();
    drop(store);
    let store = Store::open_path(&moved, Some(&chain.hash()), config()).unwrap();
    assert_eq!(
        (store.head().height, store.base().height),
        (Height(16), Height(13))
    );
    assert_eq!(fault_on_disk(&store), None);
}

fn fault_on_disk(store: &Store) -> Option<Fault> {
    check(store.kv(), CheckOptions::default(), &mut |_| {})
        .unwrap()
        .fault
}
