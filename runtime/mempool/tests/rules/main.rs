//! Every rule of the pool, at its edge and just past it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

#[path = "../support/mod.rs"]
mod support;

mod capacity;
mod departures;
mod funds;
mod nonces;
mod selection;
mod slots;

use std::sync::Arc;

use support::*;
use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::memory::charge;
use vibecoin_mempool::{
    BlockSpace, Committed, Departure, FeeRate, Inserted, Mempool, MempoolConfig, MempoolError, Reason,
    Selection, Status,
};
use vibecoin_primitives::{Amount, ChainParams, Hash, Height, Nonce, Operation};

fn pending() -> Inserted {
    Inserted {
        status: Status::Pending,
        replaced: None,
        evicted: vec![],
    }
}

fn queued(expected: u64) -> Inserted {
    Inserted {
        status: Status::Queued {
            expected: Nonce(expected),
        },
        ..pending()
    }
}

fn take_all(pool: &Mempool, selection: &mut Selection) -> Vec<(u8, u64)> {
    let name = |tx: Tx| {
        (
            (0..50).find(|i| user(*i) == tx.sender()).unwrap(),
            tx.body().nonce.0,
        )
    };
    std::iter::from_fn(|| pool.next(selection)).map(name).collect()
}

fn id(tx: &Tx) -> Hash {
    *tx.id()
}

fn departure(tx: &Tx, reason: Reason) -> Departure {
    Departure {
        id: id(tx),
        sender: tx.sender(),
        nonce: tx.body().nonce,
        valid_until: tx.body().valid_until,
        reason,
    }
}

fn commit(pool: &mut Mempool, height: u64, included: &[&Tx], accounts: &[(u8, u64, u64)]) -> Vec<Departure> {
    let included: Vec<_> = included.iter().map(|tx| id(tx)).collect();
    let accounts: Vec<_> = accounts
        .iter()
        .map(|(who, nonce, balance)| (user(*who), Some(account(*nonce, *balance))))
        .collect();
    pool.on_committed(
        &Committed {
            height: Height(height),
            included: &included,
            accounts: &accounts,
        },
        0,
    )
}
