//! Servers whose manifest fits their chunks: right hashes, right sums, false contents.

#![allow(clippy::arithmetic_side_effects)]

mod world;

use vibecoin_primitives::{Account, AccountRow, Address, Amount, Hash, account_key, encode};
use vibecoin_snapshot::{AccountEntry, Chunk, ChunkFault, ChunkRows};
use vibecoin_tests_support::trie_of;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{PrefixProofError, Trie};
use world::{Snapshot, World, address, small};

fn accounts(chunk: &mut Chunk) -> &mut Vec<AccountEntry> {
    match &mut chunk.rows {
        ChunkRows::Accounts(accounts) => accounts,
        ChunkRows::Slots(_) => panic!("a chunk of slots"),
    }
}

/// Forges one chunk, and returns the one fault, which is always of the manifest and of that chunk.
fn forged(index: impl FnOnce(&Snapshot) -> usize, forge: impl FnOnce(&mut Chunk)) -> ChunkFault {
    let world = World::usual();
    let mut sent = world.snapshot(small());
    let index = index(&sent);
    let mut chunk = sent.chunk(index);
    forge(&mut chunk);
    assert_ne!(chunk, sent.chunk(index), "nothing is forged");
    sent.put(index, &chunk);
    sent.snapshot.manifest.check().unwrap();
    let faults = sent.faults(&world);
    let [(at, fault)] = faults.as_slice() else {
        panic!("one chunk is false, refused are {faults:?}");
    };
    assert_eq!(*at, index);
    assert!(fault.is_of_manifest(), "{fault}");
    fault.clone()
}

/// The chunk of account 3, which has five slots.
fn of_three(sent: &Snapshot) -> usize {
    sent.index_of_account(3)
}

/// A chunk of the slots of a large account with some rows.
fn of_slots(sent: &Snapshot) -> usize {
    let has = |info: &vibecoin_snapshot::ChunkInfo| !info.owner.is_zero() && info.rows > 3;
    sent.infos().iter().position(has).unwrap()
}

fn is_proof(fault: &ChunkFault) -> bool {
    matches!(fault, ChunkFault::Proof(PrefixProofError::RootMismatch { .. }))
}

fn is_order(fault: &ChunkFault) -> bool {
    matches!(fault, ChunkFault::Proof(PrefixProofError::NotAscending(_)))
}

#[test]
fn an_account_left_out_added_doubled_swapped_or_changed_is_found() {
    let omitted = forged(of_three, |chunk| drop(accounts(chunk).pop()));
    assert!(is_proof(&omitted), "{omitted}");
    let all_omitted = forged(of_three, |chunk| accounts(chunk).clear());
    assert!(
        matches!(all_omitted, ChunkFault::Proof(PrefixProofError::NoEntry { .. })),
        "{all_omitted}"
    );
    let doubled = forged(of_three, |chunk| {
        let first = accounts(chunk)[0].clone();
        accounts(chunk).insert(0, first);
    });
    assert!(is_order(&doubled), "{doubled}");
    let swapped = forged(of_three, |chunk| accounts(chunk).swap(0, 1));
    assert!(is_order(&swapped), "{swapped}");
    let richer = forged(of_three, |chunk| {
        let account = &mut accounts(chunk)[0].row.account;
        account.balance = Amount(account.balance.0 + 1);
    });
    assert!(is_proof(&richer), "{richer}");
    let world = World::usual();
    let prefix = world.snapshot(small()).infos()[of_three(&world.snapshot(small()))]
        .prefix
        .nibbles()
        .unwrap();
    let (inside, outside): (Vec<u16>, Vec<u16>) =
        (1_000..2_000).partition(|n| prefix.leads_to(&account_key(&address(*n))));
    let add = |n: u16| {
        forged(of_three, |chunk| {
            let row = AccountRow {
                address: address(n),
                account: Account::default(),
            };
            accounts(chunk).push(AccountEntry {
                row,
                slots: Vec::new(),
            });
            accounts(chunk).sort_by_key(|entry| account_key(&entry.row.address));
        })
    };
    let added = add(inside[0]);
    assert!(is_proof(&added), "{added}");
    let moved = add(outside[0]);
    assert!(
        matches!(moved, ChunkFault::Proof(PrefixProofError::OffPrefix { .. })),
        "{moved}"
    );
}

#[test]
fn the_address_of_an_account_cannot_be_replaced() {
    let other = forged(of_three, |chunk| {
        accounts(chunk)[0].row.address = Address([1; 32])
    });
    assert!(matches!(other, ChunkFault::Proof(_)), "{other}");
}

