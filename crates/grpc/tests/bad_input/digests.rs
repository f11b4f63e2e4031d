//! Digests that are none.

use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::stack::{AcClient, CasClient, Server, StreamClient, messages, sha256, to_proto, write};

const CONTENTS: &[u8] = b"what nobody can name";

/// Returns malformed digests, each with the name of its fault.
fn malformed() -> Vec<(&'static str, re::Digest)> {
    let good = to_proto(&sha256(CONTENTS));
    let hash = |hash: String| re::Digest { hash, ..good.clone() };
    let size = |size_bytes: i64| re::Digest { size_bytes, ..good.clone() };
    let (short, _) = good.hash.split_at(63);
    vec![
        ("no hash", hash(String::new())),
        ("one digit", hash("0".to_owned())),
        ("a digit too few", hash(short.to_owned())),
        ("a digit too many", hash(format!("{}0", good.hash))),
        ("upper case", hash(good.hash.to_uppercase())),
        ("one upper case digit", hash(format!("{short}A"))),
        ("no digit", hash(format!("{short}g"))),
        ("a character of two bytes", hash(format!("{}é", short.split_at(62).0))),
        ("a line break", hash(format!("{short}\n"))),
        ("a zero byte", hash(format!("{short}\0"))),
        ("a slash", hash(format!("{short}/"))),
        ("a megabyte", hash("0".repeat(1 << 20))),
        ("negative size", size(-1)),
        ("the smallest size", size(i64::MIN)),
    ]
}

/// Returns the result of each call that names a digest.
async fn calls(channel: &Channel, digest: Option<&re::Digest>) -> Vec<(&'static str, Code, Status)> {
    let mut storage = CasClient::new(channel.clone());
    let mut results = AcClient::new(channel.clone());
    let mut statuses = Vec::new();
    let mut add = |call, result: Result<(), Status>| {
        let status = result.err().unwrap_or_else(|| Status::ok("it was"));
        statuses.push((call, status.code(), status));
    };
    if let Some(digest) = digest {
        let request = re::FindMissingBlobsRequest { blob_digests: vec![digest.clone()], ..Default::default() };
        add("FindMissingBlobs", storage.find_missing_blobs(request.clone()).await.map(drop));
        let request = re::FindMissingBlobsRequest { digest_function: 1, ..request };
        add("FindMissingBlobs of a function", storage.find_missing_blobs(request).await.map(drop));
        let digests = vec![to_proto(&sha256(b"good")), digest.clone()];
        let request = re::FindMissingBlobsRequest { blob_digests: digests, ..Default::default() };
        add("FindMissingBlobs of a good one too", storage.find_missing_blobs(request).await.map(drop));
        let request = re::BatchReadBlobsRequest { digests: vec![digest.clone()], ..Default::default() };
        // Each entry has its own status.
        let answer = storage.batch_read_blobs(request).await.unwrap().into_inner();
        let status = answer.responses.first().unwrap().status.clone().unwrap();
        add("BatchReadBlobs", Err(Status::new(Code::from_i32(status.code), status.message)));
    }
    let request = re::GetTreeRequest { root_digest: digest.cloned(), ..Default::default() };
    let tree = async { storage.get_tree(request).await?.into_inner().message().await.map(drop) };
    add("GetTree", tree.await);
    let request = re::GetActionResultRequest { action_digest: digest.cloned(), ..Default::default() };
    add("GetActionResult", results.get_action_result(request).await.map(drop));
    let request = re::UpdateActionResultRequest {
        action_digest: digest.cloned(),
        action_result: Some(re::ActionResult::default()),
        ..Default::default()
    };
    add("UpdateActionResult", results.update_action_result(request).await.map(drop));

    let entry = re::batch_update_blobs_request::Request {
        digest: digest.cloned(),
        data: CONTENTS.into(),
        ..Default::default()
    };
    let request = re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() };
    let answer = CasClient::new(channel.clone()).batch_update_blobs(request).await.unwrap().into_inner();
    let status = answer.responses.first().unwrap().status.clone().unwrap();
    add("BatchUpdateBlobs", Err(Status::new(Code::from_i32(status.code), status.message)));
    statuses
}

