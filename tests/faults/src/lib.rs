//! Whole networks of real processes, and faults injected into them: cuts, loss, pauses, kills,
//! garbage.
//!
//! Every test runs as root on a machine with network namespaces and fails, with the reason, on any other. A function
//! panics when an invariant is broken, a node ends by itself, or a wait exceeds its bound: with the reason, and the
//! ends of the logs.
//!
//! - [`netns`] makes the namespaces and injects faults between them; [`wire`] is the logic of the
//!   link emulator `vibecoin-netwire`, which adds delay and jitter;
//! - [`homes`] makes the initial homes of the nodes, which `tests/nodes` runs;
//! - [`cluster`] is all of that together, [`workload`] the clients, [`observer`] a passive observer;
//! - [`scenarios`] are the faults by the names of the test programme, with the [`table`] of results;
//! - [`healing`] removes blocks from a database under a current guard, with every vote recorded outside;
//! - [`suites`] are whole runs, [`strangers`] the one against hostile peers and clients;
//! - [`history`] checks the answers to clients, with the chain as the total order.

pub mod cluster;
pub mod garbage;
pub mod healing;
pub mod history;
pub mod homes;
pub mod netns;
pub mod observer;
pub mod scenarios;
pub mod strangers;
pub mod suites;
pub mod table;
pub mod wire;
pub mod workload;
