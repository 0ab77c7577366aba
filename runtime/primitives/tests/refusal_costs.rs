//! A refused message costs up to one signature check, and none where a cheaper rule decides.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use vibecoin_primitives::{
    Address, Amount, CommitCertificate, CommitSignature, Evidence, FaultModel, Hash, Height, KnownKeys,
    Nonce, Operation, Power, PublicKey, Round, SecretKey, Signature, SignedVote, Transaction,
    TransactionBody, Validator, ValidatorSet, Vote, VoteKind, signature_checks,
};

const GENESIS: Hash = Hash([7; 32]);
const BLOCK: Hash = Hash([1; 32]);

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn precommit(key: &SecretKey, block: Hash) -> SignedVote {
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height(5),
        round: Round(0),
        block: Some(block),
        validator: key.public_key(),
    };
    vote.sign(&GENESIS, key)
}

fn set() -> ValidatorSet {
    let member = |number| Validator {
        key: key(number).public_key(),
        power: Power(1),
        payout: Address([9; 32]),
    };
    ValidatorSet::new((1..=100).map(member).collect()).unwrap()
}

/// Asserts the number of signature checks that a refusal takes.
fn refused<T, E>(expected: u64, what: &str, check: impl FnOnce() -> Result<T, E>) {
    let before = signature_checks();
    assert!(check().is_err(), "{what}");
    assert_eq!(signature_checks() - before, expected, "{what}");
}

fn certificate() -> CommitCertificate {
    let mut signatures: Vec<CommitSignature> = (1..=100)
        .map(|number| CommitSignature {
            validator: key(number).public_key(),
            signature: precommit(&key(number), BLOCK).signature,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    CommitCertificate {
        height: Height(5),
        round: Round(0),
        block: BLOCK,
        signatures,
    }
}

#[test]
fn a_certificate_costs_one_check_however_many_of_its_signatures_are_bad() {
    let set = set();
    let verify = |certificate: &CommitCertificate, block: &Hash| {
        certificate.verify(&GENESIS, FaultModel::Byzantine, &set, Height(5), block)
    };
    let good = certificate();
    assert_eq!(verify(&good, &BLOCK), Ok(()));
    refused(0, "another block", || verify(&good, &Hash([2; 32])));
    let mut few = good.clone();
    few.signatures.truncate(66);
    refused(0, "too little power", || verify(&few, &BLOCK));
    let mut unordered = good.clone();
    unordered.signatures.swap(0, 1);
    refused(0, "not in order", || verify(&unordered, &BLOCK));
    for bad in [1, 3, 50, 100] {
        let mut forged = good.clone();
        for entry in forged.signatures.iter_mut().take(bad) {
            entry.signature = precommit(&key(1), Hash([3; 32])).signature;
        }
        refused(1, "bad signatures", || verify(&forged, &BLOCK));
    }
}

#[test]
fn evidence_costs_one_check_whichever_of_its_signatures_is_bad() {
    let set = set();
    let [one, other] = [Hash([1; 32]), Hash([2; 32])].map(|block| precommit(&key(1), block));
    let good = Evidence::votes(one.clone(), other.clone());
    assert_eq!(good.verify(&GENESIS, &set), Ok(()));
    // `R` is of small order.
    let bad = Signature([0; 64]);
    let forged = |first: bool, second: bool| {
        let [mut one, mut other] = [one.clone(), other.clone()];
        if first {
            one.signature = other.signature;
        }
        if second {
            other.signature = one.signature;
        }
        Evidence::votes(one, other)
    };
    refused(1, "the first", || forged(true, false).verify(&GENESIS, &set));
    refused(1, "the second", || forged(false, true).verify(&GENESIS, &set));
    refused(1, "both", || forged(true, true).verify(&GENESIS, &set));
    let mut no_encoding = one.clone();
    no_encoding.signature = bad;
    refused(0, "no signature", || {
        Evidence::votes(no_encoding, other.clone()).verify(&GENESIS, &set)
    });
    refused(0, "no conflict", || {
        Evidence::votes(one.clone(), one.clone()).verify(&GENESIS, &set)
    });
    let stranger = [one, other].map(|mut vote| {
        vote.vote.validator = PublicKey([8; 32]);
        vote
    });
    let [one, other] = stranger;
    refused(0, "of no validator", || {
        Evidence::votes(one, other).verify(&GENESIS, &set)
    });
}

#[test]
fn gossiped_transactions_cost_one_check_however_many_of_them_are_bad() {
    let transaction = |number: u8, signer: u8| {
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key(number).public_key(),
            nonce: Nonce(0),
            fee: Amount(1),
            valid_until: Height(9),
            operations: vec![Operation::Transfer {
                to: Address([1; 32]),
                amount: Amount(1),
            }],
        };
        body.sign(&GENESIS, &key(signer))
    };
    let verify = |transactions: Vec<Transaction>| {
        Transaction::verify_all(transactions, &GENESIS, &mut KnownKeys::default()).ok_or(())
    };
    for bad in [1, 20, 40] {
        let forged: Vec<_> = (0..40u8)
            .map(|number| transaction(number, number + u8::from(number < bad)))
            .collect();
        refused(1, "bad signatures", || verify(forged));
    }
}
