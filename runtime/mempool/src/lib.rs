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
//! - A sender's transactions keep the order of their nonces. Between senders the higher bid per byte goes
//!   first, then the earlier arrival. The bid is the part of the fee above the least fee for bytes and slots.
//! - When the pool is full, tails leave for a newcomer: first the queued ones, whatever they pay, then the
//!   cheapest pending ones, which the newcomer must outbid per byte. A newcomer that does not is refused.
//!   Only tails leave, so nothing ever tears a hole into a sender's row.
//! - In that contest a transaction bids what the cheapest of it and those before it in its row bids per byte: no block
//!   takes it for more. Else one dear transaction, which is never charged, would keep a row of cheap ones in front
//!   of it in the pool.
//! - The bound is on memory, not on encoded bytes: see [`memory`].
//! - A row evicts nobody if it expires before blocks have taken what is pending, at least
//!   [`capacity::EVICTING_HEIGHTS_MIN`] heights: no block may ever charge it. Nor does a replacement shorten a row that far.
//! - A queued newcomer evicts only queued ones that bid less per byte, and finds capacity in
//!   [`config::QUEUED_SHARE`] of the pool only: until its gap closes no block can charge its fee, so it
//!   must not cost pending transactions their place.
//! - A sender must be able to pay everything it has in the pool, the newcomer included: fees, transfers and
//!   the price of storage. Else one transfer could empty the account and take the fees from all others, which
//!   would have evicted and outbid for free. That is checked on the way in and after each block.
//! - A replacement pays a share more than the old fee, and bids no less per byte. Else a bid could evict others
//!   and then be taken back for a larger least fee at the end of the order.
//! - A row that loses a transaction in the middle (expired, taken out) is queued from there on. Then more
//!   than their share may be queued for a while; they are the first to leave.
//! - Whatever leaves does so for one stated [`Reason`], which is remembered for a while.
//!
//! Reading order: [`config`], [`entry`] (what a place in the row knows), `row` (one sender), [`pool`], [`capacity`] (what
//! leaves a full pool), [`expiry`], [`class`] and [`selection`] (taking transactions for a block), [`fates`] (what became
//! of those that left), [`memory`].

pub mod capacity;
pub mod class;
pub mod config;
pub mod entry;
pub mod error;
pub mod expiry;
pub mod fates;
pub mod memory;
pub mod pool;
pub mod selection;

mod promoted;
mod row;

pub use class::BlockSpace;
pub use config::MempoolConfig;
pub use entry::{FeeRate, Status};
pub use error::MempoolError;
pub use fates::{Departure, Reason};
pub use pool::{Committed, Inserted, Listed, Mempool, Stats};
pub use selection::Selection;
