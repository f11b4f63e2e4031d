//! A replicator that copies nothing.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;

use super::Replicator;
use crate::{Blob, BlobAccess, Context, DigestSet, ReadRequest, Result};

/// A [`Replicator`] that reads from the source and copies nothing.
///
/// Use it for a sink that is not to grow: a [`ReadFallback`](crate::decorators::ReadFallback) on a store that is being
/// retired, or on one that another process fills.
///
/// # Order
///
/// Innermost. Around it, other replicators have nothing to do.
///
/// # Weakens
///
/// [`replicate_all`](Replicator::replicate_all) succeeds although the sink lacks the blobs. A layer that answers
/// `find_missing` by it reports blobs as present that only the source has. What a layer has noted to be copied by it is
/// counted as [given up](crate::decorators::RepairSnapshot::given_up).
///
/// # Memory
///
/// None.
///
/// # Cancel safety
///
/// That of the source.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::ReadFallback;
/// use blobaccess::replication::NoopReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (new, old) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let store = ReadFallback::new(Arc::clone(&new), Arc::clone(&old), NoopReplicator::new(Arc::clone(&old)));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// old.put_bytes(&ctx, &digest, "hello").await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert!(!new.contains(&ctx, &digest).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NoopReplicator<A: ?Sized> {
    source: Arc<A>,
}

impl<A: BlobAccess + ?Sized> NoopReplicator<A> {
    /// Makes a replicator that reads from `source`.
    #[must_use]
    pub const fn new(source: Arc<A>) -> Self {
        Self { source }
    }

    /// Returns the store that is read from.
    #[must_use]
    pub const fn source(&self) -> &Arc<A> {
        &self.source
    }
}

#[async_trait]
impl<A: BlobAccess + ?Sized> Replicator for NoopReplicator<A> {
    type Kind = A::Kind;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        request.read_from(&*self.source, ctx).await
    }

    async fn replicate_all(&self, _ctx: &Context, _digests: &DigestSet) -> Result<()> {
        Ok(())
    }

    fn copies(&self) -> bool {
        false
    }
}

impl<A: Display + ?Sized> Display for NoopReplicator<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "noop({})", self.source)
    }
}
