//! Targets over the trie, proof files and the genesis file.

use std::sync::LazyLock;

use vibecoin_genesis::Genesis;
use vibecoin_light::{Fact, ProofFile};
use vibecoin_primitives::{ChainParams, Hash};
use vibecoin_tests_conformance as values;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, NodeRecord, Proof, Sequential, Trie, TrieKind, verify};

type Seeds = Vec<(String, Vec<u8>)>;

/// A trie with some keys, and the keys of the requested proofs: present and absent ones.
struct Known {
    root: Hash,
    keys: Vec<(Hash, Option<&'static [u8]>)>,
    proofs: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    // Two keys that share 62 nibbles, and some that differ in the first one.
    let mut deep = values::hash(0x11);
    deep.0[31] = 0x10;
    let mut twin = deep;
    twin.0[31] = 0x11;
    let present: [(Hash, &'static [u8]); 5] = [
        (deep, b"deep"),
        (twin, b"twin"),
        (values::hash(0x40), b"a longer value, longer than a hash is long"),
        (values::hash(0x90), b"far"),
        (values::hash(0xff), b"last"),
    ];
    let changes: Vec<_> = present
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            old: None,
            new: Some(*value),
        })
        .collect();
    let mut state = MemoryState::default();
    let (trie, writes) = Trie::accounts(Hash::ZERO)
        .update(&changes, &state, &Sequential)
        .expect("ascending changes");
    state.apply(&writes, &changes);

    let mut keys: Vec<(Hash, Option<&'static [u8]>)> =
        present.map(|(key, value)| (key, Some(value))).to_vec();
    for (mut absent, byte) in [
        (values::hash(0x90), 31),
        (deep, 5),
        (deep, 31),
        (values::hash(0xe0), 0),
    ] {
        absent.0[byte] ^= 0x20;
        keys.push((absent, None));
    }
    let proofs = keys
        .iter()
        .map(|(key, value)| trie.prove(key, *value, &state).expect("a proof").encode())
        .collect();
    let records = writes
        .writes
        .iter()
        .filter_map(|write| write.node.as_ref())
        .map(NodeRecord::encode)
        .collect();
    Known {
        root: trie.root(),
        keys,
        proofs,
        records,
    }
});

/// A state proof: the first byte chooses the key, the rest is the proof.
pub fn proof(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(proof) = Proof::decode(bytes) else { return };
    assert_eq!(proof.encode(), bytes, "two forms of one proof");
    let (key, value) = KNOWN.keys[usize::from(*choice) % KNOWN.keys.len()];
    if let Ok(proven) = verify(TrieKind::Account, &KNOWN.root, &key, &proof) {
        assert_eq!(proven, value, "a proof of what is not so");
    }
    // Only leaves have a kind; an absence that shows no leaf is the same in both.
    if let Ok(proven) = verify(TrieKind::Storage, &KNOWN.root, &key, &proof) {
        assert!(
            proven.is_none() && value.is_none(),
            "a leaf of another kind of trie"
        );
    }
    assert!(
        verify(TrieKind::Account, &values::hash(0), &key, &proof).is_err(),
        "a proof of another root"
    );
}

/// Seeds of [`proof`].
pub fn proof_seeds() -> Seeds {
    let numbered = KNOWN.proofs.iter().zip(0u8..);
    numbered
        .map(|(proof, n)| (format!("key_{n}"), [&[n], proof.as_slice()].concat()))
        .collect()
}

/// A proof file: its text and its bytes, against the trust anchors of a verifier.
pub fn proof_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(file) = ProofFile::from_text(text)
    {
        assert_eq!(file.to_text(), text, "two texts of one proof");
        check_proof_file(&file);
    }
    if let Ok(file) = ProofFile::from_bytes(bytes) {
        assert_eq!(file.to_bytes(), bytes, "two forms of one proof");
        check_proof_file(&file);
    }
}

/// The fuzzer cannot sign, so any valid proof is about the one block that the fixed keys have signed.
fn check_proof_file(file: &ProofFile) {
    static STATE: LazyLock<values::KnownState> = LazyLock::new(values::known_state);
    let Ok(proven) = vibecoin_light::verify(&values::proof_trust(), file) else {
        return;
    };
    assert_eq!(proven.state_root, STATE.root(), "a proof about another state");
    for fact in proven.facts {
        match fact {
            Fact::Account { address, account } => {
                assert_eq!(account, STATE.account(&address), "a false account")
            }
            Fact::Slot { address, slot, value } if address == STATE.owner => {
                assert_eq!(value.as_deref(), STATE.slot(&slot), "a false slot");
            }
            Fact::Slot { value, .. } => assert_eq!(value, None, "a slot of an account without slots"),
            Fact::Transaction { transaction, .. } => {
                let known = [values::transfer(), values::many_operations()];
                assert!(
                    known.contains(transaction.transaction()),
                    "a transaction out of nowhere"
                );
            }
        }
    }
}

/// Seeds of [`proof_file`].
pub fn proof_file_seeds() -> Seeds {
    let file = values::proof_file();
    vec![
        ("bytes".to_owned(), file.to_bytes()),
        ("text".to_owned(), file.to_text().into_bytes()),
    ]
}

/// A stored node of the trie.
pub fn trie_node(bytes: &[u8]) {
    if let Ok(node) = NodeRecord::decode(bytes) {
        assert_eq!(node.encode(), bytes, "two forms of one node");
        assert_eq!(node.encoded_len(), bytes.len());
        assert!(
            node.hash().is_none_or(|hash| !hash.is_zero()),
            "a node is not nothing"
        );
    }
}

/// Seeds of [`trie_node`].
pub fn trie_node_seeds() -> Seeds {
    let numbered = KNOWN.records.iter().zip(0u8..);
    numbered
        .map(|(record, n)| (format!("node_{n}"), record.clone()))
        .collect()
}

/// A genesis file: parsed, written, parsed again, built.
pub fn genesis(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(genesis) = Genesis::parse(text) else { return };
    let written = genesis.to_toml();
    let again =
        Genesis::parse(&written).unwrap_or_else(|error| panic!("own text refused: {error}\n{written}"));
    assert_eq!(again, genesis, "the written file says something else");
    let (Ok(a), Ok(b)) = (genesis.build(), again.build()) else {
        return;
    };
    assert_eq!(a.hash, b.hash, "one genesis, two hashes");
    assert_eq!(a.hash, a.header.hash());
}

/// Seeds of [`genesis`].
pub fn genesis_seeds() -> Seeds {
    let key = values::key(2).public_key();
    let payout = vibecoin_primitives::Address(values::key(3).public_key().0);
    let prefix = ChainParams::devnet().prefix().expect("a good profile");
    let payout = payout.to_text(&prefix);
    let minimal = format!(
        "format = 1\nprofile = \"devnet\"\nnetwork = \"fuzz\"\ntime = \"2025-01-01T00:00:00Z\"\n\n\
         [[validators]]\nkey = \"{key}\"\npower = 1\npayout = \"{payout}\"\n\n[accounts]\n{payout} = \"1000000\"\n"
    );
    let full = Genesis::parse(&minimal)
        .map(|genesis| genesis.to_toml())
        .unwrap_or_default();
    vec![
        ("minimal".to_owned(), minimal.into_bytes()),
        ("full".to_owned(), full.into_bytes()),
    ]
}
