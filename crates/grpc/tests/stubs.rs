//! The generated services: each client reaches the server of the same name, with the messages of `blobaccess-proto`.

use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use blobaccess_grpc::services::replicator::replicator_client::ReplicatorClient;
use blobaccess_grpc::services::replicator::replicator_server::{Replicator, ReplicatorServer};
use blobaccess_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use blobaccess_proto::replicator::ReplicateBlobsRequest;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

/// Echoes names as contents, and replicates nowhere.
struct Echo;

#[async_trait]
impl ByteStream for Echo {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let data = request.into_inner().resource_name.into();
        Ok(Response::new(stream::iter([Ok(ReadResponse { data })]).boxed()))
    }

    async fn write(&self, request: Request<Streaming<WriteRequest>>) -> Result<Response<WriteResponse>, Status> {
        let pieces: Vec<_> = request.into_inner().try_collect().await?;
        let committed_size = pieces.iter().map(|piece| i64::try_from(piece.data.len()).unwrap_or(i64::MAX)).sum();
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::not_found("nothing is kept"))
    }
}

#[async_trait]
impl Replicator for Echo {
    async fn replicate_blobs(&self, _request: Request<ReplicateBlobsRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}

#[tokio::test]
async fn calls_and_streams_arrive() {
    let mut client = ByteStreamClient::new(ByteStreamServer::new(Echo));

    let request = ReadRequest { resource_name: "a/b".to_owned(), ..ReadRequest::default() };
    let pieces: Vec<_> = client.read(request).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(pieces, [ReadResponse { data: "a/b".into() }]);

    let piece = WriteRequest { data: "contents".into(), ..WriteRequest::default() };
    let written = client.write(stream::iter([piece.clone(), piece])).await.unwrap().into_inner();
    assert_eq!(written.committed_size, 16);

    let status = client.query_write_status(QueryWriteStatusRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn an_empty_answer_is_the_unit() {
    let mut client = ReplicatorClient::new(ReplicatorServer::new(Echo));
    let () = client.replicate_blobs(ReplicateBlobsRequest::default()).await.unwrap().into_inner();
}
