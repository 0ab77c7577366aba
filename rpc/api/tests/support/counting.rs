//! An allocator that counts allocated bytes, for tests of the memory that a hostile request can make a node
//! hold. The tests of the server share this file.
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    reason = "an allocator that counts, in a test"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Allocated bytes.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// Their maximum since the last measurement began.
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

impl Counting {
    fn add(bytes: usize) {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(held, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed to the system's allocator with the caller's arguments unchanged, so the
// contract that the caller keeps is the one that it needs. The counters neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: see the impl.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: see the impl.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist at once.
        Self::add(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: see the impl.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A measurement of the whole process: what other threads allocate meanwhile counts, too.
pub struct Measurement(usize);

impl Measurement {
    /// Begins one. Only one may run at a time.
    pub fn begin() -> Self {
        let before = HELD.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        Self(before)
    }

    /// Returns the maximum of bytes that were held since, beyond those held at the beginning.
    pub fn most(&self) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.0)
    }
}