#[test]
fn the_slots_behind_an_account_are_those_of_its_storage_root() {
    let account = account_key(&address(3));
    let with_slots = |forge: fn(&mut AccountEntry)| {
        forged(of_three, |chunk| {
            let entry = accounts(chunk)
                .iter_mut()
                .find(|entry| !entry.slots.is_empty())
                .unwrap();
            forge(entry);
        })
    };
    let is_root =
        |fault: &ChunkFault| matches!(fault, ChunkFault::StorageRoot { account: of, .. } if *of == account);
    for (name, forge) in [
        (
            "omitted",
            (|entry| drop(entry.slots.pop())) as fn(&mut AccountEntry),
        ),
        ("all omitted", |entry| entry.slots.clear()),
        ("changed", |entry| entry.slots[0].value[0] ^= 1),
        ("longer", |entry| entry.slots[0].value.push(0)),
        ("another slot", |entry| entry.slots[4].slot = entry.slots[3].slot),
    ] {
        let fault = with_slots(forge);
        let is_named =
            is_root(&fault) || matches!(fault, ChunkFault::InlineOrder { account: of, .. } if of == account);
        assert!(is_named, "{name}: {fault}");
    }
    let swapped = with_slots(|entry| entry.slots.swap(0, 1));
    assert!(matches!(swapped, ChunkFault::InlineOrder { .. }), "{swapped}");
    let empty = with_slots(|entry| entry.slots[2].value.clear());
    assert!(matches!(empty, ChunkFault::Value { bytes: 0, .. }), "{empty}");
    let long = with_slots(|entry| entry.slots[2].value = vec![0; 4_097]);
    assert!(matches!(long, ChunkFault::Value { bytes: 4_097, .. }), "{long}");
}

#[test]
fn a_slot_moved_to_another_account_is_found_at_both() {
    let world = World::usual();
    let mut sent = world.snapshot(small());
    let index = of_three(&sent);
    let mut chunk = sent.chunk(index);
    let entries = accounts(&mut chunk);
    let from = entries.iter().position(|entry| !entry.slots.is_empty()).unwrap();
    let slot = entries[from].slots.pop().unwrap();
    let to = (from + 1) % entries.len();
    assert_ne!(from, to, "another account in the chunk");
    entries[to].slots.push(slot);
    sent.put(index, &chunk);
    let faults = sent.faults(&world);
    assert!(
        matches!(faults[..], [(at, ChunkFault::StorageRoot { .. })] if at == index),
        "{faults:?}"
    );
}

#[test]
fn a_slot_of_a_large_account_left_out_doubled_or_changed_is_found() {
    let slots = |forge: fn(&mut Vec<vibecoin_primitives::SlotRow>)| {
        forged(of_slots, |chunk| match &mut chunk.rows {
            ChunkRows::Slots(slots) => forge(slots),
            ChunkRows::Accounts(_) => panic!("a chunk of accounts"),
        })
    };
    let omitted = slots(|slots| drop(slots.remove(1)));
    assert!(is_proof(&omitted), "{omitted}");
    let doubled = slots(|slots| slots.insert(1, slots[0].clone()));
    assert!(is_order(&doubled), "{doubled}");
    let swapped = slots(|slots| slots.swap(1, 2));
    assert!(is_order(&swapped), "{swapped}");
    let changed = slots(|slots| slots[1].value[3] ^= 1);
    assert!(is_proof(&changed), "{changed}");
    let empty = slots(|slots| slots[1].value.clear());
    assert!(matches!(empty, ChunkFault::Value { bytes: 0, .. }), "{empty}");
}

#[test]
fn a_chunk_is_about_the_place_that_the_manifest_states() {
    for forge in [
        (|chunk, other| chunk.prefix = other.prefix) as fn(&mut Chunk, Chunk),
        |chunk, other| chunk.owner = other.owner,
        |chunk, other| *chunk = other,
        |chunk, _| chunk.rows = ChunkRows::Slots(Vec::new()),
    ] {
        let world = World::usual();
        let sent = world.snapshot(small());
        let other = sent.chunk(of_slots(&sent));
        let fault = forged(of_three, |chunk| forge(chunk, other));
        assert_eq!(fault, ChunkFault::OtherPlace);
    }
    let proof = forged(of_three, |chunk| chunk.proof.clear());
    assert!(
        matches!(proof, ChunkFault::Proof(PrefixProofError::Malformed { .. })),
        "{proof}"
    );
    let world = World::usual();
    let mut sent = world.snapshot(small());
    sent.snapshot.manifest.chunks[1].rows -= 1;
    sent.sum();
    assert!(matches!(sent.faults(&world)[..], [(1, ChunkFault::Rows { .. })]));
}

