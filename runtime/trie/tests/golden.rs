//! The format, frozen: if one of these lines changes, every node of the chain must change with it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use vibecoin_primitives::{Domain, Hash};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Claim, Nibbles, Sequential, Trie};

fn keys() -> Vec<Hash> {
    let mut keys: Vec<Hash> = (0u8..20).map(|n| Domain::TrieAccountKey.hash(&[n])).collect();
    // A neighbour of the first that differs in its last nibble: an extension over nearly the whole key.
    let mut near = keys[0];
    near.0[31] ^= 1;
    keys.push(near);
    keys.sort();
    keys
}

/// The trie of these keys, each with its first seven bytes as value.
fn build(empty: &Trie, keys: &[Hash]) -> (Trie, MemoryState) {
    let changes: Vec<Change<'_>> = keys
        .iter()
        .map(|key| Change {
            key: *key,
            old: None,
            new: Some(&key.0[..7]),
        })
        .collect();
    let mut state = MemoryState::default();
    let (trie, writes) = empty.update(&changes, &state, &Sequential).unwrap();
    state.apply(&writes, &changes);
    (trie, state)
}

/// One hash over everything that a trie commits to, stores and proves.
fn fingerprint(empty: &Trie) -> [String; 3] {
    let keys = keys();
    let (trie, state) = build(empty, &keys);
    let records: Vec<u8> = state.nodes.values().flatten().copied().collect();
    let mut proofs = Vec::new();
    for key in keys {
        proofs.extend(trie.prove(&key, Some(&key.0[..7]), &state).unwrap().encode());
        let absent = Domain::Receipt.hash(&key.0);
        proofs.extend(trie.prove(&absent, None, &state).unwrap().encode());
        let mut beside = key;
        beside.0[31] ^= 2;
        proofs.extend(trie.prove(&beside, None, &state).unwrap().encode());
        beside.0[20] ^= 0xff;
        proofs.extend(trie.prove(&beside, None, &state).unwrap().encode());
    }
    [
        trie.root(),
        Domain::Receipt.hash(&records),
        Domain::Receipt.hash(&proofs),
    ]
    .map(|hash| hash.to_string())
}

#[test]
fn roots_records_and_proofs_are_the_frozen_ones() {
    assert_eq!(
        fingerprint(&Trie::accounts(Hash::ZERO)),
        [
            "0xc0a6bacf3803075cf9086b9c02addba3a11b4afc9169c2584b4e5f56f50c1a41",
            "0x0608b422b1dbd40a11db239d70cdc0a29549b6f4c7f62af287fe2f15eb1f1fac",
            "0xe19a51ae6b320286cafd2c5a74389f6a9f6138ddf970588605960714154ced15"
        ]
    );
    assert_eq!(
        fingerprint(&Trie::storage(Hash([7; 32]), Hash::ZERO)),
        [
            "0xedab73eb2d7dce93c31c1545b5122a6be8715677dd42322ddaf25199323f7c4f",
            "0x990e30d0f4c61e3368b74f1793abefd500c38f444e2dea5c9efb76a036e2112c",
            "0x9dbf18a9dc480d8a01dc2cae777a4866813cff93456ba37754b14a557d7b3ab9"
        ]
    );
}

/// One hash over the proofs of every prefix of the keys and of some neighbours, and one over proofs of many keys.
fn fingerprint_of_many(empty: &Trie) -> [String; 2] {
    let keys = keys();
    let (trie, state) = build(empty, &keys);
    let mut claims: BTreeMap<Hash, Option<&[u8]>> = BTreeMap::new();
    for key in &keys {
        claims.insert(*key, Some(&key.0[..7]));
        for (byte, bits) in [(31, 2), (20, 0xff), (1, 0x10), (0, 1)] {
            let mut beside = *key;
            beside.0[byte] ^= bits;
            claims.entry(beside).or_default();
        }
    }
    let mut prefix_proofs = Vec::new();
    for key in claims.keys() {
        for len in 0..=64 {
            let prefix = Nibbles::of_key(key, len);
            prefix_proofs.extend(trie.prove_prefix(&prefix, &state).unwrap().encode());
        }
    }
    let claims: Vec<Claim<'_>> = claims.into_iter().collect();
    let mut multi_proofs = Vec::new();
    for count in 1..=claims.len() {
        for some in claims.chunks(count) {
            multi_proofs.extend(trie.prove_many(some, &state).unwrap().encode());
        }
    }
    [prefix_proofs, multi_proofs].map(|bytes| Domain::Receipt.hash(&bytes).to_string())
}

#[test]
fn proofs_of_prefixes_and_of_many_keys_are_the_frozen_ones() {
    assert_eq!(
        fingerprint_of_many(&Trie::accounts(Hash::ZERO)),
        [
            "0xb1ca498d8fc87d4d0db5353045815f5a349f3a4194b2b92708e4094d6013ebcd",
            "0x8cedef73758550d666297b8af31948d71cdfe0d6a6d12eef9ca25ad81063ee11"
        ]
    );
    assert_eq!(
        fingerprint_of_many(&Trie::storage(Hash([7; 32]), Hash::ZERO)),
        [
            "0x953e118a7da604852fc92e59e3e4c39e7bf06d1ca672d6acacf24255f45da6cc",
            "0x066fd56985e0a97c6496ebbf62aa61fecae0f46f3d66093f691088adb3d3dcb2"
        ]
    );
}
