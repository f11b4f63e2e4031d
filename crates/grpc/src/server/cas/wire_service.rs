//! The service as the server calls it, method by method.

use std::convert::Infallible;
use std::task::{Context, Poll};

use blobaccess::DigestSet;
use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::CasService;
use super::find_missing::FindMissingCodec;
use crate::server::received_messages::{self, limited};
use crate::stubs::remote_execution::content_addressable_storage_server::{
    ContentAddressableStorageServer, SERVICE_NAME,
};

/// The content-addressable storage as generated, except that `FindMissingBlobs` works on encoded messages, and that
/// `BatchUpdateBlobs` takes messages of all the blobs that are advertised.
#[derive(Clone, Debug)]
pub(crate) struct CasWireService {
    service: CasService,
    generated: ContentAddressableStorageServer<CasService>,
    batch_updates: ContentAddressableStorageServer<CasService>,
}

impl CasWireService {
    /// Serves `service`, with messages as large as its options permit.
    pub(crate) fn new(service: CasService) -> Self {
        let (options, generated) = (&service.options, ContentAddressableStorageServer::new(service.clone()));
        let sent = options.max_message_size_bytes;
        Self {
            batch_updates: limited!(generated.clone(), options.max_received_batch_bytes(), sent),
            generated: limited!(generated, options.max_received_message_bytes(), sent),
            service,
        }
    }
}

impl NamedService for CasWireService {
    const NAME: &'static str = SERVICE_NAME;
}

fn is_method(path: &str, name: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)) == Some(name)
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
        let path = request.uri().path();
        if is_method(path, "/BatchUpdateBlobs") {
            return self.batch_updates.call(request);
        }
        if !is_method(path, "/FindMissingBlobs") {
            return self.generated.call(request);
        }
        let mut grpc = received_messages::grpc(FindMissingCodec, &self.service.options);
        let call = FindMissing(self.service.clone());
        Box::pin(async move { Ok(grpc.unary(call, request).await) })
    }
}
