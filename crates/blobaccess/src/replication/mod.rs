//! Copies of blobs from one store into another.
//!
//! | replicator | for | what it does |
//! |---|---|---|
//! | [`LocalReplicator`] | any | copies in this process, while a reader reads |
//! | [`NoopReplicator`] | any | reads from the source and copies nothing |
//! | [`ConcurrencyLimitingReplicator`] | any | makes up to a given number of copies at a time |
//! | [`QueuedReplicator`] | any | makes one copy at a time, in the background of reads |
//! | [`DeduplicatingReplicator`] | CAS, ICAS | copies each blob once, however many callers ask at the same time |
//!
//! [`NestedReplicator`] copies an action, a directory or a tree with everything that it refers to, by any of these.
//!
//! # Order
//!
//! A replicator that copies stands innermost. Around it, commonly: `deduplicating(concurrency_limiting(local))`. The
//! other way round, callers that wait for one copy would each hold a permit.
//!
//! # Choosing one
//!
//! [`LocalReplicator`] alone hands out the first bytes at once, and gives a copy up rather than hold its reader up. Use
//! it unless many readers want the same blobs at the same moment. The limiting and the deduplicating one copy a blob whole, at the speed of the
//! stores, and read it from the sink then: the first byte comes later, and a slow reader keeps nobody waiting.
//! [`QueuedReplicator`] keeps copies out of the way of readers altogether.

mod active_copies;
mod concurrency_limiting;
mod copied_reads;
mod copy_counts;
mod deduplicating;
mod entry_locks;
mod local;
mod nested;
mod noop;
mod pointers;
mod queued;
mod queued_options;
mod waiting;

use std::fmt::{Debug, Display};

use async_trait::async_trait;

use crate::{Blob, Context, DigestSet, ErrorKind, Kind, ReadRequest, Result};

pub use self::concurrency_limiting::{ConcurrencyLimitingReplicator, ConcurrencySnapshot};
pub use self::copy_counts::CopyCounts;
pub use self::deduplicating::{DeduplicatingReplicator, DeduplicationSnapshot};
pub use self::entry_locks::EntryLocks;
pub use self::local::{LocalReplicator, LocalReplicatorSnapshot};
pub use self::nested::{NestedCounts, NestedObject, NestedOptions, NestedReplicator, NestedSnapshot};
pub use self::noop::NoopReplicator;
pub use self::queued::{QueuedReplicator, QueuedSnapshot};
pub use self::queued_options::QueuedOptions;

/// A way to copy blobs from a source into a sink, for layers over two stores.
///
/// Such a layer asks for a copy when the sink lacks what the source has: [`replicate`](Self::replicate) when a caller
/// reads it, [`replicate_all`](Self::replicate_all) when the sink must have it.
///
/// It is object-safe, and a pointer to a replicator ([`Arc`](std::sync::Arc), [`Box`]) is a replicator.
///
/// The contracts of replicators are in `blobaccess-testkit`, as `replicator_conformance!`.
#[async_trait]
pub trait Replicator: Debug + Display + Send + Sync + 'static {
    /// The kind of blobs that are copied.
    type Kind: Kind;

    /// Reads what the source has, and has it copied into the sink.
    ///
    /// For a part, the whole composite is copied, so that the sink has the next part.
    ///
    /// The contents come from the source, while they are copied, or from the sink once they have been copied. The copy
    /// may be given up. It never makes the reading of contents fail.
    ///
    /// # Errors
    ///
    /// The errors of the source, unmarked: `NotFound` if the source lacks the blob. The errors of the sink, where it
    /// had to be asked, with the place `sink`.
    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob>;

    /// Copies all of `digests`, which the source is known to have. The sink has them when this returns, unless the
    /// replicator is one that copies nothing.
    ///
    /// # Errors
    ///
    /// The error of the first copy that failed, with its digest and whether the `source` or the `sink` failed.
    /// `Internal` where the source lacks the blob: its caller has just been told that it is there.
    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()>;

    /// Returns whether the sink has what [`replicate_all`](Self::replicate_all) was asked for: true, unless the replicator is
    /// one that copies nothing, or is around such a one. Layers count by it what was repaired.
    fn copies(&self) -> bool {
        true
    }
}

/// Reads through `replicator`; if that fails for a fault of a store, by `read`, without a copy.
///
/// A sink that fails, or a replicator in another process, then costs a copy and not a read. One that ran out of time is
/// not asked twice.
pub(crate) async fn replicate_or_read<R, F>(
    replicator: &R,
    ctx: &Context,
    request: &ReadRequest,
    read: impl FnOnce() -> F + Send,
) -> Result<Blob>
where
    R: Replicator + ?Sized,
    F: Future<Output = Result<Blob>> + Send,
{
    match replicator.replicate(ctx, request).await {
        Err(error) if error.is_store_fault() && error.kind() != ErrorKind::DeadlineExceeded => {
            tracing::debug!(%error, %replicator, "reading without a copy");
            read().await
        }
        result => result,
    }
}
