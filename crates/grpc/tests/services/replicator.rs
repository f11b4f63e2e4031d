//! The replicator, as clients of Buildbarn meet it.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::decorators::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
use blobaccess::replication::{LocalReplicator, Replicator};
use blobaccess::{
    Blob, BlobAccess, Caller, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, MemoryStore,
    ReadRequest, Result,
};
use blobaccess_grpc::services::replicator::replicator_client::ReplicatorClient;
use blobaccess_grpc::{BearerTokens, ServiceOptions, Services};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::replicator::ReplicateBlobsRequest;
use tonic::{Code, Request};

use crate::wired::{serve, to_proto};

/// A replicator that notes what it is asked for, and does as told.
#[derive(Debug, Default)]
struct FakeReplicator {
    asked: Mutex<Vec<DigestSet>>,
    error: Option<Error>,
    hangs: bool,
    dropped: Arc<AtomicUsize>,
}

#[async_trait]
impl Replicator for FakeReplicator {
    type Kind = Cas;

    async fn replicate(&self, _ctx: &Context, _request: &ReadRequest) -> Result<Blob> {
        Err(Error::internal("the service copies and never reads"))
    }

    async fn replicate_all(&self, _ctx: &Context, digests: &DigestSet) -> Result<()> {
        self.asked.lock().unwrap().push(digests.clone());
        if self.hangs {
            let _noted = NotesDrop(Arc::clone(&self.dropped));
            std::future::pending::<()>().await;
        }
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl Display for FakeReplicator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

struct NotesDrop(Arc<AtomicUsize>);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn digest(contents: &str) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes())
}

fn request(contents: &[&str]) -> ReplicateBlobsRequest {
    let blob_digests = contents.iter().map(|contents| to_proto(&digest(contents))).collect();
    ReplicateBlobsRequest { blob_digests, ..Default::default() }
}

fn services(replicator: impl Replicator<Kind = Cas>) -> Services {
    Services::new(ServiceOptions::default()).with_replicator(replicator)
}

#[tokio::test]
async fn all_blobs_of_a_request_are_copied_together() {
    let [source, sink] = [(); 2].map(|()| Arc::new(MemoryStore::<Cas>::new(1 << 20)));
    let ctx = Context::background();
    for contents in ["one", "two"] {
        source.put(&ctx, &digest(contents), Blob::from_bytes(contents)).await.unwrap();
    }
    let services = services(LocalReplicator::new(source, Arc::clone(&sink)));
    let mut client = ReplicatorClient::new(services.routes().unwrap());
    client.replicate_blobs(request(&["one", "two", "one"])).await.unwrap();
    for contents in ["one", "two"] {
        assert_eq!(sink.get(&ctx, &digest(contents)).await.unwrap().into_bytes(9).await.unwrap(), contents);
    }
    // What was not there is no absence: who asked had just been told that it is.
    let status = client.replicate_blobs(request(&["three"])).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.message().contains("source"), "{status}");
}

#[tokio::test]
async fn a_bad_request_is_an_invalid_argument_and_nothing_is_copied() {
    let replicator = FakeReplicator { error: Some(Error::internal("it was asked")), ..Default::default() };
    let services = services(replicator);
    let mut client = ReplicatorClient::new(services.routes().unwrap());
    let digest = |hash: String, size_bytes| re::Digest { hash, size_bytes };
    let hash = || "ab".repeat(32);
    for bad in [
        digest("ab".repeat(31), 1),
        digest("AB".repeat(32), 1),
        digest(hash(), -1),
        digest(String::new(), 0),
        digest("ab".repeat(20), 1),
    ] {
        let mut request = request(&["good"]);
        request.blob_digests.push(bad);
        let status = client.replicate_blobs(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with("digest 1: "), "{status}");
    }
    for (instance_name, digest_function) in [("a/blobs/b", 1), ("a//b", 1), ("", 77), ("", 2), ("", -1)] {
        let request =
            ReplicateBlobsRequest { instance_name: instance_name.into(), digest_function, ..request(&["good"]) };
        let status = client.replicate_blobs(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    client.replicate_blobs(request(&[])).await.expect("nothing is copied of nothing");
    assert_eq!(client.replicate_blobs(request(&["good"])).await.unwrap_err().message(), "it was asked");
}

#[tokio::test]
async fn a_call_is_one_request_in_its_instance_name_and_errors_are_passed_on_as_they_are() {
    let error = Error::unavailable("disk on fire").at("sink");
    let replicator = Arc::new(FakeReplicator { error: Some(error), ..Default::default() });
    let services = services(Arc::clone(&replicator));
    let mut client = ReplicatorClient::new(services.routes().unwrap());
    let request = ReplicateBlobsRequest { instance_name: "some/where".into(), ..request(&["b", "a", "b"]) };
    let status = client.replicate_blobs(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "sink: disk on fire"));
    let name = InstanceName::new("some/where").unwrap();
    let expected: DigestSet = ["a", "b"].map(|contents| digest(contents).with_instance_name(name.clone())).into();
    assert_eq!(*replicator.asked.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_call_whose_time_is_up_is_given_up() {
    let replicator = Arc::new(FakeReplicator { hangs: true, ..Default::default() });
    let services = services(Arc::clone(&replicator));
    let mut client = ReplicatorClient::new(services.routes().unwrap());
    let mut request = Request::new(request(&["a"]));
    request.set_timeout(Duration::from_millis(1));
    let status = client.replicate_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(replicator.dropped.load(Ordering::SeqCst), 1);
}

/// Lets only callers with a name pass.
#[derive(Debug)]
struct Named;

#[async_trait]
impl Authorizer for Named {
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        let answer = || ctx.caller().map(drop).ok_or_else(|| Error::permission_denied("who are you?"));
        instance_names.iter().map(|_| answer()).collect()
    }
}

#[tokio::test]
async fn the_stores_decide_who_may_copy() {
    let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
    source.put(&Context::background(), &digest("one"), Blob::from_bytes("one")).await.unwrap();
    let allow = || Arc::new(StaticAuthorizer::Allow);
    let authorizers = Authorizers::new(allow(), Arc::new(Named), allow());
    let sink = Arc::new(Authorizing::new(MemoryStore::<Cas>::new(1 << 20), authorizers));
    let tokens = BearerTokens::new().with_anonymous().with_token("CyzAVbDPUQzKXV8rVLYJZg", Caller::new("ci"));
    let services = services(LocalReplicator::new(source, sink)).with_authenticator(tokens);
    let server = serve(&services).await;
    let mut client = ReplicatorClient::new(server.connect().await);
    let status = client.replicate_blobs(request(&["one"])).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let mut known = Request::new(request(&["one"]));
    known.metadata_mut().insert("authorization", "Bearer CyzAVbDPUQzKXV8rVLYJZg".parse().unwrap());
    client.replicate_blobs(known).await.unwrap();
    let mut wrong = Request::new(request(&["one"]));
    wrong.metadata_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
    assert_eq!(client.replicate_blobs(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    drop(client);
    server.stop().await.unwrap();
}
