//! Messages of the other kinds come and go as the bytes that they are. Action results have tests of their own.

use blobaccess::{
    Blob, BlobAccess as _, Clock, Context, DigestSet, ErrorKind, InstanceName, PutCertainty, PutOutcome, SystemClock,
};
use blobaccess_grpc::RetryPolicy;
use blobaccess_proto::fsac::FileSystemAccessProfile;
use prost::Message as _;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};

use crate::fake::{Fake, Log, digest, options, outcome, proto};

fn profile() -> FileSystemAccessProfile {
    FileSystemAccessProfile { bloom_filter: "\u{1}".into(), bloom_filter_hash_functions: 3 }
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_asked_for_by_its_digest() {
    let fake = Fake::new();
    fake.on_get_profile(|request| async move {
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.reduced_action_digest, Some(proto(&digest(b"action"))));
        Ok(Response::new(profile()))
    });
    let blob = fake.remote().fsac().get(&Context::background(), &digest(b"action")).await.unwrap();
    assert_eq!(blob.into_bytes(1000).await.unwrap(), profile().encode_to_vec());
}

#[tokio::test(start_paused = true)]
async fn only_absence_is_not_found() {
    for code in (1..=16).map(Code::from_i32) {
        let fake = Fake::new();
        fake.on_get_profile(move |_| async move { Err(Status::new(code, "so it is")) });
        let error = fake.remote().fsac().get(&Context::background(), &digest(b"action")).await.unwrap_err();
        assert_eq!(error.kind().grpc_code(), i32::from(code));
        fake.on_update_profile(move |_| async move { Err(Status::new(code, "so it is")) });
        let blob = Blob::from_bytes(profile().encode_to_vec());
        let error = fake.remote().fsac().put(&Context::background(), &digest(b"action"), blob).await.unwrap_err();
        // What a put does not find is no blob.
        let expected = if code == Code::NotFound { Code::Internal } else { code };
        assert_eq!(error.kind().grpc_code(), i32::from(expected));
    }
    // A server without this service has no such entry either, but it does not know.
    let error = Fake::new().remote().iscc().get(&Context::background(), &digest(b"action")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_put_arrives_and_returns_its_outcome() {
    let fake = Fake::new();
    let said = PutOutcome::Replaced { stored_bytes: 5, old_bytes: 4 };
    let calls = Log::new();
    fake.on_update_profile(move |request| {
        assert!(request.metadata().get("blobaccess-outcome").is_some_and(|value| value == "1"));
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.reduced_action_digest, Some(proto(&digest(b"action"))));
        assert_eq!(request.file_system_access_profile, Some(profile()));
        // The answer to the first call is lost.
        let lost = calls.add(()) == 1;
        async move {
            if lost {
                return Err(Status::unavailable("lost"));
            }
            let mut response = Response::new(());
            let value = MetadataValue::from_bytes(&outcome(said).encode_to_vec());
            response.metadata_mut().insert_bin("blobaccess-outcome-bin", value);
            Ok(response)
        }
    });
    let fsac = fake.remote().fsac();
    let put = async || {
        let blob = Blob::from_bytes(profile().encode_to_vec());
        fsac.put(&Context::background(), &digest(b"action"), blob).await.unwrap()
    };
    assert_eq!(put().await, PutOutcome::Unclassified { stored_bytes: Some(5) }, "the first may have stored it");
    assert_eq!(put().await, said);
    // A server of Buildbarn says nothing.
    fake.on_update_profile(|_| async { Ok(Response::new(())) });
    assert_eq!(put().await, PutOutcome::Unclassified { stored_bytes: None });
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_are_refused_before_they_are_sent() {
    let remote = Fake::new().remote();
    for bytes in [Blob::from_bytes("\u{7f}no"), Blob::from_bytes(vec![0; 5 << 20])] {
        let error = remote.fsac().put(&Context::background(), &digest(b"action"), bytes).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    }
    assert_eq!(remote.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn they_do_not_find_in_bulk_and_describe_themselves_without_a_call() {
    let remote = Fake::new().remote();
    let (iscc, fsac, ctx) = (remote.iscc(), remote.fsac(), Context::background());
    assert!(!iscc.finds_in_bulk() && !fsac.finds_in_bulk());
    let error = fsac.find_missing(&ctx, &DigestSet::from(digest(b"action"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    assert!(error.message().contains("fsac"), "{error}");
    assert!(iscc.find_missing(&ctx, &DigestSet::new()).await.unwrap().is_empty());
    let capabilities = iscc.capabilities(&ctx, &InstanceName::empty()).await.unwrap();
    assert_eq!(capabilities.max_blob_size_bytes, Some((4 << 20) - (64 << 10)));
    assert!(capabilities.updates_allowed && capabilities.compressors.is_empty());
    assert_eq!(remote.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_ends_with_the_deadline() {
    let fake = Fake::new();
    fake.on_get_profile(|_| std::future::pending());
    let start = SystemClock.monotonic();
    let ctx = Context::background().with_deadline(start + Duration::from_secs(3));
    let error = fake.remote().fsac().get(&ctx, &digest(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!((SystemClock.monotonic() - start).as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_down_is_an_outage() {
    let fake = Fake::new();
    let (remote, wire) = fake.connect(options().with_retry(RetryPolicy::never()));
    wire.refusals.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    let (ctx, key) = (Context::background(), digest(b"x"));
    let blob = || Blob::from_bytes(profile().encode_to_vec());
    for error in [
        remote.fsac().get(&ctx, &key).await.unwrap_err(),
        remote.iscc().get(&ctx, &key).await.unwrap_err(),
        remote.icas().get(&ctx, &key).await.unwrap_err(),
        remote.icas().find_missing(&ctx, &DigestSet::from(key.clone())).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    for error in [
        remote.fsac().put(&ctx, &key, blob()).await.unwrap_err(),
        remote.icas().put(&ctx, &key, Blob::from_bytes("")).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
    }
}
