//! The initial size class cache and the file system access cache, as clients of Buildbarn meet them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{
    Blob, BlobAccess, Context, Digest, DigestFunction, Error, ErrorKind, Fsac, InstanceName, Iscc, PutCertainty,
};
use blobaccess_grpc::services::fsac::file_system_access_cache_client::FileSystemAccessCacheClient;
use blobaccess_grpc::services::iscc::initial_size_class_cache_client::InitialSizeClassCacheClient;
use blobaccess_grpc::{
    OUTCOME_REQUEST, OUTCOME_RESPONSE, Remote, RemoteOptions, RetryPolicy, ServiceOptions, Services,
};
use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::outcome::put_outcome::{AlreadyExists, Created, Outcome, Replaced};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::{fsac, iscc};
use prost::Message;
use tonic::service::Routes;
use tonic::{Code, Request};

use crate::fake::Fake;
use crate::wired::{action, call, serve};

/// Both stores, with services over them.
struct Caches {
    iscc: Arc<Fake<Iscc>>,
    fsac: Arc<Fake<Fsac>>,
    services: Services,
}

impl Caches {
    fn new(options: ServiceOptions) -> Self {
        let (iscc, fsac) = (Fake::new(), Fake::new());
        let services = Services::new(options).with_iscc(Arc::clone(&iscc)).with_fsac(Arc::clone(&fsac));
        Self { iscc, fsac, services }
    }

    fn iscc(&self) -> InitialSizeClassCacheClient<Routes> {
        InitialSizeClassCacheClient::new(self.services.routes().unwrap())
    }

    fn fsac(&self) -> FileSystemAccessCacheClient<Routes> {
        FileSystemAccessCacheClient::new(self.services.routes().unwrap())
    }
}

fn caches() -> Caches {
    Caches::new(ServiceOptions::default())
}

fn stats(size_class: u32) -> iscc::PreviousExecutionStats {
    let size_classes = [(size_class, iscc::PerSizeClassStats::default())].into();
    iscc::PreviousExecutionStats { size_classes, ..Default::default() }
}

fn profile(bloom_filter: &'static [u8]) -> fsac::FileSystemAccessProfile {
    fsac::FileSystemAccessProfile { bloom_filter: bloom_filter.into(), bloom_filter_hash_functions: 3 }
}

fn get_stats() -> iscc::GetPreviousExecutionStatsRequest {
    iscc::GetPreviousExecutionStatsRequest { reduced_action_digest: Some(action()), ..Default::default() }
}

fn update_stats(stats: iscc::PreviousExecutionStats) -> iscc::UpdatePreviousExecutionStatsRequest {
    iscc::UpdatePreviousExecutionStatsRequest {
        reduced_action_digest: Some(action()),
        previous_execution_stats: Some(stats),
        ..Default::default()
    }
}

fn get_profile() -> fsac::GetFileSystemAccessProfileRequest {
    fsac::GetFileSystemAccessProfileRequest { reduced_action_digest: Some(action()), ..Default::default() }
}

fn update_profile(profile: fsac::FileSystemAccessProfile) -> fsac::UpdateFileSystemAccessProfileRequest {
    fsac::UpdateFileSystemAccessProfileRequest {
        reduced_action_digest: Some(action()),
        file_system_access_profile: Some(profile),
        ..Default::default()
    }
}

#[tokio::test]
async fn statistics_are_returned_as_they_were_stored_and_replaced_by_later_ones() {
    let caches = caches();
    let mut client = caches.iscc();
    assert_eq!(client.get_previous_execution_stats(get_stats()).await.unwrap_err().code(), Code::NotFound);
    for size_class in [1, 2] {
        client.update_previous_execution_stats(update_stats(stats(size_class))).await.unwrap();
        let found = client.get_previous_execution_stats(get_stats()).await.unwrap().into_inner();
        assert_eq!(found, stats(size_class));
    }
    let elsewhere = iscc::GetPreviousExecutionStatsRequest { instance_name: "other".into(), ..get_stats() };
    assert_eq!(client.get_previous_execution_stats(elsewhere).await.unwrap_err().code(), Code::NotFound);
    // Statistics of nothing are no bytes at all, which is a message.
    client.update_previous_execution_stats(update_stats(iscc::PreviousExecutionStats::default())).await.unwrap();
    let found = client.get_previous_execution_stats(get_stats()).await.unwrap().into_inner();
    assert_eq!(found, iscc::PreviousExecutionStats::default());
}

