//! A server that does as it is told, and the client of it, connected within the process.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use blobaccess::{Digest, DigestFunction, InstanceName, PutOutcome};
use blobaccess_grpc::services::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use blobaccess_grpc::services::fsac::file_system_access_cache_server::{
    FileSystemAccessCache, FileSystemAccessCacheServer,
};
use blobaccess_grpc::services::icas::indirect_content_addressable_storage_server::{
    IndirectContentAddressableStorage, IndirectContentAddressableStorageServer,
};
use blobaccess_grpc::services::remote_execution::action_cache_server::{ActionCache, ActionCacheServer};
use blobaccess_grpc::services::remote_execution::capabilities_server::{Capabilities, CapabilitiesServer};
use blobaccess_grpc::services::remote_execution::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use blobaccess_grpc::services::replicator::replicator_server::{Replicator, ReplicatorServer};
use blobaccess_grpc::{Remote, RemoteOptions, RetryPolicy};
use blobaccess_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use blobaccess_proto::fsac::{
    FileSystemAccessProfile, GetFileSystemAccessProfileRequest, UpdateFileSystemAccessProfileRequest,
};
use blobaccess_proto::icas::{BatchUpdateReferencesRequest, GetReferenceRequest, Reference};
use blobaccess_proto::outcome::{self, put_outcome};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::replicator::ReplicateBlobsRequest;
use blobaccess_proto::rpc;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::Service;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(crate) type Answer<T> = Result<Response<T>, Status>;
pub(crate) type Reads = BoxStream<'static, Result<ReadResponse, Status>>;
type Handler<Q, A> = Mutex<Arc<dyn Fn(Request<Q>) -> BoxFuture<'static, Answer<A>> + Send + Sync>>;

pub(crate) struct Fake {
    capabilities: Handler<re::GetCapabilitiesRequest, re::ServerCapabilities>,
    find_missing: Handler<re::FindMissingBlobsRequest, re::FindMissingBlobsResponse>,
    batch_read: Handler<re::BatchReadBlobsRequest, re::BatchReadBlobsResponse>,
    batch_update: Handler<re::BatchUpdateBlobsRequest, re::BatchUpdateBlobsResponse>,
    read: Handler<ReadRequest, Reads>,
    write: Handler<Streaming<WriteRequest>, WriteResponse>,
    get_action_result: Handler<re::GetActionResultRequest, re::ActionResult>,
    update_action_result: Handler<re::UpdateActionResultRequest, re::ActionResult>,
    find_missing_references: Handler<re::FindMissingBlobsRequest, re::FindMissingBlobsResponse>,
    update_references: Handler<BatchUpdateReferencesRequest, re::BatchUpdateBlobsResponse>,
    get_reference: Handler<GetReferenceRequest, Reference>,
    get_profile: Handler<GetFileSystemAccessProfileRequest, FileSystemAccessProfile>,
    update_profile: Handler<UpdateFileSystemAccessProfileRequest, ()>,
    replicate: Handler<ReplicateBlobsRequest, ()>,
}

