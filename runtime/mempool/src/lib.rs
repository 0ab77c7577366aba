//! The pool: transactions that wait for a block.
//!
//! Pure: the caller passes accounts, heights and the time. No part of it is subject to consensus.
//!
//! ```text
//! sender A   nonce 7 ─ 8 ─ 9      pending: could all be in the next block
//! sender B   nonce 3 ─ 4   6      6 is queued: it waits for 5
//!                  ▲       ▲
//!                 head    tail    heads compete for the block, tails for capacity in the pool
//! ```
//!
//! - A sender's transactions keep the order of their nonces. Between senders the higher bid per byte is
//!   first, then the earlier arrival. The bid is the part of the fee above the minimum fee for bytes and slots.
//! - When the pool is full, tails are evicted for an incoming transaction: first the queued ones, whatever they
//!   pay, then the cheapest pending ones, which it must outbid per byte. Otherwise it is refused.
//!   Only tails are evicted, so an eviction never opens a gap in a sender's row.
//! - In that contest a transaction bids the lowest bid per byte of itself and its predecessors in the row: no
//!   block includes it for more. Otherwise one high-fee transaction, which is never charged, would keep a row of
//!   cheap ones before it in the pool.
//! - The bound is on memory, not on encoded bytes: see [`memory`].
//! - A row evicts no other if it expires before blocks have included the pending transactions, or within
//!   [`capacity::EVICTING_HEIGHTS_MIN`] heights: no block may ever charge it. Nor does a replacement shorten a
//!   row that far.
//! - A queued incoming transaction evicts only queued ones that bid less per byte, and its capacity is limited to
//!   [`config::QUEUED_SHARE`] of the pool: until its gap closes no block can charge its fee, so it
//!   must not cost pending transactions their place.
//! - A sender must be able to pay for all its transactions in the pool, the incoming one included: fees, transfers
//!   and the price of storage. Otherwise one transfer could empty the account and take the fees from all others,
//!   which would have evicted and outbid for free. That is checked on admission and after each block.
//! - A replacement pays a share more than the old fee, and bids no less per byte. Otherwise a bid could evict
//!   others and then be withdrawn for a larger minimum fee at the end of the order.
//! - A row that loses a transaction in the middle (expired, removed) is queued from there on. Then more
//!   than their share may be queued for a while; they are evicted first.
//! - Every departure has one [`Reason`], which is remembered for a while.
//!
//! Reading order: [`config`], [`entry`] (the record of one transaction), `sender_queue` (one sender), [`pool`],
//! [`capacity`] (evictions from a full pool), [`expiry`], [`class`] and [`selection`] (selecting transactions
//! for a block), [`departures`] (departures), [`memory`].

pub mod capacity;
pub mod class;
pub mod config;
pub mod departures;
pub mod entry;
pub mod error;
pub mod expiry;
pub mod memory;
pub mod pool;
pub mod selection;

mod overdrawn;
mod planted;
mod promoted;
mod sender_queue;

pub use class::BlockSpace;
pub use config::MempoolConfig;
pub use departures::{Departure, Reason};
pub use entry::{FeeRate, Status};
pub use error::MempoolError;
pub use pool::{Committed, Inserted, Listed, Mempool, Stats};
pub use selection::Selection;
