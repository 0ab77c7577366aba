//! Prefix proofs: all entries below a prefix, no fewer, no more and no others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use std::collections::BTreeMap;
use support::{Rng, World, mutate, other_kind, random_world, scale};
use vibecoin_primitives::Hash;
use vibecoin_trie::{
    Nibbles, NodeReader, PREFIX_PROOF_BYTES_MAX, PrefixProof, PrefixProofError, ReadError, Trie, TrieError,
    TrieKind, verify_prefix,
};

type Entries = Vec<(Hash, Vec<u8>)>;

/// A verifier's result for these bytes and entries.
fn judge(
    world: &World,
    root: &Hash,
    prefix: &Nibbles,
    bytes: &[u8],
    entries: &[(Hash, Vec<u8>)],
) -> Result<(), PrefixProofError> {
    let proof = PrefixProof::decode(bytes)?;
    assert_eq!(proof.encode(), bytes, "a proof has one encoding");
    let entries = entries.iter().map(|(key, value)| (*key, value.as_slice()));
    verify_prefix(world.kind, root, prefix, &proof, entries)
}

/// The model's answer: the entries whose keys begin with the prefix, digit by digit.
fn below(entries: &BTreeMap<Hash, Vec<u8>>, prefix: &Nibbles) -> Entries {
    let digits = |key: &Hash| key.to_string().trim_start_matches("0x").to_owned();
    let start = if prefix.is_empty() {
        String::new()
    } else {
        prefix.to_string()
    };
    let mine = entries.iter().filter(|(key, _)| digits(key).starts_with(&start));
    mine.map(|(key, value)| (*key, value.clone())).collect()
}

/// A prefix of a key that exists, or of one near it, or of any; more often a short one.
fn some_prefix(rng: &mut Rng, keys: &[Hash]) -> Nibbles {
    let key = rng.near_key(keys);
    let len = match rng.below(4) {
        0 => rng.below(65),
        1 => 60 + rng.below(5),
        _ => rng.below(9),
    };
    Nibbles::of_key(&key, len as u8)
}

fn prove(world: &World, prefix: &Nibbles) -> Vec<u8> {
    let proof = world.trie.prove_prefix(prefix, &world.state).unwrap();
    let loaded = world.reopen().prove_prefix(prefix, &world.state).unwrap();
    assert_eq!(proof, loaded, "a proof does not depend on what is in memory");
    proof.encode()
}

#[test]
fn every_prefix_has_a_proof_that_holds_for_exactly_its_entries() {
    let mut ends = [0usize; 5];
    for seed in 0..400 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let keys: Vec<Hash> = entries.keys().copied().collect();
        for _ in 0..20 {
            let prefix = some_prefix(&mut rng, &keys);
            let mine = below(&entries, &prefix);
            let bytes = prove(&world, &prefix);
            let verdict = judge(&world, &world.trie.root(), &prefix, &bytes, &mine);
            assert_eq!(verdict, Ok(()), "seed {seed} prefix {prefix}");
            let proof = PrefixProof::decode(&bytes).unwrap();
            assert_eq!(proof.claims_entries(), !mine.is_empty());
            let text = format!("{proof:?}");
            let end = match mine.len() {
                0 if text.contains("Absent(Empty") => 0,
                0 if text.contains("Absent(OtherLeaf") => 1,
                0 => 2,
                1 => 3,
                _ => 4,
            };
            ends[end] += 1;
        }
    }
    assert!(
        ends.iter().all(|&count| count > 100),
        "all ends are met: {ends:?}"
    );
}

#[test]
fn the_empty_prefix_is_the_whole_trie() {
    for seed in 0..100 {
        let world = random_world(&mut Rng(seed));
        let bytes = prove(&world, &Nibbles::EMPTY);
        assert_eq!(bytes.len(), 1, "a path of no steps");
        let entries: Entries = world.entries().into_iter().collect();
        let root = world.trie.root();
        assert_eq!(judge(&world, &root, &Nibbles::EMPTY, &bytes, &entries), Ok(()));
        assert_eq!(root, world.naive_root());
    }
}

