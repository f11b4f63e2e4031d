//! Executions that are forwarded to schedulers, and the capabilities of both.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::decorators::{Authorizer, StaticAuthorizer};
use blobaccess::{Context, InstanceName, Result};
use blobaccess_grpc::services::remote_execution::capabilities_client::CapabilitiesClient;
use blobaccess_grpc::services::remote_execution::capabilities_server::{Capabilities, CapabilitiesServer};
use blobaccess_grpc::{CallMetadata, Remote, RemoteOptions, RetryPolicy, Scheduler, ServiceOptions, Services};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::semver::SemVer;
use blobaccess_testkit::ManualClock;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::wired::Wired;

/// The published fields of the messages as far as the tests need them, and one that nobody knows.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    /// The instance name of a request to execute, the name of a request to wait and of an operation.
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "3")]
    flag: bool,
    #[prost(bytes = "bytes", tag = "777")]
    unknown: Bytes,
}

fn message(name: &str) -> Message {
    Message { name: name.to_owned(), flag: true, unknown: Bytes::from_static(b"unknown") }
}

type Answers = BoxStream<'static, Result<Message, Status>>;

/// A scheduler that notes what it is asked, and answers as it is told.
#[derive(Clone, Default)]
struct FakeScheduler {
    asked: Arc<Mutex<Vec<(String, Message, MetadataMap)>>>,
    answers: Arc<Mutex<VecDeque<Result<Answers, Status>>>>,
    capabilities: Arc<Mutex<Option<Result<re::ServerCapabilities, Status>>>>,
}

impl FakeScheduler {
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(self.clone()).add_service(CapabilitiesServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn answer(&self, answer: Result<Answers, Status>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn asked(&self) -> (String, Message, MetadataMap) {
        self.asked.lock().unwrap().pop().unwrap()
    }
}

impl NamedService for FakeScheduler {
    const NAME: &'static str = "build.bazel.remote.execution.v2.Execution";
}

struct Call(FakeScheduler, String);

impl ServerStreamingService<Message> for Call {
    type Response = Message;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Message>) -> Self::Future {
        let metadata = request.metadata().clone();
        self.0.asked.lock().unwrap().push((self.1.clone(), request.into_inner(), metadata));
        let answer = self.0.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or_else(|| Ok(stream::iter([Ok(message("job"))]).boxed()));
        Box::pin(async move { answer.map(Response::new) })
    }
}

impl tower::Service<http::Request<Body>> for FakeScheduler {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = Call(self.clone(), request.uri().path().rsplit('/').next().unwrap().to_owned());
        let mut grpc = Grpc::new(ProstCodec::<Message, Message>::default());
        Box::pin(async move { Ok(grpc.server_streaming(call, request).await) })
    }
}

#[async_trait]
impl Capabilities for FakeScheduler {
    async fn get_capabilities(
        &self,
        request: Request<re::GetCapabilitiesRequest>,
    ) -> Result<Response<re::ServerCapabilities>, Status> {
        let metadata = request.metadata().clone();
        let asked = message(&request.into_inner().instance_name);
        self.asked.lock().unwrap().push(("GetCapabilities".to_owned(), asked, metadata));
        self.capabilities.lock().unwrap().clone().unwrap().map(Response::new)
    }
}

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

fn scheduler(address: SocketAddr) -> Scheduler {
    let retry = RetryPolicy::default().with_attempts(1);
    Remote::new(RemoteOptions::new(address.to_string()).with_retry(retry)).unwrap().scheduler()
}

fn allow() -> Arc<dyn Authorizer> {
    Arc::new(StaticAuthorizer::Allow)
}

/// Calls a method of the execution service, and returns the operations until the stream ends.
async fn call(services: &Services, method: &'static str, request: Request<Message>) -> Result<Vec<Message>, Status> {
    let mut grpc = tonic::client::Grpc::new(services.routes().unwrap());
    grpc.ready().await.unwrap();
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(method), ProstCodec::default()).await?;
    let answers: Vec<Result<Message, Status>> = answer.into_inner().collect().await;
    answers.into_iter().collect()
}

