//! The client side of a node's RPC interface: connections, the prices of a chain, building and signing of
//! transactions, and payments that are made once.
//!
//! The command line and the load generator share it. It has no files, no arguments and no texts for users: its
//! callers decide which node to trust ([`Chain::reported`] or [`Chain::verified`]) and explain its errors.
//!
//! ```text
//!  Endpoint ──http──▶ chain_getInfo ──▶ Chain ──build──▶ TransactionBody ──sign──▶ hash and bytes
//!                                        └──── Payer ─────── build, sign, submit, and the next nonce if it was taken ──▶ Payment
//! ```
//!
//! Read in this order: `endpoint`, `operator`, `chain`, `transaction`, `answer`, `payment`, `superseded`, `pay`.

mod answer;
mod chain;
mod endpoint;
mod operator;
mod pay;
mod payment;
mod superseded;
mod transaction;

pub use answer::{About, OtherAnswer, about};
pub use chain::{Chain, FeeBound, FeeError};
pub use endpoint::Endpoint;
pub use operator::{OperatorError, operator};
pub use pay::{AfterSending, NotProven, PayError, SubmitError, submit};
pub use payment::{Payer, Payment, timeout_ms};
pub use superseded::Unproven;
pub use transaction::{BuildError, Choices, build, next_nonce, sign};
