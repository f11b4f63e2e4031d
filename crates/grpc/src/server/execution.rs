//! The execution service, whose calls are forwarded to schedulers.

use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::slice;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use blobaccess::decorators::Authorizer;
use blobaccess::{Context, Error, InstanceName, InstanceNamePatcher, InstanceNameTrie, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::encoded_service::not_a_request;
use super::options::ServiceOptions;
use super::received_messages::CODINGS;
use super::request;
use crate::client::{Scheduler, passed_on};
use crate::leading_name::NamedMessage;
use crate::raw_codec::RawCodec;
use crate::status::to_status;

/// The name of the service.
pub(crate) const SERVICE: &str = "build.bazel.remote.execution.v2.Execution";

const EXECUTE: &str = "/build.bazel.remote.execution.v2.Execution/Execute";
const WAIT_EXECUTION: &str = "/build.bazel.remote.execution.v2.Execution/WaitExecution";

/// The part of an operation's name between the prefix of the scheduler and the scheduler's own name. No instance name
/// contains it, as `operations` is no component of one.
const SEPARATOR: &str = "/operations/";

/// The schedulers by prefixes of instance names, and who may use them.
pub(crate) struct Schedulers {
    by_prefix: InstanceNameTrie<Forwarding>,
    authorizer: Arc<dyn Authorizer>,
}

/// A scheduler, the prefix by which it is chosen, and the prefix that takes its place.
struct Forwarding {
    prefix: InstanceName,
    patcher: InstanceNamePatcher,
    scheduler: Scheduler,
}

impl Schedulers {
    pub(crate) fn new(
        schedulers: impl IntoIterator<Item = (InstanceName, Scheduler)>,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        let mut by_prefix = InstanceNameTrie::new();
        for (prefix, scheduler) in schedulers {
            let patcher = InstanceNamePatcher::new(prefix.clone(), scheduler.added_prefix().clone());
            by_prefix.insert(&prefix.clone(), Forwarding { prefix, patcher, scheduler });
        }
        Self { by_prefix, authorizer }
    }

    /// Returns what the scheduler of `instance_name` can do there.
    pub(crate) async fn capabilities(
        &self,
        ctx: &Context,
        instance_name: &InstanceName,
    ) -> Result<re::ServerCapabilities> {
        self.authorize(ctx, instance_name).await?;
        let (forwarding, patched) = self.choose(instance_name)?;
        forwarding.scheduler.capabilities(ctx, &patched).await
    }

    async fn authorize(&self, ctx: &Context, instance_name: &InstanceName) -> Result<()> {
        let answers = self.authorizer.authorize(ctx, slice::from_ref(instance_name)).await;
        let answer = answers.into_iter().next().unwrap_or_else(|| {
            Err(Error::internal(format!("{:?} gave fewer answers than it was asked for", self.authorizer)))
        });
        answer.map_err(|error| error.at("authorization to execute"))
    }

    /// Returns the scheduler of `instance_name`, and the name that it knows it by.
    fn choose(&self, instance_name: &InstanceName) -> Result<(&Forwarding, InstanceName)> {
        let found = self.by_prefix.longest_prefix(instance_name).and_then(|(_, forwarding)| {
            let patched = forwarding.patcher.patch(instance_name)?;
            Some((forwarding, patched))
        });
        found.ok_or_else(|| {
            let name = instance_name.as_str();
            Error::invalid_argument(format!("no scheduler executes actions in instance name {name:?}"))
        })
    }

    async fn execute(&self, ctx: &Context, request: Bytes) -> Result<Operations, Status> {
        let invalid = |error| to_status(&error);
        let request = NamedMessage::decode(request).map_err(not_a_request).map_err(invalid)?;
        let instance_name = InstanceName::new(&request.name).map_err(invalid)?;
        self.authorize(ctx, &instance_name).await.map_err(invalid)?;
        let (forwarding, patched) = self.choose(&instance_name).map_err(invalid)?;
        let message = request.encode_with(patched.as_str());
        let prefix = format!("{}{SEPARATOR}", forwarding.prefix);
        // One copy of the message is enough while the scheduler is asked.
        drop(request);
        forwarding.forward(ctx, EXECUTE, message, prefix).await
    }

    /// Waits for an operation, whose name begins with the prefix of the scheduler that runs it.
    ///
    /// Its authorizer is not asked, as the instance name of the action is not known. Names of operations are secrets of
    /// those who began them.
    async fn wait(&self, ctx: &Context, request: Bytes) -> Result<Operations, Status> {
        let invalid = |error| to_status(&error);
        let request = NamedMessage::decode(request).map_err(not_a_request).map_err(invalid)?;
        let (prefix, name) = request.name.split_once(SEPARATOR).ok_or_else(|| {
            Status::invalid_argument(format!("operation {:?} is not one of this server", request.name))
        })?;
        let (forwarding, _) = InstanceName::new(prefix).and_then(|prefix| self.choose(&prefix)).map_err(invalid)?;
        let message = request.encode_with(name);
        let prefix = format!("{prefix}{SEPARATOR}");
        drop(request);
        forwarding.forward(ctx, WAIT_EXECUTION, message, prefix).await
    }
}

impl Forwarding {
    /// Forwards a request, and the operations that answer it, with `prefix` before their names.
    async fn forward(
        &self,
        ctx: &Context,
        path: &'static str,
        message: Bytes,
        prefix: String,
    ) -> Result<Operations, Status> {
        let operations = self.scheduler.operations(ctx, path, message).await?;
        let renamed = operations.map(move |operation| {
            let operation = operation.map_err(passed_on)?;
            let operation = NamedMessage::decode(operation)
                .map_err(|error| Status::internal(format!("operation of the scheduler cannot be decoded: {error}")))?;
            Ok(operation.encode_with(&format!("{prefix}{}", operation.name)))
        });
        Ok(renamed.boxed())
    }
}

impl Debug for Schedulers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedulers").field("authorizer", &self.authorizer).finish_non_exhaustive()
    }
}

