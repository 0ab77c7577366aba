//! A check finds one wrong byte in any record, and a start finds lost blocks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod support;

use std::sync::Arc;
use support::*;
use vibecoin_primitives::*;
use vibecoin_storage::check::{CheckOptions, Fault, Record, check, check_path};
use vibecoin_storage::kv::*;
use vibecoin_storage::schema::{self, BlockPart};
use vibecoin_storage::start::{Damage, Lost, check_start};
use vibecoin_storage::{Head, Store};

fn run(kv: &MemoryKv) -> Option<Fault> {
    let kv: Arc<dyn KvStore> = Arc::new(kv.clone());
    check(&kv, CheckOptions::default(), &mut |_| {}).unwrap().fault
}

/// Six materialised blocks and three above them.
fn sample() -> (Chain, MemoryKv) {
    let (mut chain, kv, store) = chain_in_memory(6, 11);
    store.materialise().unwrap();
    chain.grow(&store, 3, 12);
    (chain, kv)
}

fn rows(kv: &MemoryKv, family: Family, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    kv.prefix(family, prefix).map(Result::unwrap).collect()
}

fn put(kv: &MemoryKv, family: Family, key: &[u8], value: Option<Vec<u8>>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(family, key, value),
        None => batch.delete(family, key),
    }
    kv.write(&batch, true).unwrap();
}

#[test]
fn a_sound_database_has_no_fault_and_everything_is_counted() {
    let (_, kv) = sample();
    let store: Arc<dyn KvStore> = Arc::new(kv.clone());
    let mut steps = 0;
    let report = check(&store, CheckOptions::default(), &mut |_| steps += 1).unwrap();
    assert_eq!(report.fault, None);
    assert_eq!(
        (report.blocks, report.materialised, report.head.unwrap().height),
        (10, Height(6), Height(9))
    );
    assert_eq!(
        report.accounts,
        rows(&kv, Family::State, &[schema::ACCOUNTS]).len() as u64
    );
    assert_eq!(
        report.nodes,
        rows(&kv, Family::State, &[schema::NODES]).len() as u64
    );
    assert!(report.transactions > 3 && report.slots > 1 && steps >= 10);
}

/// Flips one bit at several offsets of one record and expects each to be found.
fn finds(family: Family, key: &[u8], expected: &[Record], height: Option<u64>) {
    let (_, kv) = sample();
    let value = kv.get(family, key).unwrap().unwrap();
    for at in [0, value.len() / 3, value.len() / 2, value.len() - 1] {
        let damaged = kv.crash();
        let mut bytes = value.clone();
        bytes[at] ^= 0x10;
        put(&damaged, family, key, Some(bytes));
        let fault = run(&damaged).unwrap_or_else(|| panic!("byte {at} of {key:?} is not missed"));
        assert!(expected.contains(&fault.record), "byte {at}: {fault}");
        assert!(
            height.is_none_or(|height| fault.height == Height(height)),
            "{fault}"
        );
    }
    let damaged = kv.crash();
    put(&damaged, family, key, None);
    let fault = run(&damaged).expect("a missing record is missed");
    assert!(expected.contains(&fault.record), "missing: {fault}");
}

#[test]
fn a_flipped_bit_in_a_header_is_found() {
    finds(
        Family::Headers,
        &schema::header_key(Height(4)),
        &[Record::Header, Record::BlockHash],
        Some(4),
    );
    finds(
        Family::Headers,
        &schema::header_key(Height(9)),
        &[Record::Header, Record::BlockHash],
        Some(9),
    );
}

#[test]
fn a_flipped_bit_in_a_certificate_is_found() {
    finds(
        Family::Headers,
        &schema::certificate_key(Height(5)),
        &[Record::Certificate],
        Some(5),
    );
}

#[test]
fn a_flipped_bit_in_a_body_is_found() {
    finds(
        Family::Blocks,
        &schema::block_key(Height(3), BlockPart::Body),
        &[Record::Body],
        Some(3),
    );
}

