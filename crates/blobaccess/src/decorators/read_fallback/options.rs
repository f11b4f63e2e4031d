//! The settings of a store with a fallback.

/// The settings of [`ReadFallback`](super::ReadFallback).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFallbackOptions {
    pub(super) waits_for_copies: bool,
    pub(super) max_noted: usize,
    pub(super) copies_at_once: usize,
}

impl Default for ReadFallbackOptions {
    fn default() -> Self {
        Self { waits_for_copies: false, max_noted: 100_000, copies_at_once: 16 }
    }
}

impl ReadFallbackOptions {
    /// Makes options with the defaults below.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a query waits until what it found in the secondary only has been copied into the primary, by default
    /// not.
    ///
    /// With it, the first query about a large build takes as long as copying that build, and fails with a copy. Without
    /// it, what was found is noted to be [copied](super::ReadFallback::copy_noted), and until then the secondary has to
    /// keep it.
    #[must_use]
    pub const fn with_waits_for_copies(mut self, waits: bool) -> Self {
        self.waits_for_copies = waits;
        self
    }

    /// Sets the number of blobs that are noted to be copied, by default 100,000. With 0, none are.
    ///
    /// Each takes some 350 bytes while it is noted. If there are too few, notes are dropped, oldest first
    /// ([`RepairSnapshot::dropped`](super::super::RepairSnapshot::dropped)); those blobs are copied when they are next
    /// used. Begin with the number of blobs of the largest build.
    #[must_use]
    pub const fn with_max_noted(mut self, blobs: usize) -> Self {
        self.max_noted = blobs;
        self
    }

    /// Sets the number of noted blobs that are copied concurrently: 1 or more, by default 16.
    ///
    /// Too few, and copying takes long: at 10 ms a copy, 16 make 1,600 small blobs a second. Too many compete with
    /// callers.
    #[must_use]
    pub const fn with_copies_at_once(mut self, blobs: usize) -> Self {
        self.copies_at_once = blobs;
        self
    }
}