/// The prefixes of one length cut a trie into parts; all parts with their proofs are all entries.
#[test]
fn the_proven_parts_of_a_trie_are_together_the_trie() {
    let mut rng = Rng(7);
    for _ in 0..20 {
        let world = random_world(&mut rng);
        let mut all = Entries::new();
        for first in 0..=255u8 {
            let prefix = Nibbles::unpack(2, &[first]).unwrap();
            let mine = below(&world.entries(), &prefix);
            let bytes = prove(&world, &prefix);
            assert_eq!(judge(&world, &world.trie.root(), &prefix, &bytes, &mine), Ok(()));
            all.extend(mine);
        }
        assert_eq!(all, world.entries().into_iter().collect::<Entries>());
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
        let keys: Vec<Hash> = entries.keys().copied().collect();
        for _ in 0..10 {
            let (prefix, other) = (some_prefix(&mut rng, &keys), some_prefix(&mut rng, &keys));
            let mine = below(&entries, &prefix);
            let (bytes, foreign) = (prove(&world, &prefix), prove(&world, &other));
            for _ in 0..20 {
                let mut mutant = mutate(&mut rng, &bytes, &foreign);
                if rng.chance(20) && !mutant.is_empty() {
                    mutant = mutate(&mut rng, &mutant, &foreign);
                }
                if mutant == bytes {
                    continue;
                }
                mutants += 1;
                decoded += usize::from(PrefixProof::decode(&mutant).is_ok());
                let verdict = judge(&world, &root, &prefix, &mutant, &mine);
                assert!(
                    verdict.is_err(),
                    "seed {seed}: accepted for {prefix} from {mutant:02x?}"
                );
            }
            // A proof of another prefix is accepted only when it is this prefix's proof too, byte for byte.
            let verdict = judge(&world, &root, &prefix, &foreign, &mine);
            assert_eq!(verdict.is_ok(), foreign == bytes, "seed {seed}: {verdict:?}");
            // Nor is it with its own entries: none, when an extension that this prefix ends in leaves the other.
            let inner: Vec<Hash> = mine.iter().map(|(key, _)| *key).collect();
            for other in [
                other,
                some_prefix(&mut rng, &inner),
                some_prefix(&mut rng, &inner),
            ] {
                let (foreign, theirs) = (prove(&world, &other), below(&entries, &other));
                let verdict = judge(&world, &root, &prefix, &foreign, &theirs);
                let same = foreign == bytes && theirs == mine;
                assert_eq!(verdict.is_ok(), same, "seed {seed} prefix {prefix} other {other}");
            }
            // The entries of another prefix are accepted only when they are the same.
            let theirs = below(&entries, &other);
            let verdict = judge(&world, &root, &prefix, &bytes, &theirs);
            assert_eq!(verdict.is_ok(), theirs == mine, "seed {seed}: {verdict:?}");
            // Another root, another kind of trie.
            let mut wrong = root;
            wrong.0[rng.below(32)] ^= 1 << rng.below(8);
            assert!(judge(&world, &wrong, &prefix, &bytes, &mine).is_err());
            let proof = PrefixProof::decode(&bytes).unwrap();
            let shows_leaf = !mine.is_empty() || format!("{proof:?}").contains("OtherLeaf");
            let slices = mine.iter().map(|(key, value)| (*key, value.as_slice()));
            assert_eq!(
                verify_prefix(other_kind(world.kind), &root, &prefix, &proof, slices).is_err(),
                shows_leaf
            );
        }
    }
    assert!(mutants > 50_000, "{mutants} mutants");
    assert!(decoded > 5_000, "{decoded} mutants reach the verifier");
}

/// Offsets of the steps of a proof, and of its end.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![0];
    let mut at = 0;
    while bytes[at] < 0x80 {
        at += match bytes[at] {
            mask @ 0x01..=0x0f => 1 + 32 * mask.count_ones() as usize,
            _ => 1,
        };
        offsets.push(at);
    }
    offsets
}

