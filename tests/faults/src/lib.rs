//! Whole networks of real processes, and what is done to them: cuts, loss, pauses, kills, garbage.
//!
//! Every test runs as root on a machine with network namespaces and fails, with the reason, on any other.
//!
//! - [`netns`] makes the namespaces and damages what is between them; [`wire`] is the thinking of the
//!   link emulator `vibecoin-netwire`, which gives delay and jitter;
//! - [`homes`] makes what the nodes start from, [`process`] runs one of them;
//! - [`cluster`] is all of that together, [`workload`] the clients, [`observer`] the one who only looks;
//! - [`scenarios`] are the faults by the names of the test programme, with the [`table`] of results;
//! - [`healing`] takes blocks from a database under a current guard, with every vote written down outside;
//! - [`suites`] are whole runs, [`strangers`] the one against hostile peers and clients;
//! - [`history`] judges what clients were told, with the chain as the order of everything.

// A harness may stop at the first surprise, as a test may.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod cluster;
pub mod garbage;
pub mod healing;
pub mod history;
pub mod homes;
pub mod netns;
pub mod observer;
pub mod process;
pub mod random;
pub mod rpc;
pub mod scenarios;
pub mod strangers;
pub mod suites;
pub mod table;
pub mod wire;
pub mod workload;
