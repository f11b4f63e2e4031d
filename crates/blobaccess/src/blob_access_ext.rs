//! Calls of a store that programs make often, in one step each.

use std::future::Future;

use bytes::Bytes;

use crate::{Blob, BlobAccess, Context, Digest, PutOutcome, Result};

/// Shorter calls of any [`BlobAccess`], `dyn` ones included. Nobody implements it: a store is what the trait says.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = MemoryStore::<Cas>::new(64 << 20);
/// let ctx = Context::background();
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
///
/// assert!(!store.contains(&ctx, &digest).await?);
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub trait BlobAccessExt: BlobAccess {
    /// Returns whether `digest` is stored. To be asked about counts as use of the blob.
    ///
    /// For more than one digest, [`find_missing`](BlobAccess::find_missing) asks once.
    ///
    /// # Errors
    ///
    /// Those of [`find_missing`](BlobAccess::find_missing): `Unimplemented` for a store that does not
    /// [find in bulk](BlobAccess::finds_in_bulk).
    fn contains(&self, ctx: &Context, digest: &Digest) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(self.find_missing(ctx, &digest.clone().into()).await?.is_empty()) }
    }

    /// Returns the contents of `digest`, if they are up to `max` bytes.
    ///
    /// # Errors
    ///
    /// Those of [`get`](BlobAccess::get) and of [`Blob::into_bytes`]: `InvalidArgument` if there are more bytes.
    fn get_bytes(&self, ctx: &Context, digest: &Digest, max: u64) -> impl Future<Output = Result<Bytes>> + Send {
        async move { self.get(ctx, digest).await?.into_bytes(max).await }
    }

    /// Stores `contents` under `digest`.
    ///
    /// # Errors
    ///
    /// Those of [`put`](BlobAccess::put).
    fn put_bytes(
        &self,
        ctx: &Context,
        digest: &Digest,
        contents: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<PutOutcome>> + Send {
        let blob = Blob::from_bytes(contents);
        async move { self.put(ctx, digest, blob).await }
    }
}

impl<B: BlobAccess + ?Sized> BlobAccessExt for B {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Cas, DigestFunction, ErrorKind, InstanceName, MemoryStore};

    #[tokio::test]
    async fn any_store_has_them() {
        let store: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(MemoryStore::<Cas>::new(1 << 20));
        let ctx = Context::background();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
        assert!(!store.contains(&ctx, &digest).await.unwrap());
        assert_eq!(store.get_bytes(&ctx, &digest, 5).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(matches!(store.put_bytes(&ctx, &digest, "hello").await.unwrap(), PutOutcome::Created { .. }));
        assert!((*store).contains(&ctx, &digest).await.unwrap());
        assert_eq!(store.get_bytes(&ctx, &digest, 5).await.unwrap(), "hello");
        assert_eq!(store.get_bytes(&ctx, &digest, 4).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
