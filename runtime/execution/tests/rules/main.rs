//! Every rule, at its edge and just past it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

#[path = "../support/mod.rs"]
mod support;

mod blocks;
mod invalid;
mod slots;
mod store;
mod transfers;

use std::collections::BTreeMap;

use support::*;
use vibecoin_execution::{
    BlockExecutor, BlockOutcome, ExecutionError, InvalidTransaction, MemoryState, ReadError, State,
    StateError, StateReader, admit, execute_block, execute_body, read_burned, read_schedule, read_supply,
};
use vibecoin_primitives::{
    Account, AccountType, Address, Amount, ChainParams, Failure, Hash, Height, Nonce, Operation, Outcome,
    ProposerSchedule, Round, StateKey, VerifiedTransaction, account_key, encode, records,
};

fn run(state: &MemoryState, transactions: &[VerifiedTransaction]) -> (MemoryState, BlockOutcome) {
    let outcome = execute_body(state, context(), transactions, Round(0)).unwrap();
    let (next, diff) = state.apply(&outcome.changes).unwrap();
    assert_eq!((diff.parent_root, diff.root), (state.root(), next.root()));
    assert!(diff.entries.is_sorted_by(|a, b| a.key < b.key) && diff.entries.iter().all(|e| e.old != e.new));
    (next, outcome)
}

fn balance(state: &MemoryState, address: Address) -> Option<u64> {
    state.accounts().get(&address).map(|account| account.balance.0)
}

fn outcomes(outcome: &BlockOutcome) -> Vec<Outcome> {
    outcome
        .receipts
        .0
        .iter()
        .map(|receipt| receipt.v1().outcome)
        .collect()
}

/// Runs one transaction of user 1, with a balance of 1,000 and a fee of 10, next to user 2, with `u64::MAX - 5`.
#[track_caller]
fn check(operations: Vec<Operation>, expected: Outcome, left: u64, burned: u64) {
    let state = state(&[(user(1), 1_000), (user(2), u64::MAX - 5)]);
    let (next, outcome) = run(&state, &[tx(1, 0, 10, operations)]);
    assert_eq!(outcomes(&outcome), [expected]);
    assert_eq!(balance(&next, user(1)), Some(left));
    assert_eq!(outcome.burned, Amount(burned));
    assert_eq!(outcome.receipts.0.first().unwrap().v1().burned, Amount(burned));
    assert_eq!(read_burned(&next), Ok(Amount(burned)));
    assert_eq!(
        balance(&next, PAYOUT),
        Some(10),
        "the fee is paid whatever happens"
    );
    assert_eq!(
        next.accounts().get(&user(1)).unwrap().nonce,
        Nonce(1),
        "so is the nonce"
    );
}

fn failed(operation: u32, reason: Failure) -> Outcome {
    Outcome::Failed { operation, reason }
}

fn poor(needed: u64, available: u64) -> Failure {
    Failure::InsufficientFunds {
        needed: Amount(needed),
        available: Amount(available),
    }
}
