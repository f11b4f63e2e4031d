//! Answers for the blob of size zero, which always exists.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome,
    Result, Slicer,
};

/// A [`BlobAccess`] that answers for blobs of size 0 by itself, and asks the inner store about all others.
///
/// The protocol has the empty blob exist without having been uploaded, and clients rely on it: they neither upload it
/// nor ask for it, but refer to it. A store need not know of that, nor keep records of no bytes.
///
/// A digest of size 0 with a hash that is not that of 0 bytes names nothing and never will. It is refused wherever it
/// comes: by [`find_missing`](BlobAccess::find_missing) too, where to call it present would be wrong, and to call it
/// missing would ask for an upload that must fail.
///
/// # Order
///
/// Outermost of a stack for contents, inside of what checks a caller's rights only.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::EmptyBlobInjecting;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = EmptyBlobInjecting::new(MemoryStore::<Cas>::new(1 << 20));
/// let empty = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"");
/// assert!(store.contains(&Context::background(), &empty).await?);
/// assert_eq!(store.inner().snapshot().blobs, 0);
/// # Ok(())
/// # }
/// ```
///
/// Over messages, of which one may well be empty, it does not compile:
///
/// ```compile_fail,E0271
/// # use blobaccess::decorators::EmptyBlobInjecting;
/// # use blobaccess::{Ac, MemoryStore};
/// let store = EmptyBlobInjecting::new(MemoryStore::<Ac>::new(1 << 20));
/// ```
#[derive(Debug)]
pub struct EmptyBlobInjecting<B> {
    inner: B,
}

impl<B: BlobAccess<Kind = Cas>> EmptyBlobInjecting<B> {
    /// Answers for the empty blob in front of `inner`.
    pub const fn new(inner: B) -> Self {
        Self { inner }
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

/// Checks that `digest`, whose size is 0, is that of 0 bytes.
fn check(digest: &Digest) -> Result<()> {
    let hash = digest.function().hasher(0).finish();
    if hash == *digest.hash() {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("digest {digest} names no blob: 0 bytes have hash {hash}")))
}

fn empty_blob(digest: &Digest) -> Result<Blob> {
    check(digest)?;
    Ok(Blob::from_verified_bytes(digest, Bytes::new()))
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for EmptyBlobInjecting<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if digest.is_empty_blob() { empty_blob(digest) } else { self.inner.get(ctx, digest).await }
    }

    /// Answers for a part of size 0 without looking at its parent.
    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        if child.is_empty_blob() {
            return empty_blob(child);
        }
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    /// Reads a blob of size 0 anyway, so that a caller that sends too much gets an error.
    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if !digest.is_empty_blob() {
            return self.inner.put(ctx, digest, blob).await;
        }
        check(digest)?;
        let verified = blob.with_expected_digest(digest).verify().await;
        verified.map_err(Error::not_stored)?;
        Ok(PutOutcome::AlreadyExists { stored_bytes: 0 })
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        digests.iter().filter(|digest| digest.is_empty_blob()).try_for_each(check)?;
        let others = digests.without_empty_blobs();
        if others.is_empty() {
            return Ok(others);
        }
        self.inner.find_missing(ctx, &others).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for EmptyBlobInjecting<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "empty_blob_injecting({})", self.inner)
    }
}