/// A forger who knows the whole trie takes steps that are true and puts every end of other proofs behind each.
#[test]
fn no_end_at_any_depth_is_accepted_but_the_right_one() {
    let (mut forged, mut accepted) = (0, 0);
    for seed in 0..60 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let (entries, root) = (world.entries(), world.trie.root());
        let keys: Vec<Hash> = entries.keys().copied().collect();
        let mut ends: BTreeMap<Vec<u8>, Entries> = [(vec![0x80], vec![]), (vec![0x84], vec![])].into();
        for _ in 0..20 {
            let other = some_prefix(&mut rng, &keys);
            let bytes = prove(&world, &other);
            let end = bytes[*boundaries(&bytes).last().unwrap()..].to_vec();
            ends.insert(end, below(&entries, &other));
        }
        for _ in 0..5 {
            let prefix = some_prefix(&mut rng, &keys);
            let (honest, mine) = (prove(&world, &prefix), below(&entries, &prefix));
            // A path that goes on below the prefix, where the trie does.
            let deep = Nibbles::of_key(mine.first().map_or(&prefix.first_key(), |(key, _)| key), 64);
            let steps = prove(&world, &deep);
            for cut in boundaries(&steps) {
                for (end, theirs) in &ends {
                    let bytes = [&steps[..cut], end].concat();
                    for claimed in [&mine, theirs, &vec![]] {
                        forged += 1;
                        let verdict = judge(&world, &root, &prefix, &bytes, claimed);
                        let right = bytes == honest && *claimed == mine;
                        assert_eq!(
                            verdict.is_ok(),
                            right,
                            "seed {seed} {prefix}: {bytes:02x?} {claimed:?}"
                        );
                        accepted += usize::from(right);
                    }
                }
            }
        }
    }
    assert!(
        forged > 10_000 && accepted > 100,
        "{accepted} of {forged} accepted"
    );
}

/// Every bit of every proof of a trie that has all kinds of nodes and ends.
#[test]
fn a_proof_with_any_bit_flipped_is_refused() {
    let mut rng = Rng(3);
    let entries: Vec<_> = (0..60).map(|_| (rng.clustered_key(), rng.value())).collect();
    let world = World::with(&entries);
    let (entries, root) = (world.entries(), world.trie.root());
    let keys: Vec<Hash> = entries.keys().copied().collect();
    for _ in 0..60 {
        let prefix = some_prefix(&mut rng, &keys);
        let mine = below(&entries, &prefix);
        let bytes = prove(&world, &prefix);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut mutant = bytes.clone();
                mutant[at] ^= 1 << bit;
                let verdict = judge(&world, &root, &prefix, &mutant, &mine);
                assert!(verdict.is_err(), "byte {at} bit {bit} of {bytes:02x?}");
            }
            assert!(
                judge(&world, &root, &prefix, &bytes[..at], &mine).is_err(),
                "cut at {at}"
            );
        }
    }
}

