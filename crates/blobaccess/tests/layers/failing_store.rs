//! Tests of a store whose every call fails.

use std::sync::Arc;

use blobaccess::{
    Ac, Blob, BlobAccess, Context, DigestSet, Error, ErrorKind, FailingStore, InstanceName, PutCertainty,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::LeadingBytes;

#[tokio::test]
async fn every_call_fails_with_the_given_error() {
    let store = FailingStore::<Ac>::new(Error::unavailable("under repair"));
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    let put = store.put(&ctx, &digest, Blob::from_bytes("hello")).await.unwrap_err();
    assert_eq!(put.put_certainty(), PutCertainty::NotStored);
    let errors = [
        store.get(&ctx, &digest).await.unwrap_err(),
        store.get_from_composite(&ctx, &digest, &digest, Arc::new(LeadingBytes)).await.unwrap_err(),
        put,
        store.find_missing(&ctx, &digest.into()).await.unwrap_err(),
        store.capabilities(&ctx, &InstanceName::empty()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "under repair"));
    }
}

#[tokio::test]
async fn no_digests_are_never_missing() {
    let store = FailingStore::<Ac>::new(Error::unavailable("under repair"));
    assert!(store.find_missing(&Context::background(), &DigestSet::new()).await.unwrap().is_empty());
}

#[test]
fn it_prints_what_it_fails_with() {
    let store = FailingStore::<Ac>::new(Error::unavailable("under repair"));
    assert_eq!(store.to_string(), "error(Unavailable: under repair)");
}
