//! The limit: services that move the bytes, hash uploads, and do nothing else.

use std::net::SocketAddr;
use std::pin::Pin;

use blobaccess::DigestFunction;
use blobaccess_grpc::services::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use blobaccess_grpc::services::remote_execution::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::remote_execution::batch_update_blobs_response::Response as Updated;
use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::load;

/// The size of the pieces of a read, as in our service.
const PIECE_BYTES: usize = 256 << 10;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A service with one blob, under every name.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    blob: Bytes,
}

impl Bare {
    /// Makes the service for use in this process.
    pub(crate) fn routes() -> Routes {
        Routes::new(ContentAddressableStorageServer::new(Self { blob: Bytes::new() }))
    }

    /// Serves it on a free port, with the settings of ours.
    pub(crate) async fn serve() -> SocketAddr {
        let service = Self { blob: blobaccess_workbench::contents(1, load::LARGE_BYTES) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
        let address = listener.local_addr().expect("a listener has an address");
        let server = Server::builder()
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .add_service(ByteStreamServer::new(service.clone()))
            .add_service(ContentAddressableStorageServer::new(service));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
        address
    }
}

fn hash(pieces: &[Bytes]) {
    let mut hasher = DigestFunction::Sha256.hasher(0);
    for piece in pieces {
        hasher.update(piece);
    }
    std::hint::black_box(hasher.finish());
}

fn refuse<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the limit has no such call"))
}

#[tonic::async_trait]
impl ByteStream for Bare {
    type ReadStream = Answers<bs::ReadResponse>;

    async fn read(&self, _request: Request<bs::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let blob = self.blob.clone();
        let pieces = (0..blob.len()).step_by(PIECE_BYTES).map(move |start| {
            let data = blob.slice(start..blob.len().min(start + PIECE_BYTES));
            Ok(bs::ReadResponse { data })
        });
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    async fn write(
        &self,
        request: Request<Streaming<bs::WriteRequest>>,
    ) -> Result<Response<bs::WriteResponse>, Status> {
        let mut messages = request.into_inner();
        let mut pieces = Vec::new();
        let mut committed_size = 0;
        while let Some(message) = messages.try_next().await? {
            committed_size += i64::try_from(message.data.len()).expect("a message is small");
            pieces.push(message.data);
        }
        hash(&pieces);
        Ok(Response::new(bs::WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _request: Request<bs::QueryWriteStatusRequest>,
    ) -> Result<Response<bs::QueryWriteStatusResponse>, Status> {
        refuse()
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Bare {
    type GetTreeStream = Answers<re::GetTreeResponse>;
    type GetChunkMappingStream = Answers<re::GetChunkMappingResponse>;

    async fn find_missing_blobs(
        &self,
        request: Request<re::FindMissingBlobsRequest>,
    ) -> Result<Response<re::FindMissingBlobsResponse>, Status> {
        std::hint::black_box(request.into_inner());
        Ok(Response::new(re::FindMissingBlobsResponse::default()))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<re::BatchUpdateBlobsRequest>,
    ) -> Result<Response<re::BatchUpdateBlobsResponse>, Status> {
        let answers = request.into_inner().requests.into_iter().map(|entry| {
            hash(&[entry.data]);
            Updated { digest: entry.digest, ..Updated::default() }
        });
        Ok(Response::new(re::BatchUpdateBlobsResponse { responses: answers.collect() }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<re::BatchReadBlobsRequest>,
    ) -> Result<Response<re::BatchReadBlobsResponse>, Status> {
        let answers = request.into_inner().digests.into_iter().map(|digest| {
            let data = self.blob.slice(..usize::try_from(digest.size_bytes).expect("a blob is small"));
            re::batch_read_blobs_response::Response { digest: Some(digest), data, ..Default::default() }
        });
        Ok(Response::new(re::BatchReadBlobsResponse { responses: answers.collect() }))
    }

    async fn get_tree(&self, _request: Request<re::GetTreeRequest>) -> Result<Response<Self::GetTreeStream>, Status> {
        refuse()
    }

    async fn split_blob(
        &self,
        _request: Request<re::SplitBlobRequest>,
    ) -> Result<Response<re::SplitBlobResponse>, Status> {
        refuse()
    }

    async fn splice_blob(
        &self,
        _request: Request<re::SpliceBlobRequest>,
    ) -> Result<Response<re::SpliceBlobResponse>, Status> {
        refuse()
    }

    async fn get_chunk_mapping(
        &self,
        _request: Request<re::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        refuse()
    }

    async fn register_chunk_mapping(
        &self,
        _request: Request<Streaming<re::RegisterChunkMappingRequest>>,
    ) -> Result<Response<re::RegisterChunkMappingResponse>, Status> {
        refuse()
    }
}