/// One way to falsify entries; `None` when the entries do not permit it.
fn falsify(rng: &mut Rng, mine: &Entries, world: &World, prefix: &Nibbles) -> Option<Entries> {
    let mut out = mine.clone();
    let at = rng.below(out.len().max(1));
    match rng.below(9) {
        0 => drop((!out.is_empty()).then(|| out.remove(at))?),
        1 => out.truncate((!out.is_empty()).then_some(at)?),
        2 => drop((!out.is_empty()).then(|| out.drain(..=at))?),
        3 => {
            // An entry more, in its place: with the prefix, or any.
            let mut key = rng.near_key(&mine.iter().map(|entry| entry.0).collect::<Vec<_>>());
            if rng.chance(80) {
                key = with_prefix(&key, prefix);
            }
            let at = out.partition_point(|entry| entry.0 < key);
            (out.get(at).map(|entry| entry.0) != Some(key)).then_some(())?;
            out.insert(at, (key, rng.value()));
        }
        4 => {
            let value = &mut out.get_mut(at)?.1;
            match rng.below(3) {
                0 if !value.is_empty() => {
                    let byte = rng.below(value.len());
                    value[byte] ^= 1 << rng.below(8);
                }
                1 if !value.is_empty() => drop(value.pop()),
                _ => value.push(rng.next() as u8),
            }
        }
        5 => {
            // A key that is moved, in its place or not.
            let entry = out.get_mut(at)?;
            entry.0.0[rng.below(32)] ^= 1 << rng.below(8);
            if rng.chance(70) {
                out.sort();
            }
        }
        6 => {
            let to = rng.below(out.len().max(1));
            (at != to).then_some(())?;
            if rng.chance(50) {
                out.swap(at, to);
            } else {
                // The values of two keys.
                let (left, right) = (out[at].1.clone(), out[to].1.clone());
                (left != right).then_some(())?;
                (out[at].1, out[to].1) = (right, left);
            }
        }
        7 => {
            let twice = out.get(at)?.clone();
            out.insert(at, twice);
        }
        _ => {
            // The neighbour beyond the prefix, before or behind.
            let all: Entries = world.entries().into_iter().collect();
            let first = all.partition_point(|entry| entry.0 < prefix.first_key());
            if rng.chance(50) {
                out.push(all.get(first + mine.len())?.clone());
            } else {
                out.insert(0, all.get(first.checked_sub(1)?)?.clone());
            }
        }
    }
    (out != *mine).then_some(out)
}

fn with_prefix(key: &Hash, prefix: &Nibbles) -> Hash {
    let mut out = *key;
    for index in 0..prefix.len() {
        let (byte, value) = (usize::from(index / 2), prefix.get(index).unwrap());
        out.0[byte] = if index % 2 == 0 {
            value << 4 | out.0[byte] & 15
        } else {
            out.0[byte] & 0xf0 | value
        };
    }
    out
}

#[test]
fn entries_that_are_omitted_added_moved_changed_or_swapped_are_refused() {
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..300 * scale() {
        let mut rng = Rng(seed);
        let world = random_world(&mut rng);
        let entries = world.entries();
        let keys: Vec<Hash> = entries.keys().copied().collect();
        for _ in 0..10 {
            let prefix = some_prefix(&mut rng, &keys);
            let mine = below(&entries, &prefix);
            let bytes = prove(&world, &prefix);
            for _ in 0..20 {
                let Some(false_entries) = falsify(&mut rng, &mine, &world, &prefix) else {
                    continue;
                };
                let verdict = judge(&world, &world.trie.root(), &prefix, &bytes, &false_entries);
                let error = verdict.expect_err(&format!("seed {seed} prefix {prefix}: {false_entries:?}"));
                let name = format!("{error:?}");
                let name = name.split([' ', '(']).next().unwrap().to_owned();
                *refusals.entry(name).or_default() += 1;
            }
        }
    }
    for name in [
        "NoEntry",
        "NotAscending",
        "OffPrefix",
        "RootMismatch",
        "UnexpectedEntry",
    ] {
        assert!(
            refusals.get(name).is_some_and(|&count| count > 100),
            "{refusals:?}"
        );
    }
}

/// Four keys; `1` leads over an extension to a branch at `123`, `f` to a single leaf.
fn small_world() -> World {
    World::with(&[
        (key("12345"), vec![1]),
        (key("1237"), vec![2]),
        (key("123a"), vec![3]),
        (key("f00"), vec![4]),
    ])
}

fn key(hex: &str) -> Hash {
    Hash::from_hex(&format!("0x{hex:0<64}")).unwrap()
}

fn nibbles(hex: &str) -> Nibbles {
    Nibbles::of_key(&key(hex), hex.len() as u8)
}

