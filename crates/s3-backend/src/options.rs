//! The settings of a store in a bucket: sizes, attempts, and what it settles for.

use std::time::Duration;

use crate::Layout;

/// The longest time that can be set: the sum of a few is far within the range of any clock.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// The behaviour of a store whose server does not keep the conditions of conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnMissingConditions {
    /// The bucket is refused: opening the store fails, and the error says what the server did.
    #[default]
    Refuse,
    /// The bucket is used without exact outcomes. A put of a blob that was missing a moment before is `Unclassified`.
    Degrade,
}

/// The behaviour of a store whose bucket does not answer when the store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnUnreachable {
    /// Opening fails.
    #[default]
    Fail,
    /// The store is opened. All its calls are `Unavailable` until the bucket answers, and
    /// [`BucketStore::run`](crate::BucketStore::run) probes it until then. A bucket that answers with a refusal, or
    /// ignores conditions, fails to open all the same.
    Wait,
}

/// Whether creates with large bodies are raced when a store is opened.
///
/// Some servers that keep the conditions of small creates let several large ones succeed that run concurrently. A race costs
/// 40 MiB in 8 bodies of 5 MiB, some 20 requests, and a minute at most. It takes place only at servers that speak the protocol
/// of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ProbeRaces {
    /// They are raced, and the result is kept in the bucket, as the object `probe/races`, for 30 days; for a day, if the races had
    /// no end. Another start reads it by one `GET`. Delete the object after the server was replaced.
    #[default]
    Remember,
    /// They are raced each time.
    Always,
    /// They are not raced: large creates are believed to be as small ones.
    Never,
}

/// The way to create a large blob whose multipart upload cannot be completed conditionally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LargeCreates {
    /// The key is claimed once all parts are sent, by a conditional put of a small marker, which the blob then replaces.
    #[default]
    Claim,
    /// The key is not claimed, and the outcome is `Unclassified`.
    Unclassified,
}

/// The effect of a second put of an entry of a mutable kind (AC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutability {
    /// The new value replaces the old one.
    #[default]
    Replace,
    /// The first value stays.
    ///
    /// A wrong action result then stays for good. One whose outputs were evicted is never repaired, so its action is
    /// executed again and again. Use this only if contents are never evicted.
    CreateOnly,
}

/// The settings of a store in a bucket.
///
/// The clock is not a setting: see [`Bucket::with_clock`](crate::Bucket::with_clock).
///
/// # Examples
///
/// ```
/// use blobaccess_s3_backend::{BucketOptions, Layout};
///
/// let options = BucketOptions::default().with_layout(Layout::bazel_remote()).with_part_size_bytes(16 << 20);
/// assert_eq!(options.layout(), Layout::bazel_remote());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    pub(crate) layout: Layout,
    pub(crate) ask_first_from_bytes: u64,
    pub(crate) single_put_max_bytes: u64,
    pub(crate) part_size_bytes: u64,
    pub(crate) concurrent_parts: usize,
    pub(crate) concurrent_finds: usize,
    pub(crate) list_from_digests: usize,
    pub(crate) digests_per_page: usize,
    pub(crate) attempts: u32,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) mutability: Mutability,
    pub(crate) max_message_size_bytes: u64,
    pub(crate) on_missing_conditions: OnMissingConditions,
    pub(crate) on_unreachable: OnUnreachable,
    pub(crate) large_creates: LargeCreates,
    pub(crate) claim_lease: Duration,
    pub(crate) probe: bool,
    pub(crate) probe_races: ProbeRaces,
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self {
            layout: Layout::own(),
            ask_first_from_bytes: 16 << 10,
            single_put_max_bytes: 16 << 20,
            part_size_bytes: 8 << 20,
            concurrent_parts: 4,
            concurrent_finds: 64,
            list_from_digests: 64,
            digests_per_page: 8,
            attempts: 8,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(30),
            mutability: Mutability::default(),
            max_message_size_bytes: 16 << 20,
            on_missing_conditions: OnMissingConditions::default(),
            on_unreachable: OnUnreachable::default(),
            large_creates: LargeCreates::default(),
            claim_lease: Duration::from_mins(5),
            probe: true,
            probe_races: ProbeRaces::default(),
        }
    }
}

impl BucketOptions {
    /// Returns the keys and the form of stored blobs.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Sets the keys and the form of stored blobs: our own, uncompressed, unless set.
    #[must_use]
    pub const fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the smallest blob, in bytes, for which a put first asks whether the blob exists: 16 KiB unless set.
    ///
    /// Too small, and new blobs cost two requests. Too large, and blobs that exist are sent in vain. A failed condition
    /// costs the same question afterwards.
    #[must_use]
    pub const fn with_ask_first_from_bytes(mut self, bytes: u64) -> Self {
        self.ask_first_from_bytes = bytes;
        self
    }

