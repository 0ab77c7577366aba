//! Every message and record decodes to the same value, fits its limit, and nothing else decodes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use support::{GENESIS, header, key};
use vibecoin_consensus::*;
use vibecoin_primitives::limits::VALIDATORS_MAX;
use vibecoin_primitives::*;

fn signed_vote(block: Option<Hash>) -> SignedVote {
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height(9),
        round: Round(2),
        block,
        validator: key(0).public_key(),
    };
    vote.sign(&GENESIS, &key(0))
}

fn signed_proposal(lock_round: Option<Round>) -> Box<SignedProposal> {
    let me = key(0).public_key();
    let header = header(Height(9), Round(2), me, GENESIS, 5);
    let proposal = Proposal {
        height: Height(9),
        round: Round(2),
        header,
        lock_round,
        proposer: me,
    };
    Box::new(proposal.sign(&GENESIS, &key(0)))
}

fn polka(n: usize) -> PolkaCertificate {
    let entry = VoteSignature {
        validator: PublicKey([1; 32]),
        signature: Signature([2; 64]),
    };
    PolkaCertificate {
        height: Height(9),
        round: Round(2),
        block: Hash([3; 32]),
        signatures: vec![entry; n],
    }
}

fn round_certificate(n: usize) -> RoundCertificate {
    let vote = RoundVote {
        kind: VoteKind::Prevote,
        block: Some(Hash([3; 32])),
        validator: PublicKey([1; 32]),
        signature: Signature([2; 64]),
    };
    let kind = RoundCertificateKind::Skip;
    RoundCertificate {
        height: Height(9),
        round: Round(2),
        kind,
        votes: vec![vote; n],
    }
}

fn messages() -> Vec<ConsensusMessage> {
    vec![
        ConsensusMessage::Vote(signed_vote(None)),
        ConsensusMessage::Vote(signed_vote(Some(Hash([1; 32])))),
        ConsensusMessage::Proposal(signed_proposal(None)),
        ConsensusMessage::Proposal(signed_proposal(Some(Round(1)))),
        ConsensusMessage::Polka(polka(3)),
        ConsensusMessage::Round(round_certificate(3)),
    ]
}

fn records() -> Vec<LogRecord> {
    let header = header(Height(9), Round(2), key(0).public_key(), GENESIS, 5);
    let body = Body::V1(BodyV1::default());
    let value = |valid_round, valid| LogRecord::Value {
        header: Box::new(header.clone()),
        round: Round(2),
        valid_round,
        proposer: key(0).public_key(),
        valid,
    };
    vec![
        LogRecord::Vote(signed_vote(None)),
        LogRecord::Proposal(signed_proposal(None)),
        LogRecord::Timeout {
            height: Height(9),
            round: Round(2),
            step: TimeoutStep::Propose,
        },
        LogRecord::Timeout {
            height: Height(9),
            round: Round(2),
            step: TimeoutStep::Precommit,
        },
        value(None, true),
        value(Some(Round(1)), false),
        LogRecord::Polka(polka(3)),
        LogRecord::Block(Box::new(Block {
            header: header.clone(),
            body,
        })),
    ]
}

fn guard_entries() -> Vec<GuardEntry> {
    [None, Some(Signature([5; 64]))]
        .into_iter()
        .map(|signature| GuardEntry {
            height: Height(9),
            round: Round(2),
            step: if signature.is_some() {
                GuardStep::Precommit
            } else {
                GuardStep::Building
            },
            block: signature.map(|_| Hash([1; 32])),
            digest: Hash([6; 32]),
            signature,
        })
        .collect()
}

/// Every prefix, one extra byte, and every single bit flipped: refused, or another value whose only encoding
/// these bytes are.
fn assert_strict<T>(value: &T)
where
    T: Encoded
        + PartialEq
        + std::fmt::Debug
        + wincode::SchemaReadOwned<wincode::config::DefaultConfig, Dst = T>,
{
    let bytes = encode(value);
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    for len in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..len]).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode::<T>(&longer).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode::<T>(&flipped) {
            assert_ne!(&other, value);
            assert_eq!(encode(&other), flipped);
        }
    }
}

#[test]
fn messages_records_and_guard_entries_have_one_encoding_each() {
    messages().iter().for_each(assert_strict);
    records().iter().for_each(assert_strict);
    guard_entries().iter().for_each(assert_strict);
    assert_strict(&polka(2));
    assert_strict(&round_certificate(2));
}

#[test]
fn the_largest_certificates_fit_their_limits_and_larger_ones_do_not() {
    let decoded = |n| {
        let polka = decode::<ConsensusMessage>(&encode(&ConsensusMessage::Polka(polka(n)))).is_ok();
        let round =
            decode::<ConsensusMessage>(&encode(&ConsensusMessage::Round(round_certificate(n)))).is_ok();
        (polka, round)
    };
    assert_eq!(decoded(VALIDATORS_MAX), (true, true));
    assert!(!decoded(VALIDATORS_MAX * 2).1);
    assert!(!decoded(VALIDATORS_MAX * 2).0);
}

#[test]
fn messages_and_records_name_their_height_and_round() {
    for message in messages() {
        assert_eq!((message.height(), message.round()), (Height(9), Round(2)));
    }
    for record in records() {
        assert_eq!(record.height(), Height(9));
    }
}

#[test]
fn a_length_that_lies_is_refused_without_room_being_made_for_it() {
    let mut bytes = encode(&ConsensusMessage::Polka(polka(1)));
    let at = bytes.len() - 96 - 8;
    bytes[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(decode::<ConsensusMessage>(&bytes).is_err());
}
