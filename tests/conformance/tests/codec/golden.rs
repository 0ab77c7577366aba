//! The golden file: a line per encoded value and per hash, which a change of format must touch.
//!
//! `UPDATE_GOLDEN=1 cargo test --release -p vibecoin-tests-conformance` rewrites it. A line that
//! changes means that nodes of two versions no longer understand each other: a new version of the type,
//! a migration, or a refusal to start belongs to the same commit.

use std::fmt::Write as _;
use std::path::PathBuf;

use vibecoin_primitives::{Address, AddressPrefix, Domain, Hash, encode, merkle};
use vibecoin_tests_conformance as values;

use crate::cases::{self, Case};

/// Encodings up to this size are written out; longer ones by their hash.
const HEX_BYTES_MAX: usize = 256;

const HEAD: &str = "\
# One line per encoded value: name | bytes | hex, or BLAKE3 of the encoding when it is long.
# Then what is hashed and signed. Written by UPDATE_GOLDEN=1; see tests/codec/golden.rs.
";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden.txt")
}

fn encoding_line(Case { name, bytes, .. }: &Case) -> String {
    let shown = if bytes.len() <= HEX_BYTES_MAX {
        const_hex::encode(bytes)
    } else {
        format!("blake3 {}", plain_blake3(bytes))
    };
    format!("{name} | {} | {shown}", bytes.len())
}

fn plain_blake3(bytes: &[u8]) -> String {
    const_hex::encode(blake3::hash(bytes).as_bytes())
}

/// Every hashed or signed value, with its name.
fn derived() -> Vec<(String, String)> {
    let hex = |hash: Hash| const_hex::encode(hash.0);
    let genesis = values::GENESIS;
    let leaves: Vec<Hash> = (0u8..5).map(values::hash).collect();
    let mut lines: Vec<(String, String)> = Domain::ALL
        .iter()
        .map(|domain| {
            (
                format!("domain {}", domain.context()),
                const_hex::encode(domain.key()),
            )
        })
        .collect();
    let transfer = values::transfer();
    let certificate = values::certificate();
    lines.extend(
        [
            ("transaction id", hex(transfer.id(&genesis))),
            ("transaction hash", hex(transfer.hash())),
            (
                "transaction signing bytes",
                plain_blake3(&transfer.body().signing_bytes(&genesis)),
            ),
            (
                "vote signing bytes",
                plain_blake3(
                    &certificate
                        .precommit(values::key(2).public_key())
                        .signing_bytes(&genesis),
                ),
            ),
            (
                "proposal signing bytes",
                plain_blake3(&values::proposal(None).proposal.signing_bytes(&genesis)),
            ),
            (
                "part signing bytes",
                plain_blake3(&values::signed_part().statement.signing_bytes(&genesis)),
            ),
            (
                "part digest: opening",
                hex(values::opening_part().content.digest()),
            ),
            ("part digest: tick", hex(values::tick_part().content.digest())),
            ("header hash", hex(values::header().hash())),
            ("body hash", hex(values::full_body().hash())),
            ("evidence root", hex(values::full_body().evidence_root())),
            ("receipt root", hex(values::receipts().root())),
            ("certificate hash", hex(certificate.hash())),
            ("validator set hash", hex(values::validator_set().hash())),
            ("parameters hash", hex(values::crash_params().hash())),
            (
                "account key",
                hex(vibecoin_primitives::account_key(&Address(values::hash(1).0))),
            ),
            ("slot key", hex(vibecoin_primitives::slot_key(&values::hash(1)))),
            ("system address", const_hex::encode(Address::system().0)),
            ("merkle root of none", hex(merkle::root(&[]))),
            ("merkle root of one", hex(merkle::root(&leaves[..1]))),
            ("merkle root of five", hex(merkle::root(&leaves))),
            (
                "merkle path of the third of five",
                const_hex::encode(encode(&values::merkle_path())),
            ),
            (
                "address",
                Address(values::hash(1).0).to_text(&AddressPrefix::new("vibet").unwrap()),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    lines
}

fn golden() -> String {
    let mut text = HEAD.to_owned();
    for case in cases::all() {
        writeln!(text, "{}", encoding_line(&case)).unwrap();
    }
    text.push('\n');
    for (name, value) in derived() {
        writeln!(text, "{name} | {value}").unwrap();
    }
    text
}

#[test]
fn every_encoding_and_every_hash_is_the_pinned_one() {
    let now = golden();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        assert!(
            std::env::var_os("CI").is_none(),
            "a format is not pinned anew by a machine"
        );
        std::fs::write(file(), &now).unwrap();
    }
    let pinned = std::fs::read_to_string(file()).unwrap_or_default();
    let mut differences: Vec<String> = Vec::new();
    let (old, new): (Vec<_>, Vec<_>) = (pinned.lines().collect(), now.lines().collect());
    differences.extend(
        old.iter()
            .filter(|line| !new.contains(line))
            .map(|line| format!("- {line}")),
    );
    differences.extend(
        new.iter()
            .filter(|line| !old.contains(line))
            .map(|line| format!("+ {line}")),
    );
    assert!(
        differences.is_empty() && old == new,
        "the format differs from golden.txt:\n{}",
        differences.join("\n")
    );
}

#[test]
fn no_two_cases_share_a_name() {
    let mut names: Vec<_> = cases::all().into_iter().map(|case| case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn two_independent_codecs_write_the_same_bytes() {
    for Case {
        name, bytes, oracle, ..
    } in cases::all()
    {
        let Some(oracle) = oracle else { continue };
        assert_eq!(
            const_hex::encode(&oracle.bincode),
            const_hex::encode(&bytes),
            "bincode 1.3.3 and {name}"
        );
        assert_eq!(
            const_hex::encode(&oracle.layout),
            const_hex::encode(&bytes),
            "the layout and {name}"
        );
        assert!((oracle.accepts)(&bytes), "bincode 1.3.3 reads {name}");
    }
}

#[test]
fn the_fixed_values_are_really_signed() {
    let genesis = values::GENESIS;
    values::transfer().verify(&genesis).unwrap();
    values::many_operations().verify(&genesis).unwrap();
    values::proposal(None).verify(&genesis).unwrap();
    let certificate = values::certificate();
    let (height, block) = (certificate.height, certificate.block);
    let set = values::validator_set();
    let model = vibecoin_primitives::FaultModel::Byzantine;
    assert!(
        certificate.verify(&genesis, model, &set, height, &block).is_err(),
        "9 of 14 is no quorum of 2/3"
    );
    let model = vibecoin_primitives::FaultModel::Crash;
    certificate.verify(&genesis, model, &set, height, &block).unwrap();
    let proven = vibecoin_light::verify(&values::proof_trust(), &values::proof_file()).unwrap();
    assert_eq!(proven.facts.len(), 6);
    values::vote_evidence().verify(&genesis, &set).unwrap();
    values::proposal_evidence().verify(&genesis, &set).unwrap();
}
