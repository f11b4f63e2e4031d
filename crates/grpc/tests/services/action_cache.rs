//! Action results are stored as they come, and returned with what is asked for.

use std::sync::Arc;

use blobaccess::{BlobAccess, Context, Digest, DigestFunction, Error, InstanceName};
use blobaccess_grpc::{OUTCOME_REQUEST, OUTCOME_RESPONSE, ServiceOptions, Services};
use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::outcome::put_outcome::{AlreadyExists, Created, Outcome, Replaced};
use blobaccess_proto::remote_execution as re;
use prost::Message;
use tonic::{Code, Request};

use crate::fake::Fake;
use crate::wired::{Wired, action, call, get, to_proto, update};

fn wired() -> Wired {
    Wired::new(ServiceOptions::default())
}

fn exit_code(exit_code: i32) -> re::ActionResult {
    re::ActionResult { exit_code, ..re::ActionResult::default() }
}

#[tokio::test]
async fn a_result_is_returned_as_it_was_stored_and_absence_is_not_found() {
    let wired = wired();
    let mut client = wired.action_cache();
    assert_eq!(client.get_action_result(get()).await.unwrap_err().code(), Code::NotFound);
    let result = re::ActionResult { stdout_raw: "hello".into(), ..exit_code(3) };
    let answer = client.update_action_result(update(result.clone())).await.unwrap();
    assert!(answer.metadata().get_bin(OUTCOME_RESPONSE).is_none(), "nobody asked");
    assert_eq!(answer.into_inner(), result);
    assert_eq!(client.get_action_result(get()).await.unwrap().into_inner(), result);

    let elsewhere = re::GetActionResultRequest { instance_name: "other".into(), ..get() };
    assert_eq!(client.get_action_result(elsewhere).await.unwrap_err().code(), Code::NotFound);
    // The result of an action that just exited with 0 is no bytes at all, which is a message.
    client.update_action_result(update(exit_code(0))).await.unwrap();
    assert_eq!(client.get_action_result(get()).await.unwrap().into_inner(), exit_code(0));
}

#[tokio::test]
async fn what_a_put_came_to_is_told_to_who_asks() {
    let mut client = wired().action_cache();
    let outcomes = [
        (1, Outcome::Created(Created { stored_bytes: 2 })),
        (1, Outcome::AlreadyExists(AlreadyExists { stored_bytes: 2 })),
        (300, Outcome::Replaced(Replaced { stored_bytes: 3, old_bytes: 2 })),
    ];
    for (code, expected) in outcomes {
        let mut request = Request::new(update(exit_code(code)));
        request.metadata_mut().insert(OUTCOME_REQUEST, "1".parse().unwrap());
        let answer = client.update_action_result(request).await.unwrap();
        let value = answer.metadata().get_bin(OUTCOME_RESPONSE).unwrap().to_bytes().unwrap();
        assert_eq!(PutOutcome::decode(value).unwrap().outcome, Some(expected));
    }
}

#[tokio::test]
async fn a_bad_request_is_an_invalid_argument_and_stores_nothing() {
    let mut client = wired().action_cache();
    let good = update(exit_code(1));
    let digest = |hash: String, size_bytes| Some(re::Digest { hash, size_bytes });
    let bad = [
        re::UpdateActionResultRequest { action_result: None, ..good.clone() },
        re::UpdateActionResultRequest { action_digest: None, ..good.clone() },
        re::UpdateActionResultRequest { instance_name: "a/blobs/b".into(), ..good.clone() },
        re::UpdateActionResultRequest { digest_function: 77, ..good.clone() },
        re::UpdateActionResultRequest { action_digest: digest("ab".repeat(31), 1), ..good.clone() },
        re::UpdateActionResultRequest { action_digest: digest("AB".repeat(32), 1), ..good.clone() },
        re::UpdateActionResultRequest { action_digest: digest("ab".repeat(32), -1), ..good.clone() },
    ];
    for request in bad {
        let status = client.update_action_result(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status}");
        let asked = re::GetActionResultRequest {
            instance_name: request.instance_name.clone(),
            action_digest: request.action_digest.clone(),
            digest_function: request.digest_function,
            ..re::GetActionResultRequest::default()
        };
        let status = client.get_action_result(asked).await.unwrap_err();
        let expected = if request.action_result.is_none() { Code::NotFound } else { Code::InvalidArgument };
        assert_eq!(status.code(), expected, "{request:?}: {status}");
    }
}

