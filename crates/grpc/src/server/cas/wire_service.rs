//! The service as the server calls it, method by method.

use std::convert::Infallible;
use std::task::{Context, Poll};

use blobaccess::DigestSet;
use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::CasService;
use super::find_missing::FindMissingCodec;
use crate::stubs::remote_execution::content_addressable_storage_server::{
    ContentAddressableStorageServer, SERVICE_NAME,
};

/// The content-addressable storage as generated, except that `FindMissingBlobs` works on encoded messages.
#[derive(Clone, Debug)]
pub(crate) struct CasWireService {
    service: CasService,
    generated: ContentAddressableStorageServer<CasService>,
}

impl CasWireService {
    /// Serves `service`, with messages as large as its options permit.
    pub(crate) fn new(service: CasService) -> Self {
        let (max_received, max_sent) =
            (service.options.max_received_message_bytes(), service.options.max_message_size_bytes);
        let generated = ContentAddressableStorageServer::new(service.clone());
        let generated = generated.max_decoding_message_size(max_received).max_encoding_message_size(max_sent);
        Self { service, generated }
    }
}

impl NamedService for CasWireService {
    const NAME: &'static str = SERVICE_NAME;
}

fn is_find_missing(path: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)) == Some("/FindMissingBlobs")
}

#[derive(Debug)]
struct FindMissing(CasService);

impl UnaryService<Bytes> for FindMissing {
    type Response = DigestSet;
    type Future = BoxFuture<'static, Result<Response<DigestSet>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.find_missing_encoded(request).await })
    }
}

impl<B> Service<http::Request<B>> for CasWireService
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if !is_find_missing(request.uri().path()) {
            return self.generated.call(request);
        }
        let options = &self.service.options;
        let (max_received, max_sent) = (options.max_received_message_bytes(), options.max_message_size_bytes);
        let call = FindMissing(self.service.clone());
        Box::pin(async move {
            let grpc = Grpc::new(FindMissingCodec).max_decoding_message_size(max_received);
            Ok(grpc.max_encoding_message_size(max_sent).unary(call, request).await)
        })
    }
}
