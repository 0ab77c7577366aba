//! Snapshots of states, and their restore.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod world;

use proptest::prelude::*;
use vibecoin_primitives::{Hash, Header, Height, Round, TimeMs, account_key};
use vibecoin_snapshot::{
    BuildError, Builder, ChunkFault, ChunkSizes, Restore, SnapshotError, SnapshotManifest, TrustError,
    TrustedBlock, TrustedSet,
};
use vibecoin_tests_support::{GENESIS, certify, validators};
use world::{Snapshot, World, address, keys, small};

/// Restores in the given order, and compares the rows with those of the state.
fn check(world: &World, sizes: ChunkSizes, order: impl Fn(usize) -> u64) -> Snapshot {
    let sent = world.snapshot(sizes);
    let read = SnapshotManifest::from_bytes(&sent.snapshot.to_bytes()).unwrap();
    let mut restore = Restore::begin(&world.trust(), read).unwrap();
    let mut indices: Vec<usize> = (0..sent.chunks.len()).collect();
    indices.sort_by_key(|index| order(*index));
    let (mut accounts, mut slots) = (Vec::new(), Vec::new());
    for (done, index) in indices.into_iter().enumerate() {
        let incomplete = restore.complete().unwrap_err();
        assert_eq!(incomplete.missing, sent.chunks.len() - done);
        let chunk = restore.verify(index as u32, &sent.chunks[index]).unwrap();
        assert!(chunk.accounts().is_sorted_by(|a, b| a.0 < b.0));
        assert!(chunk.slots().is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
        assert!(restore.record(&chunk));
        assert!(!restore.record(&chunk), "twice");
        let (of_accounts, of_slots) = chunk.into_rows();
        accounts.extend(of_accounts);
        slots.extend(of_slots.into_iter().map(|(owner, key, row)| ((owner, key), row)));
    }
    let restored = restore.complete().unwrap();
    assert_eq!(restored.header, world.header);
    assert_eq!(restored.block, world.header.hash());
    assert_eq!(restored.rows as usize, accounts.len() + slots.len());
    assert_eq!(restore.bytes_present(), sent.snapshot.manifest.bytes);
    assert_eq!(accounts.len(), world.accounts.len());
    assert_eq!(slots.len(), world.slots.len());
    assert_eq!(
        accounts.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        world.accounts
    );
    assert_eq!(
        slots.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        world.slots
    );
    sent
}

#[test]
fn a_state_comes_back_from_small_chunks_in_any_order() {
    let world = World::usual();
    let sent = check(&world, small(), |index| index as u64);
    check(&world, small(), |index| {
        (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let owners: std::collections::BTreeSet<_> = sent.infos().iter().map(|info| info.owner).collect();
    let large = [4, 5].map(|n| account_key(&address(n)));
    assert_eq!(owners, [Hash::ZERO, large[0], large[1]].into());
    assert!(sent.chunks.len() > 10, "{}", sent.chunks.len());
}

#[test]
fn a_small_state_is_one_chunk() {
    let sent = check(&World::usual(), ChunkSizes::default(), |index| index as u64);
    assert_eq!(sent.chunks.len(), 1);
    assert_eq!(sent.chunks[0].len() as u64, sent.snapshot.manifest.bytes);
    let empty = check(&World::new(&Vec::new(), 7), ChunkSizes::default(), |index| {
        index as u64
    });
    assert_eq!((empty.chunks.len(), empty.snapshot.manifest.rows), (1, 0));
}

#[test]
fn an_account_whose_slots_just_fit_keeps_them() {
    // 20 slots of 50 bytes have 1,800 bytes as rows.
    let slots = (0..20).map(|slot| (slot, 50)).collect();
    let world = World::new(&vec![(1, slots), (2, Vec::new())], 7);
    let fits = check(&world, ChunkSizes::small(0, 1_800), |index| index as u64);
    assert_eq!(fits.chunks.len(), 1);
    let large = check(&world, ChunkSizes::small(0, 1_799), |index| index as u64);
    assert_eq!(large.chunks.len(), 2);
}

#[test]
fn block_zero_has_a_snapshot_without_a_certificate() {
    let mut world = World::usual();
    world.header.height = Height(0);
    world.certificate = None;
    let sent = world.snapshot(small());
    let trust = |genesis| TrustedSet::genesis(genesis, world.params.clone(), world.set.clone());
    let mut of_block_zero = sent.snapshot.clone();
    of_block_zero.manifest.genesis = world.header.hash();
    Restore::begin(&trust(world.header.hash()), of_block_zero.clone()).unwrap();
    assert!(Restore::begin(&trust(GENESIS), of_block_zero).is_err());
    assert!(Restore::begin(&trust(GENESIS), sent.snapshot).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_state_comes_back(
        plan in prop::collection::btree_map(
            0..500u16,
            prop_oneof![
                5 => Just(std::collections::BTreeMap::new()),
                3 => prop::collection::btree_map(0..100u16, 1..60u16, 1..6),
                1 => prop::collection::btree_map(0..400u16, 1..4_000u16, 1..40),
            ],
            0..60,
        ),
        rows_bytes_max in 0..20_000usize,
        inline_bytes_max in 0..3_000usize,
        seed in any::<u64>(),
    ) {
        let plan = plan.into_iter().map(|(n, slots)| (n, slots.into_iter().collect())).collect();
        let world = World::new(&plan, 9);
        let sizes = ChunkSizes::small(rows_bytes_max, inline_bytes_max);
        let order = |index: usize| (index as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        let sent = check(&world, sizes, order);
        // Another node, whose rows came in another order, makes the same snapshot.
        let again = World::new(&plan.into_iter().rev().collect(), 9).snapshot(sizes);
        prop_assert_eq!(again.snapshot, sent.snapshot);
        prop_assert_eq!(again.chunks, sent.chunks);
    }
}

/// The refusal of a manifest, in words.
fn refusal(world: &World, change: impl FnOnce(&mut SnapshotManifest)) -> SnapshotError {
    let mut snapshot = world.snapshot(small()).snapshot;
    change(&mut snapshot);
    Restore::begin(&world.trust(), snapshot).unwrap_err()
}

#[test]
fn every_flipped_byte_of_a_manifest_is_refused_or_names_another_chunk() {
    let world = World::usual();
    let sent = world.snapshot(small());
    let bytes = sent.snapshot.to_bytes();
    let mut later = 0;
    for offset in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = bytes.clone();
            bytes[offset] ^= flip;
            let begun = SnapshotManifest::from_bytes(&bytes)
                .map_err(SnapshotError::from)
                .and_then(|read| Restore::begin(&world.trust(), read));
            let Ok(restore) = begun else { continue };
            // Only the hash of a chunk, or the root of a large account, can be told from the chunks alone.
            assert_ne!(*restore.id(), sent.snapshot.manifest.id());
            let refused = (0u32..)
                .zip(&sent.chunks)
                .any(|(index, bytes)| restore.verify(index, bytes).is_err());
            assert!(refused, "byte {offset} flipped by {flip:#x} is accepted");
            later += 1;
        }
    }
    assert!(later > 0 && later <= 2 * 64 * sent.chunks.len(), "{later}");
}

#[test]
fn every_flipped_byte_of_a_chunk_is_refused_by_name_and_leaves_no_trace() {
    let world = World::usual();
    let sent = world.snapshot(small());
    let restore = sent.restore(&world);
    for (index, bytes) in (0u32..).zip(&sent.chunks) {
        let info = sent.infos()[index as usize];
        for offset in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[offset] ^= 1 << (offset % 8);
            let error = restore.verify(index, &bytes).unwrap_err();
            assert!(matches!(*error.fault, ChunkFault::Hash { expected, .. } if expected == info.hash));
            assert!(!error.fault.is_of_manifest());
            let name = format!("chunk {index} ({info}): hash ");
            assert!(error.to_string().starts_with(&name), "{error}");
        }
        for len in [0, 1, bytes.len() - 1] {
            let error = restore.verify(index, &bytes[..len]).unwrap_err();
            assert_eq!(
                *error.fault,
                ChunkFault::Bytes {
                    expected: info.bytes,
                    got: len
                }
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(
            *restore.verify(index, &longer).unwrap_err().fault,
            ChunkFault::Bytes { .. }
        ));
    }
    let count = sent.chunks.len();
    let beyond = restore.verify(count as u32, &sent.chunks[0]).unwrap_err();
    assert_eq!(*beyond.fault, ChunkFault::Unknown { count });
    assert_eq!(restore.missing_count(), count);
}

#[test]
fn a_chunk_that_two_snapshots_list_is_recorded_where_it_was_verified() {
    let plan = vec![(1, Vec::new()), (2, Vec::new())];
    let (first, second) = (World::new(&plan, 7), World::new(&plan, 8));
    let (one, two) = (first.snapshot(small()), second.snapshot(small()));
    assert_eq!(one.infos(), two.infos());
    let chunk = one.restore(&first).verify(0, &one.chunks[0]).unwrap();
    let mut restore = two.restore(&second);
    assert!(!restore.record(&chunk));
    assert_eq!(restore.missing_count(), two.chunks.len());
    assert!(one.restore(&first).record(&chunk));
}

#[test]
fn the_chunk_of_another_snapshot_is_not_recorded() {
    let world = World::usual();
    let other = World::new(&vec![(1, Vec::new())], 7);
    let (sent, foreign) = (world.snapshot(small()), other.snapshot(small()));
    let chunk = foreign.restore(&other).verify(0, &foreign.chunks[0]).unwrap();
    let mut restore = sent.restore(&world);
    assert!(!restore.record(&chunk));
    assert_eq!(restore.missing().count(), sent.chunks.len());
    assert!(matches!(
        *restore.verify(0, &foreign.chunks[0]).unwrap_err().fault,
        ChunkFault::Bytes { .. }
    ));
}

#[test]
fn another_chain_another_set_and_an_old_certificate_are_refused() {
    let world = World::usual();
    let said = |change: fn(&World, &mut SnapshotManifest)| {
        refusal(&world, |snapshot| change(&world, snapshot)).to_string()
    };
    let other_chain = said(|_, snapshot| snapshot.manifest.genesis = Hash([1; 32]));
    assert!(
        other_chain.starts_with("the proof is about the chain with genesis"),
        "{other_chain}"
    );
    let other_set = said(|_, snapshot| snapshot.manifest.header.validators_hash = Hash([1; 32]));
    assert!(other_set.contains("validators"), "{other_set}");
    let other_rules = said(|_, snapshot| snapshot.manifest.header.params_hash = Hash([1; 32]));
    assert!(other_rules.contains("parameters"), "{other_rules}");
    let none = said(|_, snapshot| snapshot.certificate = None);
    assert!(none.contains("has no certificate"), "{none}");
    // The certificate of the block before.
    let old = said(|world, snapshot| {
        let mut before = world.header.clone();
        before.height = Height(6);
        let full = certify(&GENESIS, &before, Round(1), &keys());
        *snapshot = SnapshotManifest::new(
            snapshot.manifest.clone(),
            Some(full),
            world.params.fault_model,
            &world.set,
        );
    });
    assert!(old.contains("certificate is for block"), "{old}");
    // The certificate of the same block on another chain.
    let foreign = said(|world, snapshot| {
        let full = certify(&Hash([1; 32]), &world.header, Round(1), &keys());
        snapshot.certificate = Some(full);
        snapshot.certificate.as_mut().unwrap().signatures.truncate(3);
    });
    assert!(
        foreign.contains("signatures in the certificate does not hold"),
        "{foreign}"
    );
}

#[test]
fn a_certified_block_of_another_version_or_before_another_set_is_refused() {
    let world = World::usual();
    let certified = |change: fn(&mut Header)| {
        refusal(&world, |snapshot| {
            change(&mut snapshot.manifest.header);
            let full = certify(&GENESIS, &snapshot.manifest.header, Round(1), &keys());
            *snapshot = SnapshotManifest::new(
                snapshot.manifest.clone(),
                Some(full),
                world.params.fault_model,
                &world.set,
            );
        })
    };
    let version = certified(|header| header.version = 9);
    assert_eq!(version, SnapshotError::Trust(TrustError::Version { got: 9 }));
    let next = certified(|header| header.next_validators_hash = Hash([1; 32]));
    assert!(
        matches!(next, SnapshotError::Trust(TrustError::NextValidators { got, .. }) if got == Hash([1; 32])),
        "{next}"
    );
}

#[test]
fn a_certificate_has_the_signatures_that_the_quorum_needs_and_no_others() {
    let world = World::usual();
    let few = refusal(&world, |snapshot| {
        _ = snapshot.certificate.as_mut().unwrap().signatures.pop()
    });
    assert!(few.to_string().contains("no quorum"), "{few}");
    let full = refusal(&world, |snapshot| {
        snapshot.certificate = world.certificate.clone()
    });
    assert_eq!(full, SnapshotError::Trust(TrustError::CertificateForm));
    let strangers = refusal(&world, |snapshot| {
        let signers: Vec<_> = (11..15).map(vibecoin_tests_support::key).collect();
        snapshot.certificate = Some(certify(&GENESIS, &world.header, Round(1), &signers));
    });
    assert_eq!(strangers, SnapshotError::Trust(TrustError::CertificateForm));
    let other_set = TrustedSet::genesis(GENESIS, world.params.clone(), validators(11..15));
    assert!(Restore::begin(&other_set, world.snapshot(small()).snapshot).is_err());
}

#[test]
fn an_operators_block_bounds_the_height_and_fixes_the_hash() {
    let world = World::usual();
    let snapshot = world.snapshot(small()).snapshot;
    let begin = |height, hash| {
        let block = TrustedBlock {
            height: Height(height),
            hash,
        };
        Restore::begin(&world.trust().pinned(block), snapshot.clone()).map(|_| ())
    };
    begin(7, world.header.hash()).unwrap();
    begin(6, Hash([1; 32])).unwrap();
    assert!(matches!(
        begin(7, Hash([1; 32])),
        Err(SnapshotError::Trust(TrustError::OtherBlock {
            height: Height(7),
            ..
        }))
    ));
    assert!(matches!(
        begin(8, Hash([1; 32])),
        Err(SnapshotError::Trust(TrustError::BelowTrusted { .. }))
    ));
}

#[test]
fn a_set_that_was_reached_is_trusted_for_the_trust_period() {
    let world = World::usual();
    let period = world.params.trust_period_s * 1_000;
    let reached = |now| {
        TrustedSet::reached(
            GENESIS,
            world.params.clone(),
            world.set.clone(),
            TimeMs(5_000),
            TimeMs(now),
        )
    };
    let trust = reached(5_000 + period).unwrap();
    Restore::begin(&trust, world.snapshot(small()).snapshot).unwrap();
    reached(0).unwrap();
    assert!(matches!(reached(5_001 + period), Err(TrustError::Expired { .. })));
}

#[test]
fn rows_that_are_not_a_state_are_no_snapshot() {
    let world = World::usual();
    let build = |accounts: Vec<(Hash, _)>, slots: Vec<(Hash, Hash, _)>| {
        Builder::new(GENESIS, world.header.clone()).build(
            accounts.into_iter().map(Ok::<_, TrustError>),
            slots.into_iter().map(Ok),
            |owner, root, prefix| Ok(world.prove(owner, root, prefix)),
            |_, _| Ok(()),
        )
    };
    let accounts: Vec<_> = world.accounts.iter().map(|(key, row)| (*key, *row)).collect();
    let slots: Vec<_> = world
        .slots
        .iter()
        .map(|((owner, key), row)| (*owner, *key, row.clone()))
        .collect();
    build(accounts.clone(), slots.clone()).unwrap();
    let owner = account_key(&address(3));
    let at = accounts.iter().position(|(key, _)| *key == owner).unwrap();

    let mut some = accounts.clone();
    some.remove(at);
    assert_eq!(
        build(some, slots.clone()),
        Err(BuildError::StraySlots { account: owner })
    );
    let mut some = accounts.clone();
    some[at].1.account.storage_root = None;
    assert_eq!(
        build(some, slots.clone()),
        Err(BuildError::StraySlots { account: owner })
    );
    let without = slots.iter().filter(|(of, _, _)| *of != owner).cloned().collect();
    assert_eq!(
        build(accounts.clone(), without),
        Err(BuildError::NoSlots { account: owner })
    );
    let mut some = accounts.clone();
    some.swap(1, 2);
    assert!(matches!(
        build(some, slots.clone()),
        Err(BuildError::Order { .. } | BuildError::StraySlots { .. })
    ));
    let mut some = accounts.clone();
    some[at].1.address = address(499);
    assert_eq!(
        build(some, slots.clone()),
        Err(BuildError::OtherKey { key: owner })
    );
    let first = slots.iter().position(|(of, _, _)| *of == owner).unwrap();
    let mut some = slots.clone();
    some.swap(first, first + 1);
    assert_eq!(
        build(accounts.clone(), some),
        Err(BuildError::Order { key: slots[first].1 })
    );
    let mut some = slots.clone();
    some[first].2.slot = Hash([1; 32]);
    assert_eq!(
        build(accounts.clone(), some),
        Err(BuildError::OtherKey { key: slots[first].1 })
    );
    let mut some = slots;
    some.push((Hash([0xff; 32]), Hash::ZERO, some[0].2.clone()));
    assert_eq!(
        build(accounts, some),
        Err(BuildError::StraySlots {
            account: Hash([0xff; 32])
        })
    );
}
