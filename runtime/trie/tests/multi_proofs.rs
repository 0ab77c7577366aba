//! Proofs of many keys: each present or absent as claimed, in one form, and nothing else is accepted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use support::{Rng, World, mutate, other_kind, random_world, scale};
use vibecoin_primitives::Hash;
use vibecoin_trie::{
    Claim, MULTI_PROOF_BYTES_MAX, MULTI_PROOF_KEYS_MAX, MultiProof, MultiProofError, Trie, TrieError,
    verify_many,
};

/// A verifier's result for these bytes and claims.
fn judge(world: &World, root: &Hash, bytes: &[u8], claims: &[Claim<'_>]) -> Result<(), MultiProofError> {
    let proof = MultiProof::decode(bytes)?;
    assert_eq!(proof.encode(), bytes, "a proof has one encoding");
    assert_eq!(proof.encoded_len(), bytes.len());
    verify_many(world.kind, root, &proof, claims)
}

/// Some keys, present and absent, with their values from the model.
fn some_claims<'e>(rng: &mut Rng, entries: &'e BTreeMap<Hash, Vec<u8>>) -> Vec<Claim<'e>> {
    let keys: Vec<Hash> = entries.keys().copied().collect();
    let count = *rng.pick(&[1, 2, 3, 8, 30]);
    let mut asked: BTreeSet<Hash> = (0..count).map(|_| rng.near_key(&keys)).collect();
    if rng.chance(10) {
        asked.extend(keys);
    }
    claims(entries, asked)
}

fn claims(entries: &BTreeMap<Hash, Vec<u8>>, asked: impl IntoIterator<Item = Hash>) -> Vec<Claim<'_>> {
    asked
        .into_iter()
        .map(|key| (key, entries.get(&key).map(Vec::as_slice)))
        .collect()
}

fn prove(world: &World, claims: &[Claim<'_>]) -> Vec<u8> {
    let proof = world.trie.prove_many(claims, &world.state).unwrap();
    let loaded = world.reopen().prove_many(claims, &world.state).unwrap();
    assert_eq!(proof, loaded, "a proof does not depend on what is in memory");
    proof.encode()
}

#[test]
fn every_list_of_keys_has_a_proof_that_holds() {
    let mut parts = [0usize; 6];
    for seed in 0..400 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        for _ in 0..10 {
            let claims = some_claims(&mut rng, &entries);
            let bytes = prove(&world, &claims);
            assert_eq!(
                judge(&world, &world.trie.root(), &bytes, &claims),
                Ok(()),
                "seed {seed}"
            );
            let text = format!("{:?}", MultiProof::decode(&bytes).unwrap());
            let names = ["Empty", "Leaf,", "OtherLeaf", "Diverging", "Extension", "Branch"];
            for (count, name) in parts.iter_mut().zip(names) {
                *count += usize::from(text.contains(name));
            }
        }
    }
    assert!(
        parts.iter().all(|&count| count > 100),
        "all parts are met: {parts:?}"
    );
}

#[test]
fn what_keys_share_is_sent_once_and_what_follows_is_not_sent() {
    let mut rng = Rng(2);
    let entries: Vec<_> = (0..2000).map(|_| (rng.uniform_key(), rng.value())).collect();
    let world = World::with(&entries);
    let entries = world.entries();
    let hashes = |bytes: &[u8]| bytes.len() / 32;
    // All keys: nothing is left that does not follow, but for the shape.
    let all: BTreeMap<Hash, Vec<u8>> = entries.iter().take(1024).map(|(k, v)| (*k, v.clone())).collect();
    let whole = World::with(&all.clone().into_iter().collect::<Vec<_>>());
    let bytes = prove(&whole, &claims(&all, all.keys().copied()));
    let text = format!("{:?}", MultiProof::decode(&bytes).unwrap());
    assert!(text.contains("hashes: []"), "every hash follows from the values");
    // One key: the hashes of the proof of one key.
    for (key, value) in entries.iter().step_by(40) {
        let single = world.trie.prove(key, Some(value), &world.state).unwrap().encode();
        let many = prove(&world, &[(*key, Some(value))]);
        assert_eq!(hashes(&many), hashes(&single[..single.len() - value.len()]));
    }
    // Two neighbours: far below two proofs.
    let pairs: Vec<_> = entries.iter().collect();
    for pair in pairs.chunks_exact(2).step_by(20) {
        let single = |(key, value): (&Hash, &Vec<u8>)| {
            let bytes = world.trie.prove(key, Some(value), &world.state).unwrap().encode();
            bytes.len() - value.len()
        };
        let both = claims(&entries, [*pair[0].0, *pair[1].0]);
        let many = prove(&world, &both).len();
        assert!(many < single(pair[0]) + single(pair[1]), "{many}");
    }
}

