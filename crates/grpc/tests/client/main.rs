//! The client against servers that do as they are told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail so")]

mod action_cache;
mod batches;
mod calls;
mod conformance;
mod connections;
mod fake;
mod find_missing;
mod hostile;
mod messages;
mod observed_calls;
mod outages;
mod reads;
#[path = "../support/recorded_calls.rs"]
mod recorded_calls;
mod references;
mod replicator;
mod targets;
mod writes;
