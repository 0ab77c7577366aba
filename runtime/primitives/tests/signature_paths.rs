//! One rule, several ways to check it: alone, in a batch of any size, with known keys, and as part of a
//! transaction. All return one verdict, for every case and in every combination.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use vibecoin_primitives::{
    Address, Amount, Hash, Height, KnownKeys, Nonce, Operation, PublicKey, SecretKey, Signature,
    SignatureBatch, SignatureError, Transaction, TransactionBody, TransactionV1,
};

/// Pseudorandom values from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(u64::from_le_bytes(self.bytes()) % bound as u64).unwrap()
    }
}

/// Points of small order, and encodings at the edge of the field.
fn odd_points() -> [[u8; 32]; 6] {
    let mut points = [[0; 32]; 6];
    points[1][0] = 1;
    for (point, low) in points[2..5].iter_mut().zip([0xec, 0xed, 0xee]) {
        *point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
    }
    (points[5][0], points[5][31]) = (1, 0x80);
    points
}

/// The order of the group, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

type Case = (PublicKey, Vec<u8>, Signature);

/// A valid signature, or a modified one.
fn case(dice: &mut Dice) -> Case {
    let secret = SecretKey::from_seed(&[dice.below(5) as u8; 32]);
    let mut message = dice.bytes::<9>()[..dice.below(10)].to_vec();
    let (mut key, mut signature) = (secret.public_key(), secret.sign(&message));
    let odd = odd_points()[dice.below(6)];
    match dice.below(14) {
        4 => key.0[dice.below(32)] ^= 1 << dice.below(8),
        5 => signature.0[dice.below(32)] ^= 1 << dice.below(8),
        6 => signature.0[32 + dice.below(32)] ^= 1 << dice.below(8),
        7 => message.push(0),
        8 => key = SecretKey::from_seed(&[9; 32]).public_key(),
        9 => signature.0[..32].copy_from_slice(&odd),
        10 => key = PublicKey(odd),
        11 => {
            // The same number modulo the order.
            let mut carry = 0;
            for (byte, add) in signature.0[32..].iter_mut().zip(L) {
                let sum = u16::from(*byte) + u16::from(add) + carry;
                (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
            }
        }
        12 => signature.0 = dice.bytes(),
        13 => key = PublicKey(dice.bytes()),
        _ => {}
    }
    (key, message, signature)
}

fn in_batch(cases: &[Case], keys: &mut KnownKeys) -> Vec<Result<(), SignatureError>> {
    let mut batch = SignatureBatch::new();
    for (key, message, signature) in cases {
        batch.push(key, message, signature);
    }
    batch.verify_with(keys)
}

/// Fails if `found`, the verdicts of one way to check, differ from those of another.
fn same<T: PartialEq + Debug>(found: &T, expected: &T, way: &str, round: usize) -> Result<(), String> {
    let agree = found == expected;
    agree
        .then_some(())
        .ok_or_else(|| format!("{way}, round {round}: {found:?} instead of {expected:?}"))
}

#[test]
fn every_way_to_check_a_signature_gives_the_same_verdict() {
    assert_eq!(compare_signatures(), Ok(()));
}

fn compare_signatures() -> Result<(), String> {
    let mut dice = Dice::new(1);
    let mut known = KnownKeys::default();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..160 {
        let count = [1, 2, 3, 8, 31, 64][round % 6];
        let cases: Vec<Case> = (0..count).map(|_| case(&mut dice)).collect();
        let alone: Vec<_> = cases
            .iter()
            .map(|(key, message, signature)| key.verify(message, signature))
            .collect();
        for verdict in &alone {
            *met.entry(format!("{verdict:?}")).or_default() += 1;
        }
        let new = in_batch(&cases, &mut KnownKeys::default());
        same(&new, &alone, "new keys", round)?;
        for _ in 0..2 {
            same(&in_batch(&cases, &mut known), &alone, "known keys", round)?;
        }
        // The valid ones among themselves: the path on which nothing is checked alone.
        let good = cases
            .into_iter()
            .zip(alone)
            .filter(|(_, verdict)| verdict.is_ok());
        let good: Vec<Case> = good.map(|(case, _)| case).collect();
        let expected = vec![Ok(()); good.len()];
        same(&in_batch(&good, &mut known), &expected, "good ones", round)?;
    }
    assert!(
        met.len() >= 5 && met.values().all(|count| *count >= 5) && met["Ok(())"] >= 500,
        "{met:?}"
    );
    Ok(())
}

#[test]
fn every_way_to_check_a_transaction_gives_the_same_verdict() {
    assert_eq!(compare_transactions(), Ok(()));
}

fn compare_transactions() -> Result<(), String> {
    let genesis = Hash([3; 32]);
    let mut dice = Dice::new(2);
    let mut known = KnownKeys::default();
    for round in 0..60 {
        let count = [1, 5, 33][round % 3];
        let transactions: Vec<Transaction> = (0..count).map(|_| transaction(&mut dice, &genesis)).collect();
        let alone: Vec<_> = transactions
            .iter()
            .map(|transaction| transaction.clone().verify(&genesis))
            .collect();
        let batch = Transaction::verify_batch(transactions.clone(), &genesis);
        same(&batch, &alone, "new keys", round)?;
        let with = Transaction::verify_batch_with(transactions.clone(), &genesis, &mut known);
        same(&with, &alone, "known keys", round)?;
        // As those of a block: the valid ones, and one invalid one after them.
        let pairs = transactions.into_iter().zip(&alone);
        let (good, bad): (Vec<_>, Vec<_>) = pairs.partition(|(_, verdict)| verdict.is_ok());
        let mut block: Vec<Transaction> = good.into_iter().map(|(transaction, _)| transaction).collect();
        let all = Transaction::verify_all(block.clone(), &genesis, &mut known).is_some();
        same(&all, &true, "a block of good ones", round)?;
        if let Some((transaction, _)) = bad.into_iter().next() {
            block.push(transaction);
            let all = Transaction::verify_all(block, &genesis, &mut known).is_some();
            same(&all, &false, "a block with a bad one", round)?;
        }
    }
    Ok(())
}

#[cfg(feature = "planted")]
#[test]
fn a_batch_whose_last_signature_is_not_checked_is_found() {
    use vibecoin_primitives::planted::{Bug, Planted};

    let _planted = Planted::new(Some(Bug::BatchTail));
    assert!(compare_signatures().is_err());
    assert!(compare_transactions().is_err());
}

fn transaction(dice: &mut Dice, genesis: &Hash) -> Transaction {
    let secret = SecretKey::from_seed(&[dice.below(4) as u8; 32]);
    let mut body = TransactionBody {
        chain: genesis.prefix(),
        sender: secret.public_key(),
        nonce: Nonce(dice.below(3) as u64),
        fee: Amount(1),
        valid_until: Height(9),
        operations: vec![Operation::Transfer {
            to: Address([1; 32]),
            amount: Amount(1),
        }],
    };
    let Transaction::V1(TransactionV1 { mut signature, .. }) = body.clone().sign(genesis, &secret);
    match dice.below(6) {
        0 => body.nonce = Nonce(7),
        1 => body.chain = [0; 4],
        2 => body.operations.clear(),
        3 => signature.0[dice.below(64)] ^= 1 << dice.below(8),
        _ => {}
    }
    Transaction::V1(TransactionV1 { body, signature })
}