const EXECUTE: &str = "/build.bazel.remote.execution.v2.Execution/Execute";
const WAIT: &str = "/build.bazel.remote.execution.v2.Execution/WaitExecution";

async fn execute(services: &Services, instance_name: &str) -> Result<Vec<Message>, Status> {
    call(services, EXECUTE, Request::new(message(instance_name))).await
}

async fn wait(services: &Services, operation: &str) -> Result<Vec<Message>, Status> {
    call(services, WAIT, Request::new(message(operation))).await
}

#[tokio::test]
async fn the_scheduler_of_the_longest_prefix_is_asked_by_its_own_names() {
    let (any, long) = (FakeScheduler::default(), FakeScheduler::default());
    let services = Services::new(ServiceOptions::default()).with_schedulers(
        [
            (name("a"), scheduler(any.serve().await)),
            (name("a/b"), scheduler(long.serve().await).with_added_instance_name_prefix(name("x/y"))),
        ],
        allow(),
    );
    for (asked, fake, seen, operation) in [
        ("a", &any, "", "a/operations/job"),
        ("a/c", &any, "c", "a/operations/job"),
        ("a/bb", &any, "bb", "a/operations/job"),
        ("a/b", &long, "x/y", "a/b/operations/job"),
        ("a/b/c", &long, "x/y/c", "a/b/operations/job"),
    ] {
        // What neither side of us knows is passed on.
        assert_eq!(execute(&services, asked).await.unwrap(), [message(operation)]);
        let (method, request, _) = fake.asked();
        assert_eq!((method.as_str(), request), ("Execute", message(seen)), "{asked}");

        assert_eq!(wait(&services, operation).await.unwrap(), [message(operation)]);
        let (method, request, _) = fake.asked();
        assert_eq!((method.as_str(), request), ("WaitExecution", message("job")), "{asked}");
    }
    for other in ["", "b", "aa", "a//b", "blobs"] {
        let status = execute(&services, other).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{other}: {status}");
    }
    for other in ["job", "/operations/job", "b/operations/job", "a//b/operations/job", ""] {
        let status = wait(&services, other).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{other}: {status}");
    }
    let status = call(&services, "/build.bazel.remote.execution.v2.Execution/Other", Request::new(message("a"))).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn every_operation_is_passed_on_and_so_is_an_error_with_its_details() {
    let fake = FakeScheduler::default();
    let services =
        Services::new(ServiceOptions::default()).with_schedulers([(name(""), scheduler(fake.serve().await))], allow());
    let refused = || Status::with_details(Code::FailedPrecondition, "blobs are missing", Bytes::from_static(b"which"));
    let three = stream::iter([Ok(message("1")), Ok(message("2")), Err(refused())]);
    fake.answer(Ok(three.boxed()));
    let mut grpc = tonic::client::Grpc::new(services.routes().unwrap());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<Message, Message>::default();
    let path = PathAndQuery::from_static(EXECUTE);
    let mut operations = grpc.server_streaming(Request::new(message("")), path, codec).await.unwrap().into_inner();
    assert_eq!(operations.message().await.unwrap().unwrap(), message("/operations/1"));
    assert_eq!(operations.message().await.unwrap().unwrap(), message("/operations/2"));
    let status = operations.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::FailedPrecondition, "blobs are missing", &b"which"[..])
    );
    fake.answer(Err(refused()));
    let status = wait(&services, "/operations/1").await.unwrap_err();
    assert_eq!((status.code(), status.details()), (Code::FailedPrecondition, &b"which"[..]));
}

