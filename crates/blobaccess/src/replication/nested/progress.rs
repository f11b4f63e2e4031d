//! The progress of copies of nested objects.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::replication::copy_counts::{CopyCounter, CopyCounts, total_size_bytes};
use crate::{Digest, DigestSet};

/// The work that copies of nested objects have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NestedCounts {
    /// The number of actions, directories and trees that were read.
    pub objects_read: u64,
    /// The number of different blobs that were come across.
    pub blobs: u64,
    /// The total size of these blobs, in bytes.
    pub bytes: u64,
    /// The number of blobs that the sink was found to have.
    pub found_present: u64,
    /// The total size of the blobs that the sink was found to have, in bytes.
    pub bytes_found_present: u64,
    /// The blobs that were copied.
    pub copies: CopyCounts,
}

impl NestedCounts {
    /// Returns the number of blobs that are neither copied nor found present.
    #[must_use]
    pub const fn pending_blobs(&self) -> u64 {
        self.blobs.saturating_sub(self.found_present).saturating_sub(self.copies.blobs)
    }

    /// Returns the size of the blobs that are neither copied nor found present, in bytes.
    #[must_use]
    pub const fn pending_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_found_present).saturating_sub(self.copies.bytes)
    }
}

/// Counts the work of one call.
#[derive(Debug, Default)]
pub(super) struct Progress {
    objects_read: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
    found_present: AtomicU64,
    bytes_found_present: AtomicU64,
    copies: CopyCounter,
}

impl Progress {
    /// Counts an object that was read.
    pub(super) fn count_read(&self) {
        self.objects_read.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a blob that was come across.
    pub(super) fn count_blob(&self, digest: &Digest) {
        self.blobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(digest.size_bytes(), Ordering::Relaxed);
    }

    /// Counts blobs that the sink has.
    pub(super) fn count_present(&self, digests: &DigestSet) {
        self.found_present.fetch_add(u64::try_from(digests.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes_found_present.fetch_add(total_size_bytes(digests), Ordering::Relaxed);
    }

    /// Returns the counter of copies.
    pub(super) const fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    /// Returns the counts so far.
    pub(super) fn counts(&self) -> NestedCounts {
        NestedCounts {
            objects_read: self.objects_read.load(Ordering::Relaxed),
            blobs: self.blobs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            found_present: self.found_present.load(Ordering::Relaxed),
            bytes_found_present: self.bytes_found_present.load(Ordering::Relaxed),
            copies: self.copies.counts(),
        }
    }
}
