//! What the crates of the workspace may depend on, and what the pure ones may touch.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod graph;
mod licences;
mod purity;
mod queues;
mod supply_chain;