#[tokio::test]
async fn deadline_metadata_and_departure_reach_the_scheduler() {
    #[derive(Debug)]
    struct Token;

    #[async_trait]
    impl CallMetadata for Token {
        async fn add_to(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()> {
            let names: Vec<_> = ctx.metadata().names().filter(|name| name.starts_with("x-")).collect();
            metadata.append("x-token", "one".parse().unwrap());
            metadata.append("x-token", names.join(" ").parse().unwrap());
            Ok(())
        }
    }

    let fake = FakeScheduler::default();
    let options = RemoteOptions::new(fake.serve().await.to_string())
        .with_forwarded_metadata(Some(vec!["x-wanted".to_owned()]))
        .with_added_header("x-added", "1")
        .with_added_header("x-added", "2");
    let scheduler = Remote::new(options).unwrap().with_call_metadata(Arc::new(Token)).scheduler();
    let services = Services::new(ServiceOptions::default().with_all_metadata());
    let services = services.with_schedulers([(name(""), scheduler)], allow());
    let (gone, mut is_gone) = mpsc::channel::<()>(1);
    let endless = stream::iter([Ok(message("job"))]).chain(stream::pending());
    fake.answer(Ok(endless.inspect(move |_| drop(gone.clone())).boxed()));

    let mut request = Request::new(message(""));
    request.set_timeout(Duration::from_secs(500));
    request.metadata_mut().insert("x-wanted", "yes".parse().unwrap());
    request.metadata_mut().insert("x-other", "no".parse().unwrap());
    let mut grpc = tonic::client::Grpc::new(services.routes().unwrap());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<Message, Message>::default();
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(EXECUTE), codec).await.unwrap();
    let mut operations = answer.into_inner();
    assert_eq!(operations.message().await.unwrap().unwrap(), message("/operations/job"));
    let (_, _, metadata) = fake.asked();
    let all = |name| metadata.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("x-wanted"), ["yes"]);
    assert!(all("x-other").is_empty());
    assert_eq!(all("x-added"), ["1", "2"]);
    assert_eq!(all("x-token"), ["one", "x-other x-wanted"]);
    let timeout = all("grpc-timeout");
    assert_eq!(timeout.len(), 1, "{timeout:?}");
    let (count, unit) = timeout[0].split_at(timeout[0].len() - 1);
    let seconds = count.parse::<f64>().unwrap() * if unit == "u" { 1e-6 } else { 1e-3 };
    assert!(["u", "m"].contains(&unit) && (1.0..=500.0).contains(&seconds), "{timeout:?}");

    assert_eq!(services.snapshot().open_executions, 1);
    assert_eq!(services.snapshot().open_calls, 0, "executions count apart");
    drop(operations);
    assert_eq!(is_gone.recv().await, None, "the scheduler is told");
    assert_eq!(services.snapshot().open_executions, 0);
}

