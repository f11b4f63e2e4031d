//! Copies of blobs from one store into another.

mod active_copies;
mod entry_locks;
mod local;

use std::fmt::{Debug, Display};

use async_trait::async_trait;

use crate::{Blob, Context, DigestSet, Kind, ReadRequest, Result};

pub use self::entry_locks::EntryLocks;
pub use self::local::LocalReplicator;

/// A way to copy blobs from a source into a sink, for layers over two stores.
///
/// Such a layer asks for a copy when the sink lacks what the source has: [`replicate`](Self::replicate) when a caller
/// reads it, [`replicate_all`](Self::replicate_all) when the sink must have it.
#[async_trait]
pub trait Replicator: Debug + Display + Send + Sync + 'static {
    /// The kind of blobs that are copied.
    type Kind: Kind;

    /// Reads from the source, and copies the blob into the sink while it is read.
    ///
    /// For a part, the whole composite is copied, so that the sink has the next part.
    ///
    /// The copy may be given up. It never makes the reading of contents fail.
    ///
    /// # Errors
    ///
    /// The errors of the source, unmarked: `NotFound` if the source lacks the blob. The errors of the sink, where it
    /// had to be asked, with the place `sink`.
    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob>;

    /// Copies all of `digests`, which the source is known to have. The sink has them when this returns.
    ///
    /// # Errors
    ///
    /// The error of the first copy that failed, with its digest and whether the `source` or the `sink` failed.
    /// `Internal` where the source lacks the blob: its caller has just been told that it is there.
    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()>;
}
