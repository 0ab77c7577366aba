//! P2: every key has a proof, present or absent, and nothing else is accepted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use support::{Rng, World, mutate, other_kind, random_world, scale};
use vibecoin_primitives::Hash;
use vibecoin_trie::{PROOF_BYTES_MAX, Proof, ProofError, Trie, TrieError, verify};

/// A verifier's result for these bytes: `Ok` with the value when they are accepted.
fn judge(world: &World, root: &Hash, key: &Hash, bytes: &[u8]) -> Result<Option<Vec<u8>>, ProofError> {
    let proof = Proof::decode(bytes)?;
    assert_eq!(proof.encode(), bytes, "a proof has one encoding");
    verify(world.kind, root, key, &proof).map(|value| value.map(<[u8]>::to_vec))
}

#[test]
fn every_key_present_or_absent_has_a_proof_that_holds() {
    let mut ends = [0usize; 4];
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let keys: Vec<Hash> = entries.keys().copied().collect();
        for _ in 0..20 {
            let key = rng.near_key(&keys);
            let value = entries.get(&key);
            let proof = world
                .trie
                .prove(&key, value.map(Vec::as_slice), &world.state)
                .unwrap();
            let loaded = world
                .reopen()
                .prove(&key, value.map(Vec::as_slice), &world.state)
                .unwrap();
            assert_eq!(proof, loaded, "a proof does not depend on what is in memory");
            assert_eq!(proof.claimed_value(), value.map(Vec::as_slice));
            let bytes = proof.encode();
            assert_eq!(
                judge(&world, &world.trie.root(), &key, &bytes),
                Ok(value.cloned()),
                "seed {seed}"
            );
            let text = format!("{proof:?}");
            for (count, end) in ends.iter_mut().zip([
                "end: Absent(Empty",
                "end: Value",
                "end: Absent(OtherLeaf",
                "end: Absent(Div",
            ]) {
                *count += usize::from(text.contains(end));
            }
        }
    }
    assert!(
        ends.iter().all(|&count| count > 100),
        "all four ends are met: {ends:?}"
    );
}

#[test]
fn no_mutated_proof_is_accepted() {
    let (mut mutants, mut decoded) = (0, 0);
    for seed in 0..600 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let keys: Vec<Hash> = entries.keys().copied().collect();
        let prove = |key: &Hash| {
            world
                .trie
                .prove(key, entries.get(key).map(Vec::as_slice), &world.state)
                .unwrap()
                .encode()
        };
        for _ in 0..10 {
            let (key, other) = (rng.near_key(&keys), rng.near_key(&keys));
            let (bytes, foreign) = (prove(&key), prove(&other));
            for _ in 0..20 {
                let mut mutant = mutate(&mut rng, &bytes, &foreign);
                if rng.chance(20) && !mutant.is_empty() {
                    mutant = mutate(&mut rng, &mutant, &foreign);
                }
                if mutant == bytes {
                    continue;
                }
                mutants += 1;
                decoded += usize::from(Proof::decode(&mutant).is_ok());
                let verdict = judge(&world, &world.trie.root(), &key, &mutant);
                assert!(
                    verdict.is_err(),
                    "seed {seed}: accepted {verdict:?} for {key} from {mutant:02x?}"
                );
            }
            // A proof of another key is accepted only when it is this key's proof too, byte for byte.
            let verdict = judge(&world, &world.trie.root(), &key, &foreign);
            assert_eq!(verdict.is_ok(), foreign == bytes, "seed {seed}: {verdict:?}");
            // Another root, another kind of trie.
            let mut root = world.trie.root();
            root.0[rng.below(32)] ^= 1 << rng.below(8);
            assert!(judge(&world, &root, &key, &bytes).is_err());
            let proof = Proof::decode(&bytes).unwrap();
            let shows_leaf = entries.contains_key(&key) || format!("{proof:?}").contains("OtherLeaf");
            assert_eq!(
                verify(other_kind(world.kind), &world.trie.root(), &key, &proof).is_err(),
                shows_leaf
            );
        }
    }
    assert!(mutants > 100_000, "{mutants} mutants");
    assert!(decoded > 10_000, "{decoded} mutants reach the verifier");
}

#[test]
fn a_proof_of_one_state_is_refused_for_the_next() {
    let mut rng = Rng(1);
    let mut world = random_world(&mut rng);
    let key = rng.uniform_key();
    world.apply(&[(key, Some(vec![1]))].into());
    let old = world.trie.prove(&key, Some(&[1]), &world.state).unwrap();
    world.apply(&[(key, Some(vec![2]))].into());
    let found = verify(world.kind, &world.trie.root(), &key, &old);
    assert!(matches!(found, Err(ProofError::RootMismatch { .. })), "{found:?}");
}

