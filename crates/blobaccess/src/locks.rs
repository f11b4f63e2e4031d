//! The locks and atomics of the crate, or those of a tool in their place that runs threads in orders of its own.
//!
//! Shuttle draws orders at random: `RUSTFLAGS="--cfg shuttle" cargo test -p blobaccess --lib --release schedules`. Only
//! the tests of this crate get its types. A lock of the standard library that is held while shuttle runs another thread
//! would hang the process.

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