#[tokio::test]
async fn profiles_are_returned_as_they_were_stored_and_replaced_by_later_ones() {
    let caches = caches();
    let mut client = caches.fsac();
    assert_eq!(client.get_file_system_access_profile(get_profile()).await.unwrap_err().code(), Code::NotFound);
    for bloom_filter in [b"\x81".as_slice(), b"\x83\x01"] {
        client.update_file_system_access_profile(update_profile(profile(bloom_filter))).await.unwrap();
        let found = client.get_file_system_access_profile(get_profile()).await.unwrap().into_inner();
        assert_eq!(found, profile(bloom_filter));
    }
    let elsewhere = fsac::GetFileSystemAccessProfileRequest { instance_name: "other".into(), ..get_profile() };
    assert_eq!(client.get_file_system_access_profile(elsewhere).await.unwrap_err().code(), Code::NotFound);
    // The same digest in the other cache is another entry.
    assert_eq!(caches.iscc().get_previous_execution_stats(get_stats()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_put_returns_its_outcome_to_callers_that_ask() {
    let mut client = caches().fsac();
    let expected = [
        (b"\x81".as_slice(), Outcome::Created(Created { stored_bytes: 5 })),
        (b"\x81", Outcome::AlreadyExists(AlreadyExists { stored_bytes: 5 })),
        (b"\x83\x01", Outcome::Replaced(Replaced { stored_bytes: 6, old_bytes: 5 })),
    ];
    for (bloom_filter, expected) in expected {
        let mut request = Request::new(update_profile(profile(bloom_filter)));
        request.metadata_mut().insert(OUTCOME_REQUEST, "1".parse().unwrap());
        let answer = client.update_file_system_access_profile(request).await.unwrap();
        let value = answer.metadata().get_bin(OUTCOME_RESPONSE).unwrap().to_bytes().unwrap();
        assert_eq!(PutOutcome::decode(value).unwrap().outcome, Some(expected));
    }
    let answer = client.update_file_system_access_profile(update_profile(profile(b"\x01"))).await.unwrap();
    assert!(answer.metadata().get_bin(OUTCOME_RESPONSE).is_none(), "nobody asked");
}

#[tokio::test]
async fn a_bad_request_is_an_invalid_argument_and_stores_nothing() {
    let caches = caches();
    let good = update_stats(stats(1));
    let digest = |hash: String, size_bytes| Some(re::Digest { hash, size_bytes });
    let bad = [
        iscc::UpdatePreviousExecutionStatsRequest { previous_execution_stats: None, ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { reduced_action_digest: None, ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { instance_name: "a/blobs/b".into(), ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { instance_name: "/a".into(), ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { digest_function: 77, ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { digest_function: -1, ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { digest_function: 2, ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { reduced_action_digest: digest("ab".repeat(31), 1), ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest { reduced_action_digest: digest("AB".repeat(32), 1), ..good.clone() },
        iscc::UpdatePreviousExecutionStatsRequest {
            reduced_action_digest: digest("ab".repeat(32), -1),
            ..good.clone()
        },
        iscc::UpdatePreviousExecutionStatsRequest { reduced_action_digest: digest(String::new(), 0), ..good },
    ];
    for request in bad {
        let status = caches.iscc().update_previous_execution_stats(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status}");
        let get = iscc::GetPreviousExecutionStatsRequest {
            instance_name: request.instance_name.clone(),
            reduced_action_digest: request.reduced_action_digest.clone(),
            digest_function: request.digest_function,
        };
        let status = caches.iscc().get_previous_execution_stats(get).await.unwrap_err();
        let expected = if request.previous_execution_stats.is_none() { Code::NotFound } else { Code::InvalidArgument };
        assert_eq!(status.code(), expected, "{request:?}: {status}");
        let update = fsac::UpdateFileSystemAccessProfileRequest {
            instance_name: request.instance_name,
            digest_function: request.digest_function,
            reduced_action_digest: request.reduced_action_digest,
            file_system_access_profile: request.previous_execution_stats.map(|_| profile(b"\x01")),
        };
        let status = caches.fsac().update_file_system_access_profile(update).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    assert_eq!(caches.iscc.inner.snapshot().blobs + caches.fsac.inner.snapshot().blobs, 0);
}

#[derive(Clone, PartialEq, Message)]
struct LaterProfile {
    #[prost(bytes = "vec", tag = "1")]
    bloom_filter: Vec<u8>,
    #[prost(string, tag = "1000")]
    novelty: String,
}

#[derive(Clone, PartialEq, Message)]
struct LaterUpdate {
    #[prost(message, optional, tag = "3")]
    reduced_action_digest: Option<re::Digest>,
    #[prost(message, repeated, tag = "4")]
    profile: Vec<LaterProfile>,
    #[prost(string, tag = "1000")]
    novelty: String,
}

const GET: &str = "/buildbarn.fsac.FileSystemAccessCache/GetFileSystemAccessProfile";
const UPDATE: &str = "/buildbarn.fsac.FileSystemAccessCache/UpdateFileSystemAccessProfile";

#[tokio::test]
async fn fields_that_nobody_knows_are_kept() {
    let caches = caches();
    let parts = [
        LaterProfile { bloom_filter: vec![7], novelty: String::new() },
        LaterProfile { bloom_filter: Vec::new(), novelty: "new".into() },
    ];
    let request =
        LaterUpdate { reduced_action_digest: Some(action()), profile: parts.to_vec(), novelty: "newer".into() };
    let (): () = call(&caches.services, UPDATE, request).await.unwrap();
    let found: LaterProfile = call(&caches.services, GET, get_profile()).await.unwrap();
    assert_eq!(found, LaterProfile { bloom_filter: vec![7], novelty: "new".into() }, "parts are one message");
}

#[derive(Clone, PartialEq, Message)]
struct Garbled {
    #[prost(message, optional, tag = "3")]
    reduced_action_digest: Option<re::Digest>,
    #[prost(bytes = "vec", tag = "4")]
    profile: Vec<u8>,
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let caches = caches();
    let request = Garbled { reduced_action_digest: Some(action()), profile: b"\xff\xff".to_vec() };
    let status = call::<_, ()>(&caches.services, UPDATE, request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("file system access profile of "), "{status}");
    // The layout of the other cache: a digest where a number is to be.
    let status = call::<_, ()>(&caches.services, GET, get_stats()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("request cannot be decoded"), "{status}");
    assert_eq!(caches.services.snapshot().failed_puts.total(), 0, "no store was asked");
    let unknown = "/buildbarn.fsac.FileSystemAccessCache/ForgetFileSystemAccessProfile";
    let status = call::<_, ()>(&caches.services, unknown, get_profile()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_outage_is_no_absence_and_a_failed_put_is_counted() {
    let caches = caches();
    let outage = || Some(Error::unavailable("disk on fire").at("shard 3"));
    *caches.iscc.error.lock().unwrap() = outage();
    *caches.fsac.error.lock().unwrap() = outage();
    let statuses = [
        caches.iscc().get_previous_execution_stats(get_stats()).await.unwrap_err(),
        caches.iscc().update_previous_execution_stats(update_stats(stats(1))).await.unwrap_err(),
        caches.fsac().get_file_system_access_profile(get_profile()).await.unwrap_err(),
        caches.fsac().update_file_system_access_profile(update_profile(profile(b"\x01"))).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "shard 3: disk on fire"));
    }
    assert_eq!(caches.services.snapshot().failed_puts.total(), 2);
}

#[tokio::test]
async fn a_message_that_no_answer_holds_is_refused_both_ways() {
    let limit = 128 << 10;
    let caches = Caches::new(ServiceOptions::default().with_max_message_size_bytes(limit));
    let large = fsac::FileSystemAccessProfile { bloom_filter: vec![1; limit].into(), bloom_filter_hash_functions: 1 };
    let status = caches.fsac().update_file_system_access_profile(update_profile(large.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // One that was stored when messages were larger.
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action");
    let blob = Blob::from_bytes(large.encode_to_vec());
    caches.fsac.inner.put(&Context::background(), &digest, blob).await.unwrap();
    let status = caches.fsac().get_file_system_access_profile(get_profile()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("131072"), "{status}");
}

#[tokio::test]
async fn a_server_that_is_cut_off_in_mid_call_is_an_outage() {
    let caches = caches();
    caches.fsac.hang();
    let server = serve(&caches.services).await;
    let options = RemoteOptions::new(format!("grpc://{}", server.address)).with_retry(RetryPolicy::never());
    let fsac = Remote::new(options).unwrap().fsac();
    let (ctx, key) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action"));
    let mut call = Box::pin(fsac.get(&ctx, &key));
    while caches.fsac.waiting.load(Ordering::SeqCst) == 0 {
        assert!(futures::poll!(&mut call).is_pending(), "the store hangs");
        tokio::task::yield_now().await;
    }
    server.task.abort();
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let blob = Blob::from_bytes(profile(b"\x01").encode_to_vec());
    let error = fsac.put(&ctx, &key, blob).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored), "{error}");
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_at_the_server() {
    let caches = caches();
    caches.iscc.hang();
    let server = serve(&caches.services).await;
    let remote = Remote::new(RemoteOptions::new(format!("grpc://{}", server.address))).unwrap();
    let (ctx, key) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action"));
    let iscc = remote.iscc();
    let mut call = Box::pin(iscc.get(&ctx, &key));
    while caches.services.snapshot().open_calls == 0 {
        assert!(futures::poll!(&mut call).is_pending(), "the store hangs");
        tokio::task::yield_now().await;
    }
    drop(call);
    while caches.services.snapshot().open_calls > 0 {
        tokio::task::yield_now().await;
    }
    drop((iscc, remote));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_cache_that_is_not_offered_is_unimplemented() {
    let services = Services::new(ServiceOptions::default()).with_iscc(Fake::new());
    let mut absent = FileSystemAccessCacheClient::new(services.routes().unwrap());
    assert_eq!(absent.get_file_system_access_profile(get_profile()).await.unwrap_err().code(), Code::Unimplemented);
    let services = Services::new(ServiceOptions::default()).with_fsac(Fake::new());
    let mut absent = InitialSizeClassCacheClient::new(services.routes().unwrap());
    assert_eq!(absent.get_previous_execution_stats(get_stats()).await.unwrap_err().code(), Code::Unimplemented);
}
