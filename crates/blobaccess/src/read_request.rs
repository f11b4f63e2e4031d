//! A request to read: a blob, or a part of one.

use std::sync::Arc;

use crate::{Blob, BlobAccess, Context, Digest, Result, Slicer};

/// A request to read: a blob, or a part of one.
///
/// A layer that reads from more than one store turns [`get`](BlobAccess::get) and
/// [`get_from_composite`](BlobAccess::get_from_composite) into this value, and then has one way to read, one error
/// handler and one copy to make, in place of two of each.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, ReadRequest};
///
/// let (near, far) = (MemoryStore::<Cas>::new(1 << 20), MemoryStore::<Cas>::new(1 << 20));
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// far.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
///
/// let request = ReadRequest::blob(&digest);
/// let blob = match request.read_from(&near, &ctx).await {
///     Err(error) if error.is_not_found() => request.read_from(&far, &ctx).await,
///     result => result,
/// };
/// assert_eq!(blob?.into_bytes(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReadRequest {
    digest: Digest,
    part: Option<(Digest, Arc<dyn Slicer>)>,
}

impl ReadRequest {
    /// Makes a request for all of the blob that `digest` names.
    #[must_use]
    pub fn blob(digest: &Digest) -> Self {
        Self { digest: digest.clone(), part: None }
    }

    /// Makes a request for `child`, the part of the blob `parent` that `slicer` knows how to find.
    #[must_use]
    pub fn part(parent: &Digest, child: &Digest, slicer: Arc<dyn Slicer>) -> Self {
        Self { digest: parent.clone(), part: Some((child.clone(), slicer)) }
    }

    /// Returns the digest of the blob that a store must have: the one requested, or the composite of the part.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the part and its slicer, if a part is requested.
    #[must_use]
    pub fn as_part(&self) -> Option<(&Digest, &Arc<dyn Slicer>)> {
        self.part.as_ref().map(|(child, slicer)| (child, slicer))
    }

    /// Reads from `store`, by the method for this request.
    ///
    /// # Errors
    ///
    /// The error of the store.
    pub async fn read_from<B: BlobAccess + ?Sized>(&self, store: &B, ctx: &Context) -> Result<Blob> {
        match &self.part {
            None => store.get(ctx, &self.digest).await,
            Some((child, slicer)) => store.get_from_composite(ctx, &self.digest, child, Arc::clone(slicer)).await,
        }
    }
}
