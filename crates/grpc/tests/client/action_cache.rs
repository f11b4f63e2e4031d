//! Action results come and go as the bytes that they are.

use blobaccess::{
    Blob, BlobAccess as _, Context, DigestSet, ErrorKind, InstanceName, KeyFormat, PutCertainty, PutOutcome,
};
use blobaccess_proto::remote_execution as re;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};

use crate::fake::{Fake, Log, digest, outcome};

fn result() -> re::ActionResult {
    re::ActionResult { exit_code: 7, stdout_raw: "hello".into(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn an_action_result_is_found_under_its_action() {
    let fake = Fake::new();
    fake.on_get(|request| async move {
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.action_digest, Some(crate::fake::proto(&digest(b"action"))));
        Ok(Response::new(result()))
    });
    let blob = fake.remote().ac().get(&Context::background(), &digest(b"action")).await.unwrap();
    assert_eq!(blob.into_bytes(1000).await.unwrap(), result().encode_to_vec());
}

#[tokio::test(start_paused = true)]
async fn only_absence_is_not_found() {
    for code in (1..=16).map(Code::from_i32) {
        let fake = Fake::new();
        fake.on_get(move |_| async move { Err(Status::new(code, "so it is")) });
        let error = fake.remote().ac().get(&Context::background(), &digest(b"action")).await.unwrap_err();
        assert_eq!(error.kind().grpc_code(), i32::from(code));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_arrives_and_tells_what_it_came_to() {
    let fake = Fake::new();
    let said = PutOutcome::Replaced { stored_bytes: 5, old_bytes: 4 };
    fake.on_update(move |request| async move {
        assert!(request.metadata().get("blobaccess-outcome").is_some_and(|value| value == "1"));
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.action_digest, Some(crate::fake::proto(&digest(b"action"))));
        assert_eq!(request.action_result, Some(result()));
        let mut response = Response::new(result());
        let value = MetadataValue::from_bytes(&outcome(said).encode_to_vec());
        response.metadata_mut().insert_bin("blobaccess-outcome-bin", value);
        Ok(response)
    });
    let ac = fake.remote().ac();
    let ctx = Context::background();
    let put = ac.put(&ctx, &digest(b"action"), Blob::from_bytes(result().encode_to_vec())).await;
    assert_eq!(put.unwrap(), said);
    fake.on_update(|_| async { Ok(Response::new(result())) });
    let put = ac.put(&ctx, &digest(b"action"), Blob::from_bytes(result().encode_to_vec())).await;
    assert_eq!(put.unwrap(), PutOutcome::Unclassified { stored_bytes: None });
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_a_replacement_is_not_certain() {
    let fake = Fake::new();
    let calls = Log::new();
    fake.on_update(move |_| {
        let first = calls.add(()) == 1;
        async move {
            if first {
                return Err(Status::unavailable("lost"));
            }
            let mut response = Response::new(result());
            let value = outcome(PutOutcome::Replaced { stored_bytes: 5, old_bytes: 4 }).encode_to_vec();
            response.metadata_mut().insert_bin("blobaccess-outcome-bin", MetadataValue::from_bytes(&value));
            Ok(response)
        }
    });
    let blob = Blob::from_bytes(result().encode_to_vec());
    let put = fake.remote().ac().put(&Context::background(), &digest(b"action"), blob).await;
    assert_eq!(put.unwrap(), PutOutcome::Unclassified { stored_bytes: Some(5) });
}

#[tokio::test(start_paused = true)]
async fn what_is_no_action_result_is_refused_before_it_is_sent() {
    let remote = Fake::new().remote();
    let error =
        remote.ac().put(&Context::background(), &digest(b"action"), Blob::from_bytes("\u{7f}no")).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    let large = Blob::from_bytes(vec![0; 5 << 20]);
    let error = remote.ac().put(&Context::background(), &digest(b"action"), large).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    assert_eq!(remote.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_find_in_bulk_and_says_so() {
    let fake = Fake::new();
    fake.offer(re::CacheCapabilities {
        digest_functions: vec![1, 9, 77],
        action_cache_update_capabilities: Some(re::ActionCacheUpdateCapabilities { update_enabled: true }),
        max_cas_blob_size_bytes: 1000,
        supported_compressors: vec![1],
        ..Default::default()
    });
    let remote = fake.remote();
    let (cas, ac, ctx) = (remote.cas(), remote.ac(), Context::background());
    let error = ac.find_missing(&ctx, &DigestSet::from(digest(b"action"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    let name = InstanceName::empty();
    let of_ac = ac.capabilities(&ctx, &name).await.unwrap();
    assert!(!ac.finds_in_bulk() && of_ac.updates_allowed && of_ac.compressors.is_empty());
    assert_eq!((of_ac.digest_functions.len(), of_ac.max_blob_size_bytes), (2, Some((4 << 20) - (64 << 10))));
    let of_cas = cas.capabilities(&ctx, &name).await.unwrap();
    assert!(cas.finds_in_bulk() && of_cas.updates_allowed);
    assert_eq!((of_cas.compressors.len(), of_cas.max_blob_size_bytes), (1, Some(1000)));
    fake.offer(re::CacheCapabilities::default());
    assert!(!ac.capabilities(&ctx, &name).await.unwrap().updates_allowed);
    assert_eq!((ac.key_format(), cas.key_format()), (KeyFormat::WithInstanceName, KeyFormat::WithInstanceName));
}