#[test]
fn an_extension_may_cross_the_end_of_the_prefix_and_a_leaf_hang_above_it() {
    let world = small_world();
    let (entries, root) = (world.entries(), world.trie.root());
    // The prefix, and the nibbles of the proof's path.
    let cases = [
        ("", 0, 4),
        ("1", 1, 3),
        ("12", 1, 3),
        ("123", 1, 3),
        ("1237", 4, 1),
        ("12370", 4, 1),
        ("12345", 4, 1),
        ("f", 1, 1),
        ("f00", 1, 1),
        ("f000000", 1, 1),
        ("e", 1, 0),
        ("f1", 1, 0),
        ("13", 1, 0),
        ("124", 1, 0),
        ("1230", 4, 0),
        ("12346", 4, 0),
    ];
    for (hex, depth, count) in cases {
        let prefix = nibbles(hex);
        let bytes = prove(&world, &prefix);
        let proof = PrefixProof::decode(&bytes).unwrap();
        let mine = below(&entries, &prefix);
        assert_eq!(mine.len(), count, "{hex}");
        assert!(
            format!("{proof:?}").contains(&format!("depth: {depth}")),
            "{hex}: {proof:?}"
        );
        assert_eq!(judge(&world, &root, &prefix, &bytes, &mine), Ok(()), "{hex}");
    }
    // The same path and entries prove the prefixes between, but not those that share only the path.
    let bytes = prove(&world, &nibbles("12"));
    let mine = below(&entries, &nibbles("12"));
    for (hex, good) in [
        ("1", true),
        ("12", true),
        ("123", true),
        ("1234", false),
        ("13", false),
    ] {
        let verdict = judge(&world, &root, &nibbles(hex), &bytes, &mine);
        assert_eq!(verdict.is_ok(), good, "{hex}: {verdict:?}");
    }
    assert_eq!(
        judge(&world, &root, &Nibbles::EMPTY, &bytes, &mine),
        Err(PrefixProofError::TooDeep {
            prefix: Nibbles::EMPTY,
            depth: 1
        })
    );
}

#[test]
fn absence_is_not_shown_by_what_has_the_prefix_nor_by_what_lies_elsewhere() {
    let world = small_world();
    let root = world.trie.root();
    let step = |hex: &str| {
        let mut bytes = prove(&world, &nibbles(hex));
        bytes.pop();
        bytes
    };
    // The leaf of `f00`, said not to have the prefix.
    let prefix = nibbles("f0");
    let dressed = [&step("f")[..], &[0x82], &key("f00").0, &[4]].concat();
    assert_eq!(
        judge(&world, &root, &prefix, &dressed, &[]),
        Err(PrefixProofError::NotAbsent { prefix })
    );
    assert_eq!(judge(&world, &root, &nibbles("f1"), &dressed, &[]), Ok(()));
    // A leaf from elsewhere.
    let elsewhere = [&step("f")[..], &[0x82], &key("1237").0, &[2]].concat();
    assert_eq!(
        judge(&world, &root, &prefix, &elsewhere, &[]),
        Err(PrefixProofError::OffPath {
            prefix,
            shown: key("1237")
        })
    );
    // The extension `23` behind slot 1, said to leave prefixes that it follows, ends in, or crosses.
    let stray = prove(&world, &nibbles("13"));
    assert_eq!(judge(&world, &root, &nibbles("13"), &stray, &[]), Ok(()));
    assert_eq!(judge(&world, &root, &nibbles("129"), &stray, &[]), Ok(()));
    for hex in ["1", "12", "123", "1230", "1237"] {
        let prefix = nibbles(hex);
        assert_eq!(
            judge(&world, &root, &prefix, &stray, &[]),
            Err(PrefixProofError::NotAbsent { prefix }),
            "{hex}"
        );
    }
}

