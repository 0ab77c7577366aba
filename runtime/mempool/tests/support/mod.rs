//! Transactions and pools for the tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::missing_docs_in_private_items
)]

use std::sync::Arc;

use vibecoin_mempool::memory::charge;
use vibecoin_mempool::{Inserted, Mempool, MempoolConfig, MempoolError};
use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, Hash, Height, Nonce, Operation, SecretKey, TransactionBody,
    VerifiedTransaction,
};

pub const GENESIS: Hash = Hash([7; 32]);
pub type Tx = Arc<VerifiedTransaction>;

pub fn key(index: u8) -> SecretKey {
    SecretKey::from_seed(&[index + 1; 32])
}

pub fn user(index: u8) -> Address {
    Address::from(key(index).public_key())
}

pub fn params() -> ChainParams {
    ChainParams {
        fee_min: Amount(10),
        fee_per_byte: Amount(0),
        fee_per_slot: Amount(0),
        validity_window: 1_000,
        ..ChainParams::devnet()
    }
}

pub fn account(nonce: u64, balance: u64) -> Account {
    Account {
        balance: Amount(balance),
        nonce: Nonce(nonce),
        ..Account::default()
    }
}

pub fn body(sender: u8, nonce: u64, fee: u64) -> TransactionBody {
    TransactionBody {
        chain: GENESIS.prefix(),
        sender: key(sender).public_key(),
        nonce: Nonce(nonce),
        fee: Amount(fee),
        valid_until: Height(1_000),
        operations: vec![transfer(1)],
    }
}

pub fn transfer(amount: u64) -> Operation {
    Operation::Transfer {
        to: Address([1; 32]),
        amount: Amount(amount),
    }
}

pub fn sign(sender: u8, body: TransactionBody) -> Tx {
    Arc::new(body.sign(&GENESIS, &key(sender)).verify(&GENESIS).unwrap())
}

pub fn tx(sender: u8, nonce: u64, fee: u64) -> Tx {
    sign(sender, body(sender, nonce, fee))
}

/// Bytes of the encoding of [`tx`].
pub fn tx_bytes() -> usize {
    tx(0, 0, 0).byte_len() as usize
}

/// Bytes of memory that [`tx`] is charged with.
pub fn tx_charge() -> usize {
    charge(&tx(0, 0, 0))
}

pub fn small(count_max: usize) -> MempoolConfig {
    MempoolConfig {
        count_max,
        sender_count_max: 8,
        nonce_gap_max: 4,
        ttl_ms: 1_000,
        fates_max: 64,
        ..MempoolConfig::default()
    }
}

pub fn pool(config: MempoolConfig) -> Mempool {
    Mempool::new(config, Arc::new(params()))
}

/// Inserts for an account with a large balance at nonce 0, before block 1, at time 0.
pub fn put(pool: &mut Mempool, tx: &Tx) -> Result<Inserted, MempoolError> {
    pool.insert(Arc::clone(tx), Some(&account(0, 1_000_000)), Height(1), 0)
}
