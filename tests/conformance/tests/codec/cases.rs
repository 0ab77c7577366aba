//! The list of encoded types: the inputs of the golden lines and the refusals.

use bincode::Options as _;
use vibecoin_consensus::RoundCertificateKind;
use vibecoin_network::Envelope;
use vibecoin_primitives::{
    ChainParams, CodecError, Encoded, Outcome, Round, Transaction, VoteKind, decode, encode,
};
use vibecoin_replica::Message;
use vibecoin_tests_conformance as values;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Claim, MultiProof, Nibbles, NodeRecord, PrefixProof, Proof, Sequential, Trie};
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

use crate::layout::{self, Mark};
use crate::oracle::Mirrored;

/// Decodes foreign bytes and encodes the result again.
type Redo = fn(&[u8]) -> Result<Vec<u8>, String>;

/// A fixed value of an encoded type.
pub struct Case {
    /// Name of the type and of the value.
    pub name: String,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// The type's decoder.
    pub redo: Redo,
    /// Maximum bytes that the type may have.
    pub limit: usize,
    /// Results of the other codecs; `None` for formats that are not bincode's.
    pub oracle: Option<Oracle>,
    /// True if the last field takes all remaining bytes, so that longer and shorter bytes are other
    /// values.
    pub open_ended: bool,
}

/// Results of the independent codecs for a value.
pub struct Oracle {
    /// Encoding of `bincode` 1.3.3.
    pub bincode: Vec<u8>,
    /// Encoding of [`crate::layout`].
    pub layout: Vec<u8>,
    /// Positions of the structural bytes.
    pub marks: Vec<(usize, Mark)>,
    /// True if `bincode` 1.3.3, set to refuse trailing bytes, reads a value from foreign bytes.
    pub accepts: fn(&[u8]) -> bool,
}

fn redo<T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>>(bytes: &[u8]) -> Result<Vec<u8>, String> {
    decode::<T>(bytes)
        .map(|value| encode(&value))
        .map_err(|error: CodecError| error.to_string())
}

fn accepts<T: Mirrored>(bytes: &[u8]) -> bool {
    let options = bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(bytes.len() as u64);
    options.deserialize::<T::Mirror>(bytes).is_ok()
}

fn case<T>(detail: &str, value: &T) -> Case
where
    T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T> + Mirrored,
{
    let mirror = value.mirror();
    let (layout, marks) = layout::write(&mirror);
    Case {
        name: if detail.is_empty() {
            T::NAME.to_owned()
        } else {
            format!("{}: {detail}", T::NAME)
        },
        bytes: encode(value),
        redo: redo::<T>,
        limit: T::BYTES_MAX,
        oracle: Some(Oracle {
            bincode: bincode::serialize(&mirror).unwrap(),
            layout,
            marks,
            accepts: accepts::<T>,
        }),
        open_ended: false,
    }
}

/// Every case, in the order of the golden file.
pub fn all() -> Vec<Case> {
    let locked = Some(Round(0x0102_0304));
    let mut cases = vec![
        case("transfer", &values::transfer()),
        case("every operation", &values::many_operations()),
        case("", values::transfer().body()),
        case("", &values::header()),
        case("empty", &values::empty_body()),
        case("full", &values::full_body()),
        case("", &values::block()),
        case("prevote for nothing", &values::vote(VoteKind::Prevote, None)),
        case(
            "precommit",
            &values::vote(VoteKind::Precommit, Some(values::hash(0x0e))),
        ),
        case("new", &values::proposal(None)),
        case("again", &values::proposal(locked)),
        case("", &values::certificate()),
        case("votes", &values::vote_evidence()),
        case("proposals", &values::proposal_evidence()),
        case("parts", &values::part_evidence()),
        case("", &values::signed_part()),
        case("opening", &values::opening_part()),
        case("opening of the first block", &values::first_opening_part()),
        case("tick", &values::tick_part()),
        case("success", &values::receipt(Outcome::Success)),
    ];
    cases.extend(
        values::failures()
            .iter()
            .map(|(reason, receipt)| case(reason, receipt)),
    );
    cases.extend([
        case("", &values::receipts()),
        case("new", &values::account()),
        case("every field", &values::full_account()),
        case("", &values::account_row()),
        case("", &values::slot_row()),
        case("", &values::state_diff()),
        case("devnet", &ChainParams::devnet()),
        case("dev", &ChainParams::dev()),
        case("production", &ChainParams::production()),
        case("crash faults", &values::crash_params()),
        case("", &values::validator_set()),
        case("", &values::schedule()),
        case("", &values::offence_record()),
    ]);
    cases.push(case("", &values::polka_certificate()));
    cases.push(case("", &values::round_certificate(RoundCertificateKind::Skip)));
    cases.extend(
        values::consensus_messages()
            .iter()
            .map(|(kind, message)| case(kind, message)),
    );
    cases.extend(
        values::log_records()
            .iter()
            .map(|(kind, record)| case(kind, record)),
    );
    cases.extend(
        values::guard_entries()
            .iter()
            .map(|(step, entry)| case(step, entry)),
    );
    cases.push(case("every claim", &values::proof_file()));
    cases.extend(
        values::messages()
            .iter()
            .map(|(kind, message)| envelope(kind, message)),
    );
    cases.extend(trie());
    cases
}

