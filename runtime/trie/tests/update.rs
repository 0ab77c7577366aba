//! P1: the trie against the naive root, over random batches, memory and order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod support;

use std::collections::BTreeMap;
use support::{Backwards, Careless, Rng, Threads, Wishes, World, changes, scale};
use vibecoin_primitives::Hash;
use vibecoin_trie::{
    NodeRecord, NotAscending, Parallel, Sequential, Trie, TrieKind, build_sorted, root_of_sorted,
};

fn wishes(rng: &mut Rng, world: &World, count: usize, clustered: bool) -> Wishes {
    let known: Vec<Hash> = world.entries().into_keys().collect();
    let removals = *rng.pick(&[10, 40, 90]);
    let mut wishes = Wishes::new();
    for _ in 0..count {
        let key = match clustered {
            _ if !known.is_empty() && rng.chance(50) => *rng.pick(&known),
            true => rng.clustered_key(),
            false => rng.uniform_key(),
        };
        let new = if rng.chance(removals) {
            None
        } else {
            Some(rng.value())
        };
        wishes.insert(key, new);
    }
    wishes
}

/// Everything that must hold between a trie, its state and the definition.
fn check(world: &World, context: &str) {
    let entries = world.entries();
    assert_eq!(world.trie.root(), world.naive_root(), "{context}: root");
    let mut records = BTreeMap::new();
    let sorted = entries
        .iter()
        .map(|(key, value)| Ok::<_, NotAscending>((*key, value)));
    let streamed = build_sorted(world.kind, sorted, |path, record| {
        assert!(
            records
                .insert((world.trie.owner(), path), record.encode())
                .is_none(),
            "{context}: twice"
        );
        Ok(())
    });
    assert_eq!(streamed, Ok(world.trie.root()), "{context}: streamed root");
    assert_eq!(
        records, world.state.nodes,
        "{context}: stored records are exactly those of the trie"
    );
}

/// One random history: batches, forgetting between them, and each batch undone and redone.
fn history(seed: u64, batches: usize, sizes: &[usize], clustered: bool) {
    let mut rng = Rng(seed);
    let kind = *rng.pick(&[TrieKind::Account, TrieKind::Storage]);
    let mut world = World::new(kind);
    let hands: &[&dyn Parallel] = &[&Sequential, &Backwards];
    for batch in 0..batches {
        let context = format!("seed {seed} batch {batch}");
        let size = *rng.pick(sizes);
        let count = 1 + rng.below(size);
        let before = (world.trie.clone(), world.state.clone());
        let wishes = wishes(&mut rng, &world, count, clustered);
        let rows = world.apply_with(&wishes, *rng.pick(hands));
        check(&world, &context);
        assert_eq!(
            before.0.root(),
            vibecoin_trie::model::naive_root(kind, &before.1.entries(&before.0.owner()))
        );

        if rng.chance(50) {
            let undo: Wishes = rows.iter().map(|(key, old, _)| (*key, old.clone())).collect();
            let after = world.trie.root();
            world.apply(&undo);
            assert_eq!(world.trie.root(), before.0.root(), "{context}: undone");
            assert_eq!(world.state.nodes, before.1.nodes, "{context}: undone records");
            world.apply(&wishes);
            assert_eq!(world.trie.root(), after, "{context}: redone");
        }
        world.trie = match rng.below(4) {
            0 => world.trie.clone(),
            1 => world.trie.prune(u8::try_from(rng.below(8)).unwrap()),
            2 => {
                let nodes_max = rng.below(20);
                let small = world.trie.shrink(nodes_max);
                assert!(
                    small.node_count() <= nodes_max.max(1),
                    "{context}: {} nodes",
                    small.node_count()
                );
                small
            }
            _ => world.reopen(),
        };
        check(&world, &context);
    }
}

#[test]
fn random_batches_over_clustered_keys_give_the_naive_root_and_records() {
    for seed in 0..4_000 * scale() {
        history(seed, 4, &[2, 6, 30], true);
    }
}

#[test]
fn random_batches_over_hashed_keys_give_the_naive_root_and_records() {
    for seed in 1_000_000..1_000_000 + 950 * scale() {
        history(seed, 3, &[3, 40], false);
    }
}

#[test]
fn large_batches_that_go_to_many_hands_give_the_naive_root_and_records() {
    for seed in 2_000_000..2_000_000 + 50 * scale() {
        history(seed, 3, &[900], seed % 2 == 0);
    }
}

#[test]
fn hands_and_their_order_do_not_change_root_or_writes() {
    let mut rng = Rng(7);
    let mut world = World::new(TrieKind::Account);
    for _ in 0..4 {
        let wishes = wishes(&mut rng, &world, 3_000, false);
        let plain = world.try_update(&wishes, &Sequential).unwrap();
        for hands in [&Backwards as &dyn Parallel, &Threads, &Careless] {
            let other = world.try_update(&wishes, hands).unwrap();
            assert_eq!(plain.0.root(), other.0.root());
            let bytes = |writes: &vibecoin_trie::NodeWrites| -> Vec<_> {
                writes
                    .writes
                    .iter()
                    .map(|w| (w.path, w.node.as_ref().map(NodeRecord::encode)))
                    .collect()
            };
            assert_eq!(bytes(&plain.1), bytes(&other.1));
            assert!(
                bytes(&plain.1).is_sorted_by(|a, b| a.0 < b.0),
                "ascending, each path once"
            );
        }
        world.apply(&wishes);
    }
}