#[test]
fn no_mutated_proof_is_accepted() {
    let (mut mutants, mut decoded) = (0, 0);
    for seed in 0..300 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let root = world.trie.root();
        for _ in 0..6 {
            let (claims, others) = (some_claims(&mut rng, &entries), some_claims(&mut rng, &entries));
            let (bytes, foreign) = (prove(&world, &claims), prove(&world, &others));
            for _ in 0..20 {
                let mut mutant = mutate(&mut rng, &bytes, &foreign);
                if rng.chance(20) && !mutant.is_empty() {
                    mutant = mutate(&mut rng, &mutant, &foreign);
                }
                if mutant == bytes {
                    continue;
                }
                mutants += 1;
                decoded += usize::from(MultiProof::decode(&mutant).is_ok());
                let verdict = judge(&world, &root, &mutant, &claims);
                assert!(verdict.is_err(), "seed {seed}: accepted {mutant:02x?}");
            }
            // A proof of other keys is accepted only when it is the proof of these too, byte for byte.
            let verdict = judge(&world, &root, &foreign, &claims);
            assert_eq!(verdict.is_ok(), foreign == bytes, "seed {seed}: {verdict:?}");
            // Another root, another kind of trie.
            let mut wrong = root;
            wrong.0[rng.below(32)] ^= 1 << rng.below(8);
            assert!(judge(&world, &wrong, &bytes, &claims).is_err());
            let proof = MultiProof::decode(&bytes).unwrap();
            let shows_leaf = format!("{proof:?}").contains("Leaf");
            assert_eq!(
                verify_many(other_kind(world.kind), &root, &proof, &claims).is_err(),
                shows_leaf
            );
        }
    }
    assert!(mutants > 30_000, "{mutants} mutants");
    assert!(decoded > 3_000, "{decoded} mutants reach the verifier");
}

#[test]
fn a_proof_with_any_bit_flipped_is_refused() {
    let mut rng = Rng(3);
    let entries: Vec<_> = (0..60).map(|_| (rng.clustered_key(), rng.value())).collect();
    let world = World::with(&entries);
    let (entries, root) = (world.entries(), world.trie.root());
    for _ in 0..15 {
        let claims = some_claims(&mut rng, &entries);
        let bytes = prove(&world, &claims);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut mutant = bytes.clone();
                mutant[at] ^= 1 << bit;
                let verdict = judge(&world, &root, &mutant, &claims);
                assert!(verdict.is_err(), "byte {at} bit {bit} of {bytes:02x?}");
            }
            assert!(
                judge(&world, &root, &bytes[..at], &claims).is_err(),
                "cut at {at}"
            );
        }
    }
}

