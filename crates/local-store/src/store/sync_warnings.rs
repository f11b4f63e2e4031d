//! Warnings about puts that a restart will lose: one for a store that nobody syncs, one for a store dropped unsynced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blobaccess::Clock;

use crate::options::SyncPolicy;

/// The watch for [`run`](crate::LocalStore::run) of a store that relies on it to sync by interval.
///
/// It warns once, at the first put that begins an interval or more after the store was opened while `run` has never
/// been polled.
#[derive(Debug)]
pub(super) struct SyncWatch {
    interval: Duration,
    opened_at: Instant,
    /// Whether no warning will follow: the store does not rely on `run`, `run` was polled, or the warning was given.
    is_settled: AtomicBool,
}

impl SyncWatch {
    /// Makes the watch of a store that `policy` makes durable, and that was opened just now.
    pub(super) fn new(policy: Option<SyncPolicy>, clock: &dyn Clock) -> Self {
        let interval = match policy {
            Some(SyncPolicy::Interval(interval)) => Some(interval),
            Some(SyncPolicy::OnPut | SyncPolicy::OnClose) | None => None,
        };
        Self {
            interval: interval.unwrap_or_default(),
            opened_at: clock.monotonic(),
            is_settled: AtomicBool::new(interval.is_none()),
        }
    }

    /// Notes that `run` is polled.
    pub(super) fn note_run(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Notes that a put begins, and warns if syncs should have begun by now.
    pub(super) fn note_put(&self, clock: &dyn Clock) {
        if self.is_settled.load(Ordering::Relaxed) {
            return;
        }
        if clock.monotonic().saturating_duration_since(self.opened_at) < self.interval
            || self.is_settled.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tracing::warn!(
            interval = ?self.interval,
            "the store is to be synced by interval, but `LocalStore::run` was never polled: a restart loses what was put"
        );
    }
}

/// Warns that a store is dropped while no sync has covered `unsynced` of its changes.
pub(super) fn warn_of_drop(unsynced: u64) {
    tracing::warn!(
        unsynced,
        "a persistent store is dropped with changes that no sync has covered, which may be lost: call `sync` or `close`"
    );
}
