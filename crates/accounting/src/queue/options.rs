//! How much a queue of uploads takes, and what it tells those who put.

use std::time::Duration;

/// When a put is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// When it is queued: quick, and its outcome is not known.
    Queued,
    /// When it is uploaded: with its outcome. Whoever puts may stop waiting, and the upload goes on.
    Uploaded,
}

/// How much a queue of uploads takes, and what it tells those who put.
#[derive(Clone, Copy, Debug)]
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
    /// 100,000 uploads of 1 GiB in memory, blobs of up to 64 MiB, 100 uploads at once, acknowledged when queued.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many uploads may be queued; with 0, uploads are switched off. Too small, and uploads are dropped while the
    /// store could keep up on average; too large, and what is uploaded is of no use any more. Some 500 bytes each.
    #[must_use]
    pub const fn with_max_items(mut self, max_items: usize) -> Self {
        self.max_items = max_items;
        self
    }

    /// How many bytes of contents may be queued in memory.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The largest blob that is held in memory. Larger ones are refused; they can be queued from a store that has them.
    #[must_use]
    pub const fn with_max_blob_size_bytes(mut self, max_blob_size_bytes: u64) -> Self {
        self.max_blob_size_bytes = max_blob_size_bytes;
        self
    }

    /// How many uploads run at once, at least one.
    #[must_use]
    pub const fn with_uploads_at_once(mut self, uploads_at_once: usize) -> Self {
        self.uploads_at_once = if uploads_at_once == 0 { 1 } else { uploads_at_once };
        self
    }

    /// When a put is acknowledged.
    #[must_use]
    pub const fn with_acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// For how long contents that were lost count against action results with output directories: 10 minutes by
    /// default. It should cover the uploads of one action, from its first contents to its result.
    #[must_use]
    pub const fn with_lost_for(mut self, lost_for: Duration) -> Self {
        self.lost_for = lost_for;
        self
    }
}
