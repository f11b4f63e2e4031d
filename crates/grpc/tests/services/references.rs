//! The indirect content-addressable storage, as clients of Buildbarn meet it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{BlobAccess, Context, Digest, DigestFunction, Error, Icas, InstanceName};
use blobaccess_grpc::services::icas::indirect_content_addressable_storage_client::IndirectContentAddressableStorageClient;
use blobaccess_grpc::{OUTCOME_REQUEST, ServiceOptions, Services};
use blobaccess_proto::outcome::put_outcome::{Created, Outcome, Replaced};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::{icas, outcome};
use icas::batch_update_references_request::Request as Update;
use icas::reference::Medium;
use prost::Message;
use tonic::service::Routes;
use tonic::{Code, Request};

use crate::fake::Fake;
use crate::wired::{call, to_proto};

fn store() -> (Arc<Fake<Icas>>, IndirectContentAddressableStorageClient<Routes>) {
    let (icas, services) = services(ServiceOptions::default());
    (icas, IndirectContentAddressableStorageClient::new(services.routes().unwrap()))
}

fn services(options: ServiceOptions) -> (Arc<Fake<Icas>>, Services) {
    let icas = Fake::new();
    (Arc::clone(&icas), Services::new(options).with_icas(icas))
}

fn blob(contents: &str) -> re::Digest {
    to_proto(&Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes()))
}

fn reference(url: &str) -> icas::Reference {
    icas::Reference { medium: Some(Medium::HttpUrl(url.to_owned())), ..Default::default() }
}

fn update(contents: &str, url: &str) -> Update {
    Update { digest: Some(blob(contents)), reference: Some(reference(url)) }
}

fn batch(requests: Vec<Update>) -> icas::BatchUpdateReferencesRequest {
    icas::BatchUpdateReferencesRequest { requests, ..Default::default() }
}

fn get(contents: &str) -> icas::GetReferenceRequest {
    icas::GetReferenceRequest { digest: Some(blob(contents)), ..Default::default() }
}

fn find(blob_digests: Vec<re::Digest>) -> re::FindMissingBlobsRequest {
    re::FindMissingBlobsRequest { blob_digests, ..Default::default() }
}

fn codes(answer: &re::BatchUpdateBlobsResponse) -> Vec<Code> {
    answer.responses.iter().map(|entry| Code::from_i32(entry.status.as_ref().unwrap().code)).collect()
}

/// Returns digests that are none.
fn bad() -> [Option<re::Digest>; 5] {
    let digest = |hash: String, size_bytes| Some(re::Digest { hash, size_bytes });
    let hash = || "ab".repeat(32);
    [None, digest("ab".repeat(31), 1), digest("AB".repeat(32), 1), digest(hash(), -1), digest("xy".repeat(32), 1)]
}

#[tokio::test]
async fn missing_references_are_found_and_those_that_are_there_are_not() {
    let (_, mut client) = store();
    client.batch_update_references(batch(vec![update("here", "http://h/1")])).await.unwrap();
    let asked = find(vec![blob("here"), blob("there"), blob("there")]);
    let answer = client.find_missing_references(asked).await.unwrap().into_inner();
    assert_eq!(answer.missing_blob_digests, [blob("there")]);
    let elsewhere = re::FindMissingBlobsRequest { instance_name: "other".into(), ..find(vec![blob("here")]) };
    let answer = client.find_missing_references(elsewhere).await.unwrap().into_inner();
    assert_eq!(answer.missing_blob_digests, [blob("here")], "references are found in their instance name only");
}

