//! The number of copies that a replicator has made.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::DigestSet;

/// The copies that a replicator has made since it was made itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyCounts {
    /// The number of blobs copied.
    pub blobs: u64,
    /// The total size of the blobs copied, in bytes.
    pub bytes: u64,
    /// The number of copies that failed. Several blobs that were copied by one call count as one.
    pub failed: u64,
}

/// Counts copies. The three numbers of a snapshot may be of slightly different moments.
#[derive(Debug, Default)]
pub(super) struct CopyCounter {
    blobs: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

impl CopyCounter {
    /// Counts blobs that were copied, of this size together.
    pub(super) fn add(&self, blobs: usize, bytes: u64) {
        self.blobs.fetch_add(u64::try_from(blobs).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts the end of a call that was to copy `digests`.
    pub(super) fn count<T, E>(&self, digests: &DigestSet, result: &Result<T, E>) {
        match result {
            Ok(_) => self.add(digests.len(), total_size_bytes(digests)),
            Err(_) => self.add_failure(),
        }
    }

    /// Counts a copy that failed.
    pub(super) fn add_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts so far.
    pub(super) fn counts(&self) -> CopyCounts {
        CopyCounts {
            blobs: self.blobs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Returns the size of all blobs, in bytes.
pub(super) fn total_size_bytes(digests: &DigestSet) -> u64 {
    digests.iter().fold(0, |total, digest| total.saturating_add(digest.size_bytes()))
}
