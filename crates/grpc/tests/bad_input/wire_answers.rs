//! The answers to requests at the edge, in which this server once differed from all others or from the protocol.
//!
//! The requests are of a table of some 300 that four servers were asked.

use blobaccess::Digest;
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::stream;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::stack::{
    AcClient, CasClient, Server, StreamClient, find, messages, read_name, sha256, size, to_proto, write, write_name,
    zstd_name,
};

/// The largest total size of a batch, as a server with the usual settings advertises it.
const ADVERTISED_BYTES: usize = (4 << 20) - (64 << 10);

async fn start() -> (Server, Channel) {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    (server, channel)
}

fn storage(channel: &Channel) -> CasClient {
    CasClient::new(channel.clone()).max_encoding_message_size(64 << 20)
}

/// Makes blobs of `size` bytes, each another.
fn blobs(count: usize, size: usize) -> Vec<Bytes> {
    let blob = |number: usize| {
        let mut blob = vec![b'.'; size];
        let number = number.to_le_bytes();
        let end = size.min(number.len());
        blob[..end].copy_from_slice(&number[..end]);
        Bytes::from(blob)
    };
    (0..count).map(blob).collect()
}

fn update(blobs: &[Bytes]) -> re::BatchUpdateBlobsRequest {
    let entry = |data: &Bytes| re::batch_update_blobs_request::Request {
        digest: Some(to_proto(&sha256(data))),
        data: data.clone(),
        ..Default::default()
    };
    re::BatchUpdateBlobsRequest { requests: blobs.iter().map(entry).collect(), ..Default::default() }
}

fn read(digests: Vec<re::Digest>) -> re::BatchReadBlobsRequest {
    re::BatchReadBlobsRequest { digests, ..Default::default() }
}

fn code(status: Option<&blobaccess_proto::rpc::Status>) -> Code {
    Code::from_i32(status.unwrap().code)
}

/// Puts `contents` alone, and returns its digest.
async fn put(channel: &Channel, contents: &[u8]) -> re::Digest {
    let answer = storage(channel).batch_update_blobs(update(&[Bytes::copy_from_slice(contents)])).await.unwrap();
    assert_eq!(code(answer.into_inner().responses[0].status.as_ref()), Code::Ok);
    to_proto(&sha256(contents))
}

