//! Reads from a second store what the first lacks.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;

use crate::replication::Replicator;
use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome,
    ReadRequest, Result, Slicer,
};

/// A [`BlobAccess`] that reads from a secondary store what its primary store lacks, and has it copied into the primary.
///
/// Use it to move from one store to another without a cold start: the new store is the primary, and clients find in it
/// what only the old one has.
///
/// * **get**: from the primary; what it lacks, through the replicator, which copies it from the secondary.
/// * **put**: into the primary only.
/// * **find missing**: a digest is missing if both stores lack it. What only the secondary has is copied before the
///   answer, so that the primary keeps it.
///
/// # Order
///
/// Inside layers that cache existence or enforce deadlines. A deadline of its own around each store keeps a secondary
/// that hangs from holding up the answers of the primary.
///
/// # Weakens
///
/// * If the secondary fails, a get of a blob that the primary lacks fails too, and so does a query about it.
/// * A put into the primary says `Created` for a blob that only the secondary has.
/// * Of a mutable kind, a value that is copied at the moment of a put may replace the newer value.
///
/// # Memory
///
/// That of the replicator.
///
/// # Cancel safety
///
/// That of the replicator. A dropped query may leave some blobs copied.
///
/// # Errors
///
/// Those of the two stores, with the places `primary` and `secondary`. `Internal` if the secondary has reported a blob
/// present and then lacks it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::ReadFallback;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (new, old) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let replicator = LocalReplicator::new(Arc::clone(&old), Arc::clone(&new));
/// let store = ReadFallback::new(Arc::clone(&new), Arc::clone(&old), replicator);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// old.put_bytes(&ctx, &digest, "hello").await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert!(new.contains(&ctx, &digest).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadFallback<P, S, R> {
    primary: P,
    secondary: S,
    replicator: R,
}

impl<P, S, R> ReadFallback<P, S, R>
where
    P: BlobAccess,
    S: BlobAccess<Kind = P::Kind>,
    R: Replicator<Kind = P::Kind>,
{
    /// Makes a layer over two stores. `replicator` copies from `secondary` into `primary`.
    pub const fn new(primary: P, secondary: S, replicator: R) -> Self {
        Self { primary, secondary, replicator }
    }

    /// Returns the store that is asked first and written to.
    pub const fn primary(&self) -> &P {
        &self.primary
    }

    /// Returns the store that is asked for what the primary lacks.
    pub const fn secondary(&self) -> &S {
        &self.secondary
    }

    async fn read(&self, ctx: &Context, request: ReadRequest) -> Result<Blob> {
        match request.read_from(&self.primary, ctx).await {
            Err(error) if error.is_blob_missing() => {
                self.replicator.replicate(ctx, &request).await.map_err(in_secondary)
            }
            result => result.map_err(in_primary),
        }
    }
}

fn in_primary(error: Error) -> Error {
    error.at("primary")
}

/// Adds the place, except to absence: a blob that is nowhere is absent from this layer, not from one store.
fn in_secondary(error: Error) -> Error {
    if error.is_not_found() { error } else { error.at("secondary") }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P, S, R> BlobAccess for ReadFallback<P, S, R>
where
    P: BlobAccess,
    S: BlobAccess<Kind = P::Kind>,
    R: Replicator<Kind = P::Kind>,
{
    type Kind = P::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, ReadRequest::blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, ReadRequest::part(parent, child, slicer)).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.primary.put(ctx, digest, blob).await.map_err(in_primary)
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one of the two stores does not find in bulk"));
        }
        let not_in_primary = self.primary.find_missing(ctx, digests).await.map_err(in_primary)?;
        if not_in_primary.is_empty() {
            return Ok(not_in_primary);
        }
        let missing = self.secondary.find_missing(ctx, &not_in_primary).await.map_err(in_secondary)?;
        let replicated = self.replicator.replicate_all(ctx, &not_in_primary.difference(&missing)).await;
        replicated.map_err(|error| error.into_inconsistency().at("replication"))?;
        Ok(missing)
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.primary.capabilities(ctx, instance_name).await.map_err(in_primary)
    }

    fn key_format(&self) -> KeyFormat {
        self.primary.key_format().combine(self.secondary.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.primary.finds_in_bulk() && self.secondary.finds_in_bulk()
    }
}

impl<P: Display, S: Display, R> Display for ReadFallback<P, S, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "read_fallback({}, {})", self.primary, self.secondary)
    }
}
