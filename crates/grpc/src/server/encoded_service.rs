//! Services whose methods take one message and return one, both as the bytes that they are.

use std::convert::Infallible;
use std::fmt::Debug;
use std::task::{Context as TaskContext, Poll};

use blobaccess::{Error, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use prost::DecodeError;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::options::ServiceOptions;
use super::received_messages;
use crate::raw_codec::RawCodec;
use crate::status::to_status;

/// A service that decodes its messages itself, so that what it stores or returns keeps fields that this version does
/// not know.
pub(crate) trait EncodedService: Clone + Debug + Send + Sync + 'static {
    /// The full name of the service.
    const SERVICE: &'static str;

    /// The methods.
    type Method: Copy + Debug + Send + 'static;

    /// Returns the method at `path`, if there is one.
    fn method(path: &str) -> Option<Self::Method>;

    /// Returns the settings, of which the sizes of messages concern every method.
    fn options(&self) -> &ServiceOptions;

    /// Calls a method.
    fn call(self, method: Self::Method, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>>>;
}

/// Makes the error that a request cannot be decoded.
#[expect(clippy::needless_pass_by_value, reason = "map_err passes it so")]
pub(crate) fn not_a_request(error: DecodeError) -> Error {
    Error::invalid_argument(format!("request cannot be decoded: {error}"))
}

/// An [`EncodedService`] as the server calls it.
#[derive(Clone, Debug)]
pub(crate) struct Wired<S>(pub(crate) S);

impl<S: EncodedService> NamedService for Wired<S> {
    const NAME: &'static str = S::SERVICE;
}

#[derive(Debug)]
struct Call<S: EncodedService>(S, S::Method);

impl<S: EncodedService> UnaryService<Bytes> for Call<S> {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = self.0.clone().call(self.1, request);
        Box::pin(async move { answer.await.map_err(|error| to_status(&error)) })
    }
}

impl<S, B> Service<http::Request<B>> for Wired<S>
where
    S: EncodedService,
    B: http_body::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        let Some(method) = S::method(path) else {
            let status = Status::unimplemented(format!("{} has no such method", S::SERVICE));
            return Box::pin(async move { Ok(status.into_http()) });
        };
        let mut grpc = received_messages::grpc(RawCodec, self.0.options());
        let call = Call(self.0.clone(), method);
        Box::pin(async move { Ok(grpc.unary(call, request).await) })
    }
}
