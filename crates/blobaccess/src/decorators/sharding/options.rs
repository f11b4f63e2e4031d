//! The settings of a layer that spreads blobs over shards.

use std::time::Duration;

/// The settings of [`Sharding`](super::Sharding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardingOptions {
    pub(super) failures: u32,
    pub(super) rest: Duration,
    pub(super) missing_when_down: bool,
    pub(super) copies_on_get: bool,
    pub(super) copies_on_find: bool,
}

impl Default for ShardingOptions {
    fn default() -> Self {
        Self {
            failures: 5,
            rest: Duration::from_secs(5),
            missing_when_down: false,
            copies_on_get: true,
            copies_on_find: false,
        }
    }
}

impl ShardingOptions {
    /// Makes options with the defaults below.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of failures in a row after which a shard is down: 5 unless set. With 0, no shard ever is.
    ///
    /// Too few, and a moment's trouble makes a shard fail for all of a rest. Too many, and each of so many callers
    /// waits for a time-out.
    #[must_use]
    pub const fn with_failures_in_a_row(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Sets how long a shard that is down is not called, before one call is let through to try it: 5 s unless set.
    ///
    /// Too short, and a shard that hangs costs a caller its time-out again and again. Too long, and a shard that is back
    /// is not used.
    #[must_use]
    pub const fn with_rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Sets whether [`find_missing`](crate::BlobAccess::find_missing) reports the blobs of a shard that is down as
    /// missing, rather than fail: off unless set.
    ///
    /// Then an action cache in front checks results against what can be read now, and a build goes on by running
    /// actions again. But clients upload blobs that are not missing, and the uploads fail for as long as their shard is
    /// down.
    #[must_use]
    pub const fn with_missing_when_down(mut self, missing: bool) -> Self {
        self.missing_when_down = missing;
        self
    }

    /// Sets whether a blob that is read from where it was before is copied to where it belongs: on unless set.
    ///
    /// Without it, blobs that are only read are lost when the drained shard is switched off, or the period of the added
    /// one ends.
    #[must_use]
    pub const fn with_copies_on_get(mut self, copies: bool) -> Self {
        self.copies_on_get = copies;
        self
    }

    /// Sets whether the blobs that a query finds where they were before are copied to where they belong, before it
    /// answers: off unless set.
    ///
    /// With it, all that is in use moves, also inputs that nobody reads. The first queries after a change then take as
    /// long as the copies: a build of 10,000 inputs may wait for gigabytes. Without it, such blobs are uploaded again
    /// once the old shard is gone.
    #[must_use]
    pub const fn with_copies_on_find(mut self, copies: bool) -> Self {
        self.copies_on_find = copies;
        self
    }
}
