//! Tests of the blob of size 0.

use std::sync::Arc;

use blobaccess::decorators::EmptyBlobInjecting;
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind, InstanceName, Operation,
    Provenance, PutCertainty, PutOutcome,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::LeadingBytes;
use bytes::Bytes;
use futures::stream;

use crate::{Inner, fail, inner, stored};

fn stack() -> (Inner<Cas>, EmptyBlobInjecting<Inner<Cas>>) {
    let inner = inner();
    (Arc::clone(&inner), EmptyBlobInjecting::new(inner))
}

/// Returns a digest of 0 bytes whose hash is not that of 0 bytes.
fn wrong_empty_digest() -> Digest {
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], 0).unwrap()
}

static CTX: Context = Context::background();

#[tokio::test]
async fn the_empty_blob_is_read_without_the_inner_store() {
    let (inner, store) = stack();
    for function in DigestFunction::ALL {
        let digest = Digest::of(InstanceName::empty(), function, b"");
        assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(0).await.unwrap(), "");
        let parent = digest_of("parent");
        let child = store.get_from_composite(&CTX, &parent, &digest, Arc::new(LeadingBytes)).await.unwrap();
        assert_eq!(child.into_bytes(0).await.unwrap(), "");
    }
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn no_bytes_with_a_wrong_hash_are_refused_by_every_call() {
    let (inner, store) = stack();
    let digest = wrong_empty_digest();
    let composite = store.get_from_composite(&CTX, &digest_of("parent"), &digest, Arc::new(LeadingBytes)).await;
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
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn other_blobs_are_read_from_the_inner_store() {
    let (inner, store) = stack();
    let digest = stored(&inner, "hello").await;
    assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
    let child = digest_of("he");
    let part = store.get_from_composite(&CTX, &digest, &child, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(part.into_bytes(9).await.unwrap(), "he");
    fail(&inner, Error::unavailable("gone fishing"));
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "gone fishing");
    let failed = store.get_from_composite(&CTX, &digest, &child, Arc::new(LeadingBytes)).await;
    assert_eq!(failed.unwrap_err().to_string(), "gone fishing");
    assert_eq!((inner.count_of(Operation::Get), inner.count_of(Operation::GetFromComposite)), (2, 2));
}

#[tokio::test]
async fn a_put_of_the_empty_blob_is_read_and_stored_nowhere() {
    let (inner, store) = stack();
    let digest = digest_of("");
    let outcome = store.put(&CTX, &digest, Blob::empty()).await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 0 });
    assert!(inner.calls().is_empty());
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
    fail(&inner, Error::unavailable("gone fishing"));
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
    assert_eq!(inner.count_of(Operation::FindMissing), 0);
    let missing = store.find_missing(&CTX, &[empty.clone(), other.clone()].into()).await.unwrap();
    assert_eq!(missing, DigestSet::from(other.clone()));
    assert_eq!(inner.digests_of_each(Operation::FindMissing), [[other.clone()]]);
    fail(&inner, Error::unavailable("gone fishing"));
    let error = store.find_missing(&CTX, &[empty, other].into()).await.unwrap_err();
    assert_eq!(error.to_string(), "gone fishing");
}
