//! Ends calls that take longer than their clients wait.

use std::sync::Arc;
use std::task::{Context, Poll};

use blobaccess::Clock;
use futures::future::{self, BoxFuture, Either};
use tonic::Status;
use tonic::server::NamedService;
use tower::{Layer, Service};

use super::request::{self, CallDeadline};

/// A layer that answers a call with `DeadlineExceeded` once the time of its `grpc-timeout` is over, wherever the call
/// waits: for its client, for its share of the bytes in flight, for a store.
///
/// Once a response has begun, it is up to the client to give up.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines {
    clock: Arc<dyn Clock>,
}

impl Deadlines {
    /// Makes a layer that tells time by `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for Deadlines {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timed { inner, clock: Arc::clone(&self.clock) }
    }
}

/// The service that [`Deadlines`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Timed<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S: NamedService> NamedService for Timed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, Q, B> Service<http::Request<Q>> for Timed<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Q>) -> Self::Future {
        let timeout = request.headers().get("grpc-timeout").and_then(|value| request::timeout(value.to_str().ok()?));
        let end = timeout.and_then(|timeout| self.clock.monotonic().checked_add(timeout));
        let Some(end) = end else { return Box::pin(self.inner.call(request)) };
        request.extensions_mut().insert(CallDeadline(end));
        let answer = self.inner.call(request);
        let expired = self.clock.sleep_until(end);
        Box::pin(async move {
            match future::select(Box::pin(answer), expired).await {
                Either::Left((answer, _)) => answer,
                Either::Right(((), _)) => Ok(Status::deadline_exceeded("the time of the call is up").into_http()),
            }
        })
    }
}
