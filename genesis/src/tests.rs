#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use proptest::prelude::*;
use vibecoin_primitives::{
    AccountType, AddressPrefix, Body, FaultModel, Hash, Height, Power, ProposerSchedule, PublicKey,
    SecretKey, account_key, decode, encode, records, slot_key,
};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

use super::*;
use crate::parameters::PARAMETERS;

mod block_0;
mod refusals;
mod written;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public_key()
}

fn address(seed: u8) -> String {
    Address::from(key(seed)).to_text(&AddressPrefix::new("vibet").unwrap())
}

/// Two validators and two accounts; keys 1 to 4 are the keys of the seeds 1 to 4.
fn text() -> String {
    format!(
        r#"format = 1
profile = "devnet"
network = "test-1"
time = "2025-01-01T00:00:00Z"

[parameters]
tick_ms = 4
fee_min = 200

[[validators]]
key = "{}"
power = 10
payout = "{}"

[[validators]]
key = "{}"
power = 20
payout = "{}"

[accounts]
{} = 1_000_000
{} = "18446744073708551615"
"#,
        key(1),
        address(3),
        key(2),
        address(4),
        address(3),
        address(4),
    )
}

fn genesis() -> Genesis {
    Genesis::parse(&text()).unwrap()
}

/// The error from the base text after one replacement.
#[track_caller]
fn refused(from: &str, to: &str) -> String {
    let changed = text().replacen(from, to, 1);
    assert_ne!(changed, text(), "{from:?} is not in the text");
    match Genesis::parse(&changed) {
        Ok(_) => panic!("accepted:\n{changed}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check_refused(from: &str, to: &str, expected: &str) {
    let error = refused(from, to);
    assert!(
        error.contains(expected),
        "\nfound    {error}\nexpected {expected}"
    );
}
