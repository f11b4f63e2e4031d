use std::sync::Arc;

use blobaccess::{Digest, ErrorKind, PutOutcome};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, Request, Status};

use super::{CasService, CasWireService};
use crate::server::ServiceOptions;
use crate::server::failed_puts::PutFailures;
use crate::server::recorded_frames as frames;
use crate::server::uploads_under_way::UploadsUnderWay;
use crate::server::watched_store::{WatchedStore, sha256};
use crate::stubs::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use crate::{message, outcome};

type Client = ContentAddressableStorageClient<CasWireService>;

fn client(store: &Arc<WatchedStore>, options: ServiceOptions) -> Client {
    let store: Arc<dyn blobaccess::BlobAccess<Kind = blobaccess::Cas>> = Arc::<WatchedStore>::clone(store);
    let service = CasService::new(store, Arc::new(options), PutFailures::default(), UploadsUnderWay::default());
    ContentAddressableStorageClient::new(CasWireService::new(service))
}

fn small() -> ServiceOptions {
    ServiceOptions::default().with_max_message_size_bytes(128 << 10)
}

fn malformed() -> re::Digest {
    re::Digest { hash: "ABC".into(), size_bytes: 3 }
}

fn find(digests: impl Into<Vec<re::Digest>>) -> re::FindMissingBlobsRequest {
    re::FindMissingBlobsRequest { blob_digests: digests.into(), ..Default::default() }
}

#[tokio::test]
async fn what_is_missing_is_told_exactly_in_order_and_once() {
    let store = WatchedStore::new();
    let there = store.add("there").await;
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let asked = [&a, &there, &b, &a].map(message::to_proto);
    let answer = client(&store, small()).find_missing_blobs(find(asked)).await.unwrap().into_inner();
    let mut missing = [a, b];
    missing.sort();
    assert_eq!(answer.missing_blob_digests, missing.each_ref().map(message::to_proto));
}

#[tokio::test]
async fn no_digests_are_answered_by_none_whatever_else_is_asked() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let request = re::FindMissingBlobsRequest { instance_name: "blobs".into(), ..find([]) };
    assert!(client.find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests.is_empty());
    assert!(
        client.batch_read_blobs(re::BatchReadBlobsRequest::default()).await.unwrap().into_inner().responses.is_empty()
    );
    let nothing = re::BatchUpdateBlobsRequest::default();
    assert!(client.batch_update_blobs(nothing).await.unwrap().into_inner().responses.is_empty());
}

