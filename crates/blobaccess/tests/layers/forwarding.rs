//! Tests that a layer passes on, once and with its context, each call that it has no answer of its own for.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, Authorizers, Authorizing, DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching,
    HierarchicalInstanceNames, Observing, QueryCoalescing, StaticAuthorizer,
};
use blobaccess::{Ac, Blob, BlobAccess, Caller, Cas, Context, InstanceName, Kind, NoObserver, Operation};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::LeadingBytes;

use crate::{Inner, inner, stored};

/// An action result with exit code 3, which is also as good as any other contents.
const CONTENTS: &str = "\x20\x03";

async fn assert_forwards<K: Kind, B: BlobAccess>(make: impl FnOnce(Inner<K>) -> B) {
    let inner = inner();
    let store = make(Arc::clone(&inner));
    let ctx = Context::background().with_caller(Caller::new("ci"));
    let (whole, part, name) = (stored(&inner, CONTENTS).await, digest_of("\x20"), InstanceName::empty());
    assert_eq!(store.get(&ctx, &whole).await.unwrap().into_bytes(9).await.unwrap(), CONTENTS);
    let found = store.get_from_composite(&ctx, &whole, &part, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(found.into_bytes(9).await.unwrap(), "\x20");
    store.put(&ctx, &whole, Blob::from_bytes(CONTENTS)).await.unwrap();
    assert!(store.find_missing(&ctx, &whole.clone().into()).await.unwrap().is_empty());
    let capabilities = store.capabilities(&ctx, &name).await.unwrap();

    let calls = inner.calls();
    let expected = [
        (Operation::Get, vec![whole.clone()]),
        (Operation::GetFromComposite, vec![whole.clone(), part]),
        (Operation::Put, vec![whole.clone()]),
        (Operation::FindMissing, vec![whole]),
        (Operation::GetCapabilities, Vec::new()),
    ];
    assert!(calls.iter().map(|call| (call.operation, call.digests.clone())).eq(expected), "{calls:?}");
    assert!(calls.iter().all(|call| call.context.caller().map(Caller::name) == Some("ci")), "{calls:?}");
    let expected = inner.capabilities(&ctx, &name).await.unwrap();
    assert_eq!(capabilities.digest_functions, expected.digest_functions);
    assert_eq!(capabilities.updates_allowed, expected.updates_allowed);
    assert_eq!(store.key_format(), inner.key_format());
    assert_eq!(store.finds_in_bulk(), inner.finds_in_bulk());
}

#[tokio::test]
async fn action_result_timestamp_injecting() {
    assert_forwards::<Ac, _>(|inner| ActionResultTimestampInjecting::new(inner, 1000)).await;
}

#[tokio::test]
async fn authorizing() {
    let authorizers = || Authorizers::all(Arc::new(StaticAuthorizer::Allow));
    assert_forwards::<Cas, _>(|inner| Authorizing::new(inner, authorizers())).await;
    assert_forwards::<Ac, _>(|inner| Authorizing::new(inner, authorizers())).await;
}

#[tokio::test]
async fn deadline_enforcing() {
    assert_forwards::<Cas, _>(|inner| DeadlineEnforcing::new(inner, Duration::from_hours(1))).await;
    assert_forwards::<Ac, _>(|inner| DeadlineEnforcing::new(inner, Duration::from_hours(1))).await;
}

#[tokio::test]
async fn hierarchical_instance_names() {
    assert_forwards::<Ac, _>(HierarchicalInstanceNames::new).await;
}

#[tokio::test]
async fn empty_blob_injecting() {
    assert_forwards::<Cas, _>(EmptyBlobInjecting::new).await;
}

#[tokio::test]
async fn existence_caching() {
    assert_forwards::<Cas, _>(|inner| ExistenceCaching::new(inner, 10, Duration::from_hours(1))).await;
}

#[tokio::test]
async fn observing() {
    assert_forwards::<Cas, _>(|inner| Observing::new(inner, "fake", Arc::new(NoObserver))).await;
    assert_forwards::<Ac, _>(|inner| Observing::new(inner, "fake", Arc::new(NoObserver))).await;
}

#[tokio::test]
async fn query_coalescing() {
    assert_forwards::<Cas, _>(QueryCoalescing::new).await;
}
