//! A layer of one's own: it refuses blobs above a size, whatever store it is put in front of.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind, InstanceName,
    KeyFormat, MemoryStore, PutOutcome, Result, Slicer,
};

/// A [`BlobAccess`] that refuses to store blobs above a size.
///
/// A single huge output pushes everything else out of a small cache. Clients learn the limit from the capabilities, and
/// do not send such a blob in the first place.
#[derive(Debug)]
struct SizeLimiting<B> {
    inner: B,
    max_blob_size_bytes: u64,
}

impl<B> SizeLimiting<B> {
    /// Lets blobs of up to `max_blob_size_bytes` bytes through to `inner`.
    fn new(inner: B, max_blob_size_bytes: u64) -> Self {
        Self { inner, max_blob_size_bytes }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for SizeLimiting<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (size, max) = (blob.size_bytes(), self.max_blob_size_bytes);
        if size > max {
            // The blob is dropped unread: nothing of it was sent anywhere.
            return Err(Error::invalid_argument(format!("blob {digest} is {size} bytes, at most {max} are taken")));
        }
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        Ok(capabilities.with_max_blob_size_bytes(self.max_blob_size_bytes))
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for SizeLimiting<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "size_limiting({})", self.inner)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = Context::background();
    let store = SizeLimiting::new(MemoryStore::<Cas>::new(1 << 20), 8);
    println!("the store is {store}");

    for contents in ["small", "rather too large"] {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
        let put = store.put(&ctx, &digest, Blob::from_bytes(contents)).await;
        println!("put {contents:?}: {put:?}");
        assert_eq!(put.err().map(|error| error.kind()), (contents.len() > 8).then_some(ErrorKind::InvalidArgument));
    }
    let limit = store.capabilities(&ctx, &InstanceName::empty()).await?.max_blob_size_bytes;
    println!("clients are told that at most {limit:?} bytes are taken");
    assert_eq!(limit, Some(8));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use blobaccess_testkit::Layered;

    /// Less than what any store beneath takes, so that it is this limit which is met.
    const MAX_BLOB_SIZE_BYTES: u64 = 2 << 20;

    // A layer passes the suite that every store passes, with the limit that it adds as one of its promises.
    blobaccess_testkit::conformance! {
        size_limiting => Layered::<Cas, _>::new(|beneath| SizeLimiting::new(beneath.store("inner"), MAX_BLOB_SIZE_BYTES))
            .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES))),
    }
}
