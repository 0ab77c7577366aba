//! Targets over the trie, proof files and the genesis file.

use std::sync::LazyLock;

use vibecoin_genesis::Genesis;
use vibecoin_light::{Fact, ProofFile};
use vibecoin_primitives::{ChainParams, Hash};
use vibecoin_tests_conformance as values;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{
    Change, Claim, MULTI_PROOF_KEYS_MAX, MultiProof, Nibbles, NodeRecord, PrefixProof, Proof, Sequential,
    Trie, TrieKind, verify, verify_many, verify_prefix,
};

type Seeds = Vec<(String, Vec<u8>)>;

/// A trie with some keys, and the keys of the requested proofs: present and absent ones.
struct Known {
    trie: Trie,
    state: MemoryState,
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
        trie,
        state,
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

impl Known {
    /// The prefix of `len` nibbles of a key, modulo what there is, and its entries.
    fn prefix(&self, choice: u8, len: u8) -> (Nibbles, Vec<(Hash, &'static [u8])>) {
        let (key, _) = self.keys[usize::from(choice) % self.keys.len()];
        let prefix = Nibbles::of_key(&key, len % 65);
        let mine = self.keys.iter().filter(|(key, _)| prefix.leads_to(key));
        let mut entries: Vec<_> = mine.filter_map(|(key, value)| Some((*key, (*value)?))).collect();
        entries.sort();
        (prefix, entries)
    }

    fn prefix_proof(&self, prefix: &Nibbles) -> PrefixProof {
        self.trie.prove_prefix(prefix, &self.state).expect("a proof")
    }

    /// The keys that `chosen` has a bit for, and their values; those with a bit in `falsified` have another one.
    fn claims(&self, chosen: u16, falsified: u16) -> Vec<Claim<'static>> {
        let numbered = (0..).zip(&self.keys).filter(|(n, _)| chosen >> n & 1 == 1);
        let mut claims: Vec<Claim<'static>> = numbered
            .map(|(n, (key, value))| match value {
                value if falsified >> n & 1 == 0 => (*key, *value),
                Some(_) => (*key, None),
                None => (*key, Some(&b"deep"[..])),
            })
            .collect();
        claims.sort();
        claims
    }
}

/// A prefix proof: the first two bytes choose a key and the length of the prefix, the rest is the proof.
pub fn prefix_proof(bytes: &[u8]) {
    let Some((&[choice, len], bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(proof) = PrefixProof::decode(bytes) else {
        return;
    };
    assert_eq!(proof.encode(), bytes, "two forms of one proof");
    let (prefix, entries) = KNOWN.prefix(choice, len);
    let accepts = |kind, root: &Hash, entries: &[(Hash, &'static [u8])]| {
        verify_prefix(kind, root, &prefix, &proof, entries.iter().copied()).is_ok()
    };
    if accepts(TrieKind::Account, &KNOWN.root, &entries) {
        assert_eq!(proof, KNOWN.prefix_proof(&prefix), "two proofs of one prefix");
    }
    for omitted in 0..entries.len() {
        let mut fewer = entries.clone();
        fewer.remove(omitted);
        assert!(
            !accepts(TrieKind::Account, &KNOWN.root, &fewer),
            "an omitted entry"
        );
    }
    let more = [&entries[..], &[(Hash([0xff; 32]), &b"more"[..])]].concat();
    assert!(!accepts(TrieKind::Account, &KNOWN.root, &more), "an added entry");
    // Only leaves have a kind.
    assert!(
        entries.is_empty() || !accepts(TrieKind::Storage, &KNOWN.root, &entries),
        "entries of another kind of trie"
    );
    assert!(
        !accepts(TrieKind::Account, &values::hash(0), &entries),
        "a proof of another root"
    );
}

/// Seeds of [`prefix_proof`].
pub fn prefix_proof_seeds() -> Seeds {
    [(0, 0), (0, 20), (0, 64), (3, 2), (5, 64), (6, 20), (8, 1)]
        .into_iter()
        .map(|(choice, len)| {
            let (prefix, _) = KNOWN.prefix(choice, len);
            let proof = KNOWN.prefix_proof(&prefix).encode();
            (
                format!("key_{choice}_{len}"),
                [&[choice, len], proof.as_slice()].concat(),
            )
        })
        .collect()
}

/// Entries below a prefix, against its proof: two bytes for the prefix as in [`prefix_proof`], then the entries. An
/// entry is a byte for a known key, or 255 and a key, and a byte for the length of the value, and the value.
pub fn prefix_entries(bytes: &[u8]) {
    let Some((&[choice, len], mut bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let mut claimed: Vec<(Hash, &[u8])> = Vec::new();
    while let Some((&choice, rest)) = bytes.split_first() {
        let (key, rest) = match rest.split_first_chunk() {
            Some((key, rest)) if choice == 255 => (Hash(*key), rest),
            _ => (KNOWN.keys[usize::from(choice) % KNOWN.keys.len()].0, rest),
        };
        let Some((&len, rest)) = rest.split_first() else {
            break;
        };
        let (value, rest) = rest.split_at(usize::from(len).min(rest.len()));
        claimed.push((key, value));
        bytes = rest;
    }
    let (prefix, entries) = KNOWN.prefix(choice, len);
    let proof = KNOWN.prefix_proof(&prefix);
    let verdict = verify_prefix(
        TrieKind::Account,
        &KNOWN.root,
        &prefix,
        &proof,
        claimed.iter().copied(),
    );
    assert_eq!(
        verdict.is_ok(),
        claimed == entries,
        "entries of {prefix}: {verdict:?}"
    );
}

/// Seeds of [`prefix_entries`].
pub fn prefix_entries_seeds() -> Seeds {
    [(0, 0), (0, 20), (0, 64), (3, 2), (5, 64)]
        .into_iter()
        .map(|(choice, len)| {
            let mut bytes = vec![choice, len];
            for (key, value) in KNOWN.prefix(choice, len).1 {
                match (0u8..).zip(&KNOWN.keys).find(|(_, known)| known.0 == key) {
                    Some((n, _)) if n % 2 == 0 => bytes.push(n),
                    _ => bytes.extend([&[255], &key.0[..]].concat()),
                }
                bytes.push(u8::try_from(value.len()).expect("a short value"));
                bytes.extend_from_slice(value);
            }
            (format!("entries_{choice}_{len}"), bytes)
        })
        .collect()
}

/// A proof of many keys: two bytes choose keys, two more those with a false value, the rest is the proof.
pub fn multi_proof(bytes: &[u8]) {
    let Some((&[a, b, c, d], bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(proof) = MultiProof::decode(bytes) else {
        return;
    };
    assert_eq!(proof.encode(), bytes, "two forms of one proof");
    assert_eq!(proof.encoded_len(), bytes.len());
    let (chosen, falsified) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let (truth, claims) = (KNOWN.claims(chosen, 0), KNOWN.claims(chosen, falsified));
    if verify_many(TrieKind::Account, &KNOWN.root, &proof, &claims).is_ok() {
        assert_eq!(claims, truth, "a proof of what is not so");
        let honest = KNOWN.trie.prove_many(&truth, &KNOWN.state).expect("a proof");
        assert_eq!(proof, honest, "two proofs of one list of keys");
    }
    // Only leaves have a kind.
    assert!(
        claims.iter().all(|(_, value)| value.is_none())
            || verify_many(TrieKind::Storage, &KNOWN.root, &proof, &claims).is_err(),
        "a leaf of another kind of trie"
    );
    assert!(
        verify_many(TrieKind::Account, &values::hash(0), &proof, &claims).is_err(),
        "a proof of another root"
    );
    // No shape that decodes makes the walk fail in another way than with an error.
    let many: Vec<Claim<'_>> = (0..MULTI_PROOF_KEYS_MAX)
        .filter_map(|n| Some((Hash([u8::try_from(n).ok()?; 32]), None)))
        .collect();
    let _ = verify_many(TrieKind::Account, &KNOWN.root, &proof, &many);
}

/// Seeds of [`multi_proof`].
pub fn multi_proof_seeds() -> Seeds {
    [0x001, 0x003, 0x01f, 0x1e0, 0x1ff, 0x0a4]
        .into_iter()
        .map(|chosen: u16| {
            let proof = KNOWN.trie.prove_many(&KNOWN.claims(chosen, 0), &KNOWN.state);
            let proof = proof.expect("a proof").encode();
            let bytes = [&chosen.to_le_bytes()[..], &[0, 0], proof.as_slice()].concat();
            (format!("keys_{chosen:03x}"), bytes)
        })
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