fn handler<Q, A, F>(handle: impl Fn(Request<Q>) -> F + Send + Sync + 'static) -> Handler<Q, A>
where
    F: Future<Output = Answer<A>> + Send + 'static,
{
    Mutex::new(Arc::new(move |request| handle(request).boxed()))
}

macro_rules! handlers {
    ($($set:ident $call:ident $field:ident: $request:ty => $answer:ty;)*) => {
        impl Fake {
            $(
                pub(crate) fn $set<F>(&self, handle: impl Fn(Request<$request>) -> F + Send + Sync + 'static)
                where
                    F: Future<Output = Answer<$answer>> + Send + 'static,
                {
                    let handle = handler(handle).into_inner().unwrap_or_else(PoisonError::into_inner);
                    *self.$field.lock().unwrap() = handle;
                }

                async fn $call(&self, request: Request<$request>) -> Answer<$answer> {
                    let handle = Arc::clone(&self.$field.lock().unwrap());
                    handle(request).await
                }
            )*
        }
    };
}

handlers! {
    on_capabilities call_capabilities capabilities: re::GetCapabilitiesRequest => re::ServerCapabilities;
    on_find_missing call_find_missing find_missing: re::FindMissingBlobsRequest => re::FindMissingBlobsResponse;
    on_batch_read call_batch_read batch_read: re::BatchReadBlobsRequest => re::BatchReadBlobsResponse;
    on_batch_update call_batch_update batch_update: re::BatchUpdateBlobsRequest => re::BatchUpdateBlobsResponse;
    on_read call_read read: ReadRequest => Reads;
    on_write call_write write: Streaming<WriteRequest> => WriteResponse;
    on_get call_get get_action_result: re::GetActionResultRequest => re::ActionResult;
    on_update call_update update_action_result: re::UpdateActionResultRequest => re::ActionResult;
    on_find_missing_references call_find_missing_references find_missing_references:
        re::FindMissingBlobsRequest => re::FindMissingBlobsResponse;
    on_update_references call_update_references update_references:
        BatchUpdateReferencesRequest => re::BatchUpdateBlobsResponse;
    on_get_reference call_get_reference get_reference: GetReferenceRequest => Reference;
    on_get_profile call_get_profile get_profile: GetFileSystemAccessProfileRequest => FileSystemAccessProfile;
    on_update_profile call_update_profile update_profile: UpdateFileSystemAccessProfileRequest => ();
    on_replicate call_replicate replicate: ReplicateBlobsRequest => ();
}

impl Fake {
    /// Makes a server that offers nothing but its capabilities, and no compression.
    pub(crate) fn new() -> Arc<Self> {
        fn none<Q: Send + 'static, A: 'static>() -> Handler<Q, A> {
            handler(|_| async { Err(Status::unimplemented("not told what to do")) })
        }
        let fake = Self {
            capabilities: none(),
            find_missing: none(),
            batch_read: none(),
            batch_update: none(),
            read: none(),
            write: none(),
            get_action_result: none(),
            update_action_result: none(),
            find_missing_references: none(),
            update_references: none(),
            get_reference: none(),
            get_profile: none(),
            update_profile: none(),
            replicate: none(),
        };
        fake.offer(re::CacheCapabilities::default());
        Arc::new(fake)
    }

    pub(crate) fn offer(&self, cache: re::CacheCapabilities) {
        self.on_capabilities(move |_| {
            let cache_capabilities = Some(cache.clone());
            async { Ok(Response::new(re::ServerCapabilities { cache_capabilities, ..Default::default() })) }
        });
    }

    pub(crate) fn offer_zstd(&self) {
        self.offer(re::CacheCapabilities {
            supported_compressors: vec![1],
            supported_batch_update_compressors: vec![1],
            ..Default::default()
        });
    }

    /// Makes a client of this server, with connections that break when told so.
    pub(crate) fn connect(self: &Arc<Self>, options: RemoteOptions) -> (Remote, Wire) {
        let wire = Wire::default();
        let (connections, incoming) = mpsc::unbounded_channel::<io::Result<DuplexStream>>();
        let services = Services(Arc::clone(self));
        let server = Server::builder()
            .add_service(CapabilitiesServer::new(services.clone()))
            .add_service(ContentAddressableStorageServer::new(services.clone()))
            .add_service(ActionCacheServer::new(services.clone()))
            .add_service(ByteStreamServer::new(services.clone()))
            .add_service(IndirectContentAddressableStorageServer::new(services.clone()))
            .add_service(FileSystemAccessCacheServer::new(services.clone()))
            .add_service(ReplicatorServer::new(services))
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        tokio::spawn(server);
        let connector = Connector { connections, wire: wire.clone() };
        let channel = Endpoint::from_static("http://fake:1").connect_with_connector_lazy(connector);
        (Remote::with_channels(options, [channel]).unwrap(), wire)
    }

    pub(crate) fn remote(self: &Arc<Self>) -> Remote {
        self.connect(options()).0
    }
}

pub(crate) fn options() -> RemoteOptions {
    let retry = RetryPolicy::default().with_seed(1).with_backoff(Duration::from_millis(100), Duration::from_secs(1));
    RemoteOptions::new("http://fake:1").with_retry(retry)
}

/// The fate of connections.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    pub(crate) refusals: Arc<AtomicUsize>,
}

pub(crate) struct Connector {
    pub(crate) connections: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    pub(crate) wire: Wire,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let refused = self.wire.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        if refused.is_err() {
            let _closed = self.connections.send(Ok(theirs));
        }
        async move {
            match refused {
                Ok(_) => Err(io::Error::other("connection refused")),
                Err(_) => Ok(TokioIo::new(ours)),
            }
        }
        .boxed()
    }
}

#[derive(Clone)]
struct Services(Arc<Fake>);

#[async_trait]
impl Capabilities for Services {
    async fn get_capabilities(&self, request: Request<re::GetCapabilitiesRequest>) -> Answer<re::ServerCapabilities> {
        self.0.call_capabilities(request).await
    }
}

#[async_trait]
impl ContentAddressableStorage for Services {
    type GetTreeStream = BoxStream<'static, Result<re::GetTreeResponse, Status>>;
    type GetChunkMappingStream = BoxStream<'static, Result<re::GetChunkMappingResponse, Status>>;

    async fn find_missing_blobs(
        &self,
        request: Request<re::FindMissingBlobsRequest>,
    ) -> Answer<re::FindMissingBlobsResponse> {
        self.0.call_find_missing(request).await
    }

    async fn batch_update_blobs(
        &self,
        request: Request<re::BatchUpdateBlobsRequest>,
    ) -> Answer<re::BatchUpdateBlobsResponse> {
        self.0.call_batch_update(request).await
    }

    async fn batch_read_blobs(
        &self,
        request: Request<re::BatchReadBlobsRequest>,
    ) -> Answer<re::BatchReadBlobsResponse> {
        self.0.call_batch_read(request).await
    }

