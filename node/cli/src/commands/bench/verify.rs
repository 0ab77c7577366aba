//! Signature verification: one by one, and in batches of several sizes.

use std::time::Duration;

use clap::Args;
use vibecoin_primitives::{Hash, Transaction};

use super::codec::transfers;
use crate::figures::{Figures, per_second};
use crate::output::Answer;

/// Arguments of `bench verify`: none of its own.
#[derive(Args, Clone, Copy, Debug)]
pub struct VerifyArgs {}

impl VerifyArgs {
    /// Runs the measurement.
    #[must_use]
    pub fn run(self) -> Answer {
        let mut figures = Figures::of("verify");
        let transactions = transfers(1024);
        let time = Duration::from_millis(300);
        let mut one = 0.0;
        if let Some(transaction) = transactions.first() {
            one = per_second(time, || {
                let _verdict = std::hint::black_box(transaction.clone().verify(&Hash::ZERO));
            });
            figures.add("single", one, "signatures/s");
        }
        for size in [8usize, 64, 256, 1024] {
            let batch: Vec<Transaction> = transactions.iter().take(size).cloned().collect();
            let many = per_second(time, || {
                std::hint::black_box(Transaction::verify_batch(batch.clone(), &Hash::ZERO));
            }) * size as f64;
            figures.add(format!("batch/size={size}"), many, "signatures/s");
            figures.add(format!("batch/size={size} against single"), many / one, "times");
        }
        figures.answer()
    }
}