/// A message in its envelope.
fn envelope(kind: &str, message: &Message) -> Case {
    const ENVELOPE: Envelope = Envelope::new(&values::GENESIS);
    Case {
        name: format!("wire: {kind}"),
        bytes: ENVELOPE.pack(message),
        redo: |bytes| {
            ENVELOPE
                .open(bytes)
                .map(|message| ENVELOPE.pack(&message))
                .map_err(|error| error.to_string())
        },
        limit: vibecoin_network::wire::SYNC_BYTES_MAX + vibecoin_network::wire::ENVELOPE_BYTES,
        oracle: None,
        open_ended: false,
    }
}

/// The formats of the trie, which are encoded byte by byte and not by the codec.
fn trie() -> Vec<Case> {
    // Keys chosen for their shape: a branch at the top, below slot 1 an extension of 62 nibbles.
    let mut deep = values::hash(0x11);
    deep.0[31] = 0x10;
    let mut twin = deep;
    twin.0[31] = 0x11;
    let far = values::hash(0x90);
    let texts: [&[u8]; 3] = [b"deep", b"twin", b"far"];
    let changes: Vec<_> = [deep, twin, far]
        .into_iter()
        .zip(texts)
        .map(|(key, value)| Change {
            key,
            old: None,
            new: Some(value),
        })
        .collect();
    let mut state = MemoryState::default();
    let empty = Trie::accounts(vibecoin_primitives::Hash::ZERO);
    let (trie, writes) = empty.update(&changes, &state, &Sequential).unwrap();
    state.apply(&writes, &changes);

    let mut other_leaf = far;
    other_leaf.0[31] ^= 1;
    let mut diverging = deep;
    diverging.0[5] ^= 1;
    let proof = |name: &str, key, value, open_ended| Case {
        name: format!("state proof: {name}"),
        bytes: trie.prove(&key, value, &state).unwrap().encode(),
        redo: |bytes| {
            Proof::decode(bytes)
                .map(|proof| proof.encode())
                .map_err(|error| error.to_string())
        },
        limit: vibecoin_trie::PROOF_BYTES_MAX,
        oracle: None,
        open_ended,
    };
    let mut cases = vec![
        proof("value", deep, Some(&b"deep"[..]), true),
        proof("empty slot", values::hash(0xf0), None, false),
        proof("other leaf", other_leaf, None, true),
        proof("diverging extension", diverging, None, false),
    ];
    let prefix_proof = |name: &str, key, len, open_ended| Case {
        name: format!("prefix proof: {name}"),
        bytes: trie
            .prove_prefix(&Nibbles::of_key(&key, len), &state)
            .unwrap()
            .encode(),
        redo: |bytes| {
            PrefixProof::decode(bytes)
                .map(|proof| proof.encode())
                .map_err(|error| error.to_string())
        },
        limit: vibecoin_trie::PREFIX_PROOF_BYTES_MAX,
        oracle: None,
        open_ended,
    };
    cases.extend([
        prefix_proof("whole trie", deep, 0, false),
        prefix_proof("entries behind an extension", deep, 40, false),
        prefix_proof("one entry below branches", deep, 64, false),
        prefix_proof("empty slot", values::hash(0xf0), 1, false),
        prefix_proof("other leaf", other_leaf, 64, true),
        prefix_proof("diverging extension", diverging, 20, false),
    ]);
    let multi_proof = |name: &str, claims: &[Claim<'_>]| Case {
        name: format!("multi-key proof: {name}"),
        bytes: trie.prove_many(claims, &state).unwrap().encode(),
        redo: |bytes| {
            MultiProof::decode(bytes)
                .map(|proof| proof.encode())
                .map_err(|error| error.to_string())
        },
        limit: vibecoin_trie::MULTI_PROOF_BYTES_MAX,
        oracle: None,
        open_ended: false,
    };
    cases.extend([
        multi_proof("one value", &[(deep, Some(texts[0]))]),
        multi_proof(
            "every value",
            &[
                (deep, Some(texts[0])),
                (twin, Some(texts[1])),
                (far, Some(texts[2])),
            ],
        ),
        multi_proof(
            "diverging extension, other leaf",
            &[(diverging, None), (other_leaf, None)],
        ),
        multi_proof(
            "present and absent at one slot",
            &[
                (deep, Some(texts[0])),
                (diverging, None),
                (values::hash(0xf0), None),
            ],
        ),
    ]);
    let mut records: Vec<_> = writes
        .writes
        .iter()
        .filter_map(|write| write.node.as_ref())
        .map(NodeRecord::encode)
        .collect();
    records.sort();
    for (index, bytes) in records.into_iter().enumerate() {
        cases.push(Case {
            name: format!("trie node: {index}"),
            bytes,
            redo: |bytes| {
                NodeRecord::decode(bytes)
                    .map(|node| node.encode())
                    .map_err(|error| error.to_string())
            },
            limit: 5 + 32 + 16 * 64,
            oracle: None,
            open_ended: false,
        });
    }
    cases
}

#[test]
fn every_variant_of_a_transaction_is_covered() {
    let Transaction::V1(inner) = values::many_operations();
    assert_eq!(
        inner.body.operations.len(),
        3,
        "a new operation needs a place in the golden values"
    );
}