    /// Sets the largest blob, in bytes, that is sent in one request, from memory: at least the size of a part, 16 MiB
    /// unless set.
    #[must_use]
    pub const fn with_single_put_max_bytes(mut self, bytes: u64) -> Self {
        self.single_put_max_bytes = bytes;
        self
    }

    /// Sets the size of a part of a larger blob, in bytes: at least 5 MiB, as providers want, 8 MiB unless set.
    ///
    /// Parts are larger for blobs that would otherwise have more than 10,000 of them.
    #[must_use]
    pub const fn with_part_size_bytes(mut self, bytes: u64) -> Self {
        self.part_size_bytes = bytes;
        self
    }

    /// Sets the number of parts of one blob that are sent concurrently: at least 1, 4 unless set.
    ///
    /// A stream takes the memory of this many parts and one more, or two more if it is compressed.
    #[must_use]
    pub fn with_concurrent_parts(mut self, parts: usize) -> Self {
        self.concurrent_parts = parts.max(1);
        self
    }

    /// Sets the number of concurrent requests of one `find_missing`: at least 1, 64 unless set.
    #[must_use]
    pub fn with_concurrent_finds(mut self, requests: usize) -> Self {
        self.concurrent_finds = requests.max(1);
        self
    }

    /// Sets the number of digests from which on `find_missing` tries whether listing takes fewer requests than asking
    /// for each digest: 64 unless set. `usize::MAX` never lists.
    #[must_use]
    pub const fn with_list_from_digests(mut self, digests: usize) -> Self {
        self.list_from_digests = digests;
        self
    }

    /// Sets the number of digests that a page of a listing must answer for to be worth its price: 8 unless set.
    ///
    /// A page costs about as much as a dozen questions at the large providers. Digests of sparser keys are asked for one
    /// by one.
    #[must_use]
    pub const fn with_digests_per_page(mut self, digests: usize) -> Self {
        self.digests_per_page = digests;
        self
    }

    /// Sets the number of attempts of a create, the first included: at least 1, 8 unless set.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest pause between two attempts: 100 ms and 10 s unless set, at most a year. Each pause
    /// is twice the one before.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff_first = first.min(YEAR);
        self.backoff_max = max.min(YEAR);
        self
    }

    /// Sets the time that one attempt may take, in addition to the time of its bytes at 256 KiB/s: 30 s unless set,
    /// at most a year.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout.min(YEAR);
        self
    }

    /// Sets the effect of a second put of an entry, in mutable kinds: [`Mutability::Replace`] unless set.
    #[must_use]
    pub const fn with_mutability(mut self, mutability: Mutability) -> Self {
        self.mutability = mutability;
        self
    }

    /// Sets the largest message that a store of a mutable kind accepts, in bytes: 16 MiB unless set.
    #[must_use]
    pub const fn with_max_message_size_bytes(mut self, bytes: u64) -> Self {
        self.max_message_size_bytes = bytes;
        self
    }

    /// Sets the behaviour if the server ignores conditions: [`OnMissingConditions::Refuse`] unless set.
    #[must_use]
    pub const fn with_on_missing_conditions(mut self, behaviour: OnMissingConditions) -> Self {
        self.on_missing_conditions = behaviour;
        self
    }

    /// Sets the behaviour if the bucket does not answer when the store is opened: [`OnUnreachable::Fail`] unless set.
    #[must_use]
    pub const fn with_on_unreachable(mut self, behaviour: OnUnreachable) -> Self {
        self.on_unreachable = behaviour;
        self
    }

    /// Sets the way to create large blobs if completion is unconditional: [`LargeCreates::Claim`] unless set.
    #[must_use]
    pub const fn with_large_creates(mut self, large_creates: LargeCreates) -> Self {
        self.large_creates = large_creates;
        self
    }

    /// Sets the time after which another upload may take over a claim that is unchanged: 5 minutes unless set, at most a
    /// year.
    ///
    /// A claim is held while an upload is completed. One that stays for longer is that of a process that has ended.
    #[must_use]
    pub fn with_claim_lease(mut self, lease: Duration) -> Self {
        self.claim_lease = lease.min(YEAR);
        self
    }

    /// Sets whether the probe races creates with large bodies: [`ProbeRaces::Remember`] unless set.
    #[must_use]
    pub const fn with_probe_races(mut self, probe_races: ProbeRaces) -> Self {
        self.probe_races = probe_races;
        self
    }

    /// Sets whether the bucket is probed before it is used, as it is unless set. Without a probe, the provider's
    /// documentation is believed.
    #[must_use]
    pub const fn with_probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }
}