type Operations = BoxStream<'static, Result<Bytes, Status>>;

/// The execution service over schedulers.
#[derive(Clone, Debug)]
pub(crate) struct ExecutionService {
    schedulers: Arc<Schedulers>,
    options: Arc<ServiceOptions>,
}

impl ExecutionService {
    pub(crate) const fn new(schedulers: Arc<Schedulers>, options: Arc<ServiceOptions>) -> Self {
        Self { schedulers, options }
    }
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Execute,
    WaitExecution,
}

#[derive(Debug)]
struct Call(ExecutionService, Method);

impl ServerStreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Operations;
    type Future = BoxFuture<'static, Result<Response<Operations>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (ExecutionService { schedulers, options }, method) = (self.0.clone(), self.1);
        Box::pin(async move {
            let ctx = request::context(&request, &options);
            let message = request.into_inner();
            let operations = match method {
                Method::Execute => schedulers.execute(&ctx, message).await,
                Method::WaitExecution => schedulers.wait(&ctx, message).await,
            };
            operations.map(Response::new)
        })
    }
}

impl NamedService for ExecutionService {
    const NAME: &'static str = SERVICE;
}

impl<B> Service<http::Request<B>> for ExecutionService
where
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
        let method = match request.uri().path() {
            EXECUTE => Method::Execute,
            WAIT_EXECUTION => Method::WaitExecution,
            _ => {
                let status = Status::unimplemented(format!("{SERVICE} has no such method"));
                return Box::pin(async move { Ok(status.into_http()) });
            }
        };
        let call = Call(self.clone(), method);
        let grpc = Grpc::new(RawCodec).max_decoding_message_size(self.options.max_received_message_bytes());
        let mut grpc = CODINGS.into_iter().fold(grpc, Grpc::accept_compressed);
        Box::pin(async move { Ok(grpc.server_streaming(call, request).await) })
    }
}
