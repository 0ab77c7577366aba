//! Differences between two states of one chain.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vibecoin_primitives::{
    AccountRow, Amount, DiffEntry, FaultModel, Hash, Height, SlotRow, StateDiff, StateKey, account_key,
    decode, encode,
};
use vibecoin_snapshot::difference::{DifferenceChunk, RowChange, difference_chunk_hash};
use vibecoin_snapshot::{
    Applied, Base, CertifiedDifference, ChunkSizes, Difference, DifferenceBuilder, DifferenceError, FoldError,
};
use vibecoin_tests_support::GENESIS;
use vibecoin_trie::{Sequential, TrieKind, root_of_sorted};
use world::{Plan, World, address};

type Rows = BTreeMap<StateKey, Vec<u8>>;

fn rows(world: &World) -> Rows {
    let accounts = world
        .accounts
        .iter()
        .map(|(key, row)| (StateKey::Account(*key), encode(row)));
    let slots = world
        .slots
        .iter()
        .map(|((owner, key), row)| (StateKey::Slot(*owner, *key), encode(row)));
    accounts.chain(slots).collect()
}

/// The state diff of a block that leads from one state to the other.
fn diff(from: &World, to: &World) -> StateDiff {
    let (old, new) = (rows(from), rows(to));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let entries = keys.into_iter().map(|key| DiffEntry {
        key,
        old: old.get(&key).cloned(),
        new: new.get(&key).cloned(),
    });
    StateDiff {
        parent_root: from.header.state_root,
        root: to.header.state_root,
        entries: entries.filter(|entry| entry.old != entry.new).collect(),
    }
}

fn base(world: &World) -> Base {
    Base {
        height: world.header.height,
        root: world.header.state_root,
    }
}

fn difference(worlds: &[&World]) -> Result<(CertifiedDifference, Vec<Vec<u8>>), FoldError> {
    let mut builder = DifferenceBuilder::new(base(worlds[0]));
    for pair in worlds.windows(2) {
        builder.add(diff(pair[0], pair[1]))?;
    }
    let last = worlds.last().unwrap();
    builder.build(
        GENESIS,
        last.header.clone(),
        last.certificate.clone(),
        FaultModel::Byzantine,
        &last.set,
    )
}

fn apply(from: &World, sent: &CertifiedDifference, chunks: &[Vec<u8>]) -> Result<Applied, DifferenceError> {
    let mut difference = Difference::begin(&from.trust(), base(from), &encode(sent))?;
    for (index, bytes) in chunks.iter().enumerate().rev() {
        assert!(matches!(
            difference.apply(&from.nodes, &Sequential),
            Err(DifferenceError::Missing { index: 0 })
        ));
        difference.take(index, bytes)?;
    }
    difference.apply(&from.nodes, &Sequential)
}

/// Applies a difference over these states and compares the result with the last one.
fn check(worlds: &[&World]) -> usize {
    let (sent, chunks) = difference(worlds).unwrap();
    let applied = apply(worlds[0], &sent, &chunks).unwrap();
    let mut changed = rows(worlds[0]);
    for (key, row) in applied.rows {
        match row {
            Some(row) => drop(changed.insert(key, row)),
            None => drop(changed.remove(&key)),
        }
    }
    let last = worlds.last().unwrap();
    assert_eq!(changed, rows(last));
    // The written nodes are those of the new state.
    let mut nodes = worlds[0].nodes.clone();
    for writes in &applied.nodes {
        nodes.apply(writes, &[]);
    }
    for ((owner, path), record) in &last.nodes.nodes {
        assert_eq!(nodes.nodes.get(&(*owner, *path)), Some(record), "{owner} {path}");
    }
    chunks.iter().map(Vec::len).sum()
}

fn plan(accounts: u16, slots: &[(u16, u16)]) -> Plan {
    let of = |n: u16| {
        slots
            .iter()
            .find(|(of, _)| *of == n)
            .map_or(0, |(_, count)| *count)
    };
    (0..accounts)
        .map(|n| (n, (0..of(n)).map(|slot| (slot, 20)).collect()))
        .collect()
}

#[test]
fn accounts_and_slots_that_come_change_and_go() {
    let first = World::new(&plan(40, &[(3, 5), (4, 60), (9, 2)]), 7);
    // 10 accounts more; slots of 3 come, some of 4 go, those of 9 all go, account 5 gets its first.
    let second = World::new(&plan(50, &[(3, 9), (4, 20), (5, 1)]), 8);
    check(&[&first, &second]);
    // And back again, with accounts that disappear.
    let third = World::new(&plan(30, &[(3, 5)]), 9);
    check(&[&second, &third]);
    check(&[&first, &second, &third]);
}

