//! Containment of a panic to the transaction that caused it.
//!
//! A panic is a bug, and everywhere else it ends the process. Here it would end all of them: a transaction
//! whose shape triggers a bug of the executor is gossiped to every validator, included by each proposer in
//! turn, and included again after each restart. So the execution of one transaction is contained: the panic
//! is reported, the transaction has no effect, and the block continues without it
//! (`docs/adr/0008-contained-panics.md`).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Returns true if a panic of this thread is contained now. A panic hook that ends the process checks this first.
#[must_use]
pub fn is_contained() -> bool {
    DEPTH.get() > 0
}

/// Marks this thread until it is dropped, by a panic too.
struct Mark;

impl Mark {
    fn new() -> Self {
        DEPTH.set(DEPTH.get().saturating_add(1));
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

/// Returns the result of `work`, or `None` when it panicked. Its changes may then be incomplete: the caller
/// restores the state.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    let mark = Mark::new();
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    drop(mark);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_where_it_is_contained() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| assert!(is_contained())));
        let found = contained(|| -> u8 { panic!("a bug") });
        std::panic::set_hook(quiet);
        assert_eq!((found, is_contained()), (None, false));
        assert_eq!(contained(|| (7, is_contained())), Some((7, true)));
    }
}
