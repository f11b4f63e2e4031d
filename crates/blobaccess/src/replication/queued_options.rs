//! The settings of a replicator that makes one copy at a time.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The number of blobs that are copied in one turn unless set. At 10 ms for a get and a put, 16 at a time, a turn takes
/// 70 ms.
const DIGESTS_PER_TURN: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// The settings of a [`QueuedReplicator`](super::QueuedReplicator).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedOptions {
    pub(super) capacity: usize,
    pub(super) digests_per_turn: NonZeroUsize,
    pub(super) remembered: usize,
    pub(super) remembered_for: Duration,
    pub(super) pause: Duration,
    pub(super) max_turn: Duration,
}

impl Default for QueuedOptions {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            digests_per_turn: DIGESTS_PER_TURN,
            remembered: 100_000,
            remembered_for: Duration::from_mins(1),
            pause: Duration::from_secs(5),
            max_turn: Duration::from_mins(10),
        }
    }
}

impl QueuedOptions {
    /// Makes options with the defaults below, which suit most stores.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of blobs that may wait to be copied because they were read: 10,000 unless set. With 0, no read
    /// causes a copy.
    ///
    /// With too few, blobs that are read are not copied, which `dropped` of the
    /// [snapshot](super::QueuedReplicator::snapshot) counts. Each takes about 450 bytes.
    #[must_use]
    pub const fn with_capacity(mut self, blobs: usize) -> Self {
        self.capacity = blobs;
        self
    }

    /// Sets the number of blobs that one call of the replicator beneath copies in one turn: 100 unless set.
    ///
    /// Too many, and others wait long for their turn. With 1, one blob is copied at a time.
    #[must_use]
    pub const fn with_digests_per_turn(mut self, digests: NonZeroUsize) -> Self {
        self.digests_per_turn = digests;
        self
    }

    /// Sets the number of copied blobs that are remembered, and for how long after their copy began: 100,000 for one
    /// minute unless set. With either at zero, none are remembered.
    ///
    /// If it is too long, a blob that the sink has evicted is not copied again. Each takes about 170 bytes.
    #[must_use]
    pub const fn with_remembered(mut self, blobs: usize, duration: Duration) -> Self {
        self.remembered = blobs;
        self.remembered_for = duration;
        self
    }
    /// Sets the time that [`run`](super::QueuedReplicator::run) waits after an outage before its next attempt: 1 s or more,
    /// 5 s unless set.
    ///
    /// If it is too short, a store that is overloaded is asked all the sooner: up to four times in a row. If it is too
    /// long, the queue may be full before a store that has recovered is tried.
    #[must_use]
    pub const fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sets the time that one turn may take: 1 s or more, 10 minutes unless set.
    ///
    /// If it is too short, large blobs are never copied: at 10 MB/s, a blob of 6 GB takes 10 minutes. If it is too long, a
    /// store that hangs keeps the others waiting for as long.
    #[must_use]
    pub const fn with_max_turn(mut self, duration: Duration) -> Self {
        self.max_turn = duration;
        self
    }
}
