//! The settings of an index of owners.

/// The settings of an [`OwnerIndex`](super::OwnerIndex).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerIndexOptions {
    pub(super) cache_bytes: usize,
    pub(super) log: bool,
}

impl Default for OwnerIndexOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, log: true }
    }
}

impl OwnerIndexOptions {
    /// Sets the size of the cache of the file, in bytes: 64 MiB unless set.
    #[must_use]
    pub const fn with_cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// Sets whether the end of each upload is written to a log at once, as it is unless set: about a microsecond for each.
    ///
    /// Without the log, `kill -9` loses the ends of the last second. Where objects keep metadata, the next scan finds them
    /// again. A crash of the machine loses them with the log as well, as nothing is synced.
    #[must_use]
    pub const fn with_log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }
}
