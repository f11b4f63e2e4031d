//! How a backend uses its bucket: sizes, attempts and what it settles for.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, SystemClock};

use crate::Layout;

/// What is done where a server does not keep what a conditional write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnMissingConditions {
    /// The bucket is not used: to open it fails, and says what the server did.
    #[default]
    Refuse,
    /// It is used, and no put is called `Created`: what was not there a moment before is `Unclassified`.
    Degrade,
}

/// How a large blob is created where the completion of a multipart upload is unconditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LargeCreates {
    /// Its key is claimed first, by a conditional put of a small marker, which the blob then replaces.
    #[default]
    Claim,
    /// Its outcome is `Unclassified`.
    Unclassified,
}

/// What becomes of an entry of a mutable kind (AC) that is put again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutability {
    /// Another value replaces the one before.
    #[default]
    Replace,
    /// The first value stays.
    ///
    /// A wrong action result then stays for good, and one whose outputs were evicted is never mended: its action is
    /// executed again and again. Only for those who never evict contents.
    CreateOnly,
}

/// How a backend uses its bucket.
///
/// # Examples
///
/// ```
/// use blobaccess_s3_backend::{Layout, BucketOptions};
///
/// let options = BucketOptions::default().with_layout(Layout::bazel_remote()).with_part_size_bytes(16 << 20);
/// assert_eq!(options.part_size_bytes, 16 << 20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketOptions {
    /// Under which keys, and in which form, blobs are stored. Our own, uncompressed, unless set.
    pub layout: Layout,
    /// From this size on, in bytes, a put asks whether the blob is there before it sends it (16 KiB).
    ///
    /// Smaller, and new blobs cost two requests; larger, and blobs that exist are sent in vain. To answer a failed
    /// condition costs the same question afterwards.
    pub ask_first_from_bytes: u64,
    /// Up to this size, in bytes, a blob is sent in one request, from memory (16 MiB). At least that of a part.
    pub single_put_max_bytes: u64,
    /// The size of a part of a larger blob, in bytes (8 MiB; 5 MiB at least, as providers have it). It grows with blobs
    /// that would otherwise have more than 10,000 parts.
    pub part_size_bytes: u64,
    /// How many parts of one blob are on their way at once (4).
    ///
    /// A stream takes as many parts of memory as this and one more; two more where it is compressed.
    pub concurrent_parts: usize,
    /// How many questions of one `find_missing` are on their way at once (64).
    pub concurrent_finds: usize,
    /// From this many digests on, `find_missing` tries whether listing takes fewer requests than asking for each (64);
    /// `usize::MAX` to never list.
    pub list_from_digests: usize,
    /// How many digests a page of a listing must answer for to be worth it (8). A page costs about as much as a dozen
    /// questions at the large providers, and each digest is asked for on its own otherwise.
    pub digests_per_page: usize,
    /// How often a create is tried, in all (8).
    pub attempts: u32,
    /// The first pause between two attempts, and the longest (100 ms, 10 s).
    pub backoff: (Duration, Duration),
    /// How long one attempt may take, besides what its bytes take at 256 KiB/s (30 s).
    pub attempt_timeout: Duration,
    /// What becomes of entries that are put again, in mutable kinds.
    pub mutability: Mutability,
    /// The largest message that a store of a mutable kind takes, in bytes (16 MiB).
    pub max_message_size_bytes: u64,
    /// What is done where the server ignores conditions.
    pub unconditional: OnMissingConditions,
    /// How large blobs are created where completion is unconditional.
    pub large_creates: LargeCreates,
    /// After how long a claim that its owner has not renewed may be taken over (5 min). Renewed after a third of it.
    pub claim_lease: Duration,
    /// Whether the bucket is tried out before it is used (yes). Unless it is, the provider is believed.
    pub probe: bool,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
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
            backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            attempt_timeout: Duration::from_secs(30),
            mutability: Mutability::default(),
            max_message_size_bytes: 16 << 20,
            unconditional: OnMissingConditions::default(),
            large_creates: LargeCreates::default(),
            claim_lease: Duration::from_mins(5),
            probe: true,
            clock: Arc::new(SystemClock),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $setter:ident => $field:ident: $type:ty;)*) => {
        impl BucketOptions {
            $(
                $(#[$doc])*
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
    /// The same, with this layout.
    with_layout => layout: Layout;
    /// The same, asking first from this size on, in bytes.
    with_ask_first_from_bytes => ask_first_from_bytes: u64;
    /// The same, sending blobs of up to this size, in bytes, in one request.
    with_single_put_max_bytes => single_put_max_bytes: u64;
    /// The same, with parts of this size, in bytes.
    with_part_size_bytes => part_size_bytes: u64;
    /// The same, with this many parts of one blob at once.
    with_concurrent_parts => concurrent_parts: usize;
    /// The same, with this many questions of one `find_missing` at once.
    with_concurrent_finds => concurrent_finds: usize;
    /// The same, listing for this many digests or more.
    with_list_from_digests => list_from_digests: usize;
    /// The same, listing on while a page answers for this many digests.
    with_digests_per_page => digests_per_page: usize;
    /// The same, with this many attempts in all.
    with_attempts => attempts: u32;
    /// The same, with these first and longest pauses.
    with_backoff => backoff: (Duration, Duration);
    /// The same, with this time for an attempt.
    with_attempt_timeout => attempt_timeout: Duration;
    /// The same, with this rule for entries that are put again.
    with_mutability => mutability: Mutability;
    /// The same, with this largest message, in bytes.
    with_max_message_size_bytes => max_message_size_bytes: u64;
    /// The same, doing this where the server ignores conditions.
    with_unconditional => unconditional: OnMissingConditions;
    /// The same, creating large blobs so where completion is unconditional.
    with_large_creates => large_creates: LargeCreates;
    /// The same, with this lease for claims.
    with_claim_lease => claim_lease: Duration;
    /// The same, but whether the bucket is tried out first.
    with_probe => probe: bool;
    /// The same, with this clock.
    with_clock => clock: Arc<dyn Clock>;
}