#[test]
fn a_false_root_of_a_large_account_is_found_at_the_account_whichever_comes_first() {
    let world = World::usual();
    let mut sent = world.snapshot(small());
    let owner = account_key(&address(5));
    // The slots of account 5 with one value changed, consistent among themselves.
    let mut nodes = MemoryState::default();
    let rows = world.slots.iter().filter(|((of, _), _)| *of == owner);
    let mut leaves: Vec<(Hash, Vec<u8>)> = rows.map(|((_, key), row)| (*key, row.value.clone())).collect();
    leaves[0].1[0] ^= 1;
    let changed = leaves[0].clone();
    let false_trie = trie_of(&Trie::storage(owner, Hash::ZERO), leaves, &mut nodes);
    for index in 0..sent.chunks.len() {
        if sent.infos()[index].owner != owner {
            continue;
        }
        let mut chunk = sent.chunk(index);
        let prefix = chunk.prefix.nibbles().unwrap();
        chunk.proof = false_trie.prove_prefix(&prefix, &nodes).unwrap().encode();
        if let ChunkRows::Slots(slots) = &mut chunk.rows
            && prefix.leads_to(&changed.0)
        {
            slots[0].value = changed.1.clone();
        }
        sent.put(index, &chunk);
        sent.snapshot.manifest.chunks[index].root = false_trie.root();
    }
    let faults = sent.faults(&world);
    let at = sent.index_of_account(5);
    assert!(
        matches!(&faults[..], [(index, ChunkFault::StorageRoot { account, .. })] if *index == at && *account == owner),
        "{faults:?}"
    );
}

#[test]
fn the_chunks_of_a_large_account_can_not_be_left_out_or_invented() {
    let world = World::usual();
    let owner = account_key(&address(5));
    let mut without = world.snapshot(small());
    let keep: Vec<bool> = without.infos().iter().map(|info| info.owner != owner).collect();
    let mut kept = keep.iter();
    without.snapshot.manifest.chunks.retain(|_| *kept.next().unwrap());
    let mut kept = keep.iter();
    without.chunks.retain(|_| *kept.next().unwrap());
    without.sum();
    without.snapshot.manifest.check().unwrap();
    let faults = without.faults(&world);
    assert!(
        matches!(&faults[..], [(_, ChunkFault::StorageRoot { account, found, .. })] if *account == owner && found.is_zero()),
        "{faults:?}"
    );

    // Slots of an account that has none, of one that does not exist, and of one whose slots are behind it.
    for n in [7, 900, 3] {
        let mut with = world.snapshot(small());
        let mut nodes = MemoryState::default();
        let owner = account_key(&address(n));
        let trie = trie_of(
            &Trie::storage(owner, Hash::ZERO),
            vec![(Hash([1; 32]), b"x".to_vec())],
            &mut nodes,
        );
        let infos = &mut with.snapshot.manifest.chunks;
        let index = infos
            .iter()
            .position(|info| info.owner > owner)
            .unwrap_or(infos.len());
        let mut info = infos[0];
        (info.owner, info.root, info.prefix) = (
            owner,
            trie.root(),
            vibecoin_snapshot::KeyPrefix::new(&vibecoin_trie::Nibbles::EMPTY),
        );
        infos.insert(index, info);
        with.chunks.insert(index, Vec::new());
        let chunk = Chunk {
            owner,
            prefix: info.prefix,
            rows: ChunkRows::Slots(Vec::new()),
            proof: Vec::new(),
        };
        with.put(index, &chunk);
        with.snapshot.manifest.check().unwrap();
        let at = with.index_of_account(n);
        let faults = with.faults(&world);
        let fault = &faults.iter().find(|(index, _)| *index == at).unwrap().1;
        match n {
            3 => assert_eq!(*fault, ChunkFault::SlotsTwice { account: owner }),
            _ => assert_eq!(*fault, ChunkFault::StrayOwner { owner }),
        }
    }
}

#[test]
fn an_account_with_a_forged_storage_root_is_not_in_the_state() {
    let fault = forged(of_three, |chunk| {
        let entry = accounts(chunk)
            .iter_mut()
            .find(|entry| !entry.slots.is_empty())
            .unwrap();
        entry.row.account.storage_root = None;
        entry.slots.clear();
        let _ = encode(&entry.row);
    });
    assert!(is_proof(&fault), "{fault}");
}
