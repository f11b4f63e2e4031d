//! The number of records published so far, and how many of them the last sync covered.
//!
//! Any thread may ask at any time. Holders of the lock of the space publish; holders of the lock of syncs note a sync.

use std::sync::atomic::Ordering;

use crate::machine::concurrency::locks::AtomicU64;

/// The number of records published so far, and how many of them the last sync covered.
#[derive(Debug)]
pub(super) struct Publications {
    published: AtomicU64,
    synced: AtomicU64,
}

impl Publications {
    pub(super) fn new() -> Self {
        Self { published: AtomicU64::new(0), synced: AtomicU64::new(0) }
    }

    /// Notes that `published` records are about to be published in all. This comes before the last of them can be
    /// found, so that a thread that finds it knows which sync covers it.
    pub(super) fn note_published(&self, published: u64) {
        self.published.store(published, Ordering::Release);
    }

    /// Notes that a sync covered this number of publications.
    pub(super) fn note_synced(&self, publications: u64) {
        self.synced.fetch_max(publications, Ordering::AcqRel);
    }

    /// Returns the number of records published so far. A sync that covers this number covers everything found before the
    /// call.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Returns whether a sync covered this number of publications.
    pub(super) fn are_synced(&self, publications: u64) -> bool {
        self.synced.load(Ordering::Acquire) >= publications
    }

    /// Returns the number of publications that no sync has covered yet.
    pub(super) fn unsynced(&self) -> u64 {
        // In this order: everything published by now is covered if that many publications are by then.
        let published = self.published();
        published.saturating_sub(self.synced.load(Ordering::Acquire))
    }
}
