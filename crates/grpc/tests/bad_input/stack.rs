//! A remote cache on loopback, and how to tell that it has taken no harm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, CompletenessChecking, CompletenessOptions, DeadlineEnforcing, EmptyBlobInjecting,
    ExistenceCaching, QueryCoalescing,
};
use blobaccess::{Ac, BlobAccess, Cas, Clock, Digest, DigestFunction, InstanceName, MemoryStore, Result, SystemClock};
use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub(crate) type CasClient = ContentAddressableStorageClient<Channel>;
pub(crate) type StreamClient = ByteStreamClient<Channel>;
pub(crate) type AcClient = ActionCacheClient<Channel>;

/// Makes the stores of a remote cache, in memory.
pub(crate) fn services(options: ServiceOptions) -> Services {
    let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(MemoryStore::new(256 << 20));
    services_over(cas, options)
}

/// Makes the stores of a remote cache, with the contents in `cas`.
pub(crate) fn services_over(cas: Arc<dyn BlobAccess<Kind = Cas>>, options: ServiceOptions) -> Services {
    let (hour, remembered) = (Duration::from_hours(1), 1000);
    let cas = QueryCoalescing::new(cas);
    let cas = EmptyBlobInjecting::new(ExistenceCaching::new(cas, remembered, Duration::from_secs(1)));
    let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(DeadlineEnforcing::new(cas, hour));
    let ac = MemoryStore::<Ac>::new(16 << 20);
    let ac = CompletenessChecking::new(ac, Arc::clone(&cas), CompletenessOptions::default());
    let ac = DeadlineEnforcing::new(ActionResultTimestampInjecting::new(ac, 4 << 20), hour);
    Services::new(options).with_cas(cas).with_ac(ac)
}

/// A server on loopback; it is cut off when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) services: Services,
    uploads: AtomicU64,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Server {
    pub(crate) async fn start(options: ServiceOptions) -> Self {
        Self::serve(services(options)).await
    }

    pub(crate) async fn serve(services: Services) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = services.clone();
        let task = tokio::spawn(async move { serving.serve(listener, async { drop(stopped.await) }).await });
        Self { address, services, uploads: AtomicU64::new(0), stop, task }
    }

    /// Opens a separate connection.
    pub(crate) async fn connect(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Waits until `settled`, for two minutes and as long as it takes to ask for health some thousands of times, from a
    /// connection of its own. Health does not count as an open call.
    pub(crate) async fn until(&self, what: &str, settled: impl Fn(&Services) -> bool) {
        let mut health = HealthClient::new(self.connect().await);
        // The connection must have begun before a test lets time pass: one that does not is dropped.
        health.check(HealthCheckRequest::default()).await.unwrap();
        let (mut asked, begun) = (0, SystemClock.monotonic());
        while asked < 20_000 || SystemClock.monotonic() - begun < Duration::from_mins(2) {
            if settled(&self.services) {
                return;
            }
            health.check(HealthCheckRequest::default()).await.unwrap();
            asked += 1;
        }
        panic!("{what} did not come to be: {:?}", self.services.snapshot());
    }

    /// Waits until no call is open and no byte on its way.
    pub(crate) async fn until_quiet(&self) {
        self.until("quiet", |services| {
            let snapshot = services.snapshot();
            snapshot.open_calls == 0 && snapshot.in_flight_bytes == 0
        })
        .await;
    }

    /// Asserts that a valid upload through `channel` is stored and read back, that `absent` is not stored, and that
    /// nothing is held any more.
    pub(crate) async fn is_unharmed(&self, channel: &Channel, absent: &[&Digest]) {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let contents = format!("good upload {number} to {}", self.address).into_bytes();
        let digest = sha256(&contents);
        let mut stream = ByteStreamClient::new(channel.clone());
        let committed = write(&mut stream, messages(&write_name(&digest), &contents, 7)).await.unwrap();
        assert_eq!(committed, size(&digest));
        assert_eq!(read(&mut stream, &digest).await.unwrap(), contents);
        let mut asked: Vec<_> = absent.iter().map(|digest| to_proto(digest)).collect();
        asked.sort_by(|a, b| a.hash.cmp(&b.hash).then(a.size_bytes.cmp(&b.size_bytes)));
        asked.dedup();
        asked.push(to_proto(&digest));
        let mut missing = find(channel, asked.clone()).await.unwrap();
        asked.pop();
        missing.sort_by(|a, b| a.hash.cmp(&b.hash).then(a.size_bytes.cmp(&b.size_bytes)));
        assert_eq!(missing, asked);
        self.until_quiet().await;
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
        assert_eq!(self.services.snapshot().open_calls, 0);
    }
}

pub(crate) async fn find(channel: &Channel, blob_digests: Vec<re::Digest>) -> Result<Vec<re::Digest>, Status> {
    let request = re::FindMissingBlobsRequest { blob_digests, ..Default::default() };
    let answer = ContentAddressableStorageClient::new(channel.clone()).find_missing_blobs(request).await?;
    Ok(answer.into_inner().missing_blob_digests)
}

pub(crate) fn sha256(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

pub(crate) fn size(digest: &Digest) -> i64 {
    i64::try_from(digest.size_bytes()).unwrap()
}

pub(crate) fn to_proto(digest: &Digest) -> re::Digest {
    re::Digest { hash: digest.hash().to_string(), size_bytes: size(digest) }
}

pub(crate) fn read_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.hash(), digest.size_bytes())
}

pub(crate) fn write_name(digest: &Digest) -> String {
    format!("uploads/6d1cc9a0-96f4-4d2e-8d2c-5a4c7a6f6a5e/{}", read_name(digest))
}

pub(crate) fn zstd_name(digest: &Digest) -> String {
    format!("uploads/u/compressed-blobs/zstd/{}/{}", digest.hash(), digest.size_bytes())
}

/// Cuts `contents` into messages of `piece` bytes. The first has the name, and the last finishes the upload.
pub(crate) fn messages(name: &str, contents: &[u8], piece: usize) -> Vec<bs::WriteRequest> {
    let mut write_offset = 0;
    let mut messages: Vec<_> = contents
        .chunks(piece)
        .map(|data| {
            let message = bs::WriteRequest { write_offset, data: Bytes::copy_from_slice(data), ..Default::default() };
            write_offset += i64::try_from(data.len()).unwrap();
            message
        })
        .collect();
    if messages.is_empty() {
        messages.push(bs::WriteRequest::default());
    }
    messages.first_mut().unwrap().resource_name = name.into();
    messages.last_mut().unwrap().finish_write = true;
    messages
}

pub(crate) async fn write(client: &mut StreamClient, messages: Vec<bs::WriteRequest>) -> Result<i64, Status> {
    Ok(client.write(stream::iter(messages)).await?.into_inner().committed_size)
}

pub(crate) async fn read(client: &mut StreamClient, digest: &Digest) -> Result<Vec<u8>, Status> {
    let request = bs::ReadRequest { resource_name: read_name(digest), ..Default::default() };
    let pieces: Vec<_> = client.read(request).await?.into_inner().map_ok(|piece| piece.data).try_collect().await?;
    Ok(pieces.concat())
}

/// Makes bytes of which about half compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..size).map(|at| if at % 4096 < 2048 { next() } else { 7 }).collect()
}
