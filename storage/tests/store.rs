//! The chain on disk: commit, crash, replay, rewind, reading and proving.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use proptest::prelude::*;
use std::sync::Arc;
use support::*;
use vibecoin_execution::{DecidedBlock, StateChanges};
use vibecoin_primitives::*;
use vibecoin_storage::kv::*;
use vibecoin_storage::schema::{self, BlockPart, COMMIT_KEYS};
use vibecoin_storage::{StateView, StorageError, Store, StoreConfig};

fn open(kv: &MemoryKv, chain: &Chain) -> Store {
    Store::open(Arc::new(kv.clone()), Some(&chain.hash()), config()).unwrap()
}

/// All rows of a store, except counters.
fn dump(kv: &dyn KvStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    Family::ALL
        .into_iter()
        .flat_map(|family| {
            kv.range(family, &[], None, Direction::Forward)
                .collect::<Vec<_>>()
        })
        .map(Result::unwrap)
        .collect()
}

#[test]
fn a_commit_is_one_synced_batch_of_seven_keys_whatever_the_block_holds() {
    let (mut chain, kv, store) = chain_in_memory(0, 0);
    for draw in [0, 6, 3] {
        let (before, rows) = (kv.stats(), dump(&kv).len());
        let block = chain.next(&store.view(), draw);
        store.commit(&block).unwrap();
        let after = kv.stats();
        assert_eq!(
            (after.batches - before.batches, after.synced - before.synced),
            (1, 1)
        );
        assert_eq!(after.ingests, before.ingests);
        // Head is replaced, the other six are new.
        assert_eq!(dump(&kv).len() - rows, COMMIT_KEYS - 1);
        assert_eq!(kv.unsynced(), 0);
    }
}

#[test]
fn a_crash_at_any_moment_keeps_every_committed_block_and_its_state() {
    for materialised_at in 0..=12u64 {
        let (mut chain, kv) = (Chain::new(), MemoryKv::new());
        let store = chain.store(Arc::new(kv.clone()));
        let (mut roots, mut ids) = (vec![store.view().root()], Vec::new());
        for height in 1..=12u64 {
            let block = chain.next(&store.view(), rng(height));
            ids.extend(block.ids.iter().map(|id| (*id, height)));
            roots.push(store.commit(&block).unwrap().root());
            if height == materialised_at {
                store.materialise().unwrap();
            }
            let after = open(&kv.crash(), &chain);
            assert_eq!(after.head(), store.head());
            assert_eq!(
                after.stats().materialised.0,
                if height >= materialised_at {
                    materialised_at
                } else {
                    0
                }
            );
            assert_eq!(content(&after.view()), content(&store.view()));
            assert_eq!(after.view().root(), roots[usize::try_from(height).unwrap()]);
            for (id, height) in &ids {
                assert_eq!(after.transaction(id).unwrap().unwrap().height, Height(*height));
            }
        }
    }
}

fn rng(n: u64) -> u64 {
    vibecoin_storage::rng::mix(n)
}

#[test]
fn rocksdb_reopened_without_a_clean_stop_goes_on_from_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let background = StoreConfig {
        background: true,
        step_updates: 40,
        pending_updates_max: 80,
        ..config()
    };
    for round in 0..4u64 {
        let store = Store::open_or_create_path(folder.path(), &chain.genesis, background).unwrap();
        assert_eq!(store.head().height, Height(25 * round));
        chain.grow(&store, 25, round);
        let (head, reference) = (store.head(), content(&store.view()));
        if round == 2 {
            store.close().unwrap();
        }
        drop(store);
        let store = Store::open_path(folder.path(), Some(&chain.hash()), background).unwrap();
        assert_eq!((store.head(), content(&store.view())), (head, reference));
    }
    let store = Store::open_path(folder.path(), None, background).unwrap();
    assert_eq!(store.head().height, Height(100));
    assert!(
        store.stats().materialised > Height(0),
        "the thread has materialised"
    );
}

