//! Refusals of the trie: malformed batches, a state that differs, and damaged records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod support;

use support::{Rng, World};
use vibecoin_primitives::Hash;
use vibecoin_trie::{Change, Nibbles, NodeReader, ReadError, Sequential, TrieError, VALUE_BYTES_MAX};

fn key(hex: &str) -> Hash {
    Hash::from_hex(&format!("0x{hex:0<64}")).unwrap()
}

/// Three keys below the extension `1`, two of them below `12`; one reached only over nibble `f`.
fn world() -> World {
    let value = |n: u8| vec![n; 3];
    World::with(&[
        (key("1234"), value(1)),
        (key("12a4"), value(2)),
        (key("15"), value(3)),
        (key("f"), value(4)),
    ])
}

fn refusal(world: &World, key: Hash, old: Option<&[u8]>, new: Option<&[u8]>) -> TrieError {
    let resident = world
        .trie
        .update(&[Change { key, old, new }], &world.state, &Sequential);
    let loaded = world
        .reopen()
        .update(&[Change { key, old, new }], &world.state, &Sequential);
    let (resident, loaded) = (resident.unwrap_err(), loaded.unwrap_err());
    assert_eq!(resident.to_string(), loaded.to_string());
    loaded
}

#[test]
fn keys_out_of_order_or_twice_are_refused() {
    let world = world();
    let (a, b) = (key("a"), key("b"));
    let change = |key| Change {
        key,
        old: None,
        new: Some(&[1]),
    };
    for batch in [[change(b), change(a)], [change(a), change(a)]] {
        let error = world.trie.update(&batch, &world.state, &Sequential).unwrap_err();
        assert!(matches!(error, TrieError::NotAscending { index: 1 }), "{error}");
    }
}

#[test]
fn a_value_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let world = world();
    let long = vec![0; VALUE_BYTES_MAX + 1];
    let error = refusal(&world, key("a"), None, Some(&long));
    assert!(
        matches!(error, TrieError::ValueTooLarge { got, .. } if got == VALUE_BYTES_MAX + 1),
        "{error}"
    );
    let change = Change {
        key: key("a"),
        old: None,
        new: Some(&long[1..]),
    };
    assert!(world.trie.update(&[change], &world.state, &Sequential).is_ok());
}

#[test]
fn an_old_value_that_the_trie_does_not_have_is_drift() {
    let world = world();
    let cases: [(&str, Option<&[u8]>); 6] = [
        ("1234", Some(&[9; 3])), // another value
        ("1234", None),          // said to be absent
        ("1235", Some(&[1; 3])), // a leaf of another key stands there
        ("a", Some(&[1; 3])),    // an empty slot
        ("13", Some(&[1; 3])),   // an empty slot of a deeper branch
        ("2", Some(&[1; 3])),    // beside an extension's slot
    ];
    for (hex, old) in cases {
        for new in [None, Some(&[7u8][..])] {
            if old == new {
                continue;
            }
            let error = refusal(&world, key(hex), old, new);
            assert!(
                matches!(error, TrieError::Drift { key: k, .. } if k == key(hex)),
                "{hex}: {error}"
            );
        }
    }
}

#[test]
fn removing_a_key_that_leaves_an_extension_is_drift() {
    let world = World::with(&[(key("1234"), vec![1]), (key("1235"), vec![2])]);
    let error = refusal(&world, key("13"), Some(&[1]), None);
    assert!(matches!(error, TrieError::Drift { .. }), "{error}");
}

#[test]
fn every_flipped_bit_and_every_missing_record_is_found_when_it_is_read() {
    let mut rng = Rng(11);
    let entries: Vec<_> = (0..40).map(|_| (rng.clustered_key(), rng.value())).collect();
    let world = World::with(&entries);
    for (at, bytes) in &world.state.nodes {
        let under: Vec<_> = world
            .entries()
            .into_iter()
            .filter(|(key, _)| at.1.leads_to(key))
            .collect();
        let (key, old) = under.first().unwrap();
        let mut damaged = world.state.clone();
        let leaves = u16::from_le_bytes([bytes[2], bytes[3]]).count_ones() as usize;
        let keys_at = bytes.len() - 32 * leaves;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Leaf bitmap and keys are not hashed: they describe the kind and position of a child, and a
            // wrong value is detected when it is followed.
            let in_keys = bit / 8 >= keys_at;
            let in_leaves = (16..32).contains(&bit) || in_keys;
            // One bit of each byte of a key: a key has to be right as a whole.
            if in_keys && bit % 8 != 0 {
                continue;
            }
            damaged.nodes.insert(*at, flipped);
            for (key, old) in under.iter().take(if in_leaves { under.len() } else { 1 }) {
                for new in [None, Some(&b"other"[..])] {
                    let change = Change {
                        key: *key,
                        old: Some(old),
                        new,
                    };
                    match world.reopen().update(&[change], &damaged, &Sequential) {
                        Err(TrieError::Corrupt { .. } | TrieError::Drift { .. }) => {}
                        Ok((trie, _)) if in_leaves => {
                            let good = world.trie.update(&[change], &world.state, &Sequential).unwrap().0;
                            assert_eq!(trie.root(), good.root(), "bit {bit} of {} and {key}", at.1);
                        }
                        other => panic!("bit {bit} of {}: {other:?}", at.1),
                    }
                }
            }
        }
        damaged.nodes.remove(at);
        let change = Change {
            key: *key,
            old: Some(old),
            new: None,
        };
        let error = world
            .reopen()
            .update(&[change], &damaged, &Sequential)
            .unwrap_err();
        assert!(
            matches!(error, TrieError::Corrupt { path, .. } if path == at.1),
            "{error}"
        );
    }
}

