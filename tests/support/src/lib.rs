//! Fixtures shared by the tests of several crates: keys, validators, parameters, headers, signed values, and a
//! chain of real blocks ([`ChainBuilder`]).
//!
//! ```text
//! values   keys, parameters, validator sets, a zero header; transactions, parts, certificates, evidence
//! tries    tries of a few rows
//! chain    a chain over a state in memory, its block 0, a replica on it, and blocks made by `replica::Builder`
//! ```
//!
//! A crate that this one depends on names it in its `[dev-dependencies]`, which may form a cycle. The files in
//! its `tests/` folder use everything; its unit tests use only functions without a type of that crate, because
//! cargo compiles a crate under unit test a second time, with types of its own.

mod chain;
mod tries;
mod values;

pub use chain::{ChainBuilder, chain, genesis, orderer, replica, verdict};
pub use tries::trie_of;
pub use values::{
    GENESIS, GENESIS_TIME, address, body, certify, double_vote, genesis_header, header, key, opening, params,
    sign_part, success, transfer, validator, validators, vote,
};