#[tokio::test]
async fn a_malformed_digest_is_an_invalid_argument_of_every_call() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    for (what, digest) in malformed() {
        for (call, code, status) in calls(&channel, Some(&digest)).await {
            assert_eq!(code, Code::InvalidArgument, "{call} with {what}: {status}");
            assert!(!status.message().is_empty() && status.message().len() < 2000, "{call} with {what}: {status}");
        }
        let mut stream = StreamClient::new(channel.clone());
        let blob = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
        let resource_name = format!("uploads/u/{blob}");
        let uploaded = write(&mut stream, messages(&resource_name, CONTENTS, 100)).await;
        assert_eq!(uploaded.unwrap_err().code(), Code::InvalidArgument, "Write with {what}");
        let request = bs::QueryWriteStatusRequest { resource_name };
        let code = stream.query_write_status(request).await.unwrap_err().code();
        assert_eq!(code, Code::InvalidArgument, "QueryWriteStatus with {what}");
        let request = bs::ReadRequest { resource_name: blob, ..Default::default() };
        assert_eq!(stream.read(request).await.unwrap_err().code(), Code::InvalidArgument, "Read with {what}");
        server.is_unharmed(&channel, &[&sha256(CONTENTS)]).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_digest_that_is_not_there_is_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    for (call, code, status) in calls(&channel, None).await {
        assert_eq!(code, Code::InvalidArgument, "{call}: {status}");
    }
    server.is_unharmed(&channel, &[&sha256(CONTENTS)]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_function_that_does_not_fit_is_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut storage = CasClient::new(channel.clone());
    // 2 is SHA-1; of the others there is none.
    for digest_function in [2, 999, -1, i32::MIN] {
        let digests = vec![to_proto(&sha256(CONTENTS))];
        let request =
            re::FindMissingBlobsRequest { blob_digests: digests.clone(), digest_function, ..Default::default() };
        let status = storage.find_missing_blobs(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{digest_function}: {status}");
        let request = re::BatchReadBlobsRequest { digests, digest_function, ..Default::default() };
        let answer = storage.batch_read_blobs(request).await;
        // A function that exists may fit the next digest of the batch.
        let code = answer.map_or_else(
            |status| status.code(),
            |answer| Code::from_i32(answer.into_inner().responses.first().unwrap().status.clone().unwrap().code),
        );
        assert_eq!(code, Code::InvalidArgument, "{digest_function}");
    }
    // Hashes of two functions in one request, which names none.
    let digests = vec![to_proto(&sha256(CONTENTS)), re::Digest { hash: "0".repeat(40), size_bytes: 1 }];
    let request = re::FindMissingBlobsRequest { blob_digests: digests, ..Default::default() };
    assert_eq!(storage.find_missing_blobs(request).await.unwrap_err().code(), Code::InvalidArgument);
    server.is_unharmed(&channel, &[&sha256(CONTENTS)]).await;
    server.stop().await;
}

#[tokio::test]
async fn an_update_without_a_result_is_an_invalid_argument_and_keeps_what_was_there() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut results = AcClient::new(channel.clone());
    let action_digest = Some(to_proto(&sha256(b"an action")));
    let get = re::GetActionResultRequest { action_digest: action_digest.clone(), ..Default::default() };
    let without = re::UpdateActionResultRequest { action_digest, ..Default::default() };
    let with = re::UpdateActionResultRequest {
        action_result: Some(re::ActionResult { exit_code: 7, ..Default::default() }),
        ..without.clone()
    };
    for stored in [None, Some(7)] {
        let status = results.update_action_result(without.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let found = results.get_action_result(get.clone()).await;
        assert_eq!(found.as_ref().err().map(Status::code), stored.is_none().then_some(Code::NotFound));
        assert_eq!(found.ok().map(|found| found.into_inner().exit_code), stored);
        results.update_action_result(with.clone()).await.unwrap();
    }
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}