#[test]
fn entries_are_refused_where_the_first_wrong_one_stands() {
    let world = small_world();
    let (root, entries) = (world.trie.root(), world.entries());
    let prefix = nibbles("12");
    let bytes = prove(&world, &prefix);
    let mine = below(&entries, &prefix);
    let judge = |entries: &[(Hash, Vec<u8>)]| judge(&world, &root, &prefix, &bytes, entries);
    assert_eq!(judge(&[]), Err(PrefixProofError::NoEntry { prefix }));
    let beyond = [mine.clone(), vec![(key("f00"), vec![4])]].concat();
    assert_eq!(
        judge(&beyond),
        Err(PrefixProofError::OffPrefix {
            prefix,
            key: key("f00")
        })
    );
    let error = judge(&[mine[1].clone(), mine[0].clone()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("key {} does not come after {}", mine[0].0, mine[1].0)
    );
    assert!(matches!(
        judge(&mine[1..]),
        Err(PrefixProofError::RootMismatch { .. })
    ));
    // The verifier does not read on behind the first wrong entry.
    let proof = PrefixProof::decode(&bytes).unwrap();
    let endless = std::iter::repeat((mine[0].0, mine[0].1.as_slice()));
    let verdict = verify_prefix(TrieKind::Account, &root, &prefix, &proof, endless);
    assert!(matches!(verdict, Err(PrefixProofError::NotAscending(_))));
    let absent = world.trie.prove_prefix(&nibbles("e"), &world.state).unwrap();
    let endless = std::iter::repeat((key("e"), &[][..]));
    let verdict = verify_prefix(TrieKind::Account, &root, &nibbles("e"), &absent, endless);
    assert_eq!(
        verdict,
        Err(PrefixProofError::UnexpectedEntry {
            prefix: nibbles("e"),
            key: key("e")
        })
    );
}

#[test]
fn an_empty_trie_and_a_trie_of_one_entry_have_proofs_of_every_prefix() {
    let (empty, lone) = (
        World::new(TrieKind::Account),
        World::with(&[(key("abc"), vec![7])]),
    );
    for len in 0..=64 {
        for start in ["abc", "abd", "1"] {
            let prefix = Nibbles::of_key(&key(start), len);
            for world in [&empty, &lone] {
                let mine = below(&world.entries(), &prefix);
                let bytes = prove(world, &prefix);
                let root = world.trie.root();
                assert_eq!(judge(world, &root, &prefix, &bytes, &mine), Ok(()));
                // The other statement does not hold.
                let other = if mine.is_empty() {
                    vec![(with_prefix(&key("abc"), &prefix), vec![7])]
                } else {
                    vec![]
                };
                assert!(judge(world, &root, &prefix, &bytes, &other).is_err());
                for forged in [vec![0x80], vec![0x84]] {
                    let verdict = judge(world, &root, &prefix, &forged, &mine);
                    assert_eq!(verdict.is_ok(), forged == bytes, "{forged:02x?} for {prefix}");
                }
            }
        }
    }
}

#[test]
fn a_proof_or_entries_of_one_state_are_refused_for_the_next() {
    for seed in 0..50 {
        let mut rng = Rng(seed);
        let mut world = random_world(&mut rng);
        let keys: Vec<Hash> = world.entries().keys().copied().collect();
        let prefix = some_prefix(&mut rng, &keys);
        let (old, old_entries) = (prove(&world, &prefix), below(&world.entries(), &prefix));
        let changed = rng.near_key(&keys);
        world.apply(&[(changed, Some(vec![seed as u8; 70]))].into());
        let (root, entries) = (world.trie.root(), below(&world.entries(), &prefix));
        let verdict = judge(&world, &root, &prefix, &old, &old_entries);
        assert_ne!(verdict, Ok(()), "an old proof of old entries");
        let verdict = judge(&world, &root, &prefix, &prove(&world, &prefix), &old_entries);
        assert_eq!(verdict.is_ok(), entries == old_entries, "{verdict:?}");
    }
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
        ("unknown tag", vec![0x81]),
        ("unknown tag", vec![0x85]),
        ("an extension follows an extension", vec![0x41, 0x41, 0x84]),
        ("an extension does not lead to a branch", vec![0x41, 0x84]),
        ("an extension does not lead to a branch", vec![0x41, 0x80]),
        (
            "the path is longer than a key",
            [vec![0x7f], branch(1), branch(1)].concat(),
        ),
        ("the path is longer than a key", branch(1).repeat(65)),
        ("a hash is cut short", vec![0x01, 1, 2, 3]),
        (
            "a hash is zero where one is needed",
            [vec![0x01], vec![0; 32], vec![0x84]].concat(),
        ),
        ("a key is cut short", vec![0x82, 1]),
        ("bytes are left over", vec![0x80, 0]),
        ("bytes are left over", vec![0x84, 0]),
        ("bytes are left over", vec![0x84, 0x84]),
        (
            "bytes are left over",
            [vec![0x83, 1, 0x10], hash(1).to_vec(), vec![0]].concat(),
        ),
        ("an extension is cut short", vec![0x83]),
        ("an extension is cut short", vec![0x83, 3, 0x11]),
        (
            "an extension is empty",
            [vec![0x83, 0], hash(1).to_vec()].concat(),
        ),
        (
            "an extension has a spare half byte that is set",
            [vec![0x83, 1, 0x11], hash(1).to_vec()].concat(),
        ),
        (
            "the path is longer than a key",
            [vec![0x83, 64], vec![0; 32], hash(1).to_vec()].concat(),
        ),
        ("the value is too long", vec![0x82; 2 + 32 + 64 * 1024]),
    ];
    for (reason, bytes) in cases {
        match PrefixProof::decode(&bytes) {
            Err(PrefixProofError::Malformed { detail, .. }) => assert_eq!(detail, reason, "{bytes:02x?}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let got = PREFIX_PROOF_BYTES_MAX + 1;
    assert_eq!(
        PrefixProof::decode(&vec![0x82; got]),
        Err(PrefixProofError::TooLarge { got })
    );
    let longest = [branch(15).repeat(64), vec![0x82], vec![1; 32 + 64 * 1024]].concat();
    assert_eq!(longest.len(), PREFIX_PROOF_BYTES_MAX);
    assert!(PrefixProof::decode(&longest).is_ok(), "the longest proof");
}

/// A reader that counts what it reads.
struct Counting<'a>(&'a World, std::sync::atomic::AtomicUsize);

impl NodeReader for Counting<'_> {
    fn node(&self, owner: &Hash, path: &Nibbles) -> Result<Option<Vec<u8>>, ReadError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.state.node(owner, path)
    }

    fn leaf(&self, owner: &Hash, key: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.state.leaf(owner, key)
    }
}

