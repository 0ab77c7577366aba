//! An allocator that records the largest request of each thread.
//!
//! "Refused without allocation" is not observable from outside: a request for a terabyte may succeed
//! virtually. So the requests themselves are recorded.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // No destructor and no lazy part, so that it can be used from inside the allocator.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watching;

fn note(size: usize) {
    // Threads that are being torn down have no cell any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: every call is passed to the system's allocator with the caller's arguments unchanged, so the
// contract that the caller keeps is the one that it needs. `note` neither allocates nor panics.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: see the impl.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: see the impl.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: see the impl.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: see the impl.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Runs `f` and returns its result and the size of its largest single allocation.
pub fn largest_during<T>(f: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let result = f();
    (result, LARGEST.get())
}

#[test]
fn the_watch_sees_the_largest_request_and_only_its_own_thread() {
    let ((), largest) = largest_during(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(Vec::<u8>::with_capacity(9_000_000)));
        });
        drop(Vec::<u8>::with_capacity(1_234_567));
        drop(Vec::<u8>::with_capacity(17));
    });
    assert_eq!(largest, 1_234_567);
}
