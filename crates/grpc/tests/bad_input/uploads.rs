//! Uploads that do not keep to the protocol, or to what they announced.

use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use tonic::Code;

use crate::stack::{
    CasClient, Server, StreamClient, messages, noise, read, sha256, size, to_proto, write, write_name, zstd_name,
};

const CONTENTS: &[u8] = b"hello world, hello all";

/// Returns malformed uploads, each with the name of its fault.
fn wrong(good: &[bs::WriteRequest]) -> Vec<(&'static str, Vec<bs::WriteRequest>)> {
    let changed = |change: &dyn Fn(&mut Vec<bs::WriteRequest>)| {
        let mut changed = good.to_vec();
        change(&mut changed);
        changed
    };
    let offset = |at: usize, offset: i64| {
        changed(&|all| {
            if let Some(message) = all.get_mut(at) {
                message.write_offset = offset;
            }
        })
    };
    let end = good.last().unwrap().write_offset + i64::try_from(good.last().unwrap().data.len()).unwrap();
    let behind = |data: &'static str| bs::WriteRequest { write_offset: end, data: data.into(), ..Default::default() };
    vec![
        ("begins at 5", offset(0, 5)),
        ("begins below 0", offset(0, -1)),
        ("begins at the largest offset", offset(0, i64::MAX)),
        ("leaves a gap", offset(1, 11)),
        ("goes back", offset(1, 9)),
        ("begins again", offset(1, 0)),
        ("goes below 0", offset(1, i64::MIN)),
        ("changes its name", changed(&|all| all[1].resource_name = write_name(&sha256(b"another")))),
        ("sends data behind its end", changed(&|all| all.push(behind("!")))),
        ("sends an empty message behind its end", changed(&|all| all.push(behind("")))),
        ("finishes twice", changed(&|all| all.push(bs::WriteRequest { finish_write: true, ..behind("") }))),
        ("finishes with the first message", changed(&|all| all[0].finish_write = true)),
        ("half-closes without finishing", changed(&|all| all.last_mut().unwrap().finish_write = false)),
        ("half-closes before the last message", changed(&|all| drop(all.pop()))),
        ("half-closes behind the first message", changed(&|all| all.truncate(1))),
        ("sends nothing", Vec::new()),
        ("sends an empty message only", vec![bs::WriteRequest::default()]),
        (
            "names itself and no more",
            changed(&|all| {
                all.truncate(1);
                all[0].data.clear();
            }),
        ),
    ]
}

#[tokio::test]
async fn an_upload_that_does_not_follow_the_protocol_is_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let digest = sha256(CONTENTS);
    let frame = zstd::bulk::compress(CONTENTS, 1).unwrap();
    for good in [messages(&write_name(&digest), CONTENTS, 10), messages(&zstd_name(&digest), &frame, 10)] {
        for (what, uploaded) in wrong(&good) {
            let status = write(&mut stream, uploaded).await.expect_err(what);
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
            server.is_unharmed(&channel, &[&digest]).await;
        }
    }
    write(&mut stream, messages(&write_name(&digest), CONTENTS, 10)).await.unwrap();
    assert_eq!(read(&mut stream, &digest).await.unwrap(), CONTENTS);
    server.stop().await;
}

#[tokio::test]
async fn contents_that_are_not_those_of_the_digest_are_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    for whole in [CONTENTS.to_vec(), noise(300_000)] {
        let digest = sha256(&whole);
        let (_, too_little) = whole.split_first().unwrap();
        let mut wrong_hash = whole.clone();
        *wrong_hash.last_mut().unwrap() ^= 1;
        let too_much = [&*whole, b"!"].concat();
        for (what, contents) in [
            ("too little", too_little),
            ("nothing", &[]),
            ("too much", &too_much),
            ("twice too much", &[&*whole, &*whole].concat()),
            ("wrong hash", &wrong_hash),
        ] {
            let frame = zstd::bulk::compress(contents, 1).unwrap();
            for piece in [7_000, 1 << 20] {
                let status = write(&mut stream, messages(&write_name(&digest), contents, piece)).await.expect_err(what);
                assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
                let status = write(&mut stream, messages(&zstd_name(&digest), &frame, piece)).await.expect_err(what);
                assert_eq!(status.code(), Code::InvalidArgument, "{what}, compressed: {status}");
            }
            let entry = |data: &[u8], compressor| re::batch_update_blobs_request::Request {
                digest: Some(to_proto(&digest)),
                data: data.to_vec().into(),
                compressor,
                ..Default::default()
            };
            let good = re::batch_update_blobs_request::Request {
                digest: Some(to_proto(&sha256(what.as_bytes()))),
                data: what.as_bytes().into(),
                compressor: 0,
                ..Default::default()
            };
            let requests = vec![entry(contents, 0), good, entry(&frame, 1)];
            let request = re::BatchUpdateBlobsRequest { requests, ..Default::default() };
            let answer = CasClient::new(channel.clone()).batch_update_blobs(request).await.unwrap().into_inner();
            let codes: Vec<_> = answer.responses.iter().map(|entry| entry.status.as_ref().unwrap().code).collect();
            assert_eq!(codes, [3, 0, 3], "{what}: {:?}", answer.responses);
            server.is_unharmed(&channel, &[&digest]).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_empty_blob_of_the_wrong_hash_is_refused() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let name = write_name(&sha256(b"x")).replace("/1", "/0");
    let name = if name.ends_with("/0") { name } else { format!("{}/0", name.rsplit_once('/').unwrap().0) };
    let status = write(&mut StreamClient::new(channel.clone()), messages(&name, b"", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_blob_that_no_store_holds_is_refused_before_it_is_sent() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let hash = sha256(b"large").hash().to_string();
    for size in [1 << 40, i64::MAX] {
        let first = bs::WriteRequest { resource_name: format!("uploads/u/blobs/{hash}/{size}"), ..Default::default() };
        let hanging = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
        let status = stream.write(hanging).await.unwrap_err();
        assert!([Code::InvalidArgument, Code::ResourceExhausted].contains(&status.code()), "{size}: {status}");
        server.is_unharmed(&channel, &[]).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_megabyte_in_messages_of_14_bytes_arrives() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let contents = noise(1 << 20);
    let digest = sha256(&contents);
    assert_eq!(write(&mut stream, messages(&write_name(&digest), &contents, 14)).await.unwrap(), size(&digest));
    assert_eq!(read(&mut stream, &digest).await.unwrap(), contents);

    let other: Vec<u8> = contents.iter().map(|byte| byte ^ 1).collect();
    let digest = sha256(&other);
    let frame = zstd::bulk::compress(&other, 1).unwrap();
    let committed = write(&mut stream, messages(&zstd_name(&digest), &frame, 14)).await.unwrap();
    assert_eq!(usize::try_from(committed).unwrap(), frame.len());
    assert_eq!(read(&mut stream, &digest).await.unwrap(), other);
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}