#[test]
fn after_a_clean_stop_there_is_nothing_to_replay() {
    let (mut chain, kv, store) = chain_in_memory(9, 1);
    let before = content(&store.view());
    let late = chain.next(&store.view(), 3);
    store.close().unwrap();
    assert!(store.commit(&late).is_err(), "a closed store takes no block");
    let store = open(&kv, &chain);
    assert_eq!(
        (store.stats().materialised, store.stats().pending_updates),
        (Height(9), 0)
    );
    assert_eq!(content(&store.view()), before);
}

#[test]
fn a_view_shows_its_block_for_as_long_as_it_is_held() {
    let (mut chain, _, store) = chain_in_memory(3, 5);
    let (held, before) = (store.view(), content(&store.view()));
    for round in 0..6 {
        chain.grow(&store, 4, 50 + round);
        store.materialise().unwrap();
        assert_eq!(content(&held), before);
        prove_everything(&held);
    }
    assert_ne!(content(&store.view()), before);
}

#[test]
fn candidates_for_one_height_do_not_see_each_other_and_outlive_a_materialiser_step() {
    let (mut chain, _, store) = chain_in_memory(5, 9);
    let parent = store.view();
    let candidates: Vec<_> = (20..26)
        .map(|draw| (draw, parent.apply(&changes(&parent, draw)).unwrap()))
        .collect();
    store.materialise().unwrap();
    for (draw, (state, diff)) in &candidates {
        let (again, same) = store.view().apply(&changes(&store.view(), *draw)).unwrap();
        assert_eq!((again.root(), &same), (state.root(), diff));
        assert_eq!(content(&again), content(state));
        prove_everything(state);
    }
    let (_, (state, diff)) = candidates.into_iter().nth(3).unwrap();
    let block = chain.block(state, diff, 2);
    store.commit(&block).unwrap();
    assert_eq!(store.head().height, Height(6));
}

#[test]
fn a_candidate_that_was_not_decided_never_takes_over_the_state_of_the_one_that_was() {
    let (mut chain, _, store) = chain_in_memory(5, 9);
    let parent = store.view();
    let (refused, _) = parent.apply(&changes(&parent, 20)).unwrap();
    let before = content(&refused);
    chain.grow(&store, 1, 77);
    store.materialise().unwrap();
    assert_ne!(refused.root(), store.view().root());
    let (next, diff) = refused.apply(&StateChanges::default()).unwrap();
    assert_eq!((next.root(), diff.entries.len()), (refused.root(), 0));
    assert_eq!(content(&next), before);
}

/// Checks every account and slot against its proof.
fn prove_everything(view: &StateView) {
    use vibecoin_trie::{TrieKind, verify};
    for at in addresses() {
        let proven = view.prove_account(&at).unwrap();
        let found = verify(TrieKind::Account, &view.root(), &account_key(&at), &proven.proof).unwrap();
        assert_eq!(
            found.map(<[u8]>::to_vec),
            proven.account.map(|account| encode(&account))
        );
        let root = proven
            .account
            .and_then(|account| account.storage_root)
            .unwrap_or(Hash::ZERO);
        for proof in view
            .prove_slots(&at, &[slot(0), slot(1), records::SUPPLY])
            .unwrap()
        {
            let found = verify(TrieKind::Storage, &root, &slot_key(&proof.slot), &proof.proof).unwrap();
            assert_eq!(found.map(<[u8]>::to_vec), proof.value);
        }
    }
}

#[test]
fn accounts_and_slots_have_proofs_at_every_stage_of_their_life() {
    let (mut chain, _, store) = chain_in_memory(0, 0);
    for round in 0..8 {
        prove_everything(&store.view());
        chain.grow(&store, 3, 70 + round);
        if round % 3 == 2 {
            store.materialise().unwrap();
        }
    }
}

#[test]
fn a_listing_of_accounts_is_in_key_order_and_complete_wherever_its_rows_are() {
    let (mut chain, _, store) = chain_in_memory(0, 0);
    for round in 0..6 {
        let view = store.view();
        let mut expected: Vec<_> = content(&view)
            .into_iter()
            .map(|(at, account, _)| (at, account))
            .collect();
        expected.sort_by_key(|(at, _)| account_key(at));
        for page in [1, 7, 1000] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let part = view.accounts_after(after.as_ref(), page).unwrap();
                let Some((last, _)) = part.last() else { break };
                after = Some(account_key(last));
                listed.extend(part);
            }
            assert_eq!(listed, expected, "pages of {page}");
        }
        chain.grow(&store, 4, 30 + round);
        if round == 3 {
            store.materialise().unwrap();
        }
    }
}

