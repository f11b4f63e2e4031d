//! The content-addressable storage, as a service.

mod batch_read;
mod batch_update;
mod digests;
mod find_missing;
mod get_tree;
mod message_budget;
#[cfg(test)]
mod tests;
mod wire_service;

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{BlobAccess, Cas};
use blobaccess_proto::remote_execution as re;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::batch_update::function as batch_function;
pub(super) use self::find_missing::{encode_missing, read_digests};
pub(super) use self::message_budget::MessageBudget;
pub(super) use self::wire_service::CasWireService;
use super::call::CallMemory;
use super::failed_puts::PutFailures;
use super::options::ServiceOptions;
use super::request;
use super::uploads_under_way::UploadsUnderWay;
use crate::message;
use crate::status::to_status;
use crate::stubs::remote_execution::content_addressable_storage_server::ContentAddressableStorage;

/// The content-addressable storage over a store of contents.
#[derive(Clone, Debug)]
pub(crate) struct CasService {
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    options: Arc<ServiceOptions>,
    put_failures: PutFailures,
    uploads: UploadsUnderWay,
}

impl CasService {
    /// Makes the service over `store`.
    pub(crate) fn new(
        store: Arc<dyn BlobAccess<Kind = Cas>>,
        options: Arc<ServiceOptions>,
        put_failures: PutFailures,
        uploads: UploadsUnderWay,
    ) -> Self {
        Self { store, options, put_failures, uploads }
    }
}

#[async_trait]
impl ContentAddressableStorage for CasService {
    type GetTreeStream = BoxStream<'static, Result<re::GetTreeResponse, Status>>;
    type GetChunkMappingStream = BoxStream<'static, Result<re::GetChunkMappingResponse, Status>>;

    async fn find_missing_blobs(
        &self,
        request: Request<re::FindMissingBlobsRequest>,
    ) -> Result<Response<re::FindMissingBlobsResponse>, Status> {
        let ctx = request::context(&request, &self.options);
        let digests = find_missing::of_message(&request.into_inner());
        let missing = self.find_missing(&ctx, digests).await?;
        let missing_blob_digests = missing.iter().map(message::to_proto).collect();
        Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<re::BatchUpdateBlobsRequest>,
    ) -> Result<Response<re::BatchUpdateBlobsResponse>, Status> {
        let ctx = request::context(&request, &self.options);
        let wants_outcome = request::wants_outcome(&request);
        let memory = CallMemory::of(request.extensions());
        let answer = self.batch_update(&ctx, &memory, request.into_inner(), wants_outcome).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<re::BatchReadBlobsRequest>,
    ) -> Result<Response<re::BatchReadBlobsResponse>, Status> {
        let ctx = request::context(&request, &self.options);
        let memory = CallMemory::of(request.extensions());
        let answer = self.batch_read(&ctx, &memory, request.into_inner()).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn get_tree(&self, request: Request<re::GetTreeRequest>) -> Result<Response<Self::GetTreeStream>, Status> {
        let ctx = request::context(&request, &self.options);
        let memory = CallMemory::of(request.extensions());
        let pages = get_tree::get_tree(Arc::clone(&self.store), ctx, memory, request.into_inner(), &self.options).await;
        pages.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn split_blob(
        &self,
        _request: Request<re::SplitBlobRequest>,
    ) -> Result<Response<re::SplitBlobResponse>, Status> {
        Err(no_chunks("splitting blobs"))
    }

    async fn get_chunk_mapping(
        &self,
        _request: Request<re::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(no_chunks("mapping chunks"))
    }

    async fn splice_blob(
        &self,
        _request: Request<re::SpliceBlobRequest>,
    ) -> Result<Response<re::SpliceBlobResponse>, Status> {
        Err(no_chunks("splicing blobs"))
    }

    async fn register_chunk_mapping(
        &self,
        _request: Request<Streaming<re::RegisterChunkMappingRequest>>,
    ) -> Result<Response<re::RegisterChunkMappingResponse>, Status> {
        Err(no_chunks("mapping chunks"))
    }
}

/// Returns the status for clients that ignored the capabilities, which lack these methods.
fn no_chunks(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not supported"))
}
