//! The ways in which conforming stores may differ.

/// The ways in which conforming stores may differ.
///
/// No promise decides whether a contract is run. Each has two sides, and the contracts check the side that holds. A
/// store that does not promise to be durable must be empty after a restart, rather than garbled.
///
/// # Examples
///
/// ```
/// use blobaccess_testkit::Promises;
///
/// let promises = Promises::IN_MEMORY.with_durable(true).with_max_blob_size_bytes(Some(1 << 20));
/// assert_eq!(promises.max_blob_size_bytes, Some(1 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own, made or not")]
pub struct Promises {
    /// The maximum size of a blob, in bytes. The store accepts a blob of that size, refuses one byte more unread, and
    /// reports the size in its capabilities. `None`: it accepts any size, and says so.
    ///
    /// The suite makes a blob of the maximum size only up to 64 MiB. Above that, a blob of a few MiB stands in for it.
    pub max_blob_size_bytes: Option<u64>,
    /// Whether a blob outlives the store that accepted it. If not, a store that is opened again is empty.
    pub durable: bool,
    /// Whether every put returns its exact outcome. If not, `Unclassified` may stand for any outcome; a wrong outcome
    /// may not.
    pub exact_outcomes: bool,
    /// Whether the store finds in bulk. If not, `find_missing` is `Unimplemented`, and the capabilities say so.
    pub finds_in_bulk: bool,
    /// The number of further bytes of puts that a blob outlives after it was put, read or asked about. `None`: it may
    /// be evicted at any time, but then for `get` and `find_missing` alike.
    pub keeps_bytes: Option<u64>,
    /// The maximum total size of contents that the store keeps, in bytes. After puts of twice as much it has evicted
    /// the excess. `None`: it keeps all that the suite puts, which is 4 MiB.
    pub capacity_bytes: Option<u64>,
    /// Whether a put of a stored blob must bring its contents anyway, so that wrong bytes are refused. If not, the put
    /// may also return before its bytes are read.
    pub demands_possession: bool,
    /// Whether the empty blob exists without having been put. If not, it is like any other.
    pub empty_blob_exists: bool,
    /// The number of slow peers that harm nobody: of uploads that stand still, and of readers that do not read. `None`: any
    /// number. The suite has up to eight. A store that bears only some says so in its documentation, or is told how many.
    pub max_slow_peers: Option<usize>,
    /// Whether the store knows if contents of one instance name are visible in another. If not, its key format is the
    /// one that is safe for caches above it: with instance names.
    pub knows_key_format: bool,
}

impl Promises {
    /// The promises of a plain store in memory without limits. Nothing outlives it, it finds in bulk, returns exact
    /// outcomes and evicts nothing.
    pub const IN_MEMORY: Self = Self {
        max_blob_size_bytes: None,
        durable: false,
        exact_outcomes: true,
        finds_in_bulk: true,
        keeps_bytes: Some(4 << 20),
        capacity_bytes: None,
        demands_possession: false,
        empty_blob_exists: false,
        max_slow_peers: None,
        knows_key_format: true,
    };

    /// Returns the promises of a [`MemoryStore`](blobaccess::MemoryStore) with this capacity.
    #[must_use]
    pub const fn for_memory_store(capacity_bytes: u64) -> Self {
        Self {
            // An entry takes 256 bytes besides its contents.
            max_blob_size_bytes: Some(capacity_bytes.saturating_sub(256)),
            keeps_bytes: Some(capacity_bytes / 2),
            capacity_bytes: Some(capacity_bytes),
            ..Self::IN_MEMORY
        }
    }

    /// Sets the maximum size of a blob; `None` if there is none.
    #[must_use]
    pub const fn with_max_blob_size_bytes(mut self, max: Option<u64>) -> Self {
        self.max_blob_size_bytes = max;
        self
    }

    /// Sets whether a blob outlives the store.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether every put returns its exact outcome.
    #[must_use]
    pub const fn with_exact_outcomes(mut self, exact: bool) -> Self {
        self.exact_outcomes = exact;
        self
    }

    /// Sets whether the store finds in bulk.
    #[must_use]
    pub const fn with_finds_in_bulk(mut self, finds: bool) -> Self {
        self.finds_in_bulk = finds;
        self
    }

    /// Sets the number of bytes of puts that a used blob outlives; `None` if that is not promised.
    #[must_use]
    pub const fn with_keeps_bytes(mut self, keeps: Option<u64>) -> Self {
        self.keeps_bytes = keeps;
        self
    }

    /// Sets the maximum total size of contents; `None` if the store evicts nothing.
    #[must_use]
    pub const fn with_capacity_bytes(mut self, capacity: Option<u64>) -> Self {
        self.capacity_bytes = capacity;
        self
    }

    /// Sets whether a put must bring the contents of a stored blob.
    #[must_use]
    pub const fn with_demands_possession(mut self, demands: bool) -> Self {
        self.demands_possession = demands;
        self
    }

    /// Sets whether the empty blob always exists.
    #[must_use]
    pub const fn with_empty_blob_exists(mut self, exists: bool) -> Self {
        self.empty_blob_exists = exists;
        self
    }

    /// Sets the number of slow peers that harm nobody; `None` if any number does not.
    #[must_use]
    pub const fn with_max_slow_peers(mut self, max: Option<usize>) -> Self {
        self.max_slow_peers = max;
        self
    }

    /// Sets whether the store knows if contents of one instance name are visible in another.
    #[must_use]
    pub const fn with_knows_key_format(mut self, knows: bool) -> Self {
        self.knows_key_format = knows;
        self
    }
}
