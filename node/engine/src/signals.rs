//! Signals that stop a node: caught from the first step of the process on, and handled when the node can
//! stop.

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::NodeError;

/// Signals that were caught before the node's event loop ran.
static CAUGHT: Mutex<Option<Signals>> = Mutex::new(None);

/// Signals that stop a node. One that arrives before it is awaited is not lost.
pub(crate) struct Signals {
    pub(crate) term: Signal,
    pub(crate) int: Signal,
}

/// From here on SIGTERM and SIGINT wait for [`crate::run`] instead of ending the process in the middle of its
/// start, which would leave partial work behind. A second call does nothing.
///
/// # Errors
/// [`NodeError::System`] when the system cannot create an event loop.
pub fn catch_signals() -> Result<(), NodeError> {
    let mut caught = CAUGHT.lock();
    if caught.is_none() {
        // The handlers stay for the lifetime of the process, and the next event loop receives earlier
        // signals.
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
    /// Signals caught early, or else those from now on.
    pub(crate) fn caught() -> Result<Self, NodeError> {
        let caught = CAUGHT.lock().take();
        caught.map_or_else(Self::new, Ok)
    }

    /// Signals from now on.
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
