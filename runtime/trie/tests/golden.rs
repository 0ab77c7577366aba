//! The format, frozen: if one of these lines changes, every node of the chain must change with it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use vibecoin_primitives::{Domain, Hash};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

fn keys() -> Vec<Hash> {
    let mut keys: Vec<Hash> = (0u8..20).map(|n| Domain::TrieAccountKey.hash(&[n])).collect();
    // A neighbour of the first that differs in its last nibble: an extension over nearly the whole key.
    let mut near = keys[0];
    near.0[31] ^= 1;
    keys.push(near);
    keys.sort();
    keys
}

/// One hash over everything that a trie commits to, stores and proves.
fn fingerprint(empty: &Trie) -> [String; 3] {
    let keys = keys();
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
