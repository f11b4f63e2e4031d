//! The settings of a queue of uploads.

use std::time::Duration;

/// The longest time that can be set: the sum of a few is far within the range of any clock.
const YEAR: Duration = Duration::from_hours(365 * 24);

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
    pub(super) backoff_first: Duration,
    pub(super) backoff_max: Duration,
    pub(super) retry_for: Duration,
    pub(super) attempt_timeout: Duration,
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
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_for: Duration::from_hours(24),
            attempt_timeout: Duration::from_mins(15),
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

    /// Sets the first and the longest pause before an upload that failed is tried again: 500 ms and 30 s unless set, at most a
    /// year. Each is twice the one before. The same pauses lie between two looks at a store that is down.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        (self.backoff_first, self.backoff_max) = (first.min(YEAR), max.min(YEAR));
        self
    }

    /// Sets for how long an upload is tried again after its first failure: a day unless set, at most a year. Too short, and an
    /// outage loses what was acknowledged; too long, and an upload that the store will never take keeps its room.
    ///
    /// Uploads whose callers [wait](Acknowledge::Uploaded) for them are not tried again: the callers are told.
    #[must_use]
    pub fn with_retry_for(mut self, duration: Duration) -> Self {
        self.retry_for = duration.min(YEAR);
        self
    }

    /// Sets the time that one attempt may take, in addition to the time of its bytes at 64 KiB/s: 15 minutes unless set, at
    /// most a year. It bounds how long a store without time-outs of its own can keep an upload.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout.min(YEAR);
        self
    }

    /// Sets for how long lost contents are remembered at least, of which more were lost than can be remembered one by one: 10
    /// minutes by default. Take at least the time that the uploads of one action need, from its first contents to its result.
    #[must_use]
    pub const fn with_lost_for(mut self, lost_for: Duration) -> Self {
        self.lost_for = lost_for;
        self
    }
}