#[test]
fn malformed_proofs_are_refused_for_the_documented_reason() {
    let hash = |n: u8| [n; 32];
    let branch = |mask: u8| [vec![mask], (0..mask.count_ones()).flat_map(|_| hash(7)).collect()].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("the end is missing", vec![]),
        ("the end is missing", branch(1)),
        ("unknown tag", vec![0x00]),
        ("unknown tag", vec![0x10]),
        ("unknown tag", vec![0x40]),
        ("unknown tag", vec![0x84]),
        ("an extension follows an extension", vec![0x41, 0x41, 0x80]),
        ("an extension does not lead to a branch", vec![0x41, 0x80]),
        ("an extension does not lead to a branch", vec![0x41, 0x81]),
        (
            "the path is longer than a key",
            [vec![0x7f], branch(1), branch(1)].concat(),
        ),
        ("the path is longer than a key", [branch(1), vec![0x7f]].concat()),
        ("the path is longer than a key", branch(1).repeat(65)),
        ("a hash is cut short", vec![0x01, 1, 2, 3]),
        (
            "a hash is zero where one is needed",
            [vec![0x01], vec![0; 32], vec![0x80]].concat(),
        ),
        ("a key is cut short", vec![0x82, 1]),
        ("bytes are left over", vec![0x80, 0]),
        (
            "bytes are left over",
            [vec![0x83, 1, 0x10], hash(1).to_vec(), vec![0]].concat(),
        ),
        ("an extension is cut short", vec![0x83]),
        (
            "an extension is empty",
            [vec![0x83, 0], hash(1).to_vec()].concat(),
        ),
        (
            "an extension has a spare half byte that is set",
            [vec![0x83, 1, 0x11], hash(1).to_vec()].concat(),
        ),
        (
            "a hash is zero where one is needed",
            [vec![0x83, 1, 0x10], hash(0).to_vec()].concat(),
        ),
        (
            "the path is longer than a key",
            [vec![0x83, 64], vec![0; 32], hash(1).to_vec()].concat(),
        ),
        ("the value is too long", vec![0x81; 2 + 64 * 1024]),
    ];
    for (reason, bytes) in cases {
        match Proof::decode(&bytes) {
            Err(ProofError::Malformed { detail, .. }) => assert_eq!(detail, reason, "{bytes:02x?}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let long = vec![0x81; PROOF_BYTES_MAX + 1];
    assert_eq!(
        Proof::decode(&long),
        Err(ProofError::TooLarge {
            got: PROOF_BYTES_MAX + 1
        })
    );
    assert!(
        Proof::decode(&[branch(15).repeat(64), vec![0x80]].concat()).is_ok(),
        "the deepest proof"
    );
}

#[test]
fn absence_is_not_shown_by_the_key_itself_nor_by_what_lies_elsewhere() {
    let (key, near, far) = (Hash([0x11; 32]), Hash([0x12; 32]), Hash([0x21; 32]));
    let world = World::with(&[(key, vec![1]), (near, vec![2]), (far, vec![3])]);
    let root = world.trie.root();
    let own = world.trie.prove(&key, Some(&[1]), &world.state).unwrap().encode();
    // The key's own leaf encoded as another leaf.
    let mut dressed = own[..own.len() - 2].to_vec();
    dressed.extend([&[0x82][..], &key.0, &[1]].concat());
    assert_eq!(
        judge(&world, &root, &key, &dressed),
        Err(ProofError::NotAbsent { key })
    );
    // A leaf from another slot.
    let mut elsewhere = own[..own.len() - 2].to_vec();
    elsewhere.extend([&[0x82][..], &far.0, &[3]].concat());
    assert_eq!(
        judge(&world, &root, &key, &elsewhere),
        Err(ProofError::OffPath { key, shown: far })
    );
    // An extension that the key follows.
    let deep = World::with(&[(key, vec![1]), (near, vec![2])]);
    let stray = deep.trie.prove(&far, None, &deep.state).unwrap().encode();
    assert_eq!(judge(&deep, &deep.trie.root(), &far, &stray), Ok(None));
    assert_eq!(
        judge(&deep, &deep.trie.root(), &key, &stray),
        Err(ProofError::NotAbsent { key })
    );
}

#[test]
fn a_prover_with_a_wrong_idea_of_the_value_makes_no_proof() {
    let (key, absent) = (Hash([0x11; 32]), Hash([0x17; 32]));
    let world = World::with(&[(key, vec![1]), (Hash([0x21; 32]), vec![3])]);
    let cases: [(Hash, Option<&[u8]>); 4] = [
        (key, None),
        (key, Some(&[2])),
        (absent, Some(&[1])),
        (Hash([0xf0; 32]), Some(&[1])),
    ];
    for (key, value) in cases {
        let error = world.trie.prove(&key, value, &world.state).unwrap_err();
        assert!(
            matches!(error, TrieError::Drift { .. }),
            "{key} {value:?}: {error}"
        );
    }
    assert!(Trie::accounts(Hash::ZERO).prove(&key, None, &world.state).is_ok());
}
