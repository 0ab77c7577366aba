//! Permitted dependencies of the workspace's crates, and permitted operations of the pure ones.
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
