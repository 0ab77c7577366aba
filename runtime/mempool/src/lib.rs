//! The pool: transactions that wait for a block.
//!
//! Pure: the caller passes accounts, heights and the time. Nothing here is agreed between nodes.
//!
//! ```text
//! sender A   nonce 7 ─ 8 ─ 9      pending: could all be in the next block
//! sender B   nonce 3 ─ 4   6      6 is queued: it waits for 5
//!                  ▲       ▲
//!                 head    tail    heads compete for the block, tails for room in the pool
//! ```
//!
//! - A sender's transactions keep the order of their nonces. Between senders the higher fee per byte goes
//!   first, then the earlier arrival.
//! - When the pool is full, the cheapest tails leave for a transaction that pays more per byte than each
//!   of them. A newcomer that does not is refused. Cheap transactions in front of a dear tail are thus
//!   safe until the tail has gone; in return nothing ever tears a hole into a sender's row.
//! - A sender must be able to pay the fees of everything it has in the pool, plus what the newcomer
//!   itself moves. That is checked on the way in; after each block the fees alone are checked again, since
//!   a transfer that has become unaffordable still pays its way by failing.
//! - A row that loses a transaction in the middle (expired, taken out) is queued from there on.
//! - Whatever leaves does so for one stated [`Reason`], which is remembered for a while.
//!
//! Reading order: [`config`], [`entry`] (what a place in the row knows), `row` (one sender), [`pool`],
//! [`selection`] (taking transactions for a block), [`fates`] (what became of those that left).

pub mod config;
pub mod entry;
pub mod fates;
pub mod pool;
pub mod selection;

mod row;

pub use config::MempoolConfig;
pub use entry::{FeeRate, Status};
pub use fates::{Departure, Reason};
pub use pool::{Committed, Inserted, Listed, Mempool, MempoolError, Stats};
pub use selection::Selection;
