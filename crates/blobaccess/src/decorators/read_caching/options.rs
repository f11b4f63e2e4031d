//! The settings of a store with a cache in front of it.

use std::time::Duration;

/// The settings of [`ReadCaching`](super::ReadCaching).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadCachingOptions {
    pub(super) writes_through: bool,
    pub(super) max_used: usize,
    pub(super) max_stale: usize,
    pub(super) rest: Duration,
    pub(super) refresh_interval: Duration,
}

impl Default for ReadCachingOptions {
    fn default() -> Self {
        Self {
            writes_through: true,
            max_used: 100_000,
            max_stale: 100_000,
            rest: Duration::from_secs(5),
            refresh_interval: Duration::from_mins(1),
        }
    }
}

impl ReadCachingOptions {
    /// Makes options with the defaults below.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether contents that are put go into the fast store too, by default yes.
    ///
    /// If so, what was just uploaded is read from the fast store, at the price of its space for blobs that nobody reads.
    /// Messages always go there, since it may have older values of them.
    #[must_use]
    pub const fn with_writes_through(mut self, writes_through: bool) -> Self {
        self.writes_through = writes_through;
        self
    }

    /// Sets the number of blobs that are remembered as used between two [refreshes](super::ReadCaching::refresh), by
    /// default 100,000. With 0, none are.
    ///
    /// Each takes some 130 bytes. If there are too few, the slow store is not told of some uses, and may evict blobs that
    /// are read all the time ([`ReadCachingSnapshot::uses_dropped`](super::ReadCachingSnapshot::uses_dropped)). Begin
    /// with the number of different blobs that are read in one interval.
    #[must_use]
    pub const fn with_max_used(mut self, blobs: usize) -> Self {
        self.max_used = blobs;
        self
    }

    /// Sets the number of entries that are noted as outdated in the fast store, by default 100,000. Each takes some 350
    /// bytes, and is noted when the fast store misses the put of a message.
    ///
    /// If there are too few, notes are dropped, oldest first, and the older values are read again from the fast store.
    /// Begin with the number of messages that are put during the longest outage of the fast store.
    #[must_use]
    pub const fn with_max_stale(mut self, entries: usize) -> Self {
        self.max_stale = entries;
        self
    }

    /// Sets the time for which the fast store is passed over after a fault, by default 5 s. With zero, it never is.
    ///
    /// Of a fast store that hangs until its deadline, one read in that time pays for it. If it is too long, a fast store
    /// that has recovered spares nothing for that long.
    #[must_use]
    pub const fn with_rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Sets the time between two refreshes of [`ReadCaching::run`](super::ReadCaching::run), by default one minute.
    ///
    /// Keep it well below the time after which the slow store evicts a blob that is not used.
    #[must_use]
    pub const fn with_refresh_interval(mut self, interval: Duration) -> Self {
        self.refresh_interval = interval;
        self
    }
}
