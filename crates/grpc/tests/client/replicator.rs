//! Copies that a server makes, and reads meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blobaccess::replication::Replicator as _;
use blobaccess::{
    Blob, BlobAccess as _, Cas, Clock, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind, FailingStore,
    InstanceName, MemoryStore, ReadRequest, Slicer, SystemClock,
};
use blobaccess_grpc::{RemoteReplicator, RetryPolicy};
use blobaccess_testkit::fakes::LeadingBytes;
use tonic::{Code, Response, Status};

use crate::fake::{Fake, Log, digest, options, poll_settled, proto, settle};

const LIMIT: u64 = 1 << 20;

async fn source(contents: &[&'static str]) -> Arc<MemoryStore<Cas>> {
    let source = Arc::new(MemoryStore::new(1 << 20));
    for contents in contents {
        let blob = Blob::from_bytes(*contents);
        source.put(&Context::background(), &digest(contents.as_bytes()), blob).await.unwrap();
    }
    source
}

fn replicator(fake: &Arc<Fake>, source: Arc<MemoryStore<Cas>>) -> RemoteReplicator<MemoryStore<Cas>> {
    fake.connect(options().with_retry(RetryPolicy::never())).0.replicator(source)
}

fn read(contents: &str) -> ReadRequest {
    ReadRequest::blob(&digest(contents.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_read_is_answered_by_the_source_and_the_server_asked_to_copy() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_replicate(move |request| {
        log.add(request.into_inner());
        async { Ok(Response::new(())) }
    });
    let replicator = replicator(&fake, source(&["hello"]).await);
    assert_eq!(replicator.to_string(), "remote(memory by http://fake:1)");
    let blob = replicator.replicate(&Context::background(), &read("hello")).await.unwrap();
    assert_eq!(blob.into_bytes(LIMIT).await.unwrap(), "hello");
    let asked = asked.take();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].instance_name.as_str(), asked[0].digest_function), ("main", 1));
    assert_eq!(asked[0].blob_digests, [proto(&digest(b"hello"))]);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_read_from_the_source_and_its_composite_copied() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_replicate(move |request| {
        log.add(request.into_inner().blob_digests);
        async { Ok(Response::new(())) }
    });
    let replicator = replicator(&fake, source(&["hello, world"]).await);
    let slicer: Arc<dyn Slicer> = Arc::new(LeadingBytes);
    let part = ReadRequest::part(&digest(b"hello, world"), &digest(b"hello"), slicer);
    let blob = replicator.replicate(&Context::background(), &part).await.unwrap();
    assert_eq!(blob.into_bytes(LIMIT).await.unwrap(), "hello");
    assert_eq!(asked.take(), [[proto(&digest(b"hello, world"))]]);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_lacks_is_not_copied_and_its_errors_are_passed_on() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_replicate(move |_| {
        log.add(());
        async { Ok(Response::new(())) }
    });
    let error = replicator(&fake, source(&[]).await).replicate(&Context::background(), &read("hello")).await;
    assert!(error.unwrap_err().is_not_found());
    let down = FailingStore::<Cas>::new(Error::unavailable("disk on fire"));
    let replicator = fake.remote().replicator(Arc::new(down));
    let error = replicator.replicate(&Context::background(), &read("hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    settle().await;
    assert_eq!(asked.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_fails_no_read() {
    for code in (1..=16).map(Code::from_i32) {
        let fake = Fake::new();
        fake.on_replicate(move |_| async move { Err(Status::new(code, "so it is")) });
        let replicator = replicator(&fake, source(&["hello"]).await);
        let blob = replicator.replicate(&Context::background(), &read("hello")).await.unwrap();
        assert_eq!(blob.into_bytes(LIMIT).await.unwrap(), "hello", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_holds_a_read_up_for_so_long_and_no_longer() {
    let fake = Fake::new();
    fake.on_replicate(|_| std::future::pending());
    let replicator = replicator(&fake, source(&["hello"]).await).with_max_wait(Duration::from_secs(7));
    let start = SystemClock.monotonic();
    let blob = replicator.replicate(&Context::background(), &read("hello")).await.unwrap();
    assert_eq!(blob.into_bytes(LIMIT).await.unwrap(), "hello");
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 7);
    let replicator = replicator.with_max_wait(Duration::ZERO);
    let blob = replicator.replicate(&Context::background(), &read("hello")).await.unwrap();
    assert_eq!(blob.into_bytes(LIMIT).await.unwrap(), "hello");
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 7);
}

/// Counts the calls that are dropped before they are answered.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn several_readers_of_one_blob_ask_once_and_the_last_to_go_ends_the_copy() {
    let fake = Fake::new();
    let (asked, dropped) = (Log::new(), Arc::new(AtomicUsize::new(0)));
    let (log, drops) = (asked.clone(), Arc::clone(&dropped));
    fake.on_replicate(move |_| {
        log.add(());
        let dropped = Dropped(Arc::clone(&drops));
        async move {
            let _dropped = dropped;
            std::future::pending().await
        }
    });
    let replicator = replicator(&fake, source(&["hello"]).await).with_max_wait(Duration::from_hours(1));
    let ctx = Context::background();
    let first = replicator.replicate(&ctx, &read("hello")).await.unwrap();
    let second = replicator.replicate(&ctx, &read("hello")).await.unwrap();
    let mut first = Box::pin(first.into_bytes(LIMIT));
    let mut second = Box::pin(second.into_bytes(LIMIT));
    assert!(poll_settled(&mut first).await.is_none() && poll_settled(&mut second).await.is_none());
    assert_eq!(asked.len(), 1);
    drop(first);
    assert!(poll_settled(&mut second).await.is_none());
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "another reader waits for it");
    drop(second);
    settle().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "the server is told to stop");
}

#[tokio::test(start_paused = true)]
async fn all_blobs_are_asked_for_by_instance_name_and_function_and_message() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_replicate(move |request| {
        let request = request.into_inner();
        log.add((request.instance_name, request.digest_function, request.blob_digests.len()));
        async { Ok(Response::new(())) }
    });
    let replicator = replicator(&fake, source(&[]).await);
    let of = |name: &str, function, count: u32| {
        let name = InstanceName::new(name).unwrap();
        (0..count).map(move |number| Digest::of(name.clone(), function, &number.to_be_bytes()))
    };
    let digests: DigestSet = of("a", DigestFunction::Sha256, 12_000)
        .chain(of("a", DigestFunction::Sha512, 3))
        .chain(of("b", DigestFunction::Sha256, 1))
        .collect();
    replicator.replicate_all(&Context::background(), &digests).await.unwrap();
    let mut asked = asked.take();
    asked.sort_unstable();
    let (sha256, sha512) = (DigestFunction::Sha256.number(), DigestFunction::Sha512.number());
    let mut expected = [
        ("a".to_owned(), sha256, 2_000),
        ("a".to_owned(), sha256, 10_000),
        ("a".to_owned(), sha512, 3),
        ("b".to_owned(), sha256, 1),
    ];
    expected.sort_unstable();
    assert_eq!(asked, expected);
    replicator.replicate_all(&Context::background(), &DigestSet::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_the_server_does_not_find_is_an_inconsistency() {
    let fake = Fake::new();
    let replicator = replicator(&fake, source(&[]).await);
    let digests = DigestSet::from(digest(b"hello"));
    for (code, kind) in [
        (Code::NotFound, ErrorKind::Internal),
        (Code::Unavailable, ErrorKind::Unavailable),
        (Code::PermissionDenied, ErrorKind::PermissionDenied),
    ] {
        fake.on_replicate(move |_| async move { Err(Status::new(code, "so it is")) });
        let error = replicator.replicate_all(&Context::background(), &digests).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.message().contains("so it is"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_longer_than_a_silent_server_and_ends_all_the_same() {
    let fake = Fake::new();
    fake.on_replicate(|_| async {
        SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_mins(10)).await;
        Ok(Response::new(()))
    });
    let replicator = replicator(&fake, source(&[]).await);
    let digests = DigestSet::from(digest(b"hello"));
    replicator.replicate_all(&Context::background(), &digests).await.unwrap();
    let start = SystemClock.monotonic();
    let replicator = replicator.with_call_timeout(Duration::from_secs(599));
    let error = replicator.replicate_all(&Context::background(), &digests).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 599);
    let ctx = Context::background().with_deadline(SystemClock.monotonic() + Duration::from_secs(3));
    let error = replicator.replicate_all(&ctx, &digests).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 602);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_in_passing_is_made_again() {
    let fake = Fake::new();
    let calls = Log::new();
    let log = calls.clone();
    fake.on_replicate(move |_| {
        let first = log.add(()) == 1;
        async move { if first { Err(Status::unavailable("busy")) } else { Ok(Response::new(())) } }
    });
    let replicator = fake.remote().replicator(source(&[]).await);
    let digests = DigestSet::from(digest(b"hello"));
    pin!(replicator.replicate_all(&Context::background(), &digests)).await.unwrap();
    assert_eq!(calls.len(), 2);
}
