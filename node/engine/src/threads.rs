//! The threads of a node: named when they start, joined when it stops.

use std::thread::JoinHandle;

use tracing::warn;

use crate::error::NodeError;

/// Scheduling priority of threads that accept new work; consensus threads have 0, which has precedence.
const LATER_PRIORITY: i32 = 10;

/// Running threads, in the order of their start.
#[derive(Default)]
pub struct Threads(Vec<(&'static str, JoinHandle<()>)>);

impl Threads {
    /// Starts a thread.
    ///
    /// # Errors
    /// [`NodeError::System`] when the system cannot create one.
    pub fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), NodeError> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        let handle = spawned.map_err(|error| NodeError::System {
            what: "start a thread",
            detail: error.to_string(),
        })?;
        self.0.push((name, handle));
        Ok(())
    }

    /// Waits until all have ended. The caller has asked them to.
    pub fn join(self) {
        for (name, thread) in self.0 {
            if thread.join().is_err() {
                warn!(target: "node", name, "thread ended by a panic");
            }
        }
    }
}

/// Gives the consensus threads precedence when cores are scarce: new work is then accepted more slowly, and
/// blocks stay on time. A system that does not allow it loses only that.
pub fn give_way() {
    let _not_allowed = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LATER_PRIORITY);
}
