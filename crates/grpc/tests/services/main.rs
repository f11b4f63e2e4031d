//! The services as a client meets them: in process, over loopback and over pipes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod action_cache;
mod authentication;
mod blobs;
mod call_observer;
mod capabilities;
mod execution;
mod failed_puts;
mod fake;
mod health;
mod limits;
mod listening;
mod message_caches;
#[path = "../support/recorded_calls.rs"]
mod recorded_calls;
mod references;
mod reflection;
mod replicator;
mod shutdown;
mod tls;
mod wired;
