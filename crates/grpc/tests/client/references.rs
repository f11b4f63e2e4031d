//! References are stored one at a time, and found in bulk.

use blobaccess::{Blob, BlobAccess as _, Context, Digest, DigestSet, ErrorKind, PutCertainty, PutOutcome};
use blobaccess_proto::icas::Reference;
use blobaccess_proto::icas::reference::Medium;
use blobaccess_proto::remote_execution as re;
use prost::Message as _;
use re::batch_update_blobs_response::Response as Entry;
use tonic::{Code, Response, Status};

use crate::fake::{Fake, Log, digest, outcome, proto, status};

fn reference() -> Reference {
    Reference { medium: Some(Medium::HttpUrl("https://host/path".to_owned())), ..Default::default() }
}

fn blob() -> Blob {
    Blob::from_bytes(reference().encode_to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
fn answer(entries: Vec<Entry>) -> Result<Response<re::BatchUpdateBlobsResponse>, Status> {
    Ok(Response::new(re::BatchUpdateBlobsResponse { responses: entries }))
}

fn entry(digest: &Digest) -> Entry {
    Entry { digest: Some(proto(digest)), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_reference_is_stored_by_a_batch_of_one_and_read_by_its_digest() {
    let fake = Fake::new();
    let said = PutOutcome::Created { stored_bytes: 19 };
    fake.on_update_references(move |request| async move {
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.requests.len(), 1);
        assert_eq!(request.requests[0].digest, Some(proto(&digest(b"blob"))));
        assert_eq!(request.requests[0].reference, Some(reference()));
        answer(vec![Entry { outcome: Some(outcome(said)), ..entry(&digest(b"blob")) }])
    });
    fake.on_get_reference(|request| async move {
        let request = request.into_inner();
        assert_eq!((request.instance_name.as_str(), request.digest_function), ("main", 1));
        assert_eq!(request.digest, Some(proto(&digest(b"blob"))));
        Ok(Response::new(reference()))
    });
    let (icas, ctx) = (fake.remote().icas(), Context::background());
    assert_eq!(icas.put(&ctx, &digest(b"blob"), blob()).await.unwrap(), said);
    let found = icas.get(&ctx, &digest(b"blob")).await.unwrap();
    assert_eq!(found.into_bytes(1000).await.unwrap(), reference().encode_to_vec());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_entry_is_that_of_the_put() {
    for code in (1..=16).map(Code::from_i32) {
        let fake = Fake::new();
        fake.on_update_references(move |_| async move {
            answer(vec![Entry { status: Some(status(code)), ..entry(&digest(b"blob")) }])
        });
        let error = fake.remote().icas().put(&Context::background(), &digest(b"blob"), blob()).await.unwrap_err();
        let expected = if code == Code::NotFound { Code::Internal } else { code };
        assert_eq!(error.kind().grpc_code(), i32::from(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_something_else_is_no_answer() {
    let other = || entry(&digest(b"other"));
    let failed = || Entry { status: Some(status(Code::Aborted)), ..entry(&digest(b"blob")) };
    let answers: [Vec<Entry>; 4] =
        [vec![], vec![other()], vec![Entry::default()], vec![entry(&digest(b"blob")), failed()]];
    for entries in answers {
        let fake = Fake::new();
        fake.on_update_references(move |_| {
            let entries = entries.clone();
            async move { answer(entries) }
        });
        let error = fake.remote().icas().put(&Context::background(), &digest(b"blob"), blob()).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Internal, PutCertainty::MaybeStored), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_references_are_found_in_calls_that_fit_a_message() {
    let fake = Fake::new();
    let sizes = Log::new();
    let log = sizes.clone();
    fake.on_find_missing_references(move |request| {
        let request = request.into_inner();
        log.add(request.blob_digests.len());
        // Every other one.
        let missing_blob_digests = request.blob_digests.into_iter().step_by(2).collect();
        async { Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests })) }
    });
    let digests: DigestSet = (0..25_000_u32).map(|number| digest(&number.to_be_bytes())).collect();
    let missing = fake.remote().icas().find_missing(&Context::background(), &digests).await.unwrap();
    assert_eq!(missing.len(), 12_500);
    let mut sizes = sizes.take();
    sizes.sort_unstable();
    assert_eq!(sizes, [5_000, 10_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_asked_for_cannot_be_missing_and_a_failure_is_no_answer() {
    let fake = Fake::new();
    let (icas, ctx) = (fake.remote().icas(), Context::background());
    fake.on_find_missing_references(|_| async {
        let missing_blob_digests = vec![proto(&digest(b"other"))];
        Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests }))
    });
    let asked = DigestSet::from(digest(b"blob"));
    assert_eq!(icas.find_missing(&ctx, &asked).await.unwrap_err().kind(), ErrorKind::Internal);
    for (code, kind) in [
        (Code::NotFound, ErrorKind::Internal),
        (Code::Unimplemented, ErrorKind::Unimplemented),
        (Code::PermissionDenied, ErrorKind::PermissionDenied),
    ] {
        fake.on_find_missing_references(move |_| async move { Err(Status::new(code, "so it is")) });
        assert_eq!(icas.find_missing(&ctx, &asked).await.unwrap_err().kind(), kind);
    }
    assert!(icas.find_missing(&ctx, &DigestSet::new()).await.unwrap().is_empty());
}
