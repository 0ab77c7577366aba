//! The state of accounts and slots: views of it, and the computation of the next one.
//!
//! ```text
//!   StateView of block h+1 (a candidate)   StateView of block h+1' (another one)
//!              └───────────────┬───────────────────┘
//!   overlay: rows, trie nodes and roots of the blocks above the materialised height
//!              │
//!   base: a snapshot of the database at the materialised height, and the row cache
//! ```
//!
//! Reading order: `view` (queries of a state), `reader` (the same for the runtime), `merge` and `list` (rows in key
//! order), `apply` (the next state), `overlay` and `cache`.

mod apply;
mod cache;
mod list;
mod merge;
mod overlay;
mod reader;
mod view;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod cleared_tests;

pub(crate) use cache::{Row, RowCache};
pub(crate) use merge::MergedRows;
pub(crate) use overlay::Overlay;
pub(crate) use reader::state_key;
pub use view::{AccountProof, SlotProof, StateView};
pub(crate) use view::{Base, StateSource};
