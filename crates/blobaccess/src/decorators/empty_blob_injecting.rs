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
#[derive(Debug)]
pub struct EmptyBlobInjecting<B> {
    inner: B,
}

impl<B> EmptyBlobInjecting<B> {
    /// Answers for the empty blob in front of `inner`.
    pub const fn new(inner: B) -> Self {
        Self { inner }
    }
}

/// Whether `digest`, whose size is 0, is that of 0 bytes.
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

    /// A part of size 0 is answered without a look at its parent.
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

    /// A blob of size 0 is read all the same, so that who sends too much is told.
    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if !digest.is_empty_blob() {
            return self.inner.put(ctx, digest, blob).await;
        }
        check(digest)?;
        let verified = blob.expecting(digest).verify().await;
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

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::decorators::fakes::{Beginning, Noting, digest_of, wrong_empty_digest};
    use crate::{DigestFunction, ErrorKind, Operation, Provenance, PutCertainty};

    fn stack() -> (Arc<Noting<Cas>>, EmptyBlobInjecting<Arc<Noting<Cas>>>) {
        let inner = Noting::new();
        (Arc::clone(&inner), EmptyBlobInjecting::new(inner))
    }

    static CTX: Context = Context::background();

    #[tokio::test]
    async fn the_empty_blob_is_read_without_the_inner_store() {
        let (inner, store) = stack();
        for function in DigestFunction::ALL {
            let digest = Digest::of(InstanceName::empty(), function, b"");
            assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(0).await.unwrap(), "");
            let parent = digest_of("parent");
            let child = store.get_from_composite(&CTX, &parent, &digest, Arc::new(Beginning)).await.unwrap();
            assert_eq!(child.into_bytes(0).await.unwrap(), "");
        }
        assert!(inner.noted().is_empty());
    }

    #[tokio::test]
    async fn no_bytes_with_a_wrong_hash_are_refused_by_every_call() {
        let (inner, store) = stack();
        let digest = wrong_empty_digest();
        let composite = store.get_from_composite(&CTX, &digest_of("parent"), &digest, Arc::new(Beginning)).await;
        let errors = [
            store.get(&CTX, &digest).await.unwrap_err(),
            composite.unwrap_err(),
            store.put(&CTX, &digest, Blob::empty()).await.unwrap_err(),
            store.put(&CTX, &digest, Blob::from_verified_bytes(&digest, Bytes::new())).await.unwrap_err(),
            store.find_missing(&CTX, &[digest.clone(), digest_of("other")].into()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(&digest.to_string()), "{error}");
        }
        assert!(inner.noted().is_empty());
    }

    #[tokio::test]
    async fn other_blobs_are_read_from_the_inner_store() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
        let child = digest_of("he");
        let part = store.get_from_composite(&CTX, &digest, &child, Arc::new(Beginning)).await.unwrap();
        assert_eq!(part.into_bytes(9).await.unwrap(), "he");
        inner.fail_with(Error::unavailable("gone fishing"));
        assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "gone fishing");
        let failed = store.get_from_composite(&CTX, &digest, &child, Arc::new(Beginning)).await;
        assert_eq!(failed.unwrap_err().to_string(), "gone fishing");
        assert_eq!((inner.count(Operation::Get), inner.count(Operation::GetFromComposite)), (2, 2));
    }

    #[tokio::test]
    async fn a_put_of_the_empty_blob_is_read_and_stored_nowhere() {
        let (inner, store) = stack();
        let digest = digest_of("");
        let outcome = store.put(&CTX, &digest, Blob::empty()).await.unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 0 });
        assert!(inner.noted().is_empty());
    }

    #[tokio::test]
    async fn a_put_under_the_empty_digest_fails_if_its_source_fails_or_has_bytes() {
        let (_, store) = stack();
        let digest = digest_of("");
        let error = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let broken = stream::iter([Err(Error::unavailable("line cut"))]);
        let broken = Blob::from_untrusted_stream(&digest, broken, Provenance::client());
        let error = store.put(&CTX, &digest, broken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    }

    #[tokio::test]
    async fn other_puts_are_passed_on_with_their_outcome_or_error() {
        let (inner, store) = stack();
        let digest = digest_of("hello");
        let outcome = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap();
        assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
        inner.fail_with(Error::unavailable("gone fishing"));
        let error = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap_err();
        assert_eq!(error.to_string(), "gone fishing");
        assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
    }

    #[tokio::test]
    async fn the_empty_blob_is_never_missing_and_never_asked_for() {
        let (inner, store) = stack();
        let (empty, other) = (digest_of(""), digest_of("hello"));
        assert!(store.find_missing(&CTX, &empty.clone().into()).await.unwrap().is_empty());
        assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
        assert_eq!(inner.count(Operation::FindMissing), 0);
        let missing = store.find_missing(&CTX, &[empty.clone(), other.clone()].into()).await.unwrap();
        assert_eq!(missing, DigestSet::from(other.clone()));
        assert_eq!(inner.asked(Operation::FindMissing), [[other.clone()]]);
        inner.fail_with(Error::unavailable("gone fishing"));
        let error = store.find_missing(&CTX, &[empty, other].into()).await.unwrap_err();
        assert_eq!(error.to_string(), "gone fishing");
    }

    #[tokio::test]
    async fn everything_else_is_the_inner_stores() {
        let (inner, store) = stack();
        assert_eq!(store.to_string(), "empty_blob_injecting(noting)");
        assert_eq!(store.key_format(), inner.key_format());
        let capabilities = store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
        assert_eq!(capabilities, inner.capabilities(&CTX, &InstanceName::empty()).await.unwrap());
    }
}
