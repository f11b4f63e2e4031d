//! A crash anywhere: every sequence of writes is cut, with any part of what was not synced lost or torn, and opened again.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on (30), `BLOBACCESS_CRASH_SEED` repeats a run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a step that fails is a failed test"
)]

mod accounts;
mod anywhere;
mod expected;
mod history;
mod image;
mod names;
mod recorder;
mod reuse;
mod setup;
#[path = "../support/superblocks.rs"]
mod superblocks;
mod threads;
