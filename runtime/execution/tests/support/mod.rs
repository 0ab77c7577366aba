//! Transactions and states for the tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::missing_docs_in_private_items
)]

use std::sync::{Arc, OnceLock};

use vibecoin_execution::{BlockContext, MemoryState};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, Hash, Height, Nonce, Operation, Power, ProposerSchedule,
    SecretKey, TransactionBody, Validator, ValidatorSet, VerifiedTransaction,
};

pub const GENESIS: Hash = Hash([7; 32]);
pub const PAYOUT: Address = Address([200; 32]);
pub const HEIGHT: Height = Height(10);

pub fn key(index: u8) -> SecretKey {
    SecretKey::from_seed(&[index; 32])
}

pub fn user(index: u8) -> Address {
    static USERS: OnceLock<Vec<Address>> = OnceLock::new();
    let users = USERS.get_or_init(|| (0..=255).map(|i| Address::from(key(i).public_key())).collect());
    *users.get(usize::from(index)).unwrap()
}

pub fn stranger(index: u8) -> Address {
    let mut bytes = [0xee; 32];
    bytes[0] = index;
    Address(bytes)
}

pub fn validators() -> ValidatorSet {
    let member = |i: u8, power| Validator {
        key: SecretKey::from_seed(&[100 + i; 32]).public_key(),
        power: Power(power),
        payout: PAYOUT,
    };
    ValidatorSet::new(vec![member(0, 1), member(1, 2), member(2, 4)]).unwrap()
}

/// Small prices, so that the arithmetic of a test is easy to follow.
pub fn params() -> ChainParams {
    ChainParams {
        fee_min: Amount(10),
        fee_per_byte: Amount(0),
        fee_per_slot: Amount(0),
        account_price: Amount(100),
        storage_byte_price: Amount(2),
        slot_value_bytes_max: 64,
        operations_max: 8,
        transaction_bytes_max: 2048,
        validity_window: 50,
        ..ChainParams::devnet()
    }
}

pub fn context() -> BlockContext {
    context_with(params())
}

pub fn context_with(params: ChainParams) -> BlockContext {
    BlockContext {
        params: Arc::new(params),
        validators: Arc::new(validators()),
        height: HEIGHT,
        payout: PAYOUT,
    }
}

pub fn account(balance: u64, nonce: u64) -> Account {
    Account {
        balance: Amount(balance),
        nonce: Nonce(nonce),
        ..Account::default()
    }
}

pub fn state(balances: &[(Address, u64)]) -> MemoryState {
    let balances = balances
        .iter()
        .map(|(address, balance)| (*address, Amount(*balance)));
    MemoryState::with_balances(balances, &ProposerSchedule::genesis(&validators()))
}

pub fn transfer(to: Address, amount: u64) -> Operation {
    Operation::Transfer {
        to,
        amount: Amount(amount),
    }
}

pub fn set(slot: u8, value: &[u8]) -> Operation {
    Operation::SetStorage {
        slot: Hash([slot; 32]),
        value: value.to_vec(),
    }
}

pub fn body(sender: u8, nonce: u64, fee: u64, operations: Vec<Operation>) -> TransactionBody {
    TransactionBody {
        chain: GENESIS.prefix(),
        sender: key(sender).public_key(),
        nonce: Nonce(nonce),
        fee: Amount(fee),
        valid_until: HEIGHT,
        operations,
    }
}

pub fn sign(sender: u8, body: TransactionBody) -> VerifiedTransaction {
    body.sign(&GENESIS, &key(sender)).verify(&GENESIS).unwrap()
}

pub fn tx(sender: u8, nonce: u64, fee: u64, operations: Vec<Operation>) -> VerifiedTransaction {
    sign(sender, body(sender, nonce, fee, operations))
}
