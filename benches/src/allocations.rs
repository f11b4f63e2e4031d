//! Counts what is allocated, which unlike time is the same in every run.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // A counter that all threads share would slow down what they do at the same time.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts. A benchmark makes it its global one.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

fn count() {
    // A thread that is ending has no counter any more.
    let _: Result<(), _> = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract. Counting allocates
// nothing: the counter needs neither initialisation nor an end.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// How often this thread has allocated so far, if the [`CountingAllocator`] is the global one.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.try_with(Cell::get).unwrap_or_default()
}

/// How often `work` allocates on average, over `times` runs of it, if the [`CountingAllocator`] is the global one.
/// What it has other threads do is not counted.
pub fn allocations_of(times: u32, mut work: impl FnMut()) -> f64 {
    let before = allocations();
    for _ in 0..times {
        work();
    }
    f64::from(u32::try_from(allocations() - before).unwrap_or(u32::MAX)) / f64::from(times)
}
