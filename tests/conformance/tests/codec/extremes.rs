//! Values at their limits: everything that the parameters permit must be encoded, accepted and
//! within its size.

use vibecoin_primitives::limits::{
    BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, EVIDENCE_MAX, OPERATIONS_MAX, SLOT_VALUE_BYTES_MAX, TICKS_MAX,
    TRANSACTION_BYTES_MAX, VALIDATORS_MAX,
};
use vibecoin_primitives::{
    Block, BlockPart, Body, BodyV1, CommitCertificate, CommitSignature, Encoded, Evidence, Failure, Hash,
    OffenceRecord, Operation, Outcome, PartContent, Power, ProposerSchedule, PublicKey, Receipt, Receipts,
    Row, Signature, Tick, Transaction, TransactionV1, Turn, Validator, ValidatorSet, decode, encode,
};
use vibecoin_replica::{CertifiedBlock, Message, SYNC_BLOCKS_MAX};
use vibecoin_tests_conformance as values;
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

fn check<T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T> + PartialEq>(value: &T) -> usize {
    let bytes = encode(value);
    assert!(
        bytes.len() <= T::BYTES_MAX,
        "{}: {} bytes are over {}",
        T::NAME,
        bytes.len(),
        T::BYTES_MAX
    );
    let again = decode::<T>(&bytes).unwrap_or_else(|error| panic!("{error}"));
    assert!(again == *value, "{}", T::NAME);
    bytes.len()
}

/// A transaction of nearly `bytes` bytes, unsigned.
fn transaction_of(bytes: usize) -> Transaction {
    let Transaction::V1(mut inner) = values::transfer();
    inner.body.operations.clear();
    let mut left = bytes.saturating_sub(encode(&Transaction::V1(inner.clone())).len());
    while left >= 44 && inner.body.operations.len() < OPERATIONS_MAX {
        let value = vec![7; (left - 44).min(SLOT_VALUE_BYTES_MAX)];
        left -= 44 + value.len();
        inner.body.operations.push(Operation::SetStorage {
            slot: values::hash(1),
            value,
        });
    }
    Transaction::V1(TransactionV1 {
        body: inner.body,
        signature: Signature([9; 64]),
    })
}

fn certificate() -> CommitCertificate {
    let entry = |n: usize| CommitSignature {
        validator: PublicKey(Hash([u8::try_from(n).unwrap(); 32]).0),
        signature: Signature([1; 64]),
    };
    CommitCertificate {
        signatures: (0..VALIDATORS_MAX).map(entry).collect(),
        ..values::certificate()
    }
}

/// Bodies that fill the block's bytes with large transactions, and its count with small ones.
fn bodies() -> Vec<Body> {
    let large = transaction_of(TRANSACTION_BYTES_MAX);
    let larges = vec![large.clone(); BLOCK_BYTES_MAX / encode(&large).len()];
    let small = values::transfer();
    let smalls = vec![small; BLOCK_TRANSACTIONS_MAX];
    [larges, smalls]
        .map(|transactions| {
            let mut ticks = vec![
                Tick {
                    hash: values::hash(1),
                    transactions: vec![]
                };
                TICKS_MAX
            ];
            ticks[0].transactions = transactions;
            Body::V1(BodyV1 {
                ticks,
                last_commit: Some(certificate()),
                evidence: vec![values::proposal_evidence(); EVIDENCE_MAX],
            })
        })
        .to_vec()
}

#[test]
fn the_largest_transaction_fits() {
    let len = check(&transaction_of(TRANSACTION_BYTES_MAX));
    assert!(len > TRANSACTION_BYTES_MAX - 64, "{len}");
}

#[test]
fn the_largest_bodies_and_blocks_fit() {
    for body in bodies() {
        check(&body);
        let block = Block {
            header: values::header(),
            body,
        };
        check(&block);
        check(&vibecoin_consensus::LogRecord::Block(Box::new(block)));
    }
}

#[test]
fn the_largest_certificate_set_and_schedule_fit() {
    check(&certificate());
    check(&ProposerSchedule {
        turns: vec![
            Turn {
                credit: -1,
                ..Turn::default()
            };
            VALIDATORS_MAX
        ],
        row: Row::default(),
    });
    check(&OffenceRecord {
        kinds: vec![15; VALIDATORS_MAX],
    });
    let validators = (0..VALIDATORS_MAX)
        .map(|n| {
            let mut seed = [1; 32];
            seed[0] = u8::try_from(n).unwrap();
            let key = vibecoin_primitives::SecretKey::from_seed(&seed).public_key();
            Validator {
                key,
                power: Power(1),
                payout: vibecoin_primitives::Address(values::hash(3).0),
            }
        })
        .collect();
    check(&ValidatorSet::new(validators).unwrap());
}

#[test]
fn the_receipts_of_the_largest_block_fit() {
    let (_, receipt) = values::failures().remove(0);
    assert!(matches!(
        receipt.v1().outcome,
        Outcome::Failed {
            reason: Failure::InsufficientFunds { .. },
            ..
        }
    ));
    let all: Vec<Receipt> = vec![receipt; BLOCK_TRANSACTIONS_MAX];
    check(&Receipts(all));
}

fn parts() -> Vec<BlockPart> {
    let opening = PartContent::Opening {
        last_commit: Some(certificate()),
        evidence: vec![values::proposal_evidence(); EVIDENCE_MAX],
    };
    let ticks = bodies()
        .into_iter()
        .map(|body| PartContent::Tick(body.v1().ticks[0].clone()));
    let mut parts = vec![values::part(0, opening)];
    parts.extend(ticks.map(|tick| values::part(1, tick)));
    parts
}

#[test]
fn the_largest_parts_fit_and_can_be_sent() {
    for part in parts() {
        check(&part);
        assert!(part.is_whole());
        sent(Message::Part(Box::new(part)));
    }
}

#[test]
fn every_kind_of_evidence_can_be_sent() {
    for evidence in [
        values::vote_evidence(),
        values::proposal_evidence(),
        values::part_evidence(),
    ] {
        assert!(2 * check(&evidence) <= Evidence::BYTES_MAX, "far from the limit");
        sent(Message::Evidence(Box::new(evidence)));
    }
}

#[test]
fn the_largest_answers_to_sync_requests_can_be_sent() {
    let block = |body: &Body| CertifiedBlock {
        header: values::header(),
        body: encode(body),
        certificate: certificate(),
    };
    let from = values::header().height;
    for body in bodies() {
        // Up to four megabytes are sent in one answer, or one block of any size; here are both.
        let mut blocks = vec![block(&body)];
        blocks.extend(vec![block(&values::full_body()); SYNC_BLOCKS_MAX - 1]);
        sent(Message::SyncResponse { from, blocks });
    }
}

fn sent(message: Message) {
    let envelope = vibecoin_network::Envelope::new(&values::GENESIS);
    assert!(envelope.open(&envelope.pack(&message)).as_ref() == Ok(&message));
}

#[test]
fn a_message_with_the_largest_body_can_be_sent() {
    for body in bodies() {
        sent(Message::Body {
            header: Box::new(values::header()),
            body: encode(&body),
        });
    }
}
