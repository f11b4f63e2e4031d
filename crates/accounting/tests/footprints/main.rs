//! The accumulator of footprints: a model of it, with all that may come between two of its steps, and its parts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail so")]

mod accumulator;
mod exploring;
mod ledger_source;
mod tables;
mod world;
