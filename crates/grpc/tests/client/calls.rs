//! Headers and deadlines of calls, and their repetition.

use std::time::Duration;

use blobaccess::{BlobAccess as _, Clock as _, Context, ErrorKind, InstanceName, Metadata, SystemClock, UploadToken};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls, RetryPolicy};
use blobaccess_proto::remote_execution as re;
use tonic::{Response, Status};

use crate::fake::{Fake, Log, digest, options};

fn name() -> InstanceName {
    InstanceName::new("main").unwrap()
}

#[tokio::test(start_paused = true)]
async fn headers_context_and_deadline_go_along() {
    let fake = Fake::new();
    let seen = Log::new();
    let log = seen.clone();
    fake.on_get(move |request| {
        log.add(request.metadata().clone());
        async { Err(Status::not_found("none")) }
    });
    let options = options().with_header("authorization", "Bearer secret").with_header("x-id-bin", b"\0\xff".as_slice());
    let (remote, _) = fake.connect(options);
    let metadata =
        Metadata::new().with("authorization", b"theirs".as_slice()).with("x-forwarded-bin", b"\x01".as_slice());
    let ctx = Context::background()
        .with_metadata(metadata)
        .with_trace_parent("00-1-2-01")
        .with_upload_token(UploadToken::from_bytes([7; 16]))
        .with_deadline(SystemClock.monotonic() + Duration::from_secs(2));
    assert!(remote.ac().get(&ctx, &digest(b"action")).await.unwrap_err().is_not_found());
    let seen = seen.take().pop().unwrap();
    assert_eq!(seen.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer secret"]);
    assert_eq!(seen.get_bin("x-id-bin").unwrap().to_bytes().unwrap(), &b"\0\xff"[..]);
    assert_eq!(seen.get_bin("x-forwarded-bin").unwrap().to_bytes().unwrap(), &b"\x01"[..]);
    assert_eq!(seen.get("traceparent").unwrap(), "00-1-2-01");
    assert_eq!(seen.get_bin("blobaccess-upload-token-bin").unwrap().to_bytes().unwrap(), &[7; 16][..]);
    assert_eq!(seen.get("grpc-timeout").unwrap(), "2000000u");
}

#[test]
fn what_cannot_be_sent_is_found_before_the_first_call_and_secrets_are_not_shown() {
    let options = RemoteOptions::new("http://localhost:1").with_header("authorization", "secret");
    assert!(!format!("{options:?}").contains("secret"));
    let remote = Remote::new(options.clone()).unwrap();
    assert!(!format!("{remote:?}{:?}{:?}", remote.cas(), remote.ac()).contains("secret"));
    assert_eq!(remote.to_string(), "grpc(http://localhost:1)");
    assert_eq!((remote.cas().to_string(), remote.ac().to_string()), (remote.to_string(), remote.to_string()));
    let tls = RemoteTls::new().with_client_certificate("certificate", "private key");
    assert!(!format!("{tls:?}").contains("private"));
    for (header, value) in [("bad name", "x"), ("name", "line\nfeed")] {
        let error = Remote::new(options.clone().with_header(header, value)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains("feed"), "{error}");
    }
    assert_eq!(Remote::with_channels(options, []).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_called_again_after_growing_waits_and_others_are_not() {
    for (status, attempts) in [
        (Status::unavailable("x"), 4),
        (Status::resource_exhausted("x"), 4),
        (Status::aborted("x"), 4),
        (Status::internal("x"), 1),
        (Status::unauthenticated("x"), 1),
    ] {
        let fake = Fake::new();
        let times = Log::new();
        let log = times.clone();
        let code = status.code();
        fake.on_get(move |_| {
            log.add(SystemClock.monotonic());
            async move { Err(Status::new(code, "x")) }
        });
        let error = fake.remote().ac().get(&Context::background(), &digest(b"x")).await.unwrap_err();
        assert_eq!(error.kind().grpc_code(), i32::from(code));
        let times = times.take();
        assert_eq!(times.len(), attempts, "{code}");
        for (pair, longest) in times.windows(2).zip([100, 200, 400]) {
            let wait = (pair[1] - pair[0]).as_millis();
            assert!((longest / 2..=longest + 2).contains(&wait), "{wait} of {longest} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_wait_outlasts_the_deadline() {
    let fake = Fake::new();
    fake.on_get(|_| async { Err(Status::unavailable("busy")) });
    let retry = RetryPolicy::default().with_attempts(100).with_backoff(Duration::from_secs(1), Duration::from_secs(1));
    let (remote, _) = fake.connect(options().with_retry(retry));
    let start = SystemClock.monotonic();
    let ctx = Context::background().with_deadline(start + Duration::from_secs(3));
    // What the store said tells more than that the time is up.
    let error = remote.ac().get(&ctx, &digest(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "busy"));
    assert!(SystemClock.monotonic() < start + Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_ends_with_the_deadline() {
    let fake = Fake::new();
    fake.on_get(|_| std::future::pending());
    let start = SystemClock.monotonic();
    let ctx = Context::background().with_deadline(start + Duration::from_secs(3));
    let error = fake.remote().ac().get(&ctx, &digest(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let fake = Fake::new();
    let (remote, wire) = fake.connect(options());
    wire.refusals.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    let error = remote.ac().get(&Context::background(), &digest(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("connection refused"), "{error}");
    let error = remote.cas().get(&Context::background(), &digest(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_cache_is_an_invalid_argument_and_its_errors_are_passed_on() {
    let fake = Fake::new();
    fake.on_capabilities(|_| async { Ok(Response::new(re::ServerCapabilities::default())) });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let error = cas.capabilities(&ctx, &name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.message(), "instance name \"main\" does not support remote caching");
    fake.on_capabilities(|_| async { Err(Status::permission_denied("not you")) });
    assert_eq!(cas.capabilities(&ctx, &name()).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    fake.on_capabilities(|_| async { Err(Status::not_found("no such instance")) });
    assert_eq!(cas.capabilities(&ctx, &name()).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait() {
    let fake = Fake::new();
    let open = Log::new();
    let log = open.clone();
    fake.on_get(move |_| {
        log.add(());
        std::future::pending()
    });
    let (remote, _) = fake.connect(options().with_max_concurrent_calls(2));
    let ac = remote.ac();
    let ctx = Context::background();
    let key = digest(b"x");
    let mut calls = Box::pin(futures::future::join_all((0..5).map(|_| ac.get(&ctx, &key))));
    assert!(crate::fake::poll_settled(&mut calls).await.is_none());
    assert_eq!(open.len(), 2);
}
