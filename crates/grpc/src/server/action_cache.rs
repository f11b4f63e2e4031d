//! The action cache service: action results, by the digest of their action.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use blobaccess::{Ac, Blob, BlobAccess, Cas, Digest, DigestFunction, Error, InstanceName, Result};
use blobaccess_proto::remote_execution as re;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use prost::{DecodeError, Message};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::failed_puts::PutFailures;
use super::in_flight::InFlight;
use super::inlining::Inlining;
use super::options::ServiceOptions;
use super::outcome_trailer::OutcomeTrailer;
use super::request;
use crate::raw_codec::RawCodec;
use crate::server::requested_digest;
use crate::status::to_status;
use crate::stubs::remote_execution::action_cache_server::SERVICE_NAME;

/// The action cache over a store of action results.
///
/// The service is written by hand instead of generated, so that a message is stored and returned as the bytes that it
/// came as: unknown fields survive.
#[derive(Clone, Debug)]
pub(crate) struct ActionCacheService {
    ac: Arc<dyn BlobAccess<Kind = Ac>>,
    inlining: Option<Inlining>,
    options: Arc<ServiceOptions>,
    put_failures: PutFailures,
}

impl ActionCacheService {
    /// Makes the service over `ac`; files to be inlined come from `cas`, where there is one.
    pub(crate) fn new(
        ac: Arc<dyn BlobAccess<Kind = Ac>>,
        cas: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
        options: Arc<ServiceOptions>,
        in_flight: InFlight,
        put_failures: PutFailures,
    ) -> Self {
        let inlining = cas.map(|cas| Inlining::new(cas, Arc::clone(&options), in_flight));
        Self { ac, inlining, options, put_failures }
    }

    async fn get_action_result(&self, request: Request<Bytes>) -> Result<Bytes> {
        let ctx = request::context(&request, &self.options);
        let asked = re::GetActionResultRequest::decode(request.into_inner()).map_err(not_a_request)?;
        let digest = action_digest(&asked.instance_name, asked.digest_function, asked.action_digest.as_ref())?;
        let blob = self.ac.get(&ctx, &digest).await?;
        let max = self.options.max_message_bytes();
        let size = blob.size_bytes();
        if size > max {
            return Err(Error::resource_exhausted(format!(
                "action result of {digest} is {size} bytes, while messages have at most {max}"
            )));
        }
        let stored = blob.into_bytes(max).await?;
        match &self.inlining {
            Some(inlining) => inlining.inline(&ctx, &digest, &asked, stored).await,
            None => Ok(stored),
        }
    }

    async fn update_action_result(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let ctx = request::context(&request, &self.options);
        let wants_outcome = request::wants_outcome(&request);
        let update = Update::decode(request.into_inner()).map_err(not_a_request)?;
        let digest = action_digest(&update.instance_name, update.digest_function, update.action_digest.as_ref())?;
        let Some(result) = concatenation(update.action_result) else {
            return Err(Error::invalid_argument(format!("no action result was provided for {digest}")));
        };
        re::ActionResult::decode(result.clone()).map_err(|error| {
            Error::invalid_argument(format!("action result of {digest} cannot be decoded: {error}"))
        })?;
        let outcome = self.ac.put(&ctx, &digest, Blob::from_bytes(result.clone())).await;
        let outcome = outcome.inspect_err(|error| self.put_failures.record(&digest, error))?;
        let mut response = Response::new(result);
        if wants_outcome {
            response.extensions_mut().insert(OutcomeTrailer(outcome));
        }
        Ok(response)
    }
}

/// An [`UpdateActionResultRequest`](re::UpdateActionResultRequest) whose action result is left as it is encoded.
#[derive(Clone, PartialEq, Message)]
struct Update {
    #[prost(string, tag = "1")]
    instance_name: String,
    #[prost(message, optional, tag = "2")]
    action_digest: Option<re::Digest>,
    /// The parts of the action result. A message may come in several parts, which their concatenation merges.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    action_result: Vec<Bytes>,
    #[prost(int32, tag = "5")]
    digest_function: i32,
}

fn concatenation(mut parts: Vec<Bytes>) -> Option<Bytes> {
    let last = parts.pop()?;
    if parts.is_empty() {
        return Some(last);
    }
    let mut whole = BytesMut::new();
    for part in parts.iter().chain([&last]) {
        whole.extend_from_slice(part);
    }
    Some(whole.freeze())
}

fn action_digest(instance_name: &str, function: i32, digest: Option<&re::Digest>) -> Result<Digest> {
    let instance_name: InstanceName = requested_digest::instance_name(instance_name)?;
    let function: DigestFunction = requested_digest::digest_function(function, digest)?;
    requested_digest::digest(&instance_name, function, digest)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes it so")]
fn not_a_request(error: DecodeError) -> Error {
    Error::invalid_argument(format!("request cannot be decoded: {error}"))
}

impl NamedService for ActionCacheService {
    const NAME: &'static str = SERVICE_NAME;
}

#[derive(Clone, Copy, Debug)]
enum Method {
    GetActionResult,
    UpdateActionResult,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)? {
            "/GetActionResult" => Some(Self::GetActionResult),
            "/UpdateActionResult" => Some(Self::UpdateActionResult),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Call(ActionCacheService, Method);

impl UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (service, method) = (self.0.clone(), self.1);
        Box::pin(async move {
            let answer = match method {
                Method::GetActionResult => service.get_action_result(request).await.map(Response::new),
                Method::UpdateActionResult => service.update_action_result(request).await,
            };
            answer.map_err(|error| to_status(&error))
        })
    }
}

impl<B> Service<http::Request<B>> for ActionCacheService
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Some(method) = Method::of(request.uri().path()) else {
            let status = Status::unimplemented("the action cache has no such method");
            return Box::pin(async move { Ok(status.into_http()) });
        };
        let max = self.options.max_message_size_bytes;
        let call = Call(self.clone(), method);
        Box::pin(async move {
            let grpc = Grpc::new(RawCodec).max_decoding_message_size(max);
            Ok(grpc.max_encoding_message_size(max).unary(call, request).await)
        })
    }
}