/// An action result with a field of a later version, and in a later version's files.
#[derive(Clone, PartialEq, Message)]
struct Later {
    #[prost(message, repeated, tag = "2")]
    output_files: Vec<LaterFile>,
    #[prost(int32, tag = "4")]
    exit_code: i32,
    #[prost(bytes = "vec", tag = "5")]
    stdout_raw: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    stdout_digest: Option<re::Digest>,
    #[prost(string, tag = "2000")]
    novelty: String,
}

#[derive(Clone, PartialEq, Message)]
struct LaterFile {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(message, optional, tag = "2")]
    digest: Option<re::Digest>,
    #[prost(bytes = "vec", tag = "5")]
    contents: Vec<u8>,
    #[prost(string, tag = "2001")]
    novelty: String,
}

#[derive(Clone, PartialEq, Message)]
struct LaterUpdate {
    #[prost(message, optional, tag = "2")]
    action_digest: Option<re::Digest>,
    #[prost(message, optional, tag = "3")]
    action_result: Option<Later>,
}

const UPDATE: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
const GET: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";

#[tokio::test]
async fn fields_of_later_versions_survive_also_where_contents_are_inlined() {
    let wired = wired();
    let file = |path: &str, digest| LaterFile {
        path: path.into(),
        digest: Some(digest),
        contents: Vec::new(),
        novelty: format!("new in {path}"),
    };
    let mut later = Later {
        output_files: vec![file("a", wired.store(b"in a").await), file("b", wired.store(&[b'b'; 200]).await)],
        exit_code: 7,
        stdout_raw: Vec::new(),
        stdout_digest: Some(wired.store(b"printed").await),
        novelty: "new".into(),
    };
    let request = LaterUpdate { action_digest: Some(action()), action_result: Some(later.clone()) };
    let answer: Later = call(&wired.services, UPDATE, request).await.unwrap();
    assert_eq!(answer, later);
    let answer: Later = call(&wired.services, GET, get()).await.unwrap();
    assert_eq!(answer, later);

    let asked =
        re::GetActionResultRequest { inline_stdout: true, inline_output_files: vec!["b".into(), "c".into()], ..get() };
    let answer: Later = call(&wired.services, GET, asked).await.unwrap();
    later.stdout_raw = b"printed".to_vec();
    later.output_files[1].contents = vec![b'b'; 200];
    assert_eq!(answer, later);
    // What is stored has stayed as it was.
    let answer: Later = call(&wired.services, GET, get()).await.unwrap();
    assert!(answer.stdout_raw.is_empty());
}

#[derive(Clone, PartialEq, Message)]
struct Parts {
    #[prost(message, optional, tag = "2")]
    action_digest: Option<re::Digest>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    action_result: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(int32, tag = "2")]
    action_digest: i32,
}

