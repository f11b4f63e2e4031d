//! An allocator that counts, because unlike time the number of allocations is the same in every run.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // One for each thread: tests run concurrently, and a shared counter would slow down the measured code.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a counter. A test or a benchmark makes it its global allocator:
///
/// ```
/// use blobaccess_testkit::allocations::{Counting, counting};
///
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
///
/// let (counted, vector) = counting(|| vec![7; 100]);
/// assert_eq!((counted.calls, counted.largest_bytes, vector.len()), (1, 400, 100));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// The allocations of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// The number of allocations.
    pub calls: u64,
    /// The size of the largest allocation, in bytes.
    pub largest_bytes: usize,
}

fn count(bytes: usize) {
    // A thread that is ending has no counters any more.
    let _: Result<(), _> = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _: Result<(), _> = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract. Counting allocates
// nothing: the counters need neither initialisation nor an end.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    // Not by way of `alloc`, as the default is: the system has pages that are zero already.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Returns the number of allocations of this thread so far, if [`Counting`] is the global allocator.
#[must_use]
pub fn allocations() -> u64 {
    CALLS.try_with(Cell::get).unwrap_or_default()
}

/// Runs `action`, and returns its allocations and its result, if [`Counting`] is the global allocator. Allocations of
/// other threads are not counted.
pub fn counting<T>(action: impl FnOnce() -> T) -> (Allocations, T) {
    let (before, outer) = (allocations(), LARGEST.replace(0));
    let outcome = action();
    let counted = Allocations { calls: allocations() - before, largest_bytes: LARGEST.get() };
    LARGEST.set(outer.max(counted.largest_bytes));
    (counted, outcome)
}