#[test]
fn what_changes_and_changes_back_is_not_sent() {
    let first = World::new(&plan(40, &[(3, 5)]), 7);
    let second = World::new(&plan(45, &[(3, 9), (4, 2)]), 8);
    let again = World::new(&plan(40, &[(3, 5)]), 9);
    assert_eq!(check(&[&first, &second, &again]), 0);
}

#[test]
fn one_per_cent_of_changed_accounts_is_less_than_five_per_cent_of_the_snapshot() {
    let first = World::new(&plan(5_000, &[]), 7);
    let mut second = World::new(&plan(5_000, &[]), 8);
    for (n, row) in second.accounts.values_mut().enumerate() {
        if n % 100 == 0 {
            row.account.balance = Amount(row.account.balance.0 + 77);
        }
    }
    let leaves = second
        .accounts
        .iter()
        .map(|(key, row)| Ok((*key, encode(&row.account))));
    second.header.state_root =
        root_of_sorted::<_, vibecoin_trie::NotAscending>(TrieKind::Account, leaves).unwrap();
    second.certificate = None;
    let (sent, chunks) = difference(&[&first, &second]).unwrap();
    let bytes = encode(&sent).len() + chunks.iter().map(Vec::len).sum::<usize>();
    let whole = first.snapshot(ChunkSizes::default()).snapshot.manifest.bytes;
    assert!(bytes as u64 * 20 <= whole, "{bytes} of {whole} bytes");
    assert!(chunks.iter().map(Vec::len).sum::<usize>() as u64 * 90 <= whole);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_two_states_differ_by_their_difference(
        plans in prop::collection::vec(
            prop::collection::btree_map(0..60u16, prop::collection::btree_map(0..30u16, 1..50u16, 0..5), 1..30),
            2..4,
        ),
    ) {
        let worlds: Vec<World> = plans
            .into_iter()
            .zip(7..)
            .map(|(plan, height)| {
                let plan = plan.into_iter().map(|(n, slots)| (n, slots.into_iter().collect())).collect();
                World::new(&plan, height)
            })
            .collect();
        check(&worlds.iter().collect::<Vec<_>>());
    }
}

/// Forges the only chunk of a difference, with its hash made right, and returns the refusal.
fn forged(forge: impl FnOnce(&mut Vec<RowChange>)) -> DifferenceError {
    let first = World::new(&plan(20, &[(3, 5), (4, 6), (9, 2)]), 7);
    let second = World::new(&plan(25, &[(3, 9), (4, 2)]), 8);
    let (mut sent, mut chunks) = difference(&[&first, &second]).unwrap();
    assert_eq!(chunks.len(), 1);
    let mut chunk: DifferenceChunk = decode(&chunks[0]).unwrap();
    let before = chunk.clone();
    forge(&mut chunk.changes);
    assert_ne!(chunk, before, "nothing is forged");
    chunks[0] = encode(&chunk);
    sent.manifest.chunks[0].bytes = u32::try_from(chunks[0].len()).unwrap();
    sent.manifest.chunks[0].hash = difference_chunk_hash(&chunks[0]);
    apply(&first, &sent, &chunks).unwrap_err()
}

fn position(changes: &[RowChange], wanted: impl Fn(&RowChange) -> bool) -> usize {
    changes.iter().position(wanted).unwrap()
}

#[test]
fn a_forgotten_deletion_is_refused_at_its_account() {
    let (four, nine) = (account_key(&address(4)), account_key(&address(9)));
    for owner in [four, nine] {
        let refused = forged(|changes| {
            let at = position(
                changes,
                |change| matches!(change, RowChange::NoSlot(of, _) if *of == owner),
            );
            changes.remove(at);
        });
        assert!(
            matches!(refused, DifferenceError::StorageRoot { account, .. } if account == owner),
            "{refused}"
        );
    }
}

