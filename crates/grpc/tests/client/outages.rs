//! Outages in every shape: what a proxy in between answers is no miss.

use std::io;
use std::sync::{Arc, Mutex};

use blobaccess::{Ac, BlobAccess, Cas, Context, DigestSet, Error, ErrorKind, InstanceName, Kind, MemoryStore, Result};
use blobaccess_grpc::{Remote, RemoteOptions, ServiceOptions, Services};
use blobaccess_testkit::contracts::outages::{an_outage_of_any_shape_is_no_miss, answers_are_no_miss};
use blobaccess_testkit::foreign_answers::{AnswerEnd, ForeignAnswer, foreign_answers, grpc_answers, grpc_not_found};
use blobaccess_testkit::{Fixture, Promises, run};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response, Uri};
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::task::{Context as Poller, Poll};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::transport::Endpoint;

use crate::fake::digest;

/// A proxy between the client and the server.
#[derive(Clone, Default)]
struct Proxy {
    answer: Arc<Mutex<Option<ForeignAnswer>>>,
    /// Notified when connections are to be closed.
    closing: Arc<Notify>,
}

impl Proxy {
    fn answer(&self) -> Option<ForeignAnswer> {
        self.answer.lock().unwrap().clone()
    }

    fn set_answer(&self, answer: Option<&ForeignAnswer>) {
        *self.answer.lock().unwrap() = answer.cloned();
        if answer.is_some_and(|answer| answer.end == AnswerEnd::NotConnected) {
            self.closing.notify_waiters();
        }
    }

    fn remote(&self, services: &Services, options: RemoteOptions) -> Result<Remote> {
        let service = Answering { proxy: self.clone(), routes: services.routes()? };
        let endpoint = Endpoint::from_static("http://fake:1").initial_connection_window_size(8 << 20);
        let channel = endpoint.connect_with_connector_lazy(Connecting { proxy: self.clone(), service });
        Remote::with_channels(options, [channel])
    }
}

/// Answers as the proxy does, or else as the server.
#[derive(Clone)]
struct Answering {
    proxy: Proxy,
    routes: Routes,
}

impl Service<Request<hyper::body::Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let Some(answer) = self.proxy.answer() else {
            let answer = self.routes.call(request.map(Body::new));
            return Box::pin(async move { answer.await.map_err(io::Error::other) });
        };
        let closing = Arc::clone(&self.proxy.closing);
        Box::pin(async move {
            match answer.end {
                AnswerEnd::Whole | AnswerEnd::Cut => {}
                AnswerEnd::Reset => return Err(io::Error::other("reset")),
                AnswerEnd::Closed | AnswerEnd::NotConnected => {
                    closing.notify_waiters();
                    return std::future::pending().await;
                }
            }
            let mut response = Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                response = response.header(*name, value.as_ref());
            }
            let whole = stream::iter([Ok(http_body::Frame::data(Bytes::from(answer.body.into_owned())))]);
            let cut = (answer.end == AnswerEnd::Cut).then(|| Err(io::Error::other("cut")));
            let body = whole.chain(stream::iter(cut));
            response.body(Body::new(StreamBody::new(body))).map_err(io::Error::other)
        })
    }
}

/// Connects to the proxy, within the process.
struct Connecting {
    proxy: Proxy,
    service: Answering,
}

impl Service<Uri> for Connecting {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        if self.proxy.answer().is_some_and(|answer| answer.end == AnswerEnd::NotConnected) {
            return std::future::ready(Err(io::Error::from(io::ErrorKind::ConnectionRefused)));
        }
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (service, closing) = (TowerToHyperService::new(self.service.clone()), Arc::clone(&self.proxy.closing));
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            tokio::select! {
                _ = builder.serve_connection(TokioIo::new(theirs), service) => {}
                () = closing.notified() => {}
            }
        });
        std::future::ready(Ok(TokioIo::new(ours)))
    }
}