#[tokio::test]
async fn a_result_in_parts_is_their_union_and_bytes_that_are_no_result_are_refused() {
    let wired = wired();
    let parts = [exit_code(5), re::ActionResult { stdout_raw: "x".into(), ..exit_code(0) }];
    let action_result = parts.iter().map(Message::encode_to_vec).collect();
    let request = Parts { action_digest: Some(action()), action_result };
    let answer: re::ActionResult = call(&wired.services, UPDATE, request).await.unwrap();
    assert_eq!(answer, re::ActionResult { stdout_raw: "x".into(), ..exit_code(5) });

    let request = Parts { action_digest: Some(action()), action_result: vec![b"\xff\xff".to_vec()] };
    let status = call::<_, re::ActionResult>(&wired.services, UPDATE, request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("cannot be decoded"), "{status}");
    // The digest as a number: a request that cannot be decoded.
    let request = Number { action_digest: 1 };
    let status = call::<_, re::ActionResult>(&wired.services, GET, request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

async fn inlined(wired: &Wired, result: &re::ActionResult) -> re::ActionResult {
    let mut client = wired.action_cache();
    client.update_action_result(update(result.clone())).await.unwrap();
    let asked = re::GetActionResultRequest {
        inline_stdout: true,
        inline_stderr: true,
        inline_output_files: result.output_files.iter().map(|file| file.path.clone()).collect(),
        ..get()
    };
    client.get_action_result(asked).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_is_inlined_already_is_kept_and_what_cannot_be_read_is_left_out() {
    let wired = wired();
    let absent = to_proto(&Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"absent"));
    let bad = re::Digest { hash: "nonsense".into(), size_bytes: 3 };
    let file = |path: &str, digest: &re::Digest, contents: &'static str| re::OutputFile {
        path: path.into(),
        digest: Some(digest.clone()),
        contents: contents.into(),
        ..re::OutputFile::default()
    };
    let stored = wired.store(b"stored").await;
    let result = re::ActionResult {
        stdout_raw: "kept".into(),
        stdout_digest: Some(stored.clone()),
        stderr_digest: Some(absent.clone()),
        output_files: vec![
            file("kept", &stored, "as it is"),
            file("absent", &absent, ""),
            file("bad", &bad, ""),
            file("stored", &stored, ""),
        ],
        ..exit_code(1)
    };
    let mut expected = result.clone();
    expected.output_files[3].contents = "stored".into();
    assert_eq!(inlined(&wired, &result).await, expected);

    *wired.cas.error.lock().unwrap() = Some(Error::unavailable("disk on fire"));
    assert_eq!(inlined(&wired, &result).await, result, "an offer that is declined is no failure");
}

#[tokio::test]
async fn contents_are_inlined_as_far_as_the_message_goes() {
    let limit = 128 << 10;
    let wired = Wired::new(ServiceOptions::default().with_max_message_size_bytes(limit));
    let (large, small) = (vec![b'l'; 100 << 10], vec![b's'; 20 << 10]);
    let file =
        |path: &str, digest| re::OutputFile { path: path.into(), digest: Some(digest), ..re::OutputFile::default() };
    let result = re::ActionResult {
        stdout_digest: Some(wired.store(&large).await),
        stderr_digest: Some(wired.store(&vec![b'x'; 100 << 10]).await),
        output_files: vec![file("a", wired.store(&small).await), file("b", wired.store(&vec![b'y'; 20 << 10]).await)],
        ..exit_code(1)
    };
    let answer = inlined(&wired, &result).await;
    assert_eq!(answer.stdout_raw, large);
    assert!(answer.stderr_raw.is_empty(), "does not fit beside stdout");
    assert_eq!(answer.output_files[0].contents, small);
    assert!(answer.output_files[1].contents.is_empty());
    assert!(answer.encoded_len() <= limit);

    // To the byte: whatever the size of what else there is, the answer is within the limit.
    for room in 0..40 {
        let stdout = vec![b'o'; limit - 2000 - room];
        let result = re::ActionResult {
            stdout_digest: Some(wired.store(&stdout).await),
            stderr_raw: vec![b'e'; 1920].into(),
            ..exit_code(1)
        };
        let answer = inlined(&wired, &result).await;
        assert!(answer.encoded_len() <= limit, "{room}: {}", answer.encoded_len());
    }
}

#[tokio::test]
async fn a_result_that_no_message_holds_is_refused_both_ways() {
    let limit = 128 << 10;
    let wired = Wired::new(ServiceOptions::default().with_max_message_size_bytes(limit));
    let large = re::ActionResult { stdout_raw: vec![0; limit].into(), ..exit_code(1) };
    let status = wired.action_cache().update_action_result(update(large.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("131072"), "{status}");

    // One that was stored when messages were larger.
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action");
    let blob = blobaccess::Blob::from_bytes(large.encode_to_vec());
    wired.ac.inner.put(&Context::background(), &digest, blob).await.unwrap();
    let status = wired.action_cache().get_action_result(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("131072"), "{status}");
}

#[tokio::test]
async fn an_outage_is_no_absence() {
    let wired = wired();
    *wired.ac.error.lock().unwrap() = Some(Error::unavailable("disk on fire").at("shard 3"));
    let status = wired.action_cache().get_action_result(get()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "shard 3: disk on fire"));
    let status = wired.action_cache().update_action_result(update(exit_code(1))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "shard 3: disk on fire"));
}

#[tokio::test]
async fn stored_bytes_that_are_no_result_are_data_loss_to_who_has_them_looked_into() {
    let wired = wired();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action");
    let garbage = blobaccess::Blob::from_bytes("\x07garbage");
    wired.ac.inner.put(&Context::background(), &digest, garbage).await.unwrap();
    let asked = re::GetActionResultRequest { inline_stdout: true, ..get() };
    let status = wired.action_cache().get_action_result(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
}

#[tokio::test]
async fn without_contents_nothing_is_inlined_and_without_results_there_is_no_such_service() {
    let ac = Fake::new();
    let services = Services::new(ServiceOptions::default()).with_ac(Arc::clone(&ac));
    let wired = Wired { cas: Fake::new(), ac, services };
    let result = re::ActionResult { stdout_digest: Some(wired.store(b"printed").await), ..exit_code(1) };
    assert_eq!(inlined(&wired, &result).await, result);

    let services = Services::new(ServiceOptions::default()).with_cas(Arc::clone(&wired.cas));
    let wired = Wired { services, ..wired };
    let status = wired.action_cache().get_action_result(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let unknown = "/build.bazel.remote.execution.v2.ActionCache/ForgetActionResult";
    let status = call::<_, re::ActionResult>(&super::action_cache::wired().services, unknown, get()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
