//! Nodes as whole processes, for the tests that start them: the program, its commands, a running node, and its RPC.
//!
//! `tests/e2e` and `tests/faults` share it; nothing here links the node. A function whose result is not as expected
//! panics with what it found, and with the end of the log where there is one.
//!
//! - [`binary`] and [`sibling`] are the programs, [`command`] and [`Ran`] a command and its output;
//! - [`Node`] is a running node; [`Piped`] a helper program that is controlled by lines;
//! - [`http`] sends raw bytes, for requests that no proper client would send; [`Rpc`] calls within time limits.

mod command;
pub mod http;
mod node;
mod piped;
mod rpc;

pub use command::{Ran, binary, clean, command, copy, sibling};
pub use node::{Node, signal};
pub use piped::Piped;
pub use rpc::{CallError, Rpc, call};
pub use rustix::process::Signal;