#[test]
fn a_flipped_bit_in_receipts_is_found() {
    let (_, kv) = sample();
    let full = (1..10).find(|h| {
        rows(
            &kv,
            Family::Blocks,
            &schema::block_key(Height(*h), BlockPart::Receipts),
        )[0]
        .1
        .len()
            > 8
    });
    let height = full.unwrap();
    finds(
        Family::Blocks,
        &schema::block_key(Height(height), BlockPart::Receipts),
        &[Record::Receipts],
        Some(height),
    );
}

#[test]
fn a_flipped_bit_in_a_diff_above_the_materialised_height_is_found() {
    finds(
        Family::Blocks,
        &schema::block_key(Height(8), BlockPart::Diff),
        &[Record::Diff],
        None,
    );
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_materialised_diff_is_found_and_placed() {
    let (_, kv) = sample();
    let mut named = 0;
    for height in 1..=6 {
        let key = schema::block_key(Height(height), BlockPart::Diff);
        let value = kv.get(Family::Blocks, &key).unwrap().unwrap();
        for at in (0..value.len()).step_by(5).chain([value.len() - 1]) {
            let damaged = kv.crash();
            let mut bytes = value.clone();
            bytes[at] ^= 0x10;
            put(&damaged, Family::Blocks, &key, Some(bytes));
            let fault = run(&damaged).unwrap_or_else(|| panic!("byte {at} of height {height} is missed"));
            assert_eq!(
                (fault.record, fault.height),
                (Record::Diff, Height(height)),
                "{fault}"
            );
            named += usize::from(fault.detail.contains(" account "));
        }
    }
    assert!(named > 50, "{named} faults name the row");
}

/// A wrong byte in a row before the block: the fault names exactly this row.
#[test]
fn a_wrong_old_row_is_named_whether_a_lower_block_or_genesis_made_it() {
    let (_, kv) = sample();
    let mut tried = 0;
    for height in 1..=6 {
        let key = schema::block_key(Height(height), BlockPart::Diff);
        let diff: StateDiff = decode(&kv.get(Family::Blocks, &key).unwrap().unwrap()).unwrap();
        for index in 0..diff.entries.len() {
            let mut wrong = diff.clone();
            let entry = &mut wrong.entries[index];
            let Some(old) = &mut entry.old else { continue };
            // The first bytes are the address or the slot, which no root covers.
            old[0] ^= 1;
            let (StateKey::Account(name) | StateKey::Slot(_, name)) = entry.key;
            let damaged = kv.crash();
            put(&damaged, Family::Blocks, &key, Some(encode(&wrong)));
            let fault = run(&damaged).expect("an old row of another address or slot");
            assert_eq!((fault.record, fault.height), (Record::Diff, Height(height)));
            assert!(fault.detail.contains(&name.to_string()), "{fault}");
            tried += 1;
        }
    }
    assert!(tried > 5, "{tried} rows");
}

#[test]
fn a_wrong_old_balance_is_named_by_the_lower_diff_that_left_another() {
    let (_, kv) = sample();
    let diff = |height| -> StateDiff {
        let key = schema::block_key(Height(height), BlockPart::Diff);
        decode(&kv.get(Family::Blocks, &key).unwrap().unwrap()).unwrap()
    };
    let account = |entry: &DiffEntry| matches!(entry.key, StateKey::Account(_)) && entry.old.is_some();
    let mut tried = 0;
    for height in 2..=6 {
        let below: Vec<_> = (1..height).flat_map(|height| diff(height).entries).collect();
        let mut wrong = diff(height);
        let known = |entry: &DiffEntry| account(entry) && below.iter().any(|other| other.key == entry.key);
        let Some(entry) = wrong.entries.iter_mut().find(|entry| known(entry)) else {
            continue;
        };
        let StateKey::Account(name) = entry.key else {
            panic!()
        };
        let old = entry.old.as_mut().unwrap();
        let mut row = schema::read_account_row(old).unwrap();
        row.account.balance.0 += 1;
        *old = encode(&row);
        let damaged = kv.crash();
        let key = schema::block_key(Height(height), BlockPart::Diff);
        put(&damaged, Family::Blocks, &key, Some(encode(&wrong)));
        let fault = run(&damaged).expect("a wrong balance");
        assert_eq!((fault.record, fault.height), (Record::Diff, Height(height)));
        assert!(fault.detail.contains(&format!("account {name}")), "{fault}");
        tried += 1;
    }
    assert!(tried > 0, "some account is paid twice");
}

#[test]
fn a_rewind_that_was_cut_off_is_reported_with_what_ends_it() {
    let (_, kv) = sample();
    let target = encode(&schema::HeightRecord(Height(2)));
    put(&kv, Family::Meta, schema::REWIND, Some(target));
    let fault = run(&kv).expect("an intent");
    assert_eq!(fault.record, Record::Meta);
    assert!(
        fault.detail.contains("height 2") && fault.detail.contains("start the node"),
        "{fault}"
    );
}

#[test]
fn a_missing_schema_version_is_a_fault_and_an_empty_database_is_none() {
    let (_, kv) = sample();
    put(&kv, Family::Meta, schema::SCHEMA, None);
    let fault = run(&kv).expect("no schema version");
    assert!(
        fault.record == Record::Meta && fault.detail.contains("schema version"),
        "{fault}"
    );
    let empty: Arc<dyn KvStore> = Arc::new(MemoryKv::new());
    let error = check(&empty, CheckOptions::default(), &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), FaultClass::NotCreated);
}

