//! `mempool::<operation>`: microseconds per operation.
//!
//! `vc bench -p vibecoin-mempool`
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use vibecoin_mempool::{Committed, Mempool, MempoolConfig, Selection};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, Hash, Height, Nonce, Operation, SecretKey, Transaction,
    TransactionBody, VerifiedTransaction,
};

const GENESIS: Hash = Hash([7; 32]);
const COUNT: usize = 50_000;
const BLOCK: usize = 10_000;
const RUNS: usize = 5;

fn account(nonce: u64) -> Account {
    Account {
        balance: Amount(u64::MAX / 2),
        nonce: Nonce(nonce),
        ..Account::default()
    }
}

fn transactions(senders: usize, count: usize, fee: u64) -> Vec<Arc<VerifiedTransaction>> {
    let sign = |index: usize| {
        let mut seed = [3; 32];
        seed.split_at_mut(8)
            .0
            .copy_from_slice(&(index % senders).to_le_bytes());
        let key = SecretKey::from_seed(&seed);
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key.public_key(),
            nonce: Nonce((index / senders) as u64),
            fee: Amount(fee + (index as u64).wrapping_mul(7_919) % 5_000),
            valid_until: Height(1_000),
            operations: vec![Operation::Transfer {
                to: Address([1; 32]),
                amount: Amount(1),
            }],
        };
        body.sign(&GENESIS, &key)
    };
    let signed: Vec<Transaction> = (0..count).map(sign).collect();
    Transaction::verify_batch(signed, &GENESIS)
        .into_iter()
        .map(|tx| Arc::new(tx.unwrap()))
        .collect()
}

/// The minimum time of each figure over all runs, by name and in the order of the first run.
#[derive(Default)]
struct Figures(Vec<(String, f64)>);

impl Figures {
    fn time<T>(&mut self, name: String, count: usize, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        let micros = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, least)) => *least = least.min(micros),
            None => self.0.push((name, micros)),
        }
        result
    }
}

fn fill(pool: &mut Mempool, transactions: &[Arc<VerifiedTransaction>]) -> usize {
    let insert = |tx: &Arc<_>| {
        pool.insert(Arc::clone(tx), Some(&account(0)), Height(1), 0)
            .is_ok()
    };
    transactions.iter().map(insert).filter(|taken| *taken).count()
}

fn run(figures: &mut Figures, senders: usize, transactions: &[Arc<VerifiedTransaction>]) {
    let mut pool = Mempool::new(MempoolConfig::default(), Arc::new(ChainParams::devnet()));
    let name = |what: &str| format!("mempool::{what}/senders={senders} count={COUNT}");
    let taken = figures.time(name("insert_from_empty"), COUNT, || fill(&mut pool, transactions));
    assert_eq!(taken, COUNT);
    let last = transactions.get(COUNT - BLOCK..).unwrap();
    figures.time(name("remove"), BLOCK, || {
        for transaction in last.iter().rev() {
            assert!(pool.remove(transaction.id()));
        }
    });
    figures.time(name("insert"), BLOCK, || fill(&mut pool, last));

    let mut selection = Selection::default();
    let block: Vec<_> = figures.time(name("next"), BLOCK, || {
        (0..BLOCK).map(|_| pool.next(&mut selection).unwrap()).collect()
    });
    let ids: Vec<Hash> = block.iter().map(|tx| *tx.id()).collect();
    let mut accounts: BTreeMap<Address, u64> = BTreeMap::new();
    for tx in &block {
        let next = accounts.entry(tx.sender()).or_default();
        *next = (*next).max(tx.body().nonce.0 + 1);
    }
    let accounts: Vec<_> = accounts
        .into_iter()
        .map(|(a, nonce)| (a, Some(account(nonce))))
        .collect();
    let commit = Committed {
        height: Height(1),
        included: &ids,
        accounts: &accounts,
    };
    let gone = figures.time(name("on_committed"), BLOCK, || pool.on_committed(&commit, 1));
    assert_eq!((gone.len(), pool.len()), (BLOCK, COUNT - BLOCK));
}

fn run_full(
    figures: &mut Figures,
    transactions: &[Arc<VerifiedTransaction>],
    cheap: &[Arc<VerifiedTransaction>],
    dear: &[Arc<VerifiedTransaction>],
) {
    let mut pool = Mempool::new(MempoolConfig::default(), Arc::new(ChainParams::devnet()));
    fill(&mut pool, transactions);
    let name = |what: &str| format!("mempool::{what}/senders={COUNT} count={COUNT}");
    let refused = figures.time(name("insert_refused"), BLOCK, || fill(&mut pool, cheap));
    let taken = figures.time(name("insert_evicting"), BLOCK, || fill(&mut pool, dear));
    assert_eq!((refused, taken, pool.len()), (0, BLOCK, COUNT));
}

fn main() {
    let mut figures = Figures::default();
    for senders in [COUNT, 1_000, 16] {
        let transactions = transactions(senders, COUNT, 10_000);
        for _ in 0..RUNS {
            run(&mut figures, senders, &transactions);
        }
    }
    let full = transactions(COUNT, COUNT, 10_000);
    let cheap = transactions(COUNT + BLOCK, COUNT + BLOCK, 1_000).split_off(COUNT);
    let dear = transactions(COUNT + BLOCK, COUNT + BLOCK, 100_000).split_off(COUNT);
    for _ in 0..RUNS {
        run_full(&mut figures, &full, &cheap, &dear);
    }
    for (name, micros) in figures.0 {
        println!("{name:<56} {micros:7.3} us");
    }
}