#[test]
fn a_block_that_does_not_follow_is_refused_and_nothing_is_written() {
    let (mut chain, kv, store) = chain_in_memory(3, 2);
    let good = chain.next(&store.view(), 6);
    let before = dump(&kv);
    let refused = |change: &dyn Fn(&mut DecidedBlock<StateView>)| {
        let mut block = good.clone();
        change(&mut block);
        let error = store.commit(&block).unwrap_err();
        assert!(matches!(error, StorageError::NotNext { .. }), "{error}");
        assert_eq!(dump(&kv), before);
    };
    refused(&|block| block.header.height = Height(5));
    refused(&|block| block.hash = Hash([1; 32]));
    refused(&|block| block.header.parent = Hash([1; 32]));
    refused(&|block| block.header.state_root = Hash([1; 32]));
    refused(&|block| block.certificate.block = Hash([1; 32]));
    refused(&|block| block.diff.parent_root = Hash([1; 32]));
    refused(&|block| block.state = store.view());
    refused(&|block| block.ids.push(Hash([1; 32])));
    store.commit(&good).unwrap();
    assert!(store.commit(&good).is_err(), "twice");
}

#[test]
fn the_first_failed_write_is_the_last() {
    let (mut chain, kv, store) = chain_in_memory(3, 2);
    let block = chain.next(&store.view(), 6);
    kv.fail_writes(StorageError::DiskFull {
        what: "database".into(),
        detail: "no space".into(),
    });
    assert_eq!(store.commit(&block).unwrap_err().class(), FaultClass::DiskFull);
    assert_eq!(store.head().height, Height(3), "not committed, so not told");
    assert_eq!(store.fault().unwrap().class(), FaultClass::DiskFull);
    assert_eq!(store.materialise().unwrap_err().class(), FaultClass::DiskFull);
    assert_eq!(open(&kv.crash(), &chain).head().height, Height(3));
}

#[test]
fn commits_materialise_themselves_when_too_much_is_pending() {
    let (mut chain, kv) = (Chain::new(), MemoryKv::new());
    let small = StoreConfig {
        step_updates: 30,
        pending_updates_max: 60,
        ..config()
    };
    for background in [false, true] {
        let kv = if background { MemoryKv::new() } else { kv.clone() };
        let store = Store::create(Arc::new(kv), &chain.genesis, StoreConfig { background, ..small }).unwrap();
        chain.back_to(&store, Height(0));
        for n in 0..60 {
            let block = chain.next(&store.view(), rng(n));
            store.commit(&block).unwrap();
            assert!(store.stats().pending_updates <= 60);
        }
        assert!(store.stats().materialised > Height(10));
    }
}

#[test]
fn places_of_transactions_are_bounded_like_rows_when_few_accounts_send_many() {
    let (mut chain, kv) = (Chain::new(), MemoryKv::new());
    let small = StoreConfig {
        step_updates: 30,
        pending_updates_max: 60,
        ..config()
    };
    let store = Store::create(Arc::new(kv.clone()), &chain.genesis, small).unwrap();
    let mut ids = Vec::new();
    for height in 1..=20u64 {
        // No row changes at all.
        let (state, diff) = store.view().apply(&StateChanges::default()).unwrap();
        let block = chain.block(state, diff, 10);
        ids.extend(block.ids.iter().map(|id| (*id, height)));
        store.commit(&block).unwrap();
        assert!(store.stats().pending_updates <= 60);
        let behind = height - store.stats().materialised.0;
        assert!(behind <= 3, "{behind} blocks of 10 transactions wait");
    }
    let after = Store::open(Arc::new(kv.crash()), Some(&chain.hash()), small).unwrap();
    assert!(after.stats().pending_updates <= 60, "a start replays no more");
    for (id, height) in ids {
        let found = after.transaction(&id).unwrap().unwrap();
        assert_eq!(found.height, Height(height));
    }
}