#[test]
fn a_row_that_no_block_accounts_for_is_found_in_every_family() {
    let (_, kv) = sample();
    let hash = encode(&schema::HeightRecord(Height(3)));
    for (family, key, record) in [
        (
            Family::Headers,
            schema::hash_key(&Hash([7; 32])),
            Record::BlockHash,
        ),
        (Family::Headers, schema::header_key(Height(10)), Record::Header),
        (
            Family::Headers,
            schema::certificate_key(Height(10)),
            Record::Header,
        ),
        (Family::Headers, vec![3, 1], Record::Header),
        (Family::Headers, vec![schema::HASHES, 1], Record::Header),
        (
            Family::Blocks,
            schema::block_key(Height(10), BlockPart::Body),
            Record::Body,
        ),
        (
            Family::Blocks,
            schema::block_key(Height(3), BlockPart::Diff)[..8].to_vec(),
            Record::Body,
        ),
        (
            Family::Blocks,
            [&3u64.to_be_bytes()[..], &[3]].concat(),
            Record::Body,
        ),
        (
            Family::Blocks,
            schema::block_key(Height(0), BlockPart::Diff),
            Record::Body,
        ),
        (Family::Meta, schema::CREATING.to_vec(), Record::Meta),
        (Family::State, vec![0, 0], Record::Row),
        (Family::State, vec![5], Record::Row),
        (Family::State, vec![255], Record::Row),
    ] {
        let stray = kv.crash();
        put(&stray, family, &key, Some(hash.clone()));
        let fault = run(&stray).unwrap_or_else(|| panic!("{family:?} {key:?} is missed"));
        assert_eq!(fault.record, record, "{fault}");
        assert!(fault.detail.contains(&format!("{key:02x?}")), "{fault}");
    }
}

#[test]
fn a_flipped_bit_in_a_row_is_found() {
    let (_, kv) = sample();
    for prefix in [schema::ACCOUNTS, schema::SLOTS] {
        let all = rows(&kv, Family::State, &[prefix]);
        for (key, _) in [&all[0], &all[all.len() / 2], &all[all.len() - 1]] {
            finds(Family::State, key, &[Record::Row], Some(6));
        }
    }
}