#[test]
fn any_order_and_grouping_of_inserts_gives_the_same_root() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let entries: BTreeMap<Hash, Vec<u8>> = (0..1 + rng.below(60))
            .map(|_| (rng.clustered_key(), rng.value()))
            .collect();
        let mut order: Vec<_> = entries.iter().map(|(key, value)| (*key, value.clone())).collect();
        let whole = World::with(&order);
        rng.shuffle(&mut order);
        let mut grouped = World::new(TrieKind::Account);
        while !order.is_empty() {
            let rest = order.split_off(rng.below(order.len()));
            grouped.apply(&rest.into_iter().map(|(key, value)| (key, Some(value))).collect());
        }
        assert_eq!(whole.trie.root(), grouped.trie.root(), "seed {seed}");
        check(&grouped, "grouped");
    }
}

#[test]
fn removing_every_key_one_by_one_passes_through_canonical_tries_to_the_empty_one() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let mut world = World::new(TrieKind::Account);
        let mut keys: Vec<Hash> = (0..50).map(|_| rng.clustered_key()).collect();
        world.apply(&keys.iter().map(|key| (*key, Some(rng.value()))).collect());
        rng.shuffle(&mut keys);
        for key in keys {
            if rng.chance(50) {
                world.trie = world.reopen();
            }
            world.apply(&Wishes::from([(key, None)]));
            check(&world, "removal");
        }
        assert!(world.trie.is_empty());
        assert_eq!(world.trie.root(), Hash::ZERO);
        assert!(world.state.nodes.is_empty());
    }
}

#[test]
fn candidates_of_one_parent_do_not_touch_each_other() {
    let mut rng = Rng(3);
    let entries: Vec<_> = (0..200).map(|_| (rng.clustered_key(), rng.value())).collect();
    let world = World::with(&entries);
    let root = world.trie.root();
    let (one, two) = (
        wishes(&mut rng, &world, 50, true),
        wishes(&mut rng, &world, 50, true),
    );
    let (first, _, _) = world.try_update(&one, &Sequential).unwrap();
    let (second, _, _) = world.try_update(&two, &Sequential).unwrap();
    let (again, _, _) = world.try_update(&one, &Sequential).unwrap();
    assert_ne!(first.root(), second.root());
    assert_eq!(first.root(), again.root());
    assert_eq!(world.trie.root(), root);
    check(&world, "parent");
}

#[test]
fn a_change_to_the_same_value_does_nothing_and_reads_nothing() {
    let mut rng = Rng(4);
    let entries: Vec<_> = (0..20).map(|_| (rng.uniform_key(), rng.value())).collect();
    let world = World::with(&entries);
    let mut rows: Vec<_> = entries
        .iter()
        .map(|(k, v)| (*k, Some(v.clone()), Some(v.clone())))
        .collect();
    rows.push((rng.uniform_key(), None, None));
    rows.sort();
    let nothing = vibecoin_trie::model::MemoryState::default();
    let (trie, writes) = world
        .reopen()
        .update(&changes(&rows), &nothing, &Sequential)
        .unwrap();
    assert_eq!(trie.root(), world.trie.root());
    assert!(writes.writes.is_empty());
}

#[test]
fn memory_is_counted_and_bounded() {
    let mut rng = Rng(5);
    let entries: Vec<_> = (0..5_000).map(|_| (rng.uniform_key(), vec![1])).collect();
    let world = World::with(&entries);
    let all = world.state.nodes.len();
    assert_eq!(world.trie.node_count(), all);
    assert_eq!(world.reopen().node_count(), 0);
    assert_eq!(world.trie.prune(0).node_count(), 0);
    assert_eq!(world.trie.prune(1).node_count(), 1);
    assert_eq!(world.trie.prune(2).node_count(), 17);
    assert_eq!(world.trie.prune(3).node_count(), 273);
    assert_eq!(world.trie.prune(64).node_count(), all);
    for nodes_max in [0, 1, 2, 17, 100, 273, 1000, all, all + 1] {
        let small = world.trie.shrink(nodes_max);
        assert!(small.node_count() <= nodes_max);
        assert!(
            small.node_count() >= nodes_max.min(all) * 9 / 10,
            "{} of {nodes_max}",
            small.node_count()
        );
        assert_eq!(small.root(), world.trie.root());
    }
    // A pruned trie loads only what the next batch touches.
    let key = entries[0].0;
    let rows = [(key, Some(vec![1]), Some(vec![2]))];
    let (trie, writes) = world
        .trie
        .prune(2)
        .update(&changes(&rows), &world.state, &Sequential)
        .unwrap();
    assert!(trie.node_count() > 17 && trie.node_count() < 17 + writes.writes.len());
}

#[test]
fn a_stream_out_of_order_is_refused() {
    let (low, high) = (Hash([1; 32]), Hash([2; 32]));
    for (before, key) in [(high, low), (low, low)] {
        let entries = [Ok((before, [1])), Ok((key, [2]))];
        assert_eq!(
            root_of_sorted(TrieKind::Account, entries),
            Err(NotAscending { before, key })
        );
    }
    let none: [Result<(Hash, [u8; 1]), NotAscending>; 0] = [];
    assert_eq!(root_of_sorted(TrieKind::Account, none), Ok(Hash::ZERO));
}

#[test]
fn account_and_storage_tries_over_the_same_entries_have_different_roots() {
    let wishes = Wishes::from([(Hash([1; 32]), Some(vec![1]))]);
    let (mut accounts, mut slots) = (World::new(TrieKind::Account), World::new(TrieKind::Storage));
    accounts.apply(&wishes);
    slots.apply(&wishes);
    assert_ne!(accounts.trie.root(), slots.trie.root());
    assert_eq!(
        Trie::accounts(Hash::ZERO).root(),
        Trie::storage(Hash([1; 32]), Hash::ZERO).root()
    );
}