#[test]
fn every_block_and_transaction_is_found_by_each_of_its_names() {
    let (mut chain, _, store) = chain_in_memory(0, 0);
    let mut blocks = Vec::new();
    for n in 0..10 {
        let block = chain.next(&store.view(), rng(n));
        store.commit(&block).unwrap();
        blocks.push(block);
        if n == 5 {
            store.materialise().unwrap();
        }
    }
    for block in &blocks {
        let height = block.header.height;
        let reader = store.reader();
        assert_eq!(reader.height_of(&block.header.hash()).unwrap(), Some(height));
        assert_eq!(reader.block(height).unwrap().unwrap().body, block.body);
        assert_eq!(reader.body_bytes(height).unwrap().unwrap(), encode(&block.body));
        assert_eq!(
            reader.certificate(height).unwrap().as_ref(),
            Some(&block.certificate)
        );
        assert_eq!(reader.receipts(height).unwrap().as_ref(), Some(&block.receipts));
        assert_eq!(
            store.reader().state_root(height).unwrap(),
            Some(block.header.state_root)
        );
        assert_eq!(store.reader().diff(height).unwrap().as_ref(), Some(&block.diff));
        let poh = store.reader().poh_position(height).unwrap().unwrap();
        assert_eq!((poh.sequence, poh.ticks.len()), (height.0 * 7, 1));
        for (transaction, (id, index)) in block.body.transactions().zip(block.ids.iter().zip(0..)) {
            let found = store.transaction(id).unwrap().unwrap();
            assert_eq!(
                (found.height, found.index, &found.transaction),
                (height, index, transaction)
            );
            assert_eq!(found.receipt.v1().transaction, *id);
        }
    }
    assert_eq!(store.reader().header(Height(11)).unwrap(), None);
    assert_eq!(store.reader().height_of(&Hash([1; 32])).unwrap(), None);
    assert_eq!(store.transaction(&Hash([1; 32])).unwrap(), None);
}

#[test]
fn the_wrong_genesis_a_newer_schema_and_an_empty_folder_are_told_apart() {
    let (chain, kv, store) = chain_in_memory(1, 1);
    drop(store);
    let class = |kv: &MemoryKv, genesis: Option<&Hash>| {
        Store::open(Arc::new(kv.clone()), genesis, config())
            .err()
            .map(|error| error.class())
    };
    assert_eq!(
        class(&kv, Some(&Hash([1; 32]))),
        Some(FaultClass::GenesisMismatch)
    );
    assert_eq!(class(&MemoryKv::new(), None), Some(FaultClass::NotCreated));
    assert!(
        Store::create(Arc::new(kv.clone()), &chain.genesis, config()).is_err(),
        "there is one already"
    );
    let mut batch = Batch::new();
    batch.put(
        Family::Meta,
        schema::SCHEMA,
        (schema::SCHEMA_VERSION + 1).to_le_bytes(),
    );
    kv.write(&batch, true).unwrap();
    assert_eq!(class(&kv, None), Some(FaultClass::OtherSchema));
}

#[test]
fn an_interrupted_creation_is_begun_again_and_a_wrong_genesis_root_is_refused() {
    let mut chain = Chain::new();
    let kv = MemoryKv::new();
    let mut begun = Batch::new();
    begun.put(Family::Meta, schema::CREATING, []);
    kv.write(&begun, true).unwrap();
    let rows = vec![(vec![schema::ACCOUNTS, 9], Some(b"left behind".to_vec()))];
    kv.ingest(Family::State, &rows).unwrap();
    let refused = Store::open(Arc::new(kv.clone()), None, config()).err().unwrap();
    assert_eq!(refused.class(), FaultClass::NotCreated, "{refused}");
    let store = chain.store(Arc::new(kv.clone()));
    assert_eq!(kv.get(Family::State, &[schema::ACCOUNTS, 9]).unwrap(), None);
    assert_eq!(store.view().root(), chain.genesis.header.state_root);
    assert_eq!(kv.get(Family::Meta, schema::CREATING).unwrap(), None);
    let right = chain.genesis.clone();
    chain.genesis.accounts[3].1.balance = Amount(5);
    let other = MemoryKv::new();
    assert!(matches!(
        Store::create(Arc::new(other.clone()), &chain.genesis, config()),
        Err(StorageError::Refused(_))
    ));
    // The refused creation left its first row and the state: the next one starts from nothing.
    assert!(other.get(Family::Meta, schema::CREATING).unwrap().is_some());
    Store::create(Arc::new(other.clone()), &right, config()).unwrap();
    assert_eq!(dump(&other), dump(&kv));
}