    async fn get_tree(&self, _: Request<re::GetTreeRequest>) -> Answer<Self::GetTreeStream> {
        Err(Status::unimplemented("trees"))
    }

    async fn split_blob(&self, _: Request<re::SplitBlobRequest>) -> Answer<re::SplitBlobResponse> {
        Err(Status::unimplemented("split"))
    }

    async fn get_chunk_mapping(&self, _: Request<re::GetChunkMappingRequest>) -> Answer<Self::GetChunkMappingStream> {
        Err(Status::unimplemented("mappings"))
    }

    async fn splice_blob(&self, _: Request<re::SpliceBlobRequest>) -> Answer<re::SpliceBlobResponse> {
        Err(Status::unimplemented("splice"))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<re::RegisterChunkMappingRequest>>,
    ) -> Answer<re::RegisterChunkMappingResponse> {
        Err(Status::unimplemented("mappings"))
    }
}

#[async_trait]
impl ActionCache for Services {
    async fn get_action_result(&self, request: Request<re::GetActionResultRequest>) -> Answer<re::ActionResult> {
        self.0.call_get(request).await
    }

    async fn update_action_result(&self, request: Request<re::UpdateActionResultRequest>) -> Answer<re::ActionResult> {
        self.0.call_update(request).await
    }
}

#[async_trait]
impl IndirectContentAddressableStorage for Services {
    async fn find_missing_references(
        &self,
        request: Request<re::FindMissingBlobsRequest>,
    ) -> Answer<re::FindMissingBlobsResponse> {
        self.0.call_find_missing_references(request).await
    }

    async fn batch_update_references(
        &self,
        request: Request<BatchUpdateReferencesRequest>,
    ) -> Answer<re::BatchUpdateBlobsResponse> {
        self.0.call_update_references(request).await
    }

    async fn get_reference(&self, request: Request<GetReferenceRequest>) -> Answer<Reference> {
        self.0.call_get_reference(request).await
    }
}

#[async_trait]
impl FileSystemAccessCache for Services {
    async fn get_file_system_access_profile(
        &self,
        request: Request<GetFileSystemAccessProfileRequest>,
    ) -> Answer<FileSystemAccessProfile> {
        self.0.call_get_profile(request).await
    }

    async fn update_file_system_access_profile(
        &self,
        request: Request<UpdateFileSystemAccessProfileRequest>,
    ) -> Answer<()> {
        self.0.call_update_profile(request).await
    }
}

#[async_trait]
impl Replicator for Services {
    async fn replicate_blobs(&self, request: Request<ReplicateBlobsRequest>) -> Answer<()> {
        self.0.call_replicate(request).await
    }
}

#[async_trait]
impl ByteStream for Services {
    type ReadStream = Reads;

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Reads> {
        self.0.call_read(request).await
    }

    async fn write(&self, request: Request<Streaming<WriteRequest>>) -> Answer<WriteResponse> {
        self.0.call_write(request).await
    }

    async fn query_write_status(&self, _: Request<QueryWriteStatusRequest>) -> Answer<QueryWriteStatusResponse> {
        Err(Status::unimplemented("status"))
    }
}

/// A record shared by its clones.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn add(&self, entry: T) -> usize {
        let mut log = self.0.lock().unwrap();
        log.push(entry);
        log.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub(crate) fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new("main").unwrap(), DigestFunction::Sha256, contents)
}

pub(crate) fn proto(digest: &Digest) -> re::Digest {
    re::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap() }
}

pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..size).map(|at| if at % 4096 < 2048 { next() } else { 7 }).collect()
}

pub(crate) fn status(code: tonic::Code) -> rpc::Status {
    rpc::Status { code: code.into(), message: "so it is".to_owned(), ..Default::default() }
}

pub(crate) fn outcome(outcome: PutOutcome) -> outcome::PutOutcome {
    let outcome = match outcome {
        PutOutcome::Created { stored_bytes } => put_outcome::Outcome::Created(put_outcome::Created { stored_bytes }),
        PutOutcome::AlreadyExists { stored_bytes } => {
            put_outcome::Outcome::AlreadyExists(put_outcome::AlreadyExists { stored_bytes })
        }
        PutOutcome::Replaced { stored_bytes, old_bytes } => {
            put_outcome::Outcome::Replaced(put_outcome::Replaced { stored_bytes, old_bytes })
        }
        PutOutcome::Unclassified { stored_bytes } => {
            put_outcome::Outcome::Unclassified(put_outcome::Unclassified { stored_bytes })
        }
    };
    outcome::PutOutcome { outcome: Some(outcome) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
pub(crate) fn reads(pieces: impl IntoIterator<Item = Result<Vec<u8>, Status>>) -> Answer<Reads> {
    let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.map(|data| ReadResponse { data: data.into() })).collect();
    Ok(Response::new(futures::stream::iter(pieces).boxed()))
}

/// Lets everything that can happen happen, without time going on.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Returns the output of `future` if it is ready after everything else has settled.
pub(crate) async fn poll_settled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    for _ in 0..200 {
        let polled = futures::poll!(Pin::new(&mut *future));
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
