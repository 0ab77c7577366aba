//! Processes of nodes: those of `node/process`, with the errors of this crate.

use crate::error::Error;
use crate::wait::Reporter;

pub use vibecoin_process::process::{
    Ended, LOOK_EVERY, boot_id, cpu_time, is_adrift, log_before, resident_bytes, signal, spawn, started_at,
    stop,
};

/// Sends SIGKILL, and waits until the process has ended.
///
/// # Errors
/// A process that is still there after a minute.
pub fn kill(pid: u32, started: u64, reporter: Reporter) -> Result<(), Error> {
    Ok(vibecoin_process::process::kill(pid, started, reporter)?)
}
