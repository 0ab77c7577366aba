//! Processes of nodes on this machine: start, identity, signals, end, ready line, log and ports.
//!
//! The supervisor of a devnet (`node/devnet`) and the tests of whole processes (`tests/e2e`, `tests/faults`) share it.
//! It links neither the node nor its database, and prints nothing: progress goes to a [`wait::Reporter`].
//!
//! - [`process`] starts a program in a separate session, and signals it by pid and start time only;
//! - [`ready`] is the line that a node prints when it answers, [`log`] the end of what it wrote before;
//! - [`ports`] are the listening sockets of this machine with their owners;
//! - [`wait`] reports long waits, and takes locks.

pub mod log;
pub mod ports;
pub mod process;
pub mod ready;
pub mod wait;

use std::io;
use std::path::{Path, PathBuf};

/// Reason for which a process was not started or stopped, or a lock not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written, locked or started.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// A process did not end after SIGKILL.
    #[error("process {pid} is still there {seconds} s after SIGKILL")]
    StillThere {
        /// The process.
        pid: u32,
        /// Time since the signal.
        seconds: u64,
    },
    /// A started program has no standard input.
    #[error("{} has no standard input", .0.display())]
    NoInput(PathBuf),
}

impl Error {
    /// For `map_err`: a file that could not be read, written, locked or started. `action` is a verb.
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
