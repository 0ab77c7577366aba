//! The signals that stop a node, while it restores a snapshot: they are caught from the first step of the process on, so
//! that nothing else ends the restore.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Number of turns of the event loop within which a signal that has arrived is seen.
const TURNS: u32 = 3;

/// SIGTERM and SIGINT from now on. The node that runs later sees them too.
pub struct StopSignals {
    runtime: Runtime,
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's, when it cannot create an event loop.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok(Self { runtime, term, int })
    }

    /// Returns true if one has arrived since the last call.
    pub fn arrived(&mut self) -> bool {
        let Self { runtime, term, int } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = term.recv() => true,
                _ = int.recv() => true,
                () = turns() => false,
            }
        })
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::process::{Signal as Sent, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_is_seen_once() {
        let mut signals = StopSignals::listen().unwrap();
        assert!(!signals.arrived());
        kill_process(getpid(), Sent::TERM).unwrap();
        let begun = Instant::now();
        while !signals.arrived() {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        assert!(!signals.arrived());
    }
}