#[tokio::test]
async fn metadata_of_60_kb_is_taken_and_more_is_refused_with_words() {
    let (server, channel) = start().await;
    let ask = async |bytes: usize| {
        let request = re::FindMissingBlobsRequest { blob_digests: vec![to_proto(&sha256(b"a"))], ..Default::default() };
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", MetadataValue::try_from("x".repeat(bytes)).unwrap());
        storage(&channel).find_missing_blobs(request).await
    };
    for bytes in [15_000, 16_000, 60_000] {
        assert_eq!(ask(bytes).await.unwrap().into_inner().missing_blob_digests.len(), 1, "{bytes}");
    }
    let refused = ask(70_000).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().ends_with("bytes of metadata, while at most 65536 are permitted"), "{refused}");
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn compressed_messages_are_taken_and_held_to_what_they_decode_to() {
    let (server, channel) = start().await;
    for coding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut storage = storage(&channel).send_compressed(coding);
        let blobs = blobs(100, 10_000);
        let answer = storage.batch_update_blobs(update(&blobs)).await.unwrap().into_inner();
        assert!(answer.responses.iter().all(|entry| code(entry.status.as_ref()) == Code::Ok));
        let digests = blobs.iter().map(|blob| to_proto(&sha256(blob))).collect();
        let request = re::FindMissingBlobsRequest { blob_digests: digests, ..Default::default() };
        assert!(storage.find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests.is_empty());
        let mut stream = StreamClient::new(channel.clone()).send_compressed(coding);
        let contents = vec![7; 300_000];
        let sent = messages(&write_name(&sha256(&contents)), &contents, 100_000);
        assert_eq!(write(&mut stream, sent).await.unwrap(), 300_000);
        let mut results = AcClient::new(channel.clone()).send_compressed(coding);
        let refused = results.get_action_result(re::GetActionResultRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

        let bomb = update(&[Bytes::from(vec![0; 32 << 20])]);
        let refused = storage.batch_update_blobs(bomb).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    }
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_for_a_message_exhausts_a_resource() {
    let (server, channel) = start().await;
    let exhausted = |status: Status| assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    exhausted(find(&channel, vec![to_proto(&sha256(b"a")); 60_000]).await.unwrap_err());
    exhausted(storage(&channel).batch_update_blobs(update(&blobs(3, 3 << 20))).await.unwrap_err());
    let large = vec![1; 5 << 20];
    let sent = messages(&write_name(&sha256(&large)), &large, 5 << 20);
    exhausted(write(&mut StreamClient::new(channel.clone()), sent).await.unwrap_err());
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn batches_within_the_advertised_limit_are_taken_whole() {
    let (server, channel) = start().await;
    for (count, size) in [(1, ADVERTISED_BYTES), (400, 10_000), (900, 4587), (4000, 1000), (20_000, 200), (33_000, 8)] {
        let blobs = blobs(count, size);
        let answer = storage(&channel).batch_update_blobs(update(&blobs)).await.unwrap().into_inner();
        assert_eq!(answer.responses.len(), count);
        assert!(answer.responses.iter().all(|entry| code(entry.status.as_ref()) == Code::Ok), "{count} x {size}");
    }
    let digests: Vec<_> = blobs(33_000, 8).iter().map(|blob| to_proto(&sha256(blob))).collect();
    let answer = storage(&channel).batch_read_blobs(read(digests)).await.unwrap().into_inner();
    assert!(answer.responses.iter().all(|entry| code(entry.status.as_ref()) == Code::Ok));
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn entries_that_an_answer_has_no_room_for_say_so() {
    let (server, channel) = start().await;
    let blobs = blobs(4100, 1000);
    storage(&channel).batch_update_blobs(update(&blobs)).await.unwrap();
    let digests: Vec<_> = blobs.iter().map(|blob| to_proto(&sha256(blob))).collect();
    let answer = storage(&channel).batch_read_blobs(read(digests)).await.unwrap().into_inner();
    assert!(answer.encoded_len() <= 4 << 20, "{}", answer.encoded_len());
    let (there, left_out): (Vec<_>, Vec<_>) =
        answer.responses.iter().partition(|entry| code(entry.status.as_ref()) == Code::Ok);
    assert!(there.len() > 3700 && there.iter().all(|entry| entry.data.len() == 1000), "{}", there.len());
    for entry in left_out {
        assert_eq!(code(entry.status.as_ref()), Code::ResourceExhausted);
        assert_eq!(entry.status.as_ref().unwrap().message, "answer is full");
    }
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_digest_of_a_batch_fails_alone() {
    let (server, channel) = start().await;
    let good = put(&channel, b"hello").await;
    let short = re::Digest { hash: good.hash[1..].to_owned(), ..good.clone() };
    let negative = re::Digest { size_bytes: -1, ..good.clone() };
    let request = read(vec![short, good.clone(), negative, good]);
    let answer = storage(&channel).batch_read_blobs(request).await.unwrap().into_inner();
    let entries: Vec<_> = answer.responses.iter().map(|entry| (code(entry.status.as_ref()), &*entry.data)).collect();
    let (bad, there) = ((Code::InvalidArgument, &b""[..]), (Code::Ok, &b"hello"[..]));
    assert_eq!(entries, [bad, there, bad, there]);
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn texts_name_the_fault() {
    let (server, channel) = start().await;
    let good = to_proto(&sha256(b"a"));
    let short = re::Digest { hash: good.hash[1..].to_owned(), ..good.clone() };
    let refused = find(&channel, vec![short]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("none has hashes of 63 hexadecimal characters"), "{refused}");

    let request = re::GetActionResultRequest { action_digest: Some(good), ..Default::default() };
    let absent = AcClient::new(channel.clone()).get_action_result(request).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    assert!(absent.message().starts_with("no action result is stored for 1-"), "{absent}");

    // A frame with a window of 16 MiB, of content that is cut off.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
    let sent = messages(&zstd_name(&sha256(&[1; 1000])), &frame, 100);
    let refused = write(&mut StreamClient::new(channel.clone()), sent).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("a window of more than 8388608 bytes"), "{refused}");

    let instance_name = format!("{}/blobs", "x".repeat(20_000));
    let request = re::FindMissingBlobsRequest {
        instance_name,
        blob_digests: vec![to_proto(&sha256(b"a"))],
        ..Default::default()
    };
    let refused = storage(&channel).find_missing_blobs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().len() <= 1024, "{refused}");
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn an_upload_that_goes_on_where_the_server_says_it_is_ends_well() {
    let (server, channel) = start().await;
    let contents = vec![5; 10_000];
    let digest = sha256(&contents);
    let mut stream = StreamClient::new(channel.clone());
    let resumed = |name: String, write_offset| {
        vec![bs::WriteRequest { resource_name: name, write_offset, finish_write: true, ..Default::default() }]
    };
    let refused = write(&mut stream, resumed(write_name(&digest), 10_000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("offset 10000 was requested, while 0 was expected"), "{refused}");

    put(&channel, &contents).await;
    let request = bs::QueryWriteStatusRequest { resource_name: write_name(&digest) };
    let status = stream.query_write_status(request).await.unwrap().into_inner();
    assert_eq!((status.committed_size, status.complete), (10_000, true));
    for offset in [10_000, 1, 9999] {
        assert_eq!(write(&mut stream, resumed(write_name(&digest), offset)).await.unwrap(), 10_000, "{offset}");
        assert_eq!(write(&mut stream, resumed(zstd_name(&digest), offset)).await.unwrap(), -1, "{offset}");
    }
    for offset in [10_001, -1] {
        let refused = write(&mut stream, resumed(write_name(&digest), offset)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{offset}: {refused}");
    }
    // With the rest of the contents, too.
    let rest = bs::WriteRequest {
        resource_name: write_name(&digest),
        write_offset: 4000,
        data: contents[4000..].to_vec().into(),
        finish_write: true,
    };
    assert_eq!(stream.write(stream::iter([rest])).await.unwrap().into_inner().committed_size, size(&digest));
    let request = bs::ReadRequest { resource_name: read_name(&digest), ..Default::default() };
    assert!(stream.read(request).await.is_ok());
    drop((stream, channel));
    server.stop().await;
}

/// Stores a result, and asks for it: the codes of both.
async fn update_and_get(channel: &Channel, result: re::ActionResult) -> (Code, Code) {
    let action: Digest = sha256(&result.encode_to_vec());
    let mut results = AcClient::new(channel.clone());
    let request = re::UpdateActionResultRequest {
        action_digest: Some(to_proto(&action)),
        action_result: Some(result),
        ..Default::default()
    };
    let updated = results.update_action_result(request).await;
    let request = re::GetActionResultRequest { action_digest: Some(to_proto(&action)), ..Default::default() };
    let got = results.get_action_result(request).await;
    (updated.map_or_else(|status| status.code(), |_| Code::Ok), got.map_or_else(|status| status.code(), |_| Code::Ok))
}

#[tokio::test]
async fn a_result_is_served_if_it_can_be_used_and_is_a_miss_or_refused_if_not() {
    use Code::{InvalidArgument, NotFound, Ok};

    let (server, channel) = start().await;
    let file = put(&channel, b"a file").await;
    let files = |digest: &re::Digest| re::Directory {
        files: vec![re::FileNode { name: "f".into(), digest: Some(digest.clone()), ..Default::default() }],
        ..Default::default()
    };
    let parent = |child: re::Digest| re::Directory {
        directories: vec![re::DirectoryNode { name: "d".into(), digest: Some(child) }],
        ..Default::default()
    };
    let leaf = files(&file);
    let leaf_digest = put(&channel, &leaf.encode_to_vec()).await;
    let root = parent(leaf_digest);
    let root_digest = put(&channel, &root.encode_to_vec()).await;
    let gone = to_proto(&sha256(b"never stored"));
    let tree = async |root: re::Directory, children: Vec<re::Directory>| {
        put(&channel, &re::Tree { root: Some(root), children }.encode_to_vec()).await
    };
    let with_tree = |digest: Option<re::Digest>, root: Option<re::Digest>| re::ActionResult {
        output_directories: vec![re::OutputDirectory {
            path: "d".into(),
            tree_digest: digest,
            root_directory_digest: root,
            ..Default::default()
        }],
        ..Default::default()
    };
    let with_file = |digest: Option<re::Digest>| re::ActionResult {
        output_files: vec![re::OutputFile { path: "f".into(), digest, ..Default::default() }],
        ..Default::default()
    };
    let nameless = re::Directory { files: vec![re::FileNode::default()], ..Default::default() };
    let no_blob = re::Digest { size_bytes: 0, ..file.clone() };
    let malformed = re::Digest { hash: "xyz".into(), size_bytes: 3 };
    let large = re::Directory {
        files: vec![re::FileNode { name: "f".repeat(9_000_000), digest: Some(file.clone()), ..Default::default() }; 2],
        ..Default::default()
    };
    let mut stream = StreamClient::new(channel.clone());
    let large = re::Tree { root: Some(large), children: Vec::new() }.encode_to_vec();
    write(&mut stream, messages(&write_name(&sha256(&large)), &large, 1 << 20)).await.unwrap();

    let table = [
        ("no outputs", re::ActionResult::default(), (Ok, Ok)),
        ("a file", with_file(Some(file.clone())), (Ok, Ok)),
        ("a file that is gone", with_file(Some(gone.clone())), (Ok, NotFound)),
        ("a file without digest", with_file(None), (InvalidArgument, NotFound)),
        ("a file with a malformed digest", with_file(Some(malformed)), (InvalidArgument, NotFound)),
        ("a file of size 0 with another hash", with_file(Some(no_blob.clone())), (InvalidArgument, NotFound)),
        ("a root alone", with_tree(None, Some(root_digest.clone())), (Ok, Ok)),
        ("a root that is gone", with_tree(None, Some(gone.clone())), (Ok, NotFound)),
        (
            "a root whose child is gone",
            with_tree(None, Some(put(&channel, &parent(gone.clone()).encode_to_vec()).await)),
            (Ok, NotFound),
        ),
        (
            "a root whose file is gone",
            with_tree(None, Some(put(&channel, &files(&gone).encode_to_vec()).await)),
            (Ok, NotFound),
        ),
        ("a directory without digests", with_tree(None, None), (InvalidArgument, NotFound)),
        (
            "a tree and its root",
            with_tree(Some(tree(root.clone(), vec![leaf.clone()]).await), Some(root_digest)),
            (Ok, Ok),
        ),
        ("a tree", with_tree(Some(tree(root.clone(), vec![leaf]).await), None), (Ok, Ok)),
        ("a tree that is gone", with_tree(Some(gone.clone()), None), (Ok, NotFound)),
        ("a tree that lacks a child", with_tree(Some(tree(root, Vec::new()).await), None), (Ok, NotFound)),
        ("a tree that is no message", with_tree(Some(put(&channel, &[0xff; 9]).await), None), (Ok, NotFound)),
        ("a tree with a file without digest", with_tree(Some(tree(nameless, Vec::new()).await), None), (Ok, NotFound)),
        (
            "a tree with a file of size 0 with another hash",
            with_tree(Some(tree(files(&no_blob), Vec::new()).await), None),
            (Ok, NotFound),
        ),
        ("a tree with a directory of 18 MB", with_tree(Some(to_proto(&sha256(&large))), None), (Ok, NotFound)),
    ];
    for (what, result, expected) in table {
        assert_eq!(update_and_get(&channel, result).await, expected, "{what}");
    }
    drop((stream, channel));
    server.stop().await;
}
