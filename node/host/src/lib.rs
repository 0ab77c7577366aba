//! The host of a replica: the code around the deterministic state machine that the node and the simulator share.
//!
//! The replica decides; its host makes the decisions durable, in order, and brings them back after a crash. Every
//! rule about that order is in this crate and nowhere else, so that the simulator, which ends processes and power
//! supplies at any moment, tries the code that runs in a node.
//!
//! - [`recover`] reads the files beside the database at a start and decides whether the key may sign.
//! - [`perform`] performs one [`vibecoin_replica::Action`] on a [`Host`]: the node's driver thread, or a simulated node.
//! - [`commit`] stores a decided block and records it in the head witness.
//! - [`blocks`] collects the stored blocks that answer a peer's request.
//!
//! There are no threads, clocks, sockets or paths here: [`Files`] opens the files, [`Host`] sends messages and
//! hands over commits.

mod commit;
mod files;
mod perform;
mod planted;
mod recover;
mod serve;
mod start;

pub use commit::{CommitError, commit};
pub use files::{ConsensusFiles, GuardStore, HostError};
pub use perform::{Host, perform};
pub use recover::{Files, Notice, RecoverError, Recovered, Recovery, Role, newest_entry, read_log, recover};
pub use serve::{Answer, BODIES_BYTES_MAX, blocks, certified_block};
pub use start::{genesis_state, head_of};
