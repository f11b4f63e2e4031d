//! The byte stream, as a service.

mod idle_timeout;
mod pieces;
mod query;
mod read;
#[cfg(test)]
mod tests;
mod upload;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{BlobAccess, Cas, Clock, Compressor, Error, Result};
use blobaccess_proto::bytestream as bs;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::failed_puts::PutFailures;
use super::options::ServiceOptions;
use super::outcome_trailer::OutcomeTrailer;
use super::request;
use super::uploads_under_way::UploadsUnderWay;
use crate::status::to_status;
use crate::stubs::bytestream::byte_stream_server::ByteStream;

/// The byte stream over a store of contents.
#[derive(Clone, Debug)]
pub(crate) struct ByteStreamService {
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    options: Arc<ServiceOptions>,
    clock: Arc<dyn Clock>,
    put_failures: PutFailures,
    uploads: UploadsUnderWay,
}

impl ByteStreamService {
    /// Makes the service over `store`.
    pub(crate) fn new(
        store: Arc<dyn BlobAccess<Kind = Cas>>,
        options: Arc<ServiceOptions>,
        clock: Arc<dyn Clock>,
        put_failures: PutFailures,
        uploads: UploadsUnderWay,
    ) -> Self {
        Self { store, options, clock, put_failures, uploads }
    }

    /// Returns the level to compress at, if `compressor` is the one that is offered.
    ///
    /// # Errors
    ///
    /// `Unimplemented` if it is not, which is also what a name that is no compressor gets.
    fn compression_level(&self, compressor: Compressor) -> Result<i32> {
        let offered = self.options.compression_level.filter(|_| compressor == Compressor::Zstd);
        offered.ok_or_else(|| Error::unimplemented(format!("compressor {compressor} is not supported")))
    }
}

#[async_trait]
impl ByteStream for ByteStreamService {
    type ReadStream = BoxStream<'static, Result<bs::ReadResponse, Status>>;

    async fn read(&self, request: Request<bs::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ctx = request::context(&request, &self.options);
        let pieces = self.read_blob(&ctx, request.into_inner()).await;
        pieces.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn write(
        &self,
        request: Request<Streaming<bs::WriteRequest>>,
    ) -> Result<Response<bs::WriteResponse>, Status> {
        let ctx = request::context(&request, &self.options);
        let wants_outcome = request::wants_outcome(&request);
        let written = self.write_blob(&ctx, request.into_inner()).await.map_err(|error| to_status(&error))?;
        let mut response = Response::new(bs::WriteResponse { committed_size: written.committed_size });
        if wants_outcome {
            response.extensions_mut().insert(OutcomeTrailer(written.outcome));
        }
        Ok(response)
    }

    async fn query_write_status(
        &self,
        request: Request<bs::QueryWriteStatusRequest>,
    ) -> Result<Response<bs::QueryWriteStatusResponse>, Status> {
        let ctx = request::context(&request, &self.options);
        let answer = query::query(&*self.store, &ctx, &request.into_inner()).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }
}