/// A client behind the proxy, of a server over a store in memory.
struct Proxied<K: Kind, S> {
    proxy: Proxy,
    inner: Arc<MemoryStore<K>>,
    promises: Promises,
    open: fn(&Proxy, Arc<MemoryStore<K>>) -> Result<S>,
}

impl<K: Kind, S> Proxied<K, S> {
    fn new(promises: Promises, open: fn(&Proxy, Arc<MemoryStore<K>>) -> Result<S>) -> Self {
        Self { proxy: Proxy::default(), inner: Arc::new(MemoryStore::new(16 << 20)), promises, open }
    }
}

impl<K: Kind, S: BlobAccess> Fixture for Proxied<K, S> {
    type Store = S;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<S> {
        (self.open)(&self.proxy, Arc::clone(&self.inner))
    }

    fn answer_with(&self, answer: &ForeignAnswer) -> bool {
        self.proxy.set_answer(Some(answer));
        true
    }

    fn mend(&self) {
        self.proxy.set_answer(None);
    }
}

/// Retries as a client does, without the waits.
fn options() -> RemoteOptions {
    let retry = blobaccess_grpc::RetryPolicy::default();
    RemoteOptions::new("http://fake:1")
        .with_retry(retry.with_backoff(Duration::from_millis(1), Duration::from_millis(1)))
}

fn services() -> Services {
    Services::new(ServiceOptions::default())
}

fn contents() -> Proxied<Cas, impl BlobAccess<Kind = Cas>> {
    Proxied::new(Promises::IN_MEMORY, |proxy, inner| Ok(proxy.remote(&services().with_cas(inner), options())?.cas()))
}

fn contents_streamed() -> Proxied<Cas, impl BlobAccess<Kind = Cas>> {
    Proxied::new(Promises::IN_MEMORY, |proxy, inner| {
        Ok(proxy.remote(&services().with_cas(inner), options().with_batch_threshold_bytes(0))?.cas())
    })
}

fn action_results() -> Proxied<Ac, impl BlobAccess<Kind = Ac>> {
    Proxied::new(Promises::IN_MEMORY.with_finds_in_bulk(false), |proxy, inner| {
        Ok(proxy.remote(&services().with_ac(inner), options())?.ac())
    })
}

#[test]
fn no_answer_of_a_proxy_is_a_miss() {
    run(an_outage_of_any_shape_is_no_miss(&contents()));
    run(an_outage_of_any_shape_is_no_miss(&contents_streamed()));
    run(an_outage_of_any_shape_is_no_miss(&action_results()));
}

#[test]
fn no_answer_of_grpc_but_absence_is_a_miss() {
    run(answers_are_no_miss(&contents(), &grpc_answers()));
    run(answers_are_no_miss(&contents_streamed(), &grpc_answers()));
    run(answers_are_no_miss(&action_results(), &grpc_answers()));
}

async fn errors(store: &impl BlobAccess<Kind = Cas>) -> [Error; 3] {
    let (ctx, digest) = (Context::background(), digest(b"hello"));
    let asked = DigestSet::from(digest.clone());
    [
        store.find_missing(&ctx, &asked).await.unwrap_err(),
        store.put(&ctx, &digest, blobaccess::Blob::from_bytes("hello")).await.unwrap_err(),
        store.capabilities(&ctx, &InstanceName::empty()).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_place_that_is_not_found_is_no_absence_where_nothing_is_read() {
    for fixture in [contents(), contents()] {
        let store = fixture.open().await.unwrap();
        fixture.answer_with(&grpc_not_found());
        for error in errors(&store).await {
            assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        }
    }
    let fixture = contents_streamed();
    let store = fixture.open().await.unwrap();
    fixture.answer_with(&grpc_not_found());
    for error in errors(&store).await {
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
}

#[tokio::test]
async fn what_something_in_between_answers_is_an_outage() {
    for answer in foreign_answers() {
        let fixture = contents();
        let store = fixture.open().await.unwrap();
        fixture.answer_with(&answer);
        for error in errors(&store).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{answer}: {error}");
        }
    }
}
