//! A node around the replica: threads, files and channels.
//!
//! ```text
//!   RPC (tokio) ──▶ verify ──▶ driver ──▶ persist ──▶ storage ──▶ materialiser
//!        ▲            │          ▲           │
//!        └─ views ◀───┴──────────┴───────────┘   (readers never wait for the driver)
//! ```
//!
//! - `driver`: the one thread that calls the replica; performs its actions in order; owns the consensus
//!   log and the guard.
//! - `persist`: the one thread that commits; announces a block to readers only after its synced write.
//! - `verify`: checks signatures in batches, off the driver's thread.
//! - `inspect`: checks parts, bodies and blocks of peers, cheap checks first, off the driver's thread.
//! - [`Node`] starts and stops them (`start` has the stages); `backend` answers RPC from views.
//!
//! The engine contains no protocol rules. The order of durability is in `node/host`, which the simulator shares;
//! `driver/host.rs` is this node's side of it.

mod again;
mod backend;
#[cfg(feature = "byzantine")]
mod byzantine;
mod clock;
mod driver;
mod error;
mod fates;
mod faucet;
mod inspect;
mod listeners;
mod mail;
mod metrics;
mod network;
mod node;
mod open;
mod peers;
mod persist;
mod pool_index;
mod queue;
mod recovery;
mod rounds;
mod scrape;
mod serve;
mod settings;
mod shared;
mod signals;
mod snapshots;
mod start;
mod submissions;
mod sync_view;
mod threads;
mod verify;
mod waits;
pub mod worst_block;

#[cfg(test)]
mod knobs_tests;

pub use error::{Listener, NodeError, exit_code, storage_hint};
pub use network::check_addresses;
pub use node::{Node, NodeOptions, Ready, run};
pub use open::{Inspected, inspect};
pub use signals::catch_signals;
pub use vibecoin_execution::is_contained;
