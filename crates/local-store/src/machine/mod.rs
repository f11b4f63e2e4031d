//! The machine that a store runs on: atomics and locks, random numbers, threads, vectors and hints.

pub(crate) mod advise;
pub(crate) mod casts;
pub(crate) mod concurrency;
#[cfg(not(any(loom, shuttle)))]
pub(crate) mod line_compare;
pub(crate) mod random;
pub(crate) mod threads;
