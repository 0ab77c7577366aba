//! Networks of nodes for development and tests: the supervisor of a devnet on this machine, and the planner of a
//! testnet on several hosts.
//!
//! ```text
//!  .devnet/devnet.json     record     which nodes there are, which process each of them is
//!  .devnet/lock            folder     one command at a time changes the devnet
//!  .devnet/validator-0/    homes      a home per node
//!  .devnet/validator-0.log process    output of the node; .log.1 is the run before
//! ```
//!
//! - Only processes that were recorded here are ever signalled: by pid, start time, boot id and folder.
//! - A node's program is started only after its process was recorded, so no process is left unrecorded.
//! - No wait is for a fixed time: starting waits for ready lines and then for equal heads.
//! - Only files created here are deleted. The folder can be moved, within its file system also while the
//!   nodes run.
//! - The next command completes or removes the partial work of an interrupted one.
//!
//! The library prints nothing and parses no command line: progress goes to a [`wait::Reporter`], and the remedy in an
//! error names commands of `vibecoin`.
//!
//! Read in this order: [`error`], [`files`], [`home`] (what the others use, with `node/process`); [`profile`], [`plan`], [`homes`],
//! [`deployment`], [`generate`] (a network and its files); [`folder`], [`process`], [`record`], [`state`], [`ports`],
//! [`client`], [`readiness`], [`setup`], [`supervisor`], [`partition`], [`addition`] (a devnet). The home of one node is in
//! [`dev`], [`scratch`] and [`running`], its log in [`logs`].

pub mod error;
pub mod files;
pub mod guard;
pub mod home;
pub mod settings;

pub mod deployment;
pub mod generate;
pub mod homes;
pub mod plan;
pub mod profile;
mod unfinished;

pub mod addition;
pub mod client;
pub mod folder;
pub mod partition;
pub mod ports;
pub mod process;
pub mod readiness;
pub mod record;
pub mod remains;
pub mod setup;
pub mod state;
pub mod supervisor;

pub mod dev;
pub mod logs;
pub mod running;
pub mod scratch;

#[cfg(test)]
mod testing;

pub use error::Error;
pub use state::{Devnet, NodeRecord};
pub use vibecoin_process::wait;