#[test]
fn changes_left_out_added_or_altered_do_not_lead_to_the_certified_state() {
    let is_account =
        |change: &RowChange| matches!(change, RowChange::Account(row) if row.account.storage_root.is_none());
    let omitted = forged(|changes| drop(changes.remove(position(changes, is_account))));
    assert!(matches!(omitted, DifferenceError::Root { .. }), "{omitted}");
    let richer = forged(|changes| {
        let at = position(changes, is_account);
        if let RowChange::Account(row) = &mut changes[at] {
            row.account.balance = Amount(1 << 60);
        }
    });
    assert!(matches!(richer, DifferenceError::Root { .. }), "{richer}");
    let key = |n| account_key(&address(n));
    let added = forged(|changes| {
        let row = AccountRow {
            address: address(999),
            account: Default::default(),
        };
        changes.push(RowChange::Account(row));
        changes.sort_by_key(RowChange::key);
    });
    assert!(matches!(added, DifferenceError::Root { .. }), "{added}");
    let removed = forged(|changes| {
        changes.push(RowChange::NoAccount(key(1)));
        changes.sort_by_key(RowChange::key);
    });
    assert!(matches!(removed, DifferenceError::Root { .. }), "{removed}");
    let slot = SlotRow {
        slot: Hash([1; 32]),
        value: b"x".to_vec(),
    };
    let stray = forged(|changes| {
        changes.push(RowChange::Slot(key(1), slot.clone()));
        changes.sort_by_key(RowChange::key);
    });
    assert!(
        matches!(stray, DifferenceError::StorageRoot { account, .. } if account == key(1)),
        "{stray}"
    );
    for change in [
        RowChange::NoAccount(Hash::ZERO),
        RowChange::NoSlot(Hash::ZERO, Hash([1; 32])),
        RowChange::Slot(Hash::ZERO, slot),
    ] {
        let of_zero = forged(|changes| changes.insert(0, change));
        assert!(
            matches!(of_zero, DifferenceError::Order { account } if account.is_zero()),
            "{of_zero}"
        );
    }
    let swapped = forged(|changes| changes.swap(2, 3));
    assert!(matches!(swapped, DifferenceError::Order { .. }), "{swapped}");
    let doubled = forged(|changes| changes.insert(1, changes[0].clone()));
    assert!(matches!(doubled, DifferenceError::Order { .. }), "{doubled}");
    let empty = forged(|changes| {
        let at = position(changes, |change| matches!(change, RowChange::Slot(..)));
        if let RowChange::Slot(_, row) = &mut changes[at] {
            row.value.clear();
        }
    });
    assert!(
        matches!(empty, DifferenceError::Value { bytes: 0, .. }),
        "{empty}"
    );
}

#[test]
fn a_difference_is_from_the_state_at_hand_forward_to_a_certified_one() {
    let first = World::new(&plan(20, &[(3, 5)]), 7);
    let second = World::new(&plan(25, &[(3, 9)]), 8);
    let (sent, chunks) = difference(&[&first, &second]).unwrap();
    assert!(matches!(
        apply(&second, &sent, &chunks),
        Err(DifferenceError::OtherBase { .. })
    ));
    let mut other = sent.clone();
    other.manifest.header.state_root = Hash([1; 32]);
    assert!(matches!(
        apply(&first, &other, &chunks),
        Err(DifferenceError::Trust(_))
    ));
    let mut other = sent.clone();
    other.certificate = None;
    assert!(matches!(
        apply(&first, &other, &chunks),
        Err(DifferenceError::Trust(_))
    ));
    let mut other = sent.clone();
    other.manifest.header.height = Height(7);
    assert!(matches!(
        apply(&first, &other, &chunks),
        Err(DifferenceError::NotForward { .. })
    ));
    let mut other = sent.clone();
    other.manifest.format = 2;
    assert!(matches!(
        apply(&first, &other, &chunks),
        Err(DifferenceError::Format { got: 2 })
    ));
    let mut other = sent.clone();
    other.manifest.chunks[0].bytes = u32::MAX;
    assert!(matches!(
        apply(&first, &other, &chunks),
        Err(DifferenceError::Size {
            index: 0,
            count: 1,
            ..
        })
    ));

    let mut difference = Difference::begin(&first.trust(), base(&first), &encode(&sent)).unwrap();
    for offset in 0..chunks[0].len() {
        let mut bytes = chunks[0].clone();
        bytes[offset] ^= 1;
        assert!(matches!(
            difference.take(0, &bytes),
            Err(DifferenceError::Hash { index: 0, .. })
        ));
    }
    assert!(matches!(
        difference.take(1, &chunks[0]),
        Err(DifferenceError::Unknown { index: 1, count: 1 })
    ));
    assert_eq!(difference.missing().count(), 1);
}

#[test]
fn diffs_that_do_not_follow_each_other_are_not_folded() {
    let worlds: Vec<World> = (0..3)
        .map(|n| World::new(&plan(20 + n, &[]), 7 + u64::from(n)))
        .collect();
    let mut builder = DifferenceBuilder::new(base(&worlds[0]));
    let skipped = builder.add(diff(&worlds[1], &worlds[2]));
    assert!(matches!(skipped, Err(FoldError::Gap { .. })));
    builder.add(diff(&worlds[0], &worlds[1])).unwrap();
    let later = &worlds[2];
    let refused = builder.build(
        GENESIS,
        later.header.clone(),
        later.certificate.clone(),
        FaultModel::Byzantine,
        &later.set,
    );
    assert!(matches!(refused, Err(FoldError::Gap { .. })));
}