#[test]
fn a_prefix_is_proven_without_reading_its_entries() {
    let mut rng = Rng(5);
    let entries: Vec<_> = (0..3000).map(|_| (rng.uniform_key(), rng.value())).collect();
    let world = World::with(&entries);
    for len in 0..3u8 {
        let reader = Counting(&world, 0.into());
        let prefix = Nibbles::of_key(&entries[0].0, len);
        world.reopen().prove_prefix(&prefix, &reader).unwrap();
        assert_eq!(
            reader.1.into_inner(),
            usize::from(len) + 1,
            "the nodes of the path"
        );
    }
}

#[test]
fn a_damaged_record_or_leaf_makes_no_proof() {
    let world = small_world();
    let refused = |damage: &dyn Fn(&mut World), hex: &str| {
        let mut damaged = World {
            state: world.state.clone(),
            ..World::new(TrieKind::Account)
        };
        damage(&mut damaged);
        let error = world
            .reopen()
            .prove_prefix(&nibbles(hex), &damaged.state)
            .unwrap_err();
        assert!(matches!(error, TrieError::Corrupt { .. }), "{hex}: {error}");
    };
    let owner = Hash::ZERO;
    refused(
        &|world| drop(world.state.nodes.remove(&(owner, Nibbles::EMPTY))),
        "12",
    );
    refused(
        &|world| drop(world.state.nodes.remove(&(owner, nibbles("1")))),
        "12",
    );
    // The leaf of `f00` decides whether the prefix has an entry, and only its value shows its key.
    for hex in ["f0", "f1"] {
        refused(&|world| drop(world.state.flat.remove(&(owner, key("f00")))), hex);
        refused(
            &|world| drop(world.state.flat.insert((owner, key("f00")), vec![5])),
            hex,
        );
    }
    assert!(
        Trie::accounts(Hash::ZERO)
            .prove_prefix(&nibbles("1"), &world.state)
            .is_ok()
    );
}
