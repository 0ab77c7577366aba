//! `execution::<operation>`: microseconds per transaction, state reads from an ordered map in memory.
//!
//! `vc bench -p vibecoin-execution`
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vibecoin_execution::{BlockContext, BlockExecutor, ReadError, StateReader, execute_body};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, Hash, Height, Nonce, Operation, Power, ProposerSchedule, Round,
    SecretKey, Transaction, TransactionBody, Validator, ValidatorSet, VerifiedTransaction, encode, records,
};

const GENESIS: Hash = Hash([7; 32]);
const BLOCK: usize = 20_000;

struct Accounts {
    accounts: BTreeMap<Address, Account>,
    schedule: Vec<u8>,
}

impl StateReader for Accounts {
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError> {
        Ok(self.accounts.get(address).copied())
    }

    fn slot(&self, _: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        Ok((*slot == records::SCHEDULE).then(|| self.schedule.clone()))
    }
}

fn key(index: usize) -> SecretKey {
    let mut seed = [3; 32];
    seed.split_at_mut(8).0.copy_from_slice(&index.to_le_bytes());
    SecretKey::from_seed(&seed)
}

fn transactions(
    keys: &[SecretKey],
    operations: impl Fn(usize) -> Vec<Operation>,
) -> Vec<VerifiedTransaction> {
    let sign = |index: usize| {
        let key = keys.get(index % keys.len()).unwrap();
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key.public_key(),
            nonce: Nonce((index / keys.len()) as u64),
            fee: Amount(1_000_000),
            valid_until: Height(10),
            operations: operations(index),
        };
        body.sign(&GENESIS, key)
    };
    let signed: Vec<Transaction> = (0..BLOCK).map(sign).collect();
    Transaction::verify_batch(signed, &GENESIS)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

fn best(runs: usize, mut run: impl FnMut() -> Duration) -> f64 {
    let least = (0..runs).map(|_| run()).min().unwrap();
    least.as_secs_f64() * 1e6 / BLOCK as f64
}

fn measure(name: &str, state: &Accounts, context: &BlockContext, transactions: &[VerifiedTransaction]) {
    let reads = best(5, || {
        let start = Instant::now();
        let found = transactions
            .iter()
            .filter(|tx| state.account(&tx.sender()).unwrap().is_some())
            .count();
        assert_eq!(found, BLOCK);
        start.elapsed()
    });
    let execute = best(5, || {
        let mut executor = BlockExecutor::new(state, context.clone());
        let start = Instant::now();
        for transaction in transactions {
            executor.execute(transaction).unwrap();
        }
        let spent = start.elapsed();
        drop(executor.finish(Round(0)).unwrap());
        spent
    });
    let whole = best(5, || {
        let start = Instant::now();
        drop(execute_body(state, context.clone(), transactions, Round(0)).unwrap());
        start.elapsed()
    });
    println!(
        "{name:<58} execute {execute:6.3} us, with finish {whole:6.3} us, one state read {reads:6.3} us"
    );
}

fn main() {
    let keys: Vec<SecretKey> = (0..BLOCK).map(key).collect();
    let account = Account {
        balance: Amount(u64::MAX / 65_536),
        ..Account::default()
    };
    let accounts: BTreeMap<_, _> = keys
        .iter()
        .map(|key| (Address::from(key.public_key()), account))
        .collect();
    let validator = Validator {
        key: key(BLOCK).public_key(),
        power: Power(1),
        payout: Address([9; 32]),
    };
    let validators = ValidatorSet::new(vec![validator]).unwrap();
    let schedule = encode(&ProposerSchedule::genesis(&validators));
    let state = Accounts { accounts, schedule };
    let context = BlockContext {
        params: Arc::new(ChainParams::devnet()),
        validators: Arc::new(validators),
        height: Height(10),
        payout: Address([9; 32]),
    };
    let to = |index: usize| Address::from(keys.get((index * 7_919 + 1) % BLOCK).unwrap().public_key());
    let transfer = |to| {
        vec![Operation::Transfer {
            to,
            amount: Amount(5),
        }]
    };
    let check = |name, senders: usize, operations: &dyn Fn(usize) -> Vec<Operation>| {
        let transactions = transactions(keys.get(..senders).unwrap(), operations);
        measure(name, &state, &context, &transactions);
    };
    check(
        "execution::transfer/senders=20000 recipients=20000",
        BLOCK,
        &|i| transfer(to(i)),
    );
    check("execution::transfer/senders=100 recipients=20000", 100, &|i| {
        transfer(to(i))
    });
    check("execution::create/senders=20000", BLOCK, &|i| {
        transfer(Address(key(BLOCK + 1 + i).public_key().0))
    });
    check("execution::set_storage/senders=20000 bytes=32", BLOCK, &|_| {
        vec![Operation::SetStorage {
            slot: Hash([1; 32]),
            value: vec![1; 32],
        }]
    });
    check("execution::failed/senders=20000", BLOCK, &|i| {
        vec![
            Operation::Transfer {
                to: to(i),
                amount: Amount(5),
            },
            Operation::Transfer {
                to: to(i),
                amount: Amount(0),
            },
        ]
    });
}
