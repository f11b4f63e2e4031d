//! The calls of both sides, by the same client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use blobaccess::{Digest, ReadResource, WriteResource};
use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use blobaccess_workbench::{Latencies, blobs, digests, scaled};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tonic::transport::{Channel, Endpoint};

/// The size of a streamed blob: 128 KiB.
pub(crate) const LARGE_BYTES: usize = 128 << 10;

/// The size of a blob in a batch: 1 KiB.
const SMALL_BYTES: usize = 1 << 10;

/// The number of concurrent calls.
const CONCURRENCY: usize = 32;

/// The number of connections.
const CONNECTIONS: usize = 4;

/// The number of small blobs in a batch.
const BATCH: usize = 100;

/// A kind of call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    Read,
    Write,
    FindMissing,
    BatchRead,
    BatchUpdate,
}

impl Work {
    pub(crate) const ALL: [Self; 5] = [Self::Read, Self::Write, Self::FindMissing, Self::BatchRead, Self::BatchUpdate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read 128 KiB",
            Self::Write => "write 128 KiB",
            Self::FindMissing => "find missing, 10,000",
            Self::BatchRead => "batch read, 100 x 1 KiB",
            Self::BatchUpdate => "batch update, 100 x 1 KiB",
        }
    }

    fn calls(self) -> usize {
        match self {
            Self::Read | Self::Write => scaled(10_000, 64),
            Self::FindMissing => scaled(300, 8),
            Self::BatchRead | Self::BatchUpdate => scaled(3_000, 64),
        }
    }
}

/// Prepared calls of one kind.
#[derive(Debug)]
pub(crate) struct Load {
    work: Work,
    large: Vec<(Digest, Bytes)>,
    small: Vec<(Digest, Bytes)>,
    asked: re::FindMissingBlobsRequest,
    /// The blobs of a write must be new, so every call writes its own.
    written: AtomicUsize,
}

/// Connections to one side.
#[derive(Debug)]
pub(crate) struct Side(Vec<Channel>);

impl Side {
    fn channel(&self, call: usize) -> Channel {
        self.0[call % self.0.len()].clone()
    }
}

impl Load {
    pub(crate) fn new(work: Work) -> Self {
        let count = scaled(10_000, 1_000);
        let blob_digests = digests(5, count).iter().map(message).collect();
        let asked = re::FindMissingBlobsRequest { blob_digests, ..Default::default() };
        let (large, small) = (blobs(6, 64, LARGE_BYTES), blobs(7, BATCH, SMALL_BYTES));
        Self { work, large, small, asked, written: AtomicUsize::new(0) }
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> Side {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URL");
        let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let connect = |_| async { endpoint.connect().await.expect("the server listens") };
        Side(stream::iter(0..CONNECTIONS).then(connect).collect().await)
    }

    /// Puts the blobs that are read.
    pub(crate) async fn prepare(&self, side: &Side) {
        for (digest, bytes) in &self.large {
            write(side.channel(0), digest, bytes.clone()).await;
        }
        update(side.channel(0), &self.small).await;
    }

    /// Makes all calls, [`CONCURRENCY`] at a time.
    pub(crate) async fn round(&self, side: &Side) -> Latencies {
        let started = Instant::now();
        let calls = (0..self.work.calls()).map(|call| {
            let channel = side.channel(call);
            let number = self.written.fetch_add(1, Ordering::Relaxed);
            let call = Arc::new(self.prepare_call(number));
            tokio_task(async move {
                let started = Instant::now();
                call.make(channel).await;
                started.elapsed()
            })
        });
        let durations = stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await.expect("no call panics");
        Latencies::new(durations, started.elapsed())
    }

    fn prepare_call(&self, number: usize) -> Call {
        match self.work {
            Work::Read => Call::Read(self.large[number % self.large.len()].0.clone()),
            Work::Write => Call::Write(fresh(number, &self.large[number % self.large.len()])),
            Work::FindMissing => Call::FindMissing(self.asked.clone()),
            Work::BatchRead => Call::BatchRead(self.small.iter().map(|(digest, _)| message(digest)).collect()),
            Work::BatchUpdate => Call::BatchUpdate(
                self.small.iter().enumerate().map(|(entry, blob)| fresh(number * BATCH + entry, blob)).collect(),
            ),
        }
    }
}

async fn tokio_task<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::spawn(future).await
}

