//! Stacks of many layers, as they are deployed, against the contracts of every store and against stores that go wrong.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and prints where it is"
)]

mod conformance;
mod deployments;
mod faults;
mod leaf;
mod pairs;
mod samples;
mod site;
mod teeth;
