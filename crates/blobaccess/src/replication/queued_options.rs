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
}

impl Default for QueuedOptions {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            digests_per_turn: DIGESTS_PER_TURN,
            remembered: 100_000,
            remembered_for: Duration::from_mins(1),
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
}
