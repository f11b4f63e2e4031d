//! Clients that are slow, stalled or lying.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::{Request, Response};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

use crate::good_clients::{connect, to_proto};
use crate::{pause, within};

/// The faults of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bad {
    /// Announces much and sends a byte now and then.
    Trickling,
    /// Sends all but the end of a batch.
    Unfinished,
    /// Reads nothing of its answers.
    Unread,
    /// Sends other contents than it has announced.
    Lying,
    /// Connects and says nothing.
    Silent,
    /// Goes away in the middle of an upload.
    Leaving,
}

/// All faults.
pub(crate) const BAD_KINDS: [Bad; 6] =
    [Bad::Trickling, Bad::Unfinished, Bad::Unread, Bad::Lying, Bad::Silent, Bad::Leaving];

/// The size of the batches that are not finished or not read.
const LARGE_BYTES: usize = 2 << 20;

/// The calls of a client whose answers are not read, at once.
const UNREAD_CALLS: usize = 16;

/// The whole batch that is never finished, as it is framed.
static UNFINISHED: LazyLock<Bytes> = LazyLock::new(|| framed(&batch(&large(7), to_proto(&large(7)))));

/// The batch whose blob is read and not read.
static UNREAD: LazyLock<Bytes> = LazyLock::new(|| framed(&batch(&large(9), to_proto(&large(9)))));

/// Does one bad thing after the other until the task is aborted. Each that has begun counts in `begun`.
pub(crate) async fn run_bad(address: SocketAddr, bad: Bad, begun: Arc<AtomicUsize>) {
    loop {
        begun.fetch_add(1, Ordering::Relaxed);
        match bad {
            Bad::Trickling => trickle(address).await,
            Bad::Unfinished => leave_unfinished(address).await,
            Bad::Unread => leave_unread(address).await,
            Bad::Lying => lie(address).await,
            Bad::Silent => be_silent(address).await,
            Bad::Leaving => {
                // It may have ended before.
                _ = within(Duration::from_millis(200), trickle(address)).await;
            }
        }
        pause(Duration::from_millis(100)).await;
    }
}

fn large(byte: u8) -> Bytes {
    vec![byte; LARGE_BYTES].into()
}

fn upload_of(hash: &str, size_bytes: usize) -> bs::WriteRequest {
    let resource_name = format!("uploads/bad/blobs/{hash}/{size_bytes}");
    bs::WriteRequest { resource_name, data: Bytes::from_static(b"x"), ..Default::default() }
}

async fn trickle(address: SocketAddr) {
    let first = upload_of(&"1".repeat(64), 20 << 20);
    let more = stream::iter(1_i64..).then(|write_offset| async move {
        pause(Duration::from_secs(2)).await;
        bs::WriteRequest { write_offset, data: Bytes::from_static(b"x"), ..Default::default() }
    });
    drop(ByteStreamClient::new(connect(address).await).write(stream::iter([first]).chain(more)).await);
}

fn batch(contents: &Bytes, digest: re::Digest) -> re::BatchUpdateBlobsRequest {
    let entry =
        re::batch_update_blobs_request::Request { digest: Some(digest), data: contents.clone(), ..Default::default() };
    re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() }
}

fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// Calls a method with `bytes` as its message, and ends the request unless it is `unfinished`.
async fn call(mut channel: Channel, method: &str, bytes: Bytes, unfinished: bool) -> Option<Response<Body>> {
    let frames = stream::iter([Ok::<_, tonic::Status>(Frame::data(bytes))]);
    let body = if unfinished {
        Body::new(StreamBody::new(frames.chain(stream::pending())))
    } else {
        Body::new(StreamBody::new(frames))
    };
    let path = format!("/build.bazel.remote.execution.v2.ContentAddressableStorage/{method}");
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(body).expect("a request");
    future::poll_fn(|cx| channel.poll_ready(cx)).await.ok()?;
    channel.call(request).await.ok()
}

async fn leave_unfinished(address: SocketAddr) {
    let begun = UNFINISHED.slice(..UNFINISHED.len() - 100);
    drop(call(connect(address).await, "BatchUpdateBlobs", begun, true).await);
}

async fn leave_unread(address: SocketAddr) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    // The headers of an answer need no window.
    let Ok(channel) = endpoint.initial_stream_window_size(1).connect().await else { return };
    drop(call(channel.clone(), "BatchUpdateBlobs", UNREAD.clone(), false).await);
    let read = re::BatchReadBlobsRequest { digests: vec![to_proto(&large(9))], ..Default::default() };
    let answers = (0..UNREAD_CALLS).map(|_| call(channel.clone(), "BatchReadBlobs", framed(&read), false));
    let unread = within(Duration::from_secs(5), future::join_all(answers)).await;
    pause(Duration::from_secs(5)).await;
    drop(unread);
}

async fn lie(address: SocketAddr) {
    let contents = Bytes::from(vec![3; 64 << 10]);
    let digest = re::Digest { hash: "2".repeat(64), size_bytes: 64 << 10 };
    let channel = connect(address).await;
    let mut client = ContentAddressableStorageClient::new(channel.clone());
    if let Ok(answer) = client.batch_update_blobs(batch(&contents, digest)).await {
        let is_refused = |entry: &re::batch_update_blobs_response::Response| {
            entry.status.as_ref().is_some_and(|status| status.code != 0)
        };
        assert!(answer.get_ref().responses.iter().all(is_refused), "a lie was stored: {answer:?}");
    }
    let message = bs::WriteRequest { data: contents, finish_write: true, ..upload_of(&"3".repeat(64), 64 << 10) };
    let answer = ByteStreamClient::new(channel).write(stream::iter([message])).await;
    assert!(answer.is_err(), "a lie was stored: {answer:?}");
}

async fn be_silent(address: SocketAddr) {
    let mut connections = Vec::new();
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\n"] {
        if let Ok(mut connection) = TcpStream::connect(address).await {
            drop(connection.write_all(said).await);
            connections.push(connection);
        }
    }
    pause(Duration::from_secs(3)).await;
}
