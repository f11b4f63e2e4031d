//! The settings of a store in a bucket: sizes, attempts, and what it settles for.

use std::time::Duration;

use crate::Layout;

/// The behaviour of a store whose server does not keep the conditions of conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnMissingConditions {
    /// The bucket is refused: opening the store fails, and the error says what the server did.
    #[default]
    Refuse,
    /// The bucket is used without exact outcomes. A put of a blob that was missing a moment before is `Unclassified`.
    Degrade,
}

/// The way to create a large blob whose multipart upload cannot be completed conditionally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LargeCreates {
    /// The key is claimed first, by a conditional put of a small marker, which the blob then replaces.
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
/// assert_eq!(options.part_size_bytes, 16 << 20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketOptions {
    /// The keys and the form of stored blobs (our own, uncompressed).
    pub layout: Layout,
    /// The smallest blob, in bytes, for which a put first asks whether the blob exists (16 KiB).
    ///
    /// Too small, and new blobs cost two requests. Too large, and blobs that exist are sent in vain. A failed condition
    /// costs the same question afterwards.
    pub ask_first_from_bytes: u64,
    /// The largest blob, in bytes, that is sent in one request, from memory (16 MiB). At least the size of a part.
    pub single_put_max_bytes: u64,
    /// The size of a part of a larger blob, in bytes (8 MiB). Providers want at least 5 MiB.
    ///
    /// Parts are larger for blobs that would otherwise have more than 10,000 of them.
    pub part_size_bytes: u64,
    /// The number of parts of one blob that are sent concurrently (4).
    ///
    /// A stream takes the memory of this many parts and one more, or two more if it is compressed.
    pub concurrent_parts: usize,
    /// The number of concurrent requests of one `find_missing` (64).
    pub concurrent_finds: usize,
    /// The number of digests from which on `find_missing` tries whether listing takes fewer requests than asking for
    /// each digest (64). `usize::MAX` never lists.
    pub list_from_digests: usize,
    /// The number of digests that a page of a listing must answer for to be worth its price (8).
    ///
    /// A page costs about as much as a dozen questions at the large providers. Digests of sparser keys are asked for one
    /// by one.
    pub digests_per_page: usize,
    /// The number of attempts of a create, the first included (8).
    pub attempts: u32,
    /// The first pause between two attempts (100 ms). Each pause is twice the one before.
    pub backoff_first: Duration,
    /// The longest pause between two attempts (10 s).
    pub backoff_max: Duration,
    /// The time that one attempt may take, plus the time of its bytes at 256 KiB/s (30 s).
    pub attempt_timeout: Duration,
    /// The effect of a second put of an entry, in mutable kinds ([`Mutability::Replace`]).
    pub mutability: Mutability,
    /// The largest message that a store of a mutable kind accepts, in bytes (16 MiB).
    pub max_message_size_bytes: u64,
    /// The behaviour if the server ignores conditions ([`OnMissingConditions::Refuse`]).
    pub on_missing_conditions: OnMissingConditions,
    /// The way to create large blobs if completion is unconditional ([`LargeCreates::Claim`]).
    pub large_creates: LargeCreates,
    /// The time after which another upload may take over a claim that its owner has not renewed (5 min).
    ///
    /// Owners renew their claims after a third of this time.
    pub claim_lease: Duration,
    /// Whether the bucket is probed before it is used (yes). Without a probe, the provider's documentation is believed.
    pub probe: bool,
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
            large_creates: LargeCreates::default(),
            claim_lease: Duration::from_mins(5),
            probe: true,
        }
    }
}

macro_rules! setters {
    ($($setter:ident => $field:ident: $type:ty;)*) => {
        impl BucketOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    with_layout => layout: Layout;
    with_ask_first_from_bytes => ask_first_from_bytes: u64;
    with_single_put_max_bytes => single_put_max_bytes: u64;
    with_part_size_bytes => part_size_bytes: u64;
    with_concurrent_parts => concurrent_parts: usize;
    with_concurrent_finds => concurrent_finds: usize;
    with_list_from_digests => list_from_digests: usize;
    with_digests_per_page => digests_per_page: usize;
    with_attempts => attempts: u32;
    with_attempt_timeout => attempt_timeout: Duration;
    with_mutability => mutability: Mutability;
    with_max_message_size_bytes => max_message_size_bytes: u64;
    with_on_missing_conditions => on_missing_conditions: OnMissingConditions;
    with_large_creates => large_creates: LargeCreates;
    with_claim_lease => claim_lease: Duration;
    with_probe => probe: bool;
}

impl BucketOptions {
    /// Sets [`backoff_first`](Self::backoff_first) and [`backoff_max`](Self::backoff_max).
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff_first = first;
        self.backoff_max = max;
        self
    }
}