#[test]
fn a_database_of_another_schema_is_refused_and_the_error_says_which() {
    let (chain, kv, store) = chain_in_memory(2, 1);
    store.close().unwrap();
    let (now, shared) = (schema::SCHEMA_VERSION, || -> Arc<dyn KvStore> {
        Arc::new(kv.clone())
    });
    for (version, class) in [
        (now - 1, FaultClass::OtherSchema),
        (now + 1, FaultClass::OtherSchema),
        (0, FaultClass::Corruption),
    ] {
        let mut other = Batch::new();
        other.put(Family::Meta, schema::SCHEMA, version.to_le_bytes());
        kv.write(&other, true).unwrap();
        for answer in [
            Store::open_or_create(shared(), &chain.genesis, config()),
            Store::open(shared(), None, config()),
        ] {
            let error = answer.err().unwrap();
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(&version.to_string()), "{error}");
        }
    }
}

#[test]
fn a_lost_schema_version_is_corruption_and_no_row_of_the_chain_is_touched() {
    let (chain, kv, store) = chain_in_memory(5, 2);
    store.close().unwrap();
    let mut lost = Batch::new();
    lost.delete(Family::Meta, schema::SCHEMA);
    kv.write(&lost, true).unwrap();
    let left = dump(&kv);
    let shared = || -> Arc<dyn KvStore> { Arc::new(kv.clone()) };
    for answer in [
        Store::open_or_create(shared(), &chain.genesis, config()),
        Store::create(shared(), &chain.genesis, config()),
        Store::open(shared(), None, config()),
    ] {
        let error = answer.err().unwrap();
        assert!(
            matches!(&error, StorageError::Corrupt { what, .. } if what == "schema version"),
            "{error}"
        );
        assert_eq!(error.class(), FaultClass::Corruption);
        assert_eq!(dump(&kv), left);
    }
    // One row in any family is sufficient for the database not to be empty.
    for family in Family::ALL {
        let kv = MemoryKv::new();
        let mut row = Batch::new();
        row.put(family, [9], [9]);
        kv.write(&row, true).unwrap();
        let error = Store::open_or_create(Arc::new(kv.clone()), &chain.genesis, config()).err();
        assert_eq!(error.unwrap().class(), FaultClass::Corruption, "{family:?}");
        assert_eq!(kv.get(family, &[9]).unwrap(), Some(vec![9]));
    }
}

#[test]
fn a_rewind_over_a_damaged_record_is_refused_and_changes_nothing() {
    let (mut chain, kv, store) = chain_in_memory(8, 4);
    store.materialise().unwrap();
    chain.grow(&store, 2, 5);
    drop(store);
    let diff = |height| schema::block_key(Height(height), BlockPart::Diff);
    let body = schema::block_key(Height(7), BlockPart::Body);
    let header = schema::header_key(Height(10));
    let mut records = vec![(Family::Blocks, body), (Family::Headers, header)];
    records.extend((4..=8).map(|height| (Family::Blocks, diff(height))));
    for (family, key) in records {
        let value = kv.get(family, &key).unwrap().unwrap();
        for at in [20, value.len() / 2, value.len() - 1] {
            let damaged = kv.crash();
            let store = open(&damaged, &chain);
            let mut bytes = value.clone();
            bytes[at] ^= 1;
            let mut batch = Batch::new();
            batch.put(family, key.clone(), bytes);
            damaged.write(&batch, true).unwrap();
            let before = dump(&damaged);
            let error = store.rewind_to(Height(3)).unwrap_err();
            assert_eq!(
                error.class(),
                FaultClass::Corruption,
                "byte {at} of {key:?}: {error}"
            );
            assert_eq!(dump(&damaged), before);
            assert_eq!(store.fault(), None, "the store goes on");
            drop(store);
            if family == Family::Blocks {
                assert_eq!(open(&damaged, &chain).head().height, Height(10));
            }
        }
    }
}

