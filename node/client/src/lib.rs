//! The client side of a node's RPC interface: connections, the prices of a chain, building and signing of
//! transactions.
//!
//! The command line and the load generator share it. It has no files, no arguments and no texts for users: its
//! callers decide which node to trust ([`Chain::reported`] or [`Chain::verified`]) and explain its errors.
//!
//! ```text
//!  Endpoint ──http──▶ chain_getInfo ──▶ Chain ──build──▶ TransactionBody ──sign──▶ hash and bytes
//! ```

mod chain;
mod endpoint;
mod transaction;

pub use chain::{Chain, FeeBound, FeeError};
pub use endpoint::Endpoint;
pub use transaction::{BuildError, Choices, build, next_nonce, sign};
