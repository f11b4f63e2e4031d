//! The ages at which action results expire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest action result that is read unless set, in bytes: 16 MiB, as for the check of completeness.
const MAX_MESSAGE_SIZE_BYTES: u64 = 16 << 20;

/// The ages at which [`ActionResultExpiring`](super::ActionResultExpiring) expires results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryOptions {
    pub(super) minimum_validity: Duration,
    pub(super) max_validity_jitter: Duration,
    pub(super) minimum_timestamp: SystemTime,
    pub(super) max_message_size_bytes: u64,
}

impl ExpiryOptions {
    /// Makes options by which every result is valid for at least `minimum_validity` after its worker completed.
    ///
    /// If it is too short, builds run actions again whose results are as good as new. If it is too long, results of
    /// actions that depend on more than their inputs (a time, a host, a network) go on being served. A few weeks are
    /// common. Zero expires every result that has a time, once that time is over.
    #[must_use]
    pub const fn new(minimum_validity: Duration) -> Self {
        Self {
            minimum_validity,
            max_validity_jitter: Duration::ZERO,
            minimum_timestamp: UNIX_EPOCH,
            max_message_size_bytes: MAX_MESSAGE_SIZE_BYTES,
        }
    }

    /// Sets the longest time for which a result is valid beyond the minimum. The default is none.
    ///
    /// Each result gets a part of it that depends on the time at which its worker completed, and on nothing else. So
    /// all servers expire a result at the same time, and results of one build do not all expire at once. Without it,
    /// a rebuild of everything comes back as one every time. As much as the minimum is common.
    #[must_use]
    pub const fn with_max_validity_jitter(mut self, jitter: Duration) -> Self {
        self.max_validity_jitter = jitter;
        self
    }

    /// Sets the time before which no worker may have completed. The default is the beginning of 1970.
    ///
    /// Set it to the present to be rid of everything that was stored so far, for example after workers had a broken
    /// compiler.
    #[must_use]
    pub const fn with_minimum_timestamp(mut self, time: SystemTime) -> Self {
        self.minimum_timestamp = time;
        self
    }

    /// Sets the size of the largest action result that is read, in bytes. The default is 16 MiB.
    ///
    /// Each get holds the result in memory. A larger one is refused with `InvalidArgument`.
    #[must_use]
    pub const fn with_max_message_size_bytes(mut self, max: u64) -> Self {
        self.max_message_size_bytes = max;
        self
    }
}