#[test]
fn false_claims_are_refused() {
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let values: [&[u8]; 2] = [&[], &[0xee; 5]];
    for seed in 0..300 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let keys: Vec<Hash> = entries.keys().copied().collect();
        for _ in 0..6 {
            let claims = some_claims(&mut rng, &entries);
            let bytes = prove(&world, &claims);
            for _ in 0..20 {
                let mut wrong = claims.clone();
                let at = rng.below(wrong.len());
                match rng.below(6) {
                    0 => wrong[at].1 = None,
                    1 => wrong[at].1 = Some(*rng.pick(&values)),
                    2 => drop(wrong.remove(at)),
                    3 => {
                        // One key more, with its true value.
                        let key = rng.near_key(&keys);
                        wrong.push((key, entries.get(&key).map(Vec::as_slice)));
                        wrong.sort();
                        wrong.dedup();
                    }
                    4 => {
                        // Another key in its place, with its true value or this one.
                        let key = rng.near_key(&keys);
                        wrong[at].0 = key;
                        if rng.chance(50) {
                            wrong[at].1 = entries.get(&key).map(Vec::as_slice);
                        }
                    }
                    _ => {
                        let to = rng.below(wrong.len());
                        wrong.swap(at, to);
                    }
                }
                let verdict = judge(&world, &world.trie.root(), &bytes, &wrong);
                let truth = wrong
                    .iter()
                    .all(|(key, value)| entries.get(key).map(Vec::as_slice) == *value);
                if truth && verdict.is_ok() {
                    // True claims about other keys: only when their proof is the same.
                    assert_eq!(prove(&world, &wrong), bytes, "seed {seed}");
                    continue;
                }
                let error = verdict.expect_err(&format!("seed {seed}: {wrong:?}"));
                let name = format!("{error:?}");
                let name = name.split([' ', '(']).next().unwrap().to_owned();
                *refusals.entry(name).or_default() += 1;
            }
        }
    }
    let names = [
        "KeyCount",
        "NotAscending",
        "WrongShape",
        "NotPresent",
        "NotAbsent",
        "RootMismatch",
    ];
    for name in names {
        assert!(
            refusals.get(name).is_some_and(|&count| count > 10),
            "{refusals:?}"
        );
    }
}

fn key(hex: &str) -> Hash {
    Hash::from_hex(&format!("0x{hex:0<64}")).unwrap()
}

/// Three keys below the extension `23` behind slot 1, and a single leaf in slot f.
fn small_world() -> World {
    World::with(&[
        (key("12345"), vec![1]),
        (key("1237"), vec![2]),
        (key("123a"), vec![3]),
        (key("f00"), vec![4]),
    ])
}

#[test]
fn keys_at_one_slot_are_present_and_absent_side_by_side() {
    let world = small_world();
    let (entries, root) = (world.entries(), world.trie.root());
    let lists: [&[&str]; 8] = [
        &["f0", "f00", "f01"],
        &["f00", "f1"],
        &["f1", "f2"],
        &["11", "1237", "13"],
        &["11", "13"],
        &["1230", "1236", "1237", "12371", "123f"],
        &["0", "12345", "1237", "123a", "e", "f00"],
        &[
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f",
        ],
    ];
    for list in lists {
        let asked: BTreeSet<Hash> = list.iter().map(|hex| key(hex)).collect();
        let claims = claims(&entries, asked);
        let bytes = prove(&world, &claims);
        assert_eq!(judge(&world, &root, &bytes, &claims), Ok(()), "{list:?}");
    }
    // The leaf of a key that is asked for, encoded as that of a key that is not.
    let claims = claims(&entries, [key("f00"), key("f1")]);
    let mut dressed = prove(&world, &claims);
    assert_eq!(dressed.pop(), Some(0x85));
    dressed.extend([&[0x86][..], &key("f00").0, &1u32.to_le_bytes(), &[4]].concat());
    let absent = [(key("f00"), None), (key("f1"), None)];
    assert_eq!(
        judge(&world, &root, &dressed, &absent),
        Err(MultiProofError::NotAbsent { key: key("f00") })
    );
    assert!(judge(&world, &root, &dressed, &claims).is_err());
    // Two keys that share a slot cannot both have values there.
    let bytes = prove(&world, &claims);
    let both = [(key("f00"), Some(&[4][..])), (key("f1"), Some(&[4][..]))];
    assert_eq!(
        judge(&world, &root, &bytes, &both),
        Err(MultiProofError::NotPresent { key: key("f1") })
    );
}

