//! The counters of a remote client.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a [`Remote`](crate::Remote). Every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteSnapshot {
    /// The calls that were made, those that failed and those that were made again included.
    pub calls: u64,
    /// The attempts that were made because one before had failed, batched or not.
    pub retries: u64,
    /// The calls that read a batch of blobs.
    pub read_batches: u64,
    /// The blobs that were asked for in those.
    pub batched_reads: u64,
    /// The calls that stored a batch of blobs.
    pub write_batches: u64,
    /// The blobs that were sent in those.
    pub batched_writes: u64,
    /// The streams that broke and were gone on with where they had broken.
    pub resumed_reads: u64,
    /// The connections that did not answer, and were left for new ones.
    pub left_connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) read_batches: AtomicU64,
    pub(super) batched_reads: AtomicU64,
    pub(super) write_batches: AtomicU64,
    pub(super) batched_writes: AtomicU64,
    pub(super) resumed_reads: AtomicU64,
    pub(super) left_connections: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> RemoteSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RemoteSnapshot {
            calls: read(&self.calls),
            retries: read(&self.retries),
            read_batches: read(&self.read_batches),
            batched_reads: read(&self.batched_reads),
            write_batches: read(&self.write_batches),
            batched_writes: read(&self.batched_writes),
            resumed_reads: read(&self.resumed_reads),
            left_connections: read(&self.left_connections),
        }
    }

    /// Counts a batch of `blobs`.
    pub(super) fn batch(batches: &AtomicU64, all: &AtomicU64, blobs: usize) {
        batches.fetch_add(1, Ordering::Relaxed);
        all.fetch_add(u64::try_from(blobs).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
