//! Numbers for threads, so that threads on different cores can keep to memory of their own.

#[cfg(not(shuttle))]
use std::cell::Cell;
#[cfg(not(shuttle))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most groups of threads that are told apart.
const MAX_GROUPS: usize = 16;

/// Returns the number of groups of threads that are told apart on this machine.
pub(crate) fn groups() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).next_power_of_two().min(MAX_GROUPS)
}

/// Returns the group of this thread, which few other threads share.
#[cfg(not(shuttle))]
pub(crate) fn group_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % MAX_GROUPS);
        }
        own.get()
    })
}

/// Returns the group of this thread of a schedule.
#[cfg(shuttle)]
pub(crate) fn group_of_thread() -> usize {
    super::concurrency::task() % MAX_GROUPS
}

/// Returns a number that no other thread has.
#[cfg(not(shuttle))]
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}

/// Returns the number of this thread in its schedule.
#[cfg(shuttle)]
pub(crate) fn thread_number() -> usize {
    super::concurrency::task()
}
