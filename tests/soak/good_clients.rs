//! Clients that do as clients do.

use std::net::SocketAddr;
use std::time::Duration;

use blobaccess::{Clock, Digest, DigestFunction, InstanceName, SystemClock};
use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use blobaccess_testkit::Numbers;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use tonic::transport::{Channel, Endpoint};

use crate::{Stop, pause};

/// The time between two rounds of a client.
const PAUSE: Duration = Duration::from_millis(500);

/// The size that all blobs are smaller than.
const MAX_BYTES: usize = 100_000;

/// A digest, and the number of the server that has acknowledged it.
pub(crate) type Acknowledged = (usize, re::Digest);

/// The work of clients.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) failures: Vec<tonic::Status>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    latencies: Vec<Duration>,
}

impl Done {
    /// Adds the work of another client.
    pub(crate) fn add(&mut self, other: Self) {
        self.failures.extend(other.failures);
        self.acknowledged.extend(other.acknowledged);
        self.latencies.extend(other.latencies);
    }

    /// Returns the latency that `percent` of the calls did not exceed.
    pub(crate) fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// Returns the number of calls.
    pub(crate) fn calls(&self) -> usize {
        self.latencies.len()
    }

    /// Describes the work for people.
    pub(crate) fn describe(&self) -> String {
        let (calls, blobs, failures) = (self.calls(), self.acknowledged.len(), self.failures.len());
        let first = self.failures.first().map(|status| format!(", the first of which is {status}")).unwrap_or_default();
        format!("{calls} calls, {blobs} blobs put, {failures} failures{first}")
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("the server takes connections")
}

pub(crate) fn to_proto(contents: &[u8]) -> re::Digest {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents);
    re::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap_or(0) }
}

/// Puts blobs and reads them until `stop` is said.
pub(crate) async fn run_good(address: SocketAddr, server: usize, seed: u64, stop: Stop) -> Done {
    let channel = connect(address).await;
    let (mut numbers, mut done) = (Numbers::new(seed), Done::default());
    while !stop.is_said() {
        let size = numbers.below(MAX_BYTES);
        let contents = Bytes::from(numbers.bytes(size));
        let digest = to_proto(&contents);
        let in_batch = numbers.below(2) == 0;
        let begun = SystemClock.monotonic();
        let put = if in_batch {
            put_batch(&channel, &digest, &contents).await
        } else {
            put(&channel, &digest, &contents).await
        };
        done.latencies.push(SystemClock.monotonic() - begun);
        match put {
            Ok(()) => {
                done.acknowledged.push((server, digest.clone()));
                let begun = SystemClock.monotonic();
                match read(&channel, &digest, in_batch).await {
                    Ok(read) => assert!(read == contents, "other bytes are read than were put"),
                    Err(status) => done.failures.push(status),
                }
                done.latencies.push(SystemClock.monotonic() - begun);
            }
            Err(status) => done.failures.push(status),
        }
        pause(PAUSE).await;
    }
    done
}

async fn put(channel: &Channel, digest: &re::Digest, contents: &Bytes) -> Result<(), tonic::Status> {
    let mut messages = Vec::new();
    let mut rest = contents.clone();
    while !rest.is_empty() {
        let write_offset = i64::try_from(contents.len() - rest.len()).unwrap_or(0);
        let data = rest.split_to(rest.len().min(16 << 10));
        messages.push(bs::WriteRequest { write_offset, data, finish_write: rest.is_empty(), ..Default::default() });
    }
    if let Some(first) = messages.first_mut() {
        first.resource_name = format!("uploads/soak/blobs/{}/{}", digest.hash, digest.size_bytes);
    }
    ByteStreamClient::new(channel.clone()).write(stream::iter(messages)).await.map(drop)
}

async fn put_batch(channel: &Channel, digest: &re::Digest, contents: &Bytes) -> Result<(), tonic::Status> {
    let entry = re::batch_update_blobs_request::Request {
        digest: Some(digest.clone()),
        data: contents.clone(),
        ..Default::default()
    };
    let request = re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() };
    let answer = ContentAddressableStorageClient::new(channel.clone()).batch_update_blobs(request).await?.into_inner();
    match answer.responses.first().and_then(|entry| entry.status.as_ref()) {
        Some(status) if status.code == 0 => Ok(()),
        _ => Err(tonic::Status::unknown("it was not stored")),
    }
}

async fn read(channel: &Channel, digest: &re::Digest, in_batch: bool) -> Result<Bytes, tonic::Status> {
    if in_batch {
        let request = re::BatchReadBlobsRequest { digests: vec![digest.clone()], ..Default::default() };
        let answer =
            ContentAddressableStorageClient::new(channel.clone()).batch_read_blobs(request).await?.into_inner();
        let entry = answer.responses.into_iter().next().ok_or_else(|| tonic::Status::unknown("no answer"))?;
        return match entry.status {
            Some(status) if status.code != 0 => Err(tonic::Status::unknown(status.message)),
            _ => Ok(entry.data),
        };
    }
    let resource_name = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
    let request = bs::ReadRequest { resource_name, ..Default::default() };
    let pieces = ByteStreamClient::new(channel.clone()).read(request).await?.into_inner();
    let pieces: Vec<Bytes> = pieces.map_ok(|piece| piece.data).try_collect().await?;
    Ok(pieces.concat().into())
}

/// Returns those of `digests` that a server does not have.
pub(crate) async fn missing(address: SocketAddr, digests: Vec<re::Digest>) -> Vec<re::Digest> {
    let request = re::FindMissingBlobsRequest { blob_digests: digests, ..Default::default() };
    let mut client = ContentAddressableStorageClient::new(connect(address).await);
    client.find_missing_blobs(request).await.expect("the server answers").into_inner().missing_blob_digests
}
