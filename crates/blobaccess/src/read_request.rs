//! A request to read: a blob, or a part of one.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Blob, BlobAccess, Context, Digest, InstanceName, Result, Slice, Sliced, Slicer};

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

    /// Returns the same request in another instance name, for layers that look elsewhere than a caller does.
    ///
    /// The slicer goes on to get the digest that the caller asks for. The store gets the parts that the slicer finds in
    /// the new name, so that a store that remembers them does so in the name of the composite.
    #[must_use]
    pub fn with_instance_name(&self, instance_name: &InstanceName) -> Self {
        let part = self.part.as_ref().map(|(child, slicer)| {
            let renamed = child.with_instance_name(instance_name.clone());
            if renamed == *child {
                return (renamed, Arc::clone(slicer));
            }
            let slicer: Arc<dyn Slicer> = Arc::new(RenamingSlicer {
                inner: Arc::clone(slicer),
                child: child.clone(),
                instance_name: instance_name.clone(),
            });
            (renamed, slicer)
        });
        Self { digest: self.digest.with_instance_name(instance_name.clone()), part }
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

/// A slicer whose caller and whose store have the same parts in different instance names.
#[derive(Debug)]
struct RenamingSlicer {
    inner: Arc<dyn Slicer>,
    /// The part by the name of the caller.
    child: Digest,
    /// The name that the store has the composite in.
    instance_name: InstanceName,
}

#[async_trait]
impl Slicer for RenamingSlicer {
    async fn slice(&self, parent: Blob, _child: &Digest) -> Result<Sliced> {
        let Sliced { child, slices } = self.inner.slice(parent, &self.child).await?;
        let slices = slices.into_iter().map(|slice| {
            let digest = slice.digest.with_instance_name(self.instance_name.clone());
            Slice { digest, ..slice }
        });
        Ok(Sliced::new(child).with_slices(slices.collect()))
    }
}