#[tokio::test]
async fn a_bad_digest_fails_a_find_and_a_get_and_asks_no_store() {
    let (icas, mut client) = store();
    *icas.error.lock().unwrap() = Some(Error::internal("the store was asked"));
    for digest in bad() {
        if let Some(digest) = digest.clone() {
            let status = client.find_missing_references(find(vec![blob("good"), digest])).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
            assert!(status.message().starts_with("digest 1: "), "{status}");
        }
        let request = icas::GetReferenceRequest { digest: digest.clone(), ..Default::default() };
        let status = client.get_reference(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{digest:?}: {status}");
    }
    for (instance_name, digest_function) in [("a/blobs/b", 1), ("a//b", 1), ("", 77), ("", 2)] {
        let name = instance_name.to_owned();
        let request =
            re::FindMissingBlobsRequest { instance_name: name.clone(), digest_function, ..find(vec![blob("x")]) };
        assert_eq!(client.find_missing_references(request).await.unwrap_err().code(), Code::InvalidArgument);
        let request = icas::GetReferenceRequest { instance_name: name, digest_function, ..get("x") };
        assert_eq!(client.get_reference(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(icas.asked.lock().unwrap().len(), 0);
    client.find_missing_references(find(Vec::new())).await.expect("nothing is missing of nothing");
}

#[tokio::test]
async fn an_error_of_the_store_is_passed_on_as_it_is() {
    let (icas, mut client) = store();
    *icas.error.lock().unwrap() = Some(Error::unavailable("disk on fire").at("shard 3"));
    let found = client.find_missing_references(find(vec![blob("x")])).await.unwrap_err();
    let got = client.get_reference(get("x")).await.unwrap_err();
    // Buildbarn's client ignores the status of an entry: a batch of one fails as a whole.
    let put = client.batch_update_references(batch(vec![update("x", "http://h")])).await.unwrap_err();
    for status in [found, got, put] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "shard 3: disk on fire"));
    }
    let two = batch(vec![update("x", "http://h"), update("y", "http://h")]);
    let answer = client.batch_update_references(two).await.unwrap().into_inner();
    assert_eq!(codes(&answer), [Code::Unavailable; 2]);
    assert_eq!(answer.responses[0].status.as_ref().unwrap().message, "shard 3: disk on fire");
}

#[tokio::test]
async fn a_reference_is_returned_as_it_was_stored_and_absence_is_not_found() {
    let (_, mut client) = store();
    assert_eq!(client.get_reference(get("x")).await.unwrap_err().code(), Code::NotFound);
    let all = [
        reference("http://host/path"),
        icas::Reference {
            medium: Some(Medium::S3(icas::reference::S3 { bucket: "b".into(), key: "k".into() })),
            offset_bytes: 7,
            size_bytes: 9,
            decompressor: 1,
        },
        icas::Reference {
            medium: Some(Medium::ContentAddressableStorage(icas::reference::ContentAddressableStorage {
                instance_name: "elsewhere".into(),
                digest_function: 1,
                blob_digest: Some(blob("y")),
            })),
            ..Default::default()
        },
    ];
    for reference in all {
        let request = Update { digest: Some(blob("x")), reference: Some(reference.clone()) };
        let answer = client.batch_update_references(batch(vec![request])).await.unwrap().into_inner();
        assert_eq!(codes(&answer), [Code::Ok]);
        assert_eq!(client.get_reference(get("x")).await.unwrap().into_inner(), reference);
    }
}

#[tokio::test]
async fn each_entry_of_a_batch_has_its_own_status() {
    let (_, mut client) = store();
    let mut requests = vec![update("one", "http://h/1"), Update { digest: Some(blob("none")), reference: None }];
    requests.extend(bad().map(|digest| Update { digest, reference: Some(reference("http://h/bad")) }));
    requests.push(update("two", "http://h/2"));
    let answer = client.batch_update_references(batch(requests.clone())).await.unwrap().into_inner();
    let digests: Vec<_> = answer.responses.iter().map(|entry| entry.digest.clone()).collect();
    assert_eq!(digests, requests.iter().map(|request| request.digest.clone()).collect::<Vec<_>>());
    let bad = [Code::InvalidArgument; 6];
    assert_eq!(codes(&answer), [[Code::Ok].as_slice(), &bad, &[Code::Ok]].concat());
    assert_eq!(client.get_reference(get("one")).await.unwrap().into_inner(), reference("http://h/1"));
    assert_eq!(client.get_reference(get("two")).await.unwrap().into_inner(), reference("http://h/2"));
    // The instance name and the function are those of all.
    for request in [
        icas::BatchUpdateReferencesRequest { instance_name: "a//b".into(), ..batch(requests.clone()) },
        icas::BatchUpdateReferencesRequest { digest_function: 77, ..batch(requests.clone()) },
    ] {
        assert_eq!(client.batch_update_references(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let answer = client.batch_update_references(batch(Vec::new())).await.unwrap().into_inner();
    assert!(answer.responses.is_empty());
}

#[tokio::test]
async fn of_references_for_one_digest_the_last_one_stays() {
    let (icas, mut client) = store();
    icas.slow_puts.store(50, Ordering::SeqCst);
    let urls: Vec<_> = (0..50).map(|number| format!("http://h/{number}")).collect();
    let mut request = Request::new(batch(urls.iter().map(|url| update("x", url)).collect()));
    request.metadata_mut().insert(OUTCOME_REQUEST, "1".parse().unwrap());
    let answer = client.batch_update_references(request).await.unwrap().into_inner();
    let outcomes: Vec<_> = answer.responses.into_iter().map(|entry| entry.outcome.unwrap().outcome.unwrap()).collect();
    assert_eq!(outcomes[0], Outcome::Created(Created { stored_bytes: 12 }));
    assert_eq!(outcomes[1], Outcome::Replaced(Replaced { stored_bytes: 12, old_bytes: 12 }));
    assert_eq!(outcomes[49], Outcome::Replaced(Replaced { stored_bytes: 13, old_bytes: 13 }));
    assert_eq!(client.get_reference(get("x")).await.unwrap().into_inner(), reference("http://h/49"));
    let answer = client.batch_update_references(batch(vec![update("x", "http://h")])).await.unwrap().into_inner();
    assert_eq!(answer.responses[0].outcome, None::<outcome::PutOutcome>, "nobody asked");
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(int32, tag = "2")]
    digest: i32,
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_an_invalid_argument() {
    let (_, services) = services(ServiceOptions::default());
    for method in ["FindMissingReferences", "BatchUpdateReferences", "GetReference"] {
        let path: &'static str = format!("/buildbarn.icas.IndirectContentAddressableStorage/{method}").leak();
        let status = call::<_, ()>(&services, path, Number { digest: 1 }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status}");
    }
    let unknown = "/buildbarn.icas.IndirectContentAddressableStorage/ForgetReference";
    let status = call::<_, ()>(&services, unknown, get("x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_batch_whose_answer_no_message_holds_is_refused_before_it_is_stored() {
    let (icas, services) = services(ServiceOptions::default().with_max_message_size_bytes(128 << 10));
    let mut client = IndirectContentAddressableStorageClient::new(services.routes().unwrap());
    // Entries of no bytes but their headers: 2 bytes here, up to 12 in the answer.
    let request = batch(vec![Update::default(); 11_000]);
    let status = client.batch_update_references(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("131072"), "{status}");
    assert_eq!(icas.inner.snapshot().blobs, 0);
    let ctx = Context::background();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"x");
    assert!(icas.inner.get(&ctx, &digest).await.unwrap_err().is_not_found());
}
