//! The settings of a mirror.

use std::time::Duration;

/// The number of halves that a put needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PutPolicy {
    /// Both halves must take the blob. While one is down, nothing can be put.
    #[default]
    Both,
    /// One half must take the blob. If the other [is in trouble](crate::ErrorKind::is_infrastructure), the blob is
    /// noted to be copied later. An error of any other kind still fails the put.
    ///
    /// Until the copy is made, there is one copy of the blob.
    Either,
}

/// The settings of [`Mirrored`](super::Mirrored).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredOptions {
    pub(super) put_policy: PutPolicy,
    pub(super) waits_for_repairs: bool,
    pub(super) max_noted: usize,
    pub(super) repairs_at_once: usize,
    pub(super) rest: Duration,
}

impl Default for MirroredOptions {
    fn default() -> Self {
        Self {
            put_policy: PutPolicy::Both,
            waits_for_repairs: false,
            max_noted: 100_000,
            repairs_at_once: 16,
            rest: Duration::from_secs(5),
        }
    }
}

impl MirroredOptions {
    /// Makes options with the defaults below.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of halves that a put needs, by default [`PutPolicy::Both`].
    #[must_use]
    pub const fn with_put_policy(mut self, policy: PutPolicy) -> Self {
        self.put_policy = policy;
        self
    }

    /// Sets whether a query waits until what it found in one half only has been copied into the other, by default not.
    ///
    /// With it, a query about a half that was replaced by an empty one takes as long as the copies, and fails with
    /// them. Without it, what is found in one half only is noted, and there is one copy until the
    /// [repair](super::Mirrored::repair).
    #[must_use]
    pub const fn with_waits_for_repairs(mut self, waits: bool) -> Self {
        self.waits_for_repairs = waits;
        self
    }

    /// Sets the number of blobs that are noted for repair in each direction, by default 100,000. With 0, none are.
    ///
    /// Each takes some 350 bytes while it is noted. If the number is too small for an outage, notes are dropped, oldest
    /// first ([`RepairSnapshot::dropped`](super::super::RepairSnapshot::dropped)): contents are then repaired when
    /// they are next used, and a message may be read at its older value from the half that missed a put. Begin with the
    /// number of puts in the longest outage.
    #[must_use]
    pub const fn with_max_noted(mut self, blobs: usize) -> Self {
        self.max_noted = blobs;
        self
    }

    /// Sets the number of blobs that a repair copies concurrently in each direction: 1 or more, by default 16.
    ///
    /// Too few, and a half that was replaced fills slowly: at 10 ms a copy, 16 make 1,600 small blobs a second. Too
    /// many compete with callers.
    #[must_use]
    pub const fn with_repairs_at_once(mut self, blobs: usize) -> Self {
        self.repairs_at_once = blobs;
        self
    }

    /// Sets the time for which a half is passed over after a fault, by default 5 s. With zero, it never is.
    ///
    /// Of a half that hangs until its deadline, one read in that time pays for it. If it is too long, a half that has
    /// recovered takes that long to get reads again.
    #[must_use]
    pub const fn with_rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }
}