#[tokio::test]
async fn the_first_malformed_digest_fails_a_find_and_is_counted() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let good = message::to_proto(&sha256(b"a"));
    let upper = re::Digest { hash: good.hash.to_uppercase(), ..good.clone() };
    let negative = re::Digest { size_bytes: -1, ..good.clone() };
    let short = malformed();
    for bad in [upper, negative, short] {
        let error = client.find_missing_blobs(find([good.clone(), good.clone(), bad])).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with("digest 2: "), "{error}");
    }
    let error = client.find_missing_blobs(find([malformed()])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let request = re::FindMissingBlobsRequest { instance_name: "a/blobs".into(), ..find([good]) };
    assert_eq!(client.find_missing_blobs(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_outage_is_never_a_missing_blob() {
    let store = WatchedStore::new();
    let broken = store.add("broken").await;
    store.fail(&broken, ErrorKind::Unavailable);
    let mut client = client(&store, small());
    let error = client.find_missing_blobs(find([message::to_proto(&broken)])).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "disk on fire"));
}

fn read(digests: &[&Digest], compressors: &[i32]) -> re::BatchReadBlobsRequest {
    re::BatchReadBlobsRequest {
        digests: digests.iter().map(|digest| message::to_proto(digest)).collect(),
        acceptable_compressors: compressors.to_vec(),
        ..Default::default()
    }
}

fn code(status: Option<&blobaccess_proto::rpc::Status>) -> Code {
    Code::from_i32(status.unwrap().code)
}

#[tokio::test]
async fn each_blob_of_a_batch_has_its_own_status_and_is_read_once() {
    let store = WatchedStore::new();
    let (a, b, broken) = (store.add("aaa").await, store.add("bb").await, store.add("broken").await);
    let absent = sha256(b"absent");
    store.fail(&broken, ErrorKind::DataLoss);
    let request = read(&[&a, &absent, &b, &a, &broken], &[]);
    let answer = client(&store, small()).batch_read_blobs(request.clone()).await.unwrap().into_inner();
    let digests: Vec<_> = answer.responses.iter().map(|entry| entry.digest.clone().unwrap()).collect();
    assert_eq!(digests, request.digests);
    let entries: Vec<_> = answer.responses.iter().map(|entry| (&*entry.data, code(entry.status.as_ref()))).collect();
    let expected: [(&[u8], Code); 5] =
        [(b"aaa", Code::Ok), (b"", Code::NotFound), (b"bb", Code::Ok), (b"aaa", Code::Ok), (b"", Code::DataLoss)];
    assert_eq!(entries, expected);
    assert_eq!(store.gets(), 4);
}

#[tokio::test]
async fn an_oversized_read_is_refused_before_anything_is_read() {
    let store = WatchedStore::new();
    let (a, b) = (store.add(vec![1; 40_000]).await, store.add(vec![2; 25_537]).await);
    let mut client = client(&store, small());
    let error = client.batch_read_blobs(read(&[&a, &b], &[])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("65537 bytes, while at most 65536"), "{error}");
    assert_eq!(store.gets(), 0);
    let b = store.add(vec![2; 25_536]).await;
    assert_eq!(client.batch_read_blobs(read(&[&a, &b], &[])).await.unwrap().into_inner().responses.len(), 2);
}

#[tokio::test]
async fn an_answer_keeps_within_a_message_however_many_blobs_there_are() {
    let store = WatchedStore::new();
    let absent: Vec<_> = (0..700_u32).map(|n| sha256(&n.to_le_bytes())).collect();
    let large = store.add(vec![1; 60_000]).await;
    let asked: Vec<_> = absent.iter().chain([&large]).collect();
    let mut client = client(&store, small());
    let answer = client.batch_read_blobs(read(&asked, &[])).await.unwrap().into_inner();
    assert!(answer.encoded_len() <= 128 << 10, "{}", answer.encoded_len());
    assert!(answer.responses[..700].iter().all(|entry| code(entry.status.as_ref()) == Code::NotFound));
    assert_eq!(code(answer.responses[700].status.as_ref()), Code::ResourceExhausted);
    assert_eq!(store.gets(), 701);

    let asked: Vec<_> = absent.iter().cycle().take(1000).collect();
    let answer = client.batch_read_blobs(read(&asked, &[])).await.unwrap().into_inner();
    assert!(answer.encoded_len() <= 128 << 10, "{}", answer.encoded_len());
    assert!(answer.responses.iter().all(|entry| !entry.status.as_ref().unwrap().message.is_empty()));
    assert_eq!(store.gets(), 1401);

    let asked: Vec<_> = absent.iter().cycle().take(1800).collect();
    let error = client.batch_read_blobs(read(&asked, &[])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(store.gets(), 1401);
}

#[tokio::test]
async fn blobs_of_a_batch_are_read_concurrently_within_the_bound() {
    let store = WatchedStore::new();
    let mut digests = Vec::new();
    for n in 0..20_u32 {
        digests.push(store.add(n.to_le_bytes().to_vec()).await);
    }
    let asked: Vec<_> = digests.iter().collect();
    client(&store, small().with_batch_concurrency(3)).batch_read_blobs(read(&asked, &[])).await.unwrap();
    assert_eq!(store.most_open_gets(), 3);
}

#[tokio::test]
async fn blobs_of_a_batch_are_compressed_where_that_is_wanted_and_of_use() {
    let store = WatchedStore::new();
    let zeros = store.add(vec![0; 10_000]).await;
    let tiny = store.add("tiny").await;
    let recorded = store.add_encoded(frames::CONTENTS, frames::PLAIN_WITHOUT_SIZE).await;
    let inflated = store.add_encoded("first second\n", frames::TWO_FRAMES).await;
    let request = read(&[&zeros, &tiny, &recorded, &inflated], &[3, 1]);
    let answer = client(&store, small()).batch_read_blobs(request.clone()).await.unwrap().into_inner();
    let compressors: Vec<_> = answer.responses.iter().map(|entry| entry.compressor).collect();
    assert_eq!(compressors, [1, 0, 1, 0]);
    assert_eq!(zstd::bulk::decompress(&answer.responses[0].data, 10_000).unwrap(), vec![0; 10_000]);
    // What the store has compressed is passed on as it is, unless it is larger.
    assert_eq!(answer.responses[2].data, frames::PLAIN_WITHOUT_SIZE);
    assert_eq!(answer.responses[3].data, "first second\n");

    for (options, compressors) in [(small(), &[][..]), (small().with_compression_level(None), &[1])] {
        let request = re::BatchReadBlobsRequest { acceptable_compressors: compressors.to_vec(), ..request.clone() };
        let answer = client(&store, options).batch_read_blobs(request).await.unwrap().into_inner();
        assert!(answer.responses.iter().all(|entry| entry.compressor == 0 && code(entry.status.as_ref()) == Code::Ok));
        assert_eq!(answer.responses[2].data, frames::CONTENTS);
    }
}

fn update(digest: &Digest, data: &[u8], compressor: i32) -> re::batch_update_blobs_request::Request {
    re::batch_update_blobs_request::Request {
        digest: Some(message::to_proto(digest)),
        data: Bytes::copy_from_slice(data),
        compressor,
        ..Default::default()
    }
}

async fn put(
    client: &mut Client,
    requests: Vec<re::batch_update_blobs_request::Request>,
) -> Result<Vec<(Code, String)>, Status> {
    let request = re::BatchUpdateBlobsRequest { requests, ..Default::default() };
    let answer = client.batch_update_blobs(request).await?.into_inner();
    assert!(answer.responses.iter().all(|entry| entry.outcome.is_none()));
    let statuses = answer.responses.into_iter().map(|entry| entry.status.unwrap());
    Ok(statuses.map(|status| (Code::from_i32(status.code), status.message)).collect())
}

#[tokio::test]
async fn what_is_wrong_with_one_blob_of_a_batch_is_said_of_that_one() {
    let store = WatchedStore::new();
    let (good, wrong, long, other) = (sha256(b"good"), sha256(b"wrong"), sha256(b"long"), sha256(b"other"));
    store.fail(&other, ErrorKind::ResourceExhausted);
    let mut client = client(&store, small());
    let bad_digest =
        re::batch_update_blobs_request::Request { digest: Some(malformed()), data: "abc".into(), ..Default::default() };
    let no_digest = re::batch_update_blobs_request::Request { digest: None, ..bad_digest.clone() };
    let statuses = put(
        &mut client,
        vec![
            bad_digest,
            no_digest,
            update(&good, b"good", 0),
            update(&wrong, b"gnorw", 0),
            update(&long, b"too long", 0),
            update(&other, b"other", 0),
            update(&good, b"good", 2),
            update(&good, b"good", 77),
        ],
    )
    .await
    .unwrap();
    let codes: Vec<_> = statuses.iter().map(|(code, _)| *code).collect();
    let invalid = Code::InvalidArgument;
    assert_eq!(
        codes,
        [
            invalid,
            invalid,
            Code::Ok,
            invalid,
            invalid,
            Code::ResourceExhausted,
            Code::Unimplemented,
            Code::Unimplemented
        ]
    );
    assert!(statuses[4].1.contains("is 8 bytes, while 4 bytes were expected"), "{}", statuses[4].1);
    assert!(store.has(&good).await);
    for absent in [&wrong, &long, &other] {
        assert!(!store.has(absent).await);
    }
    let again = put(&mut client, vec![update(&wrong, b"wrong", 0), update(&long, b"long", 0)]).await.unwrap();
    assert!(again.iter().all(|(code, _)| *code == Code::Ok), "{again:?}");
    assert!(store.has(&wrong).await && store.has(&long).await);
}

#[tokio::test]
async fn compressed_blobs_of_a_batch_are_stored_decoded() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let (contents, two, empty) = (sha256(frames::CONTENTS), sha256(b"first second\n"), sha256(b""));
    let statuses = put(
        &mut client,
        vec![
            update(&contents, frames::PLAIN, 1),
            update(&contents, frames::PLAIN_WITHOUT_SIZE, 1),
            update(&two, frames::TWO_FRAMES, 1),
            update(&empty, frames::EMPTY, 1),
        ],
    )
    .await
    .unwrap();
    assert!(statuses.iter().all(|(code, _)| *code == Code::Ok), "{statuses:?}");
    for digest in [&contents, &two, &empty] {
        assert!(store.has(digest).await, "{digest}");
    }
}

#[tokio::test]
async fn compressed_blobs_that_are_wrong_are_refused_and_leave_nothing() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let (contents, short) = (sha256(frames::CONTENTS), sha256(&[0; 1000]));
    let cut = &frames::PLAIN[..frames::PLAIN.len() - 1];
    let both = [frames::PLAIN, frames::PLAIN].concat();
    for (digest, data) in
        [(&contents, cut), (&contents, b"no zstd"), (&contents, &both), (&short, frames::MILLION_ZEROS), (&short, b"")]
    {
        let statuses = put(&mut client, vec![update(digest, data, 1)]).await.unwrap();
        assert_eq!(statuses[0].0, Code::InvalidArgument, "{statuses:?}");
        assert!(!store.has(digest).await);
    }
    let zeros = sha256(&vec![0; 1_000_000]);
    let error = put(&mut client, vec![update(&zeros, frames::MILLION_ZEROS, 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("1000000 bytes, while at most 65536"), "{error}");
    let statuses = put(&mut client, vec![update(&contents, frames::PLAIN, 1)]).await.unwrap();
    assert_eq!(statuses[0].0, Code::Ok);

    let mut plain = self::client(&store, small().with_compression_level(None));
    let statuses = put(&mut plain, vec![update(&contents, frames::PLAIN, 1)]).await.unwrap();
    assert_eq!(statuses[0].0, Code::Unimplemented);
}

#[tokio::test]
async fn an_oversized_update_is_refused_whole() {
    let store = WatchedStore::new();
    let (a, b) = (vec![1; 40_000], vec![2; 25_537]);
    let mut client = client(&store, small());
    let requests = vec![update(&sha256(&a), &a, 0), update(&sha256(&b), &b, 0)];
    let error = put(&mut client, requests).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("65537 bytes, while at most 65536"), "{error}");
    assert!(!store.has(&sha256(&a)).await);
}

#[tokio::test]
async fn outcomes_go_to_who_asks_and_one_of_two_equal_blobs_is_created() {
    let store = WatchedStore::new();
    let (old, new) = (store.add("old").await, sha256(b"new"));
    let requests = vec![update(&old, b"old", 0), update(&new, b"new", 0), update(&new, b"new", 0)];
    let mut request = Request::new(re::BatchUpdateBlobsRequest { requests, ..Default::default() });
    request.metadata_mut().insert("blobaccess-outcome", "1".parse().unwrap());
    let answer = client(&store, small()).batch_update_blobs(request).await.unwrap().into_inner();
    let outcomes: Vec<_> = answer.responses.iter().map(|entry| outcome::from_proto(entry.outcome.as_ref())).collect();
    let there = PutOutcome::AlreadyExists { stored_bytes: 3 };
    assert_eq!(outcomes, [there, PutOutcome::Created { stored_bytes: 3 }, there]);
}

async fn add_directory(store: &WatchedStore, name: &str, children: &[&Digest]) -> (re::Directory, Digest) {
    let directories = children
        .iter()
        .enumerate()
        .map(|(n, child)| re::DirectoryNode { name: format!("{n}"), digest: Some(message::to_proto(child)) });
    let files = vec![re::FileNode { name: name.into(), ..Default::default() }];
    let directory = re::Directory { files, directories: directories.collect(), ..Default::default() };
    let digest = store.add(directory.encode_to_vec()).await;
    (directory, digest)
}

fn tree(root: &Digest, page_size: i32, page_token: &str) -> re::GetTreeRequest {
    let root_digest = Some(message::to_proto(root));
    re::GetTreeRequest { root_digest, page_size, page_token: page_token.into(), ..Default::default() }
}

async fn pages(client: &mut Client, request: re::GetTreeRequest) -> Result<Vec<re::GetTreeResponse>, Status> {
    client.get_tree(request).await?.into_inner().try_collect().await
}

fn names(pages: &[re::GetTreeResponse]) -> Vec<Vec<&str>> {
    pages.iter().map(|page| page.directories.iter().map(|directory| &*directory.files[0].name).collect()).collect()
}

/// Stores a root with two children that share one, and one child that is missing.
async fn diamond(store: &WatchedStore) -> Digest {
    let (_, bottom) = add_directory(store, "bottom", &[]).await;
    let (_, left) = add_directory(store, "left", &[&bottom]).await;
    let (_, right) = add_directory(store, "right", &[&bottom, &sha256(b"missing")]).await;
    add_directory(store, "root", &[&left, &sha256(b"missing too"), &right, &left]).await.1
}

#[tokio::test]
async fn a_tree_comes_breadth_first_each_directory_once_and_without_what_is_missing() {
    let store = WatchedStore::new();
    let root = diamond(&store).await;
    for concurrency in [1, 16] {
        let mut client = client(&store, small().with_batch_concurrency(concurrency));
        let pages = pages(&mut client, tree(&root, 0, "")).await.unwrap();
        assert_eq!(names(&pages), [["root", "left", "right", "bottom"]]);
        assert_eq!(pages[0].next_page_token, "");
    }
}

#[tokio::test]
async fn a_tree_goes_on_behind_any_page_and_knows_its_tokens() {
    let store = WatchedStore::new();
    let root = diamond(&store).await;
    let mut client = client(&store, small());
    let all = pages(&mut client, tree(&root, 1, "")).await.unwrap();
    assert_eq!(names(&all), [["root"], ["left"], ["right"], ["bottom"]]);
    for (n, page) in all.iter().enumerate().take(3) {
        let rest = pages(&mut client, tree(&root, 1, &page.next_page_token)).await.unwrap();
        assert_eq!(rest, all[n + 1..]);
        let rest = pages(&mut client, tree(&root, 2, &page.next_page_token)).await.unwrap();
        assert_eq!(names(&rest).concat(), names(&all[n + 1..]).concat());
    }
    assert_eq!(all[3].next_page_token, "");

    let (_, other) = add_directory(&store, "other", &[]).await;
    let elsewhere = all[0].next_page_token.replace(&root.hash().to_string(), &other.hash().to_string());
    for (root, token) in
        [(&root, "no token"), (&other, &*all[0].next_page_token), (&root, &*elsewhere), (&other, &*elsewhere)]
    {
        let error = pages(&mut client, tree(root, 1, token)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn pages_of_a_tree_keep_within_a_message() {
    let store = WatchedStore::new();
    let mut children = Vec::new();
    for n in 0..40 {
        children.push(add_directory(&store, &format!("{n}").repeat(5000), &[]).await.1);
    }
    let (_, root) = add_directory(&store, "root", &children.iter().collect::<Vec<_>>()).await;
    let pages = pages(&mut client(&store, small()), tree(&root, 0, "")).await.unwrap();
    assert!(pages.len() > 2);
    assert!(pages.iter().all(|page| page.encoded_len() <= 128 << 10));
    assert_eq!(names(&pages).concat().len(), 41);
}

#[tokio::test]
async fn a_tree_that_cannot_be_walked_is_an_error_of_its_kind() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let missing = pages(&mut client, tree(&sha256(b"missing"), 0, "")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let file = store.add("not a directory").await;
    assert_eq!(pages(&mut client, tree(&file, 0, "")).await.unwrap_err().code(), Code::InvalidArgument);
    let root = diamond(&store).await;
    assert_eq!(pages(&mut client, tree(&root, -1, "")).await.unwrap_err().code(), Code::InvalidArgument);
    let no_root = re::GetTreeRequest { root_digest: None, ..tree(&root, 0, "") };
    assert_eq!(pages(&mut client, no_root).await.unwrap_err().code(), Code::InvalidArgument);

    let (_, broken) = add_directory(&store, "broken", &[]).await;
    store.fail(&broken, ErrorKind::Unavailable);
    let (_, root) = add_directory(&store, "root", &[&broken]).await;
    assert_eq!(pages(&mut client, tree(&root, 0, "")).await.unwrap_err().code(), Code::Unavailable);
    let huge = re::Digest { size_bytes: 1 << 40, ..message::to_proto(&sha256(b"huge")) };
    let node = re::DirectoryNode { name: "huge".into(), digest: Some(huge) };
    let root = store.add(re::Directory { directories: vec![node], ..Default::default() }.encode_to_vec()).await;
    assert_eq!(pages(&mut client, tree(&root, 0, "")).await.unwrap_err().code(), Code::ResourceExhausted);
    let node = re::DirectoryNode { name: "bad".into(), digest: Some(malformed()) };
    let root = store.add(re::Directory { directories: vec![node], ..Default::default() }.encode_to_vec()).await;
    assert_eq!(pages(&mut client, tree(&root, 0, "")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_tree_of_which_much_is_missing_begins_early_and_ends_soon() {
    let store = WatchedStore::new();
    let missing: Vec<_> = (0..30_000_u32).map(|n| sha256(&n.to_le_bytes())).collect();
    let (_, root) = add_directory(&store, "root", &missing.iter().collect::<Vec<_>>()).await;
    let mut client = client(&store, ServiceOptions::default());
    let mut pages = client.get_tree(tree(&root, 0, "")).await.unwrap().into_inner();
    let first = pages.message().await.unwrap().unwrap();
    assert_eq!((first.directories.len(), first.next_page_token.is_empty()), (1, false));
    assert!(store.gets() < 200, "{}", store.gets());
    let error = loop {
        match pages.message().await {
            Ok(page) => assert!(page.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(store.gets() < 1100, "{}", store.gets());
}

#[tokio::test]
async fn a_tree_of_too_many_directories_is_refused_while_it_is_walked() {
    let store = WatchedStore::new();
    let nodes = |from: usize| re::Directory {
        directories: (from..from + 40_000)
            .map(|n| re::DirectoryNode {
                name: format!("{n}"),
                digest: Some(re::Digest { hash: format!("{n:032x}"), size_bytes: 0 }),
            })
            .collect(),
        ..Default::default()
    };
    let md5 = |bytes: &[u8]| Digest::of(blobaccess::InstanceName::empty(), blobaccess::DigestFunction::Md5, bytes);
    let mut root = re::Directory::default();
    for from in [0, 40_000, 80_000] {
        let bytes = nodes(from).encode_to_vec();
        let digest = md5(&bytes);
        let blob = blobaccess::Blob::from_bytes(bytes);
        blobaccess::BlobAccess::put(&*store, &blobaccess::Context::background(), &digest, blob).await.unwrap();
        let digest = Some(message::to_proto(&digest));
        root.directories.push(re::DirectoryNode { name: format!("{from}"), digest });
    }
    let bytes = root.encode_to_vec();
    let digest = md5(&bytes);
    let blob = blobaccess::Blob::from_bytes(bytes);
    blobaccess::BlobAccess::put(&*store, &blobaccess::Context::background(), &digest, blob).await.unwrap();
    let error = pages(&mut client(&store, ServiceOptions::default()), tree(&digest, 0, "")).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("more than 100000 directories"), "{error}");
}

#[tokio::test]
async fn what_is_not_advertised_is_unimplemented_by_name() {
    let store = WatchedStore::new();
    let mut client = client(&store, small());
    let errors = [
        client.split_blob(re::SplitBlobRequest::default()).await.unwrap_err(),
        client.splice_blob(re::SpliceBlobRequest::default()).await.unwrap_err(),
        client.get_chunk_mapping(re::GetChunkMappingRequest::default()).await.unwrap_err(),
        client.register_chunk_mapping(futures::stream::empty()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::Unimplemented);
        assert!(error.message().ends_with("is not supported"), "{error}");
    }
}
