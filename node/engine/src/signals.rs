//! The signals that stop a node: seen from the first step of the process on, and acted upon when the node can stop.

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::NodeError;

/// Signals that were caught before the node's event loop ran.
static CAUGHT: Mutex<Option<Signals>> = Mutex::new(None);

/// Signals that stop a node. One that comes before it is awaited is not lost.
pub(crate) struct Signals {
    pub(crate) term: Signal,
    pub(crate) int: Signal,
}

/// From here on SIGTERM and SIGINT wait for [`crate::run`] instead of ending the process in the middle of its start,
/// where it would leave what it has begun. A second call does nothing.
///
/// # Errors
/// [`NodeError::System`] when the system gives no event loop.
pub fn catch_signals() -> Result<(), NodeError> {
    let mut caught = CAUGHT.lock();
    if caught.is_none() {
        // The handlers stay for as long as the process lives, and whichever event loop runs next sees what came.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(fail)?;
        let _entered = runtime.enter();
        *caught = Some(Signals::new()?);
    }
    Ok(())
}

impl Signals {
    /// Those that were caught early, or else from now on.
    pub(crate) fn caught() -> Result<Self, NodeError> {
        let caught = CAUGHT.lock().take();
        caught.map_or_else(Self::new, Ok)
    }

    /// From now on.
    pub(crate) fn new() -> Result<Self, NodeError> {
        Ok(Self {
            term: signal(SignalKind::terminate()).map_err(fail)?,
            int: signal(SignalKind::interrupt()).map_err(fail)?,
        })
    }
}

fn fail(error: std::io::Error) -> NodeError {
    NodeError::System {
        what: "wait for signals",
        detail: error.to_string(),
    }
}