#[tokio::test]
async fn metadata_that_never_comes_is_not_waited_for_without_end() {
    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl CallMetadata for Silent {
        async fn add_to(&self, _: &Context, _: &mut MetadataMap) -> Result<()> {
            std::future::pending().await
        }
    }

    let (fake, clock) = (FakeScheduler::default(), ManualClock::new());
    let silence = Duration::from_mins(3);
    let options = RemoteOptions::new(fake.serve().await.to_string()).with_silence_timeout(silence);
    let remote = Remote::new(options).unwrap().with_clock(Arc::new(clock.clone()));
    let scheduler = remote.with_call_metadata(Arc::new(Silent)).scheduler();
    let services = Services::new(ServiceOptions::default()).with_schedulers([(name(""), scheduler)], allow());
    let asked = tokio::spawn(async move { execute(&services, "").await });
    clock.until_sleepers(1).await;
    assert!(!asked.is_finished());
    clock.advance(silence);
    assert_eq!(asked.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_scheduler_that_is_down_is_an_outage_of_executions_and_capabilities_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = listener.local_addr().unwrap();
    // It keeps the port, and hangs up on everybody.
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let wired = Wired::new(ServiceOptions::default());
    let services = wired.services.clone().with_schedulers([(name("remote"), scheduler(down))], allow());
    let status = execute(&services, "remote").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(wait(&services, "remote/operations/job").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(capabilities(&services, "remote").await.unwrap_err().code(), Code::Unavailable);
    assert!(capabilities(&services, "other").await.unwrap().cache_capabilities.is_some());
    let status = wired.action_cache().get_action_result(crate::wired::get()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

async fn capabilities(services: &Services, instance_name: &str) -> Result<re::ServerCapabilities, Status> {
    let request = re::GetCapabilitiesRequest { instance_name: instance_name.to_owned() };
    let answer = CapabilitiesClient::new(services.routes().unwrap()).get_capabilities(request).await;
    answer.map(Response::into_inner)
}

fn version(minor: i32) -> SemVer {
    SemVer { major: 2, minor, ..SemVer::default() }
}

fn executing() -> re::ServerCapabilities {
    re::ServerCapabilities {
        execution_capabilities: Some(re::ExecutionCapabilities { exec_enabled: true, ..Default::default() }),
        // What the scheduler says about storage is not that of this server.
        cache_capabilities: Some(re::CacheCapabilities { max_cas_blob_size_bytes: 7, ..Default::default() }),
        deprecated_api_version: Some(version(0)),
        low_api_version: Some(version(3)),
        high_api_version: Some(version(11)),
    }
}

#[tokio::test]
async fn capabilities_are_those_of_the_stores_and_of_the_scheduler() {
    let fake = FakeScheduler::default();
    let wired = Wired::new(ServiceOptions::default());
    let remote = scheduler(fake.serve().await).with_added_instance_name_prefix(name("x"));
    let with = |services: Services, authorizer| services.with_schedulers([(name("a"), remote.clone())], authorizer);
    let (both, alone) =
        (with(wired.services.clone(), allow()), with(Services::new(ServiceOptions::default()), allow()));
    *fake.capabilities.lock().unwrap() = Some(Ok(executing()));
    let told = capabilities(&both, "a/b").await.unwrap();
    assert_eq!(fake.asked().1.name, "x/b");
    assert_eq!(told.execution_capabilities, executing().execution_capabilities);
    assert_eq!(told.cache_capabilities.unwrap().max_cas_blob_size_bytes, 0);
    assert_eq!((told.deprecated_api_version, told.low_api_version), (Some(version(0)), Some(version(3))));
    assert_eq!(told.high_api_version.unwrap(), version(11));

    // Each has its own reason, and none hides the other's.
    let told = capabilities(&alone, "a").await.unwrap();
    assert_eq!((told.cache_capabilities, told.execution_capabilities.is_some()), (None, true));
    let told = capabilities(&both, "b").await.unwrap();
    assert!(told.cache_capabilities.is_some() && told.execution_capabilities.is_none());
    assert_eq!(told.high_api_version.unwrap(), version(12));
    assert_eq!(capabilities(&alone, "b").await.unwrap_err().code(), Code::NotFound);

    let denied = with(wired.services.clone(), Arc::new(StaticAuthorizer::Deny));
    let told = capabilities(&denied, "a").await.unwrap();
    assert!(told.cache_capabilities.is_some() && told.execution_capabilities.is_none());
    assert_eq!(execute(&denied, "a").await.unwrap_err().code(), Code::PermissionDenied);

    let storing = re::ServerCapabilities { execution_capabilities: None, ..executing() };
    for (answer, expected) in [
        (Ok(storing), Ok(false)),
        (Err(Status::permission_denied("not you")), Ok(false)),
        (Err(Status::not_found("no such place")), Ok(false)),
        (Err(Status::internal("broken")), Err(Code::Internal)),
    ] {
        *fake.capabilities.lock().unwrap() = Some(answer);
        let told = capabilities(&both, "a").await.map(|told| told.execution_capabilities.is_some());
        assert_eq!(told.map_err(|status| status.code()), expected);
    }
}
