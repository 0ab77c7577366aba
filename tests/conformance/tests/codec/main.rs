//! The bytes of every type: pinned, compared with an independent codec, and the only ones accepted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod allocations;
mod cases;
mod extremes;
mod golden;
mod layout;
mod oracle;
mod refusals;
