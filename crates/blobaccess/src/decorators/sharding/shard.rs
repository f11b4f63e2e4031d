//! One of the stores that blobs are spread over.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One of the stores that [`Sharding`](super::Sharding) spreads blobs over: a key, a store, and a weight.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use blobaccess::decorators::Shard;
/// use blobaccess::{Cas, MemoryStore};
///
/// let store = || MemoryStore::<Cas>::new(1 << 20);
/// // Twice the disk, twice the blobs.
/// let large = Shard::new("large", store()).with_weight(2);
/// // New since yesterday. For a week, blobs are also looked for where they were before.
/// let yesterday = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000);
/// let new = Shard::new("new", store()).added(yesterday, Duration::from_hours(24 * 7));
/// // To be switched off. Until then, what it has can be read.
/// let old = Shard::new("old", store()).drained();
/// # let _ = (large, new, old);
/// ```
#[derive(Debug)]
pub struct Shard<S> {
    pub(super) key: Arc<str>,
    pub(super) store: Arc<S>,
    pub(super) weight: u32,
    pub(super) phase: Phase,
}

/// The place of a shard in a change of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A shard that has been there for long.
    Settled,
    /// A shard that blobs were elsewhere before. Until this time they are looked for there; without one, forever.
    Added { until: Option<SystemTime> },
    /// A shard that takes no more blobs.
    Drained,
}

impl<S> Shard<S> {
    /// Makes a shard of weight 1.
    ///
    /// The `key` decides which blobs the shard gets, so it must stay the same when the store moves to another machine.
    /// Errors and snapshots name the shard by it.
    pub fn new(key: impl Into<Arc<str>>, store: S) -> Self {
        Self { key: key.into(), store: Arc::new(store), weight: 1, phase: Phase::Settled }
    }

    /// Sets the share of the blobs that this shard gets, relative to the weights of the others: 1 or more, 1 unless
    /// set. The free space of its disk in gigabytes is a good weight.
    ///
    /// A greater weight moves blobs from all other shards to this one. Say that the shard was [`added`](Self::added)
    /// then, and reads fall back to where they were. A smaller weight moves blobs away, and reads do not fall back.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Drains the shard: it gets no more blobs, and what it has can still be read.
    ///
    /// Its blobs are put to the other shards from then on, and read from there first.
    #[must_use]
    pub const fn drained(mut self) -> Self {
        self.phase = Phase::Drained;
        self
    }

    /// Says that the shard was added at the time `since`, as the time of day of the [`Clock`](crate::Clock).
    ///
    /// For `period` after that, blobs that it lacks are read from where they were before. Choose the time after which a
    /// blob that nobody uses is evicted anyway. If it is too short, builds lose what has not moved by then. If it is too
    /// long, each query about a blob that is nowhere asks two shards.
    #[must_use]
    pub fn added(mut self, since: SystemTime, period: Duration) -> Self {
        self.phase = Phase::Added { until: since.checked_add(period) };
        self
    }
}
