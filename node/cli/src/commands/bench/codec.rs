//! Encoding and decoding of the most frequent data: transactions, and blocks full of them.

use std::time::Duration;

use clap::Args;
use vibecoin_primitives::{
    Address, Amount, Body, BodyV1, Hash, Height, Nonce, Operation, SecretKey, Tick, Transaction,
    TransactionBody, decode, encode,
};

use crate::figures::{Figures, per_second};
use crate::numbers::whole;
use crate::output::Answer;

/// Arguments of `bench codec`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CodecArgs {
    /// Transfers in the block
    #[arg(long, default_value_t = 1000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=20_000))]
    pub transactions: u64,
}

impl CodecArgs {
    /// Runs the measurement.
    #[must_use]
    pub fn run(self) -> Answer {
        let mut figures = Figures::of("codec");
        let transactions = transfers(self.transactions);
        let time = Duration::from_millis(200);
        if let Some(transaction) = transactions.first() {
            let bytes = encode(transaction);
            figures.add("transaction/size", bytes.len() as f64, "bytes");
            let encoded = per_second(time, || {
                std::hint::black_box(encode(std::hint::black_box(transaction)));
            });
            figures.add("transaction/encode", encoded, "1/s");
            let decoded = per_second(time, || {
                let _value = std::hint::black_box(decode::<Transaction>(std::hint::black_box(&bytes)));
            });
            figures.add("transaction/decode, exact and canonical", decoded, "1/s");
            let hashed = per_second(time, || {
                std::hint::black_box(std::hint::black_box(transaction).hash());
            });
            figures.add("transaction/hash", hashed, "1/s");
        }
        let count = transactions.len() as f64;
        let body = Body::V1(BodyV1 {
            ticks: vec![Tick {
                hash: Hash::ZERO,
                transactions,
            }],
            ..BodyV1::default()
        });
        let bytes = encode(&body);
        let encoded = per_second(time, || {
            std::hint::black_box(encode(std::hint::black_box(&body)));
        });
        let decoded = per_second(time, || {
            let _value = std::hint::black_box(decode::<Body>(std::hint::black_box(&bytes)));
        });
        figures.add("body/size", bytes.len() as f64, "bytes");
        figures.add("body/encode", encoded * count, "transactions/s");
        figures.add(
            "body/decode, exact and canonical",
            decoded * count,
            "transactions/s",
        );
        figures.answer()
    }
}

/// Signed transfers of one sender, on a chain that does not exist.
pub fn transfers(count: u64) -> Vec<Transaction> {
    let key = SecretKey::from_seed(&[7; 32]);
    (0..count)
        .map(|nonce| {
            TransactionBody {
                chain: Hash::ZERO.prefix(),
                sender: key.public_key(),
                nonce: Nonce(nonce),
                fee: Amount(1000),
                valid_until: Height(u64::MAX),
                operations: vec![Operation::Transfer {
                    to: Address([9; 32]),
                    amount: Amount(1),
                }],
            }
            .sign(&Hash::ZERO, &key)
        })
        .collect()
}
