//! The settings of a queue of uploads.

use std::time::Duration;

/// The time at which a put is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the upload is queued: puts are quick, and their outcome is not known yet.
    Queued,
    /// When the upload has ended: puts return its outcome. A caller may stop waiting; the upload goes on.
    Uploaded,
}

/// The settings of a queue of uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    pub(super) max_items: usize,
    pub(super) max_bytes: u64,
    pub(super) max_blob_size_bytes: u64,
    pub(super) uploads_at_once: usize,
    pub(super) acknowledge: Acknowledge,
    pub(super) remembered_losses: usize,
    pub(super) lost_for: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_items: 100_000,
            max_bytes: 1 << 30,
            max_blob_size_bytes: 64 << 20,
            uploads_at_once: 100,
            acknowledge: Acknowledge::Queued,
            remembered_losses: 65_536,
            lost_for: Duration::from_mins(10),
        }
    }
}

impl QueueOptions {
    /// Returns the defaults: 100,000 uploads, 1 GiB in memory, blobs of up to 64 MiB, 100 uploads at once, and puts
    /// acknowledged when they are queued.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many uploads may be queued; 0 switches uploads off. If it is too small, uploads are dropped that the store
    /// could have taken a little later. If it is too large, uploads wait until they are of no use. Each takes some 500
    /// bytes.
    #[must_use]
    pub const fn with_max_items(mut self, max_items: usize) -> Self {
        self.max_items = max_items;
        self
    }

    /// Sets how many bytes of contents may be queued in memory.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the size of the largest blob that is held in memory. Larger blobs are refused, unless they are queued from a
    /// store that has them.
    #[must_use]
    pub const fn with_max_blob_size_bytes(mut self, max_blob_size_bytes: u64) -> Self {
        self.max_blob_size_bytes = max_blob_size_bytes;
        self
    }

    /// Sets how many uploads run concurrently, at least one.
    #[must_use]
    pub const fn with_uploads_at_once(mut self, uploads_at_once: usize) -> Self {
        self.uploads_at_once = if uploads_at_once == 0 { 1 } else { uploads_at_once };
        self
    }

    /// Sets when a put is acknowledged.
    #[must_use]
    pub const fn with_acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// Sets for how long lost contents count against action results with output directories: 10 minutes by default. Take
    /// at least the time that the uploads of one action need, from its first contents to its result.
    #[must_use]
    pub const fn with_lost_for(mut self, lost_for: Duration) -> Self {
        self.lost_for = lost_for;
        self
    }
}
