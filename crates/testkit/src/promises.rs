//! In what a store may differ from others, and still conform.

/// In what a store may differ from others, and still conform.
///
/// No promise decides whether a contract is run. Each has two sides, and the contracts check the side that holds: a
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
    /// The largest blob that the store takes, in bytes. It takes one of that size, refuses one byte more unread, and
    /// says so in its capabilities. `None`: it takes any size, and says so.
    ///
    /// A blob of the largest size is made only up to 64 MiB; above, one of a few MiB stands in for it.
    pub max_blob_size_bytes: Option<u64>,
    /// Whether a blob outlives the store that took it. If not, a store that is opened anew is empty.
    pub durable: bool,
    /// Whether every put tells exactly what it came to. If not, `Unclassified` may stand for any outcome; a wrong one
    /// may not.
    pub exact_outcomes: bool,
    /// Whether the store finds in bulk. If not, `find_missing` is `Unimplemented`, and the capabilities say so.
    pub finds_in_bulk: bool,
    /// What was put, read or asked about outlives this many further bytes of puts. `None`: it may go at any time, but
    /// then it is gone for `get` and `find_missing` alike.
    pub keeps_bytes: Option<u64>,
    /// The most contents that the store keeps, in bytes: of twice as much it has given up the rest. `None`: it keeps
    /// all of what the suite puts, which is 4 MiB.
    pub capacity_bytes: Option<u64>,
    /// Whether a put of a blob that is stored must bring that blob all the same: wrong bytes are refused then. If not,
    /// the put may also be answered before its bytes are read.
    pub demands_possession: bool,
    /// Whether the blob of no bytes exists without having been put. If not, it is like any other.
    pub empty_blob_exists: bool,
    /// Whether the store knows what it shows of one instance name to another. If not, its key format is the one that is
    /// safe for caches above it, with instance names.
    pub knows_key_format: bool,
}

impl Promises {
    /// Those of a plain store in memory without any limit: nothing outlives it, it finds in bulk, tells every outcome
    /// exactly and evicts nothing.
    pub const IN_MEMORY: Self = Self {
        max_blob_size_bytes: None,
        durable: false,
        exact_outcomes: true,
        finds_in_bulk: true,
        keeps_bytes: Some(4 << 20),
        capacity_bytes: None,
        demands_possession: false,
        empty_blob_exists: false,
        knows_key_format: true,
    };

    /// Those of [`MemoryStore`](blobaccess::MemoryStore) with this capacity.
    #[must_use]
    pub const fn of_memory(capacity_bytes: u64) -> Self {
        Self {
            // An entry takes 256 bytes besides its contents.
            max_blob_size_bytes: Some(capacity_bytes.saturating_sub(256)),
            keeps_bytes: Some(capacity_bytes / 2),
            capacity_bytes: Some(capacity_bytes),
            ..Self::IN_MEMORY
        }
    }

    /// The same, but with this largest blob; `None` if there is no such limit.
    #[must_use]
    pub const fn with_max_blob_size_bytes(mut self, max: Option<u64>) -> Self {
        self.max_blob_size_bytes = max;
        self
    }

    /// The same, but whether a blob outlives the store.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The same, but whether every put tells exactly what it came to.
    #[must_use]
    pub const fn with_exact_outcomes(mut self, exact: bool) -> Self {
        self.exact_outcomes = exact;
        self
    }

    /// The same, but whether the store finds in bulk.
    #[must_use]
    pub const fn with_finds_in_bulk(mut self, finds: bool) -> Self {
        self.finds_in_bulk = finds;
        self
    }

    /// The same, but with what a used blob outlives; `None` if that is not promised.
    #[must_use]
    pub const fn with_keeps_bytes(mut self, keeps: Option<u64>) -> Self {
        self.keeps_bytes = keeps;
        self
    }

    /// The same, but with the most contents that the store keeps; `None` if it evicts nothing.
    #[must_use]
    pub const fn with_capacity_bytes(mut self, capacity: Option<u64>) -> Self {
        self.capacity_bytes = capacity;
        self
    }

    /// The same, but whether the blob must be brought to a put that adds nothing.
    #[must_use]
    pub const fn with_demands_possession(mut self, demands: bool) -> Self {
        self.demands_possession = demands;
        self
    }

    /// The same, but whether the blob of no bytes always exists.
    #[must_use]
    pub const fn with_empty_blob_exists(mut self, exists: bool) -> Self {
        self.empty_blob_exists = exists;
        self
    }

    /// The same, but whether the store knows what it shows of one instance name to another.
    #[must_use]
    pub const fn with_knows_key_format(mut self, knows: bool) -> Self {
        self.knows_key_format = knows;
        self
    }
}