#[test]
fn a_flat_leaf_that_is_wrong_or_missing_is_found_when_it_is_read() {
    let world = world();
    let mut damaged = world.state.clone();
    let change = Change {
        key: key("15f"),
        old: None,
        new: Some(&[1]),
    };
    let at = (Hash::ZERO, key("15"));
    for value in [Some(vec![3; 2]), None] {
        match value {
            Some(value) => damaged.flat.insert(at, value),
            None => damaged.flat.remove(&at),
        };
        let error = world.trie.update(&[change], &damaged, &Sequential).unwrap_err();
        assert!(
            matches!(&error, TrieError::Corrupt { path, .. } if path.to_string() == "15"),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_key_of_a_leaf_is_found_when_the_leaf_is_split_or_left_alone_or_shown() {
    let world = world();
    let at = (Hash::ZERO, Nibbles::of_key(&key("12"), 2));
    let mut damaged = world.state.clone();
    let record = damaged.nodes.get_mut(&at).unwrap();
    // The last key of the record is the one of 12a4.
    *record.last_mut().unwrap() ^= 1;
    let change = |hex, old, new| Change {
        key: key(hex),
        old,
        new,
    };
    for change in [
        change("12a5", None, Some(&[1][..])),
        change("1234", Some(&[1; 3][..]), None),
    ] {
        let error = world
            .reopen()
            .update(&[change], &damaged, &Sequential)
            .unwrap_err();
        assert!(
            matches!(&error, TrieError::Corrupt { path, .. } if path.to_string() == "12a"),
            "{error}"
        );
    }
    let error = world.reopen().prove(&key("12a5"), None, &damaged).unwrap_err();
    assert!(matches!(error, TrieError::Corrupt { .. }), "{error}");
}

#[test]
fn a_wrong_or_missing_record_of_a_trie_of_one_entry_is_found() {
    let world = World::with(&[(key("1234"), vec![1])]);
    let root = (Hash::ZERO, Nibbles::EMPTY);
    let record = |hex| [&[0, 0], &key(hex).0[..]].concat();
    assert_eq!(world.state.nodes[&root], record("1234"));
    let change = Change {
        key: key("1235"),
        old: None,
        new: Some(&[2]),
    };
    let mut damaged = world.state.clone();
    for record in [Some(record("1235")), Some(vec![0; 33]), None] {
        match record {
            Some(record) => damaged.nodes.insert(root, record),
            None => damaged.nodes.remove(&root),
        };
        let error = world
            .reopen()
            .update(&[change], &damaged, &Sequential)
            .unwrap_err();
        assert!(matches!(error, TrieError::Corrupt { .. }), "{error}");
    }
}

struct Broken;

impl NodeReader for Broken {
    fn node(&self, _: &Hash, _: &Nibbles) -> Result<Option<Vec<u8>>, ReadError> {
        Err("disk is gone".into())
    }
    fn leaf(&self, _: &Hash, _: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        Err("disk is gone".into())
    }
}

#[test]
fn a_reader_that_fails_is_told_with_the_place_and_its_reason() {
    let world = world();
    let change = Change {
        key: key("1234"),
        old: Some(&[1; 3]),
        new: None,
    };
    let error = world
        .reopen()
        .update(&[change], &Broken, &Sequential)
        .unwrap_err();
    let TrieError::Read { path, source, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (path.to_string().as_str(), source.to_string().as_str()),
        ("(root)", "disk is gone")
    );
    assert!(matches!(
        world.reopen().prove(&change.key, None, &Broken),
        Err(TrieError::Read { .. })
    ));
    // Nodes in memory need no reader, unless a removal leaves a leaf alone.
    let replaced = Change {
        new: Some(&[2]),
        ..change
    };
    assert!(world.trie.update(&[replaced], &Broken, &Sequential).is_ok());
    assert!(matches!(
        world.trie.update(&[change], &Broken, &Sequential),
        Err(TrieError::Read { .. })
    ));
}