#[test]
fn a_flipped_bit_in_a_trie_node_is_found() {
    let (_, kv) = sample();
    let all = rows(&kv, Family::State, &[schema::NODES]);
    for (key, _) in [&all[0], &all[all.len() / 2], &all[all.len() - 1]] {
        finds(Family::State, key, &[Record::Node], Some(6));
    }
}

#[test]
fn a_flipped_bit_in_the_transaction_index_is_found() {
    let (_, kv) = sample();
    finds(
        Family::State,
        &rows(&kv, Family::State, &[schema::TRANSACTIONS])[0].0,
        &[Record::Index],
        None,
    );
}

#[test]
fn a_flipped_bit_in_the_head_or_the_materialised_height_is_found() {
    let (_, kv) = sample();
    for (family, key) in [
        (Family::Meta, schema::HEAD),
        (Family::State, schema::MATERIALISED),
    ] {
        let value = kv.get(family, key).unwrap().unwrap();
        for at in 0..value.len() {
            // A lower materialised height is found by its root, a head above the chain by a missing header.
            let damaged = kv.crash();
            let mut bytes = value.clone();
            bytes[at] ^= 1;
            put(&damaged, family, key, Some(bytes));
            assert!(run(&damaged).is_some(), "byte {at} of {key:?}");
        }
    }
}

#[test]
fn a_record_too_many_is_found() {
    let (_, kv) = sample();
    let slot = rows(&kv, Family::State, &[schema::SLOTS])[0].clone();
    let stray = kv.crash();
    let mut key = slot.0.clone();
    key[1..33].fill(0xee);
    put(&stray, Family::State, &key, Some(slot.1));
    assert_eq!(run(&stray).unwrap().record, Record::Row);
    let stray = kv.crash();
    put(
        &stray,
        Family::State,
        &schema::transaction_key(&Hash([5; 32])),
        Some(vec![0; 12]),
    );
    assert_eq!(run(&stray).unwrap().record, Record::Index);
}

#[test]
fn a_start_finds_nothing_wrong_with_a_sound_database() {
    let (chain, kv) = sample();
    let store = chain.store(Arc::new(kv));
    let report = check_start(&store, Some(store.head()), Some(Height(10))).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.checked_from, Height(0));
}

#[test]
fn a_start_finds_that_committed_blocks_are_gone() {
    let (chain, kv) = sample();
    let store: Store = chain.store(Arc::new(kv));
    let witness = Head {
        height: Height(12),
        hash: Hash([1; 32]),
    };
    let damage = check_start(&store, Some(witness), None).unwrap().damage;
    assert_eq!(
        damage,
        [Damage::HeadBehindWitness {
            head: store.head(),
            witness
        }]
    );
    assert!(damage[0].is_mended_by_peers() && damage[0].to_string().contains("height 12 was committed"));
    let lost = |witness, signed| check_start(&store, witness, signed).unwrap().lost();
    let (head, through) = (store.head(), Height(12));
    let expected = |witness, through| {
        Some(Lost {
            head,
            witness,
            through,
        })
    };
    assert_eq!(lost(Some(witness), None), expected(Some(witness), through));
    assert_eq!(
        lost(Some(witness), Some(Height(14))),
        expected(Some(witness), Height(13))
    );
    assert_eq!(lost(Some(head), Some(Height(14))), expected(None, Height(13)));
    assert_eq!(lost(Some(head), Some(head.height.saturating_add(1))), None);
    let damage = check_start(&store, None, Some(Height(11))).unwrap().damage;
    assert_eq!(
        damage,
        [Damage::HeadBehindGuard {
            head: store.head(),
            signed: Height(11)
        }]
    );
    let witness = Head {
        height: Height(4),
        hash: Hash([1; 32]),
    };
    assert!(matches!(
        check_start(&store, Some(witness), None).unwrap().damage[..],
        [Damage::OtherThanWitness { .. }]
    ));
}

