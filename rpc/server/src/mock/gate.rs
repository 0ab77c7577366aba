//! A place in the mock where threads can be held up, and are counted.

use parking_lot::{Condvar, Mutex};

/// Open unless a test closes it.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    inside: usize,
    most: usize,
    passed: usize,
}

impl Gate {
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Releases every thread.
    pub fn open(&self) {
        self.state.lock().closed = false;
        self.changed.notify_all();
    }

    pub(super) fn pass(&self) {
        let mut state = self.state.lock();
        state.inside += 1;
        state.most = state.most.max(state.inside);
        self.changed.wait_while(&mut state, |state| state.closed);
        state.inside -= 1;
        state.passed += 1;
    }

    /// Number of waiting threads.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.state.lock().inside
    }

    /// Maximum number of threads that waited at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.state.lock().most
    }

    /// Passages so far.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.state.lock().passed
    }
}
