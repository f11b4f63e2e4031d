//! More than the server takes: at once, in a batch, in a message.

use std::sync::Arc;

use blobaccess::Digest;
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::stack::{
    AcClient, CasClient, Server, StreamClient, find, messages, read, sha256, size, to_proto, write_name,
};

const CONNECTIONS: usize = 100;
const CALLS_EACH: usize = 5;
const OPEN_CALLS: usize = 64;

fn contents(number: usize) -> Vec<u8> {
    format!("blob number {number:03}").into_bytes()
}

/// Makes an upload whose last message waits until it is released.
fn hanging(contents: &[u8], go: &Arc<Semaphore>) -> impl futures::Stream<Item = bs::WriteRequest> + Send + use<> {
    let mut begun = messages(&write_name(&sha256(contents)), contents, 5);
    let last = begun.pop().unwrap();
    let go = Arc::clone(go);
    let end = async move {
        go.acquire().await.unwrap().forget();
        last
    };
    stream::iter(begun).chain(end.into_stream())
}

#[tokio::test]
async fn of_a_hundred_connections_with_hanging_calls_those_beyond_the_limit_are_refused_at_once() {
    let server = Server::start(ServiceOptions::default().with_max_open_calls(OPEN_CALLS)).await;
    let go = Arc::new(Semaphore::new(0));
    let mut calls = FuturesUnordered::new();
    for connection in 0..CONNECTIONS {
        let channel = server.connect().await;
        for call in 0..CALLS_EACH {
            let contents = contents(connection * CALLS_EACH + call);
            let mut client = StreamClient::new(channel.clone());
            let upload = hanging(&contents, &go);
            calls.push(async move { (contents, client.write(upload).await) });
        }
    }
    let mut refused = Vec::new();
    // Those that were admitted hang, so these are the others.
    for _ in 0..CONNECTIONS * CALLS_EACH - OPEN_CALLS {
        let (contents, result) = calls.next().await.unwrap();
        let status = result.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("64"), "{status}");
        refused.push(sha256(&contents));
    }
    let snapshot = server.services.snapshot();
    assert_eq!(snapshot.open_calls, OPEN_CALLS);
    assert_eq!(usize::try_from(snapshot.refused_calls).unwrap(), CONNECTIONS * CALLS_EACH - OPEN_CALLS);

    go.add_permits(OPEN_CALLS);
    let mut stored = Vec::new();
    while let Some((contents, result)) = calls.next().await {
        assert_eq!(result.unwrap().into_inner().committed_size, size(&sha256(&contents)));
        stored.push(contents);
    }
    assert_eq!(stored.len(), OPEN_CALLS);
    let channel = server.connect().await;
    let mut client = StreamClient::new(channel.clone());
    for contents in stored {
        assert_eq!(read(&mut client, &sha256(&contents)).await.unwrap(), contents);
    }
    server.is_unharmed(&channel, &refused.iter().collect::<Vec<_>>()).await;
    drop((calls, client, channel));
    server.stop().await;
}

fn batch(entries: impl IntoIterator<Item = (Digest, Bytes)>) -> re::BatchUpdateBlobsRequest {
    let requests = entries.into_iter().map(|(digest, data)| re::batch_update_blobs_request::Request {
        digest: Some(to_proto(&digest)),
        data,
        ..Default::default()
    });
    re::BatchUpdateBlobsRequest { requests: requests.collect(), ..Default::default() }
}

#[tokio::test]
async fn an_oversized_batch_is_an_invalid_argument_and_an_oversized_message_exhausts_a_resource() {
    let server = Server::start(ServiceOptions::default().with_max_message_size_bytes(1 << 20)).await;
    let channel = server.connect().await;
    let mut storage = CasClient::new(channel.clone()).max_encoding_message_size(64 << 20);
    let blobs: Vec<_> = (0..4).map(|n| Bytes::from(vec![n; 256 << 10])).collect();
    let digests: Vec<_> = blobs.iter().map(|blob| sha256(blob)).collect();
    let absent: Vec<_> = digests.iter().collect();

    // The bytes that are announced: a message can be small, and compressed, and announce much.
    let announcing = |n: u8| {
        let digest = sha256(&vec![n; 512 << 10]);
        let frame = zstd::bulk::compress(&vec![n; 512 << 10], 1).unwrap();
        re::batch_update_blobs_request::Request {
            digest: Some(to_proto(&digest)),
            data: frame.into(),
            compressor: 1,
            ..Default::default()
        }
    };
    let request = re::BatchUpdateBlobsRequest { requests: vec![announcing(1), announcing(2)], ..Default::default() };
    let status = storage.batch_update_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("1048576 bytes, while at most 983040"), "{status}");
    let request = re::BatchReadBlobsRequest { digests: digests.iter().map(to_proto).collect(), ..Default::default() };
    let status = storage.batch_read_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    // Their sum is more than 64 bits hold.
    let huge = re::Digest { size_bytes: i64::MAX, ..to_proto(&sha256(b"huge")) };
    let request = re::BatchReadBlobsRequest { digests: vec![huge; 3], ..Default::default() };
    let status = storage.batch_read_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    server.is_unharmed(&channel, &absent).await;

    // The count: what is sent fits, what is to be answered does not.
    let empty = re::batch_update_blobs_request::Request::default();
    let request = re::BatchUpdateBlobsRequest { requests: vec![empty; 200_000], ..Default::default() };
    let status = storage.batch_update_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let request = re::BatchReadBlobsRequest { digests: vec![to_proto(&sha256(b"")); 14_000], ..Default::default() };
    let status = storage.batch_read_blobs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    server.is_unharmed(&channel, &absent).await;

    // The message. The other servers of the protocol say so too, and clients split a request on it; as an offset beyond
    // the end, which it was here before, it sent them in vain.
    let exhausted = |status: Status| assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let twice = digests.iter().cloned().zip(blobs).cycle().take(8);
    exhausted(storage.batch_update_blobs(batch(twice)).await.unwrap_err());
    exhausted(find(&channel, vec![to_proto(&sha256(b"many")); 20_000]).await.unwrap_err());
    let action_result = re::ActionResult { stdout_raw: vec![0; 2 << 20].into(), ..Default::default() };
    let request = re::UpdateActionResultRequest {
        action_digest: Some(to_proto(&sha256(b"an action"))),
        action_result: Some(action_result),
        ..Default::default()
    };
    exhausted(AcClient::new(channel.clone()).update_action_result(request).await.unwrap_err());
    let large = vec![7; 2 << 20];
    let digest = sha256(&large);
    let mut stream = StreamClient::new(channel.clone());
    let uploaded = stream::iter(messages(&write_name(&digest), &large, 2 << 20));
    exhausted(stream.write(uploaded).await.unwrap_err());
    let absent: Vec<_> = absent.into_iter().chain([&digest]).collect();
    server.is_unharmed(&channel, &absent).await;
    server.stop().await;
}