#[test]
fn a_leaf_from_elsewhere_and_an_extension_that_is_followed_exclude_nothing() {
    let world = small_world();
    let root = world.trie.root();
    let absent = [(key("f1"), None)];
    let mut elsewhere = prove(&world, &absent);
    elsewhere.truncate(elsewhere.len() - 38);
    elsewhere.extend([&[0x86][..], &key("1237").0, &1u32.to_le_bytes(), &[2]].concat());
    assert!(matches!(
        judge(&world, &root, &elsewhere, &absent),
        Err(MultiProofError::OffPath { shown, .. }) if shown == key("1237")
    ));
    let stray = prove(&world, &[(key("13"), None)]);
    assert_eq!(
        judge(&world, &root, &stray, &[(key("123"), None)]),
        Err(MultiProofError::NotAbsent { key: key("123") })
    );
}

/// A branch of empty slots would have the hash of an empty slot.
#[test]
fn an_empty_slot_has_no_second_form() {
    let fork = |left: &[u8], right: &[u8]| [&[0x88, 0x03, 0, 0], left, right].concat();
    let shallow = fork(&[0x80], &[0x80]);
    let deep = fork(&shallow, &[0x80]);
    let (empty, small) = (World::with(&[]), small_world());
    let cases: [(&World, &[&str], &[u8]); 4] = [
        (&empty, &["0", "1"], &shallow),
        (&empty, &["00", "01", "1"], &deep),
        (&small, &["00", "01"], &shallow),
        (&small, &["000", "001", "01"], &deep),
    ];
    for (world, list, form) in cases {
        let absent: Vec<Claim<'_>> = list.iter().map(|hex| (key(hex), None)).collect();
        let root = world.trie.root();
        let mut bytes = prove(world, &absent);
        assert_eq!(judge(world, &root, &bytes, &absent), Ok(()));
        assert_eq!(bytes.pop(), Some(0x80));
        bytes.extend_from_slice(form);
        assert!(
            matches!(
                judge(world, &root, &bytes, &absent),
                Err(MultiProofError::WrongShape { detail, .. }) if detail == "a branch has no child"
            ),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn lists_that_are_empty_too_long_or_out_of_order_are_refused_on_both_sides() {
    let world = small_world();
    let root = world.trie.root();
    let proof = world.trie.prove_many(&[(key("e"), None)], &world.state).unwrap();
    let many: Vec<Claim<'_>> = (0..=MULTI_PROOF_KEYS_MAX as u64)
        .map(|n| {
            let mut key = Hash::ZERO;
            key.0[..8].copy_from_slice(&n.to_be_bytes());
            (key, None)
        })
        .collect();
    for (list, got) in [(&many[..0], 0), (&many[..], MULTI_PROOF_KEYS_MAX + 1)] {
        let error = world.trie.prove_many(list, &world.state).unwrap_err();
        assert!(
            matches!(error, TrieError::KeyCount { got: g } if g == got),
            "{error}"
        );
        let error = verify_many(world.kind, &root, &proof, list).unwrap_err();
        assert_eq!(error, MultiProofError::KeyCount { got });
    }
    assert!(world.trie.prove_many(&many[1..], &world.state).is_ok());
    for list in [[many[1], many[0]], [many[0], many[0]]] {
        let error = world.trie.prove_many(&list, &world.state).unwrap_err();
        assert!(matches!(error, TrieError::NotAscending { index: 1 }), "{error}");
        let error = verify_many(world.kind, &root, &proof, &list).unwrap_err();
        assert!(matches!(error, MultiProofError::NotAscending(_)), "{error}");
    }
}

#[test]
fn the_deepest_and_widest_tries_have_proofs() {
    // A branch on each of the 64 levels: every key leaves one stem at another nibble.
    let mut deep: Vec<(Hash, Vec<u8>)> = (0..64)
        .map(|level| {
            let mut key = Hash::ZERO;
            key.0[level / 2] = if level % 2 == 0 { 0x10 } else { 0x01 };
            (key, vec![level as u8])
        })
        .collect();
    deep.push((Hash::ZERO, vec![255]));
    // Three full levels.
    let wide: Vec<(Hash, Vec<u8>)> = (0..1024u16)
        .map(|n| {
            let mut key = Hash([0x77; 32]);
            key.0[..2].copy_from_slice(&(n << 6).to_be_bytes());
            (key, n.to_le_bytes().to_vec())
        })
        .collect();
    for list in [deep, wide] {
        let world = World::with(&list);
        let (entries, root) = (world.entries(), world.trie.root());
        let present = claims(&entries, entries.keys().copied());
        let bytes = prove(&world, &present);
        assert_eq!(judge(&world, &root, &bytes, &present), Ok(()));
        let near = entries.keys().map(|key| {
            let mut key = *key;
            key.0[31] ^= 0x02;
            key
        });
        let absent = claims(&entries, near.collect::<BTreeSet<_>>());
        let bytes = prove(&world, &absent);
        assert_eq!(judge(&world, &root, &bytes, &absent), Ok(()));
    }
}

#[test]
fn a_prover_with_a_wrong_idea_of_a_value_makes_no_proof() {
    let world = small_world();
    let cases: [&[Claim<'_>]; 7] = [
        &[(key("f00"), None)],
        &[(key("f00"), Some(&[9]))],
        &[(key("f00"), Some(&[4])), (key("f1"), Some(&[4]))],
        &[(key("e"), Some(&[1]))],
        &[(key("11"), Some(&[1])), (key("1237"), Some(&[2]))],
        &[(key("13"), Some(&[1]))],
        &[(key("1237"), None), (key("f00"), Some(&[4]))],
    ];
    for claims in cases {
        let error = world.trie.prove_many(claims, &world.state).unwrap_err();
        assert!(matches!(error, TrieError::Drift { .. }), "{claims:?}: {error}");
    }
    let empty = Trie::accounts(Hash::ZERO);
    assert!(empty.prove_many(&[(key("1"), None)], &world.state).is_ok());
}

#[test]
fn a_proof_over_the_limit_is_not_made() {
    // Absent keys, each beside a leaf with a value of the greatest length.
    let entries: Vec<(Hash, Vec<u8>)> = (0..=255u8)
        .map(|n| {
            let mut key = Hash([0x55; 32]);
            key.0[0] = n;
            (key, vec![n; 64 * 1024])
        })
        .collect();
    let world = World::with(&entries);
    let absent: Vec<Claim<'_>> = entries
        .iter()
        .map(|(key, _)| {
            let mut key = *key;
            key.0[31] ^= 1;
            (key, None)
        })
        .collect();
    let error = world.trie.prove_many(&absent, &world.state).unwrap_err();
    assert!(
        matches!(error, TrieError::ProofTooLarge { got } if got > MULTI_PROOF_BYTES_MAX),
        "{error}"
    );
    assert!(world.trie.prove_many(&absent[..100], &world.state).is_ok());
}

#[test]
fn a_proof_of_one_state_is_refused_for_the_next() {
    for seed in 0..50 {
        let mut rng = Rng(seed);
        let mut world = random_world(&mut rng);
        let entries = world.entries();
        let old_claims = some_claims(&mut rng, &entries);
        let old = prove(&world, &old_claims);
        let changed = rng.near_key(&entries.keys().copied().collect::<Vec<_>>());
        world.apply(&[(changed, Some(vec![seed as u8; 70]))].into());
        let (root, now) = (world.trie.root(), world.entries());
        let claims = claims(&now, old_claims.iter().map(|(key, _)| *key));
        let verdict = judge(&world, &root, &old, &old_claims);
        assert_ne!(verdict, Ok(()), "an old proof of old values");
        let verdict = judge(&world, &root, &prove(&world, &claims), &old_claims);
        assert_eq!(verdict.is_ok(), claims == old_claims, "{verdict:?}");
    }
}

#[test]
fn malformed_proofs_are_refused_for_the_documented_reason() {
    let hash = |n: u8| [n; 32];
    // A branch with slot 0 open and all four groups beside it filled.
    let full = [vec![0x88, 0x01, 0x00, 0x0f], hash(7).repeat(4)].concat();
    // Three full levels: 4,096 open slots.
    let level = |below: Vec<u8>| [vec![0x88, 0xff, 0xff, 0], below.repeat(16)].concat();
    let wide = level(level(level(vec![0x80])));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("the content of a slot is missing", vec![]),
        ("the content of a slot is missing", full.clone()),
        ("the content of a slot is missing", vec![0x87, 1, 0x10]),
        (
            "the content of a slot is missing",
            vec![0x88, 0x03, 0x00, 0x00, 0x85],
        ),
        ("unknown tag", vec![0x00]),
        ("unknown tag", vec![0x01]),
        ("unknown tag", vec![0x41]),
        ("unknown tag", vec![0x81]),
        ("unknown tag", vec![0x82]),
        ("unknown tag", vec![0x84]),
        ("unknown tag", vec![0x89]),
        ("bytes are left over", vec![0x80, 0]),
        ("bytes are left over", vec![0x85, 0x85]),
        ("bytes are left over", [full.clone(), vec![0x80, 0x80]].concat()),
        ("a branch is cut short", vec![0x88, 1, 0]),
        ("a branch has no open slot", vec![0x88, 0, 0, 1]),
        ("a branch has one child", vec![0x88, 1, 0, 0, 0x85]),
        (
            "a bit is set that has no group",
            [vec![0x88, 1, 0, 0x1f], hash(7).repeat(5)].concat(),
        ),
        (
            "a bit is set that has no group",
            [vec![0x88, 0xff, 0xff, 1], hash(7).to_vec()].concat(),
        ),
        ("a hash is cut short", vec![0x88, 1, 0, 1, 9]),
        (
            "a hash is zero where one is needed",
            [vec![0x88, 1, 0, 1], hash(0).to_vec(), vec![0x85]].concat(),
        ),
        ("an extension is cut short", vec![0x87]),
        ("an extension is cut short", vec![0x87, 3, 0x11]),
        ("an extension is empty", vec![0x87, 0]),
        (
            "the path is longer than a key",
            [vec![0x87, 64], vec![0x11; 32]].concat(),
        ),
        (
            "an extension has a spare half byte that is set",
            vec![0x87, 1, 0x11],
        ),
        (
            "an extension does not lead to a branch",
            vec![0x87, 1, 0x10, 0x85],
        ),
        (
            "an extension does not lead to a branch",
            vec![0x87, 1, 0x10, 0x87, 1, 0x10],
        ),
        ("the path is longer than a key", full.repeat(65)),
        (
            "the path is longer than a key",
            [full.repeat(63), vec![0x87, 1, 0x10], full.clone(), vec![0x85]].concat(),
        ),
        ("an extension is cut short", vec![0x83]),
        (
            "an extension is empty",
            [vec![0x83, 0], hash(1).to_vec()].concat(),
        ),
        (
            "a hash is zero where one is needed",
            [vec![0x83, 1, 0x10], hash(0).to_vec()].concat(),
        ),
        ("a key is cut short", vec![0x86, 1]),
        (
            "a value is cut short",
            [vec![0x86], hash(1).to_vec(), vec![1, 0, 0]].concat(),
        ),
        (
            "a value is cut short",
            [vec![0x86], hash(1).to_vec(), vec![2, 0, 0, 0, 9]].concat(),
        ),
        (
            "the value is too long",
            [vec![0x86], hash(1).to_vec(), vec![1, 0, 1, 0]].concat(),
        ),
        (
            "the value is too long",
            [vec![0x86], hash(1).to_vec(), vec![0xff; 4]].concat(),
        ),
        ("there are more open slots than keys can be", wide.clone()),
    ];
    for (reason, bytes) in cases {
        match MultiProof::decode(&bytes) {
            Err(MultiProofError::Malformed { detail, .. }) => assert_eq!(detail, reason, "{bytes:02x?}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let got = MULTI_PROOF_BYTES_MAX + 1;
    assert_eq!(
        MultiProof::decode(&vec![0x88; got]),
        Err(MultiProofError::TooLarge { got })
    );
    let deepest = [full.repeat(64), vec![0x85]].concat();
    assert!(MultiProof::decode(&deepest).is_ok(), "the deepest proof");
}