#[test]
fn a_start_finds_a_damaged_block_and_a_damaged_root_node() {
    let (chain, kv) = sample();
    let damaged = kv.crash();
    put(
        &damaged,
        Family::Headers,
        &schema::certificate_key(Height(8)),
        None,
    );
    let store = chain.store(Arc::new(damaged));
    let report = check_start(&store, None, None).unwrap();
    let [Damage::Record(fault)] = &report.damage[..] else {
        panic!("{report:?}")
    };
    assert_eq!((fault.record, fault.height), (Record::Certificate, Height(8)));
    // Damage elsewhere is not repaired by fetching, whatever else is missing.
    let witness = Head {
        height: Height(20),
        hash: Hash([1; 32]),
    };
    let report = check_start(&store, Some(witness), None).unwrap();
    assert_eq!((report.damage.len(), report.lost()), (2, None));
    assert!(matches!(report.unmendable(), Some(Damage::Record(_))));

    let (chain, kv, store) = chain_in_memory(4, 1);
    store.close().unwrap();
    let root = rows(&kv, Family::State, &[schema::NODES])[0].clone();
    let mut bytes = root.1;
    bytes[40] ^= 1;
    put(&kv, Family::State, &root.0, Some(bytes));
    let store = chain.store(Arc::new(kv));
    let report = check_start(&store, None, None).unwrap();
    let [Damage::Record(fault)] = &report.damage[..] else {
        panic!("{report:?}")
    };
    assert_eq!(fault.record, Record::Node);
    assert!(report.damage[0].remedy().contains("db check"));
}

#[test]
fn a_folder_that_lost_its_schema_version_is_reported_and_never_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let store = Store::open_or_create_path(folder.path(), &chain.genesis, config()).unwrap();
    chain.grow(&store, 6, 5);
    store.close().unwrap();
    drop(store);
    let everything = || {
        let kv = RocksKv::open(folder.path(), RocksConfig::default()).unwrap();
        let all = |family| kv.prefix(family, &[]).map(Result::unwrap).collect::<Vec<_>>();
        Family::ALL.map(all)
    };
    let kv = RocksKv::open(folder.path(), RocksConfig::default()).unwrap();
    let mut lost = Batch::new();
    lost.delete(Family::Meta, schema::SCHEMA);
    kv.write(&lost, true).unwrap();
    drop(kv);
    let left = everything();
    let error = Store::open_or_create_path(folder.path(), &chain.genesis, config())
        .err()
        .unwrap();
    assert_eq!(error.class(), FaultClass::Corruption, "{error}");
    let report = check_path(folder.path(), CheckOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(report.fault.map(|fault| fault.record), Some(Record::Meta));
    assert_eq!(everything(), left);
}

/// Flips one byte in the middle of RocksDB's write-ahead log, or removes it, and checks the result of a
/// start.
#[test]
fn a_damaged_or_lost_write_ahead_log_is_never_taken_for_an_older_chain() {
    for removed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = Chain::new();
        let store = Store::open_or_create_path(folder.path(), &chain.genesis, config()).unwrap();
        chain.grow(&store, 30, 5);
        let witness = store.head();
        drop(store);
        let logs = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|ext| ext == "log"));
        let log = logs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&log).unwrap();
        assert!(bytes.len() > 10_000, "the blocks are in the log");
        if removed {
            std::fs::remove_file(&log).unwrap();
        } else {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&log, bytes).unwrap();
        }
        // With the log missing there may be no chain at all: without a schema version, no chain is opened.
        match Store::open_path(folder.path(), Some(&chain.hash()), config()) {
            Ok(store) => {
                assert!(
                    store.head().height < witness.height,
                    "RocksDB rolled back without a word"
                );
                let damage = check_start(&store, Some(witness), None).unwrap().damage;
                assert_eq!(
                    damage,
                    [Damage::HeadBehindWitness {
                        head: store.head(),
                        witness
                    }]
                );
            }
            Err(error) => assert!(
                [FaultClass::NotCreated, FaultClass::Corruption].contains(&error.class()),
                "{error}"
            ),
        }
    }
}