#[test]
fn a_rewound_chain_is_byte_for_byte_the_chain_that_never_went_further() {
    let (mut chain, short, store) = chain_in_memory(7, 3);
    store.close().unwrap();
    let reference = dump(&short);
    let store = open(&short.crash(), &chain);
    for (materialised, target) in [(9, 7), (8, 7), (7, 7)] {
        let kv = short.crash();
        let store = open(&kv, &chain);
        chain.back_to(&store, Height(7));
        for n in 8..=11u64 {
            let block = chain.next(&store.view(), rng(n));
            store.commit(&block).unwrap();
            if n == materialised {
                store.materialise().unwrap();
            }
        }
        let view = store.rewind_to(Height(target)).unwrap();
        assert_eq!(view.height(), Height(7));
        assert_eq!(store.head().height, Height(7));
        assert_eq!(dump(&kv), reference, "materialised at {materialised}");
        assert!(store.rewind_to(Height(8)).is_err(), "forwards is no rewind");
        chain.back_to(&store, Height(7));
        chain.grow(&store, 3, 99);
        assert_eq!(store.head().height, Height(10), "the chain goes on");
    }
    drop(store);
}

#[test]
fn a_rewind_that_was_cut_off_is_finished_at_the_next_start() {
    let (chain, kv, store) = chain_in_memory(12, 4);
    store.materialise().unwrap();
    drop(store);
    let expected = {
        let kv = kv.crash();
        open(&kv, &chain).rewind_to(Height(4)).unwrap();
        dump(&kv)
    };
    // Only the intent is on disk: no other part of the rewind.
    let mut intent = Batch::new();
    intent.put(
        Family::Meta,
        schema::REWIND,
        encode(&schema::HeightRecord(Height(4))),
    );
    let only_intent = kv.crash();
    only_intent.write(&intent, true).unwrap();
    open(&only_intent, &chain);
    assert_eq!(dump(&only_intent), expected);
    // The state is lowered half of the way, history is not cut.
    let half = kv.crash();
    open(&half, &chain).rewind_to(Height(8)).unwrap();
    let both = kv.crash();
    for (key, _) in both
        .range(Family::State, &[], None, Direction::Forward)
        .map(Result::unwrap)
        .collect::<Vec<_>>()
    {
        both.ingest(Family::State, &[(key, None)]).unwrap();
    }
    for (key, value) in half
        .range(Family::State, &[], None, Direction::Forward)
        .map(Result::unwrap)
    {
        both.ingest(Family::State, &[(key, Some(value))]).unwrap();
    }
    both.write(&intent, true).unwrap();
    open(&both, &chain);
    assert_eq!(dump(&both), expected);
}

#[test]
fn a_lost_commit_below_the_materialised_height_is_corruption() {
    let (chain, kv, store) = chain_in_memory(5, 4);
    let early = kv.crash();
    let head = early.get(Family::Meta, schema::HEAD).unwrap().unwrap();
    drop(early);
    let mut store_chain = chain;
    store_chain.grow(&store, 3, 8);
    store.materialise().unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Meta, schema::HEAD, head);
    kv.write(&batch, true).unwrap();
    let error = Store::open(Arc::new(kv), None, config()).err().unwrap();
    assert_eq!(error.class(), FaultClass::Corruption, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn undoing_any_blocks_gives_back_the_rows_and_the_root(
        draw in 0u64..1_000_000,
        below in 0u64..8,
        above in 1u64..10,
        step in 0u64..10,
    ) {
        let (mut chain, _, store) = chain_in_memory(below, draw);
        let (before, root) = (content(&store.view()), store.view().root());
        for n in 0..above {
            let block = chain.next(&store.view(), rng(draw + n));
            store.commit(&block).unwrap();
            if n == step {
                store.materialise().unwrap();
            }
        }
        let view = store.rewind_to(Height(below)).unwrap();
        prop_assert_eq!(view.root(), root);
        prop_assert_eq!(content(&view), before);
        store.materialise().unwrap();
        let report = vibecoin_storage::check::check_store(&store, Default::default(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.fault, None);
    }
}