/// Returns another blob, which differs from the given one by a few bytes.
fn fresh(number: usize, (digest, bytes): &(Digest, Bytes)) -> (Digest, Bytes) {
    let mut bytes = bytes.to_vec();
    bytes[..8].copy_from_slice(&u64::try_from(number).expect("64 bits suffice").to_le_bytes());
    (Digest::of(digest.instance_name().clone(), digest.function(), &bytes), bytes.into())
}

/// A call and its message.
enum Call {
    Read(Digest),
    Write((Digest, Bytes)),
    FindMissing(re::FindMissingBlobsRequest),
    BatchRead(Vec<re::Digest>),
    BatchUpdate(Vec<(Digest, Bytes)>),
}

impl Call {
    async fn make(&self, channel: Channel) {
        match self {
            Self::Read(digest) => {
                let resource = ReadResource { digest: digest.clone(), compressor: None };
                let request = bs::ReadRequest { resource_name: resource.to_string(), ..Default::default() };
                let mut messages =
                    ByteStreamClient::new(channel).read(request).await.expect("it is there").into_inner();
                let mut size = 0;
                while let Some(message) = messages.try_next().await.expect("it can be read") {
                    size += message.data.len();
                }
                assert_eq!(size, LARGE_BYTES);
            }
            Self::Write((digest, bytes)) => write(channel, digest, bytes.clone()).await,
            Self::FindMissing(request) => {
                let request = request.clone();
                let answer = ContentAddressableStorageClient::new(channel).find_missing_blobs(request).await;
                std::hint::black_box(answer.expect("it can be told"));
            }
            Self::BatchRead(digests) => {
                let request = re::BatchReadBlobsRequest { digests: digests.clone(), ..Default::default() };
                let answer = ContentAddressableStorageClient::new(channel).batch_read_blobs(request).await;
                let answers = answer.expect("they can be read").into_inner().responses;
                assert!(answers.iter().all(|entry| entry.data.len() == SMALL_BYTES));
            }
            Self::BatchUpdate(blobs) => update(channel, blobs).await,
        }
    }
}

/// Writes a blob as Bazel does, but in messages of 64 KiB.
async fn write(channel: Channel, digest: &Digest, bytes: Bytes) {
    let resource = WriteResource { uuid: "0".repeat(32), digest: digest.clone(), compressor: None };
    let name = resource.to_string();
    let size = bytes.len();
    let messages = (0..size).step_by(64 << 10).map(move |start| {
        let end = size.min(start + (64 << 10));
        bs::WriteRequest {
            resource_name: if start == 0 { name.clone() } else { String::new() },
            write_offset: i64::try_from(start).expect("a blob is small"),
            finish_write: end == size,
            data: bytes.slice(start..end),
        }
    });
    let answer = ByteStreamClient::new(channel).write(stream::iter(messages)).await.expect("it is taken");
    assert_eq!(usize::try_from(answer.into_inner().committed_size).ok(), Some(size));
}

async fn update(channel: Channel, blobs: &[(Digest, Bytes)]) {
    let requests = blobs.iter().map(|(digest, data)| re::batch_update_blobs_request::Request {
        digest: Some(message(digest)),
        data: data.clone(),
        ..Default::default()
    });
    let request = re::BatchUpdateBlobsRequest { requests: requests.collect(), ..Default::default() };
    let answer = ContentAddressableStorageClient::new(channel).batch_update_blobs(request).await;
    let answers = answer.expect("they are taken").into_inner().responses;
    assert!(answers.iter().all(|entry| entry.status.as_ref().is_none_or(|status| status.code == 0)));
}

/// Returns the message that names `digest`.
pub(crate) fn message(digest: &Digest) -> re::Digest {
    re::Digest {
        hash: digest.hash().to_string(),
        size_bytes: i64::try_from(digest.size_bytes()).expect("a size is signed on the wire"),
    }
}
