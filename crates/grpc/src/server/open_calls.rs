//! Limits the number of open calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::server::NamedService;
use tower::{Layer, Service};

use super::call::{Call, ConnectionCalls};
use super::sent_body::SentBody;

/// The open calls, on all connections together. As a layer, it immediately refuses calls beyond the limit.
///
/// A call is open from its request until the last byte of its response was taken, or either side gave it up.
#[derive(Clone, Debug)]
pub(crate) struct OpenCalls {
    permits: Arc<Semaphore>,
    max: usize,
    refused: Arc<AtomicU64>,
}

impl OpenCalls {
    /// Makes a limit of `max` calls.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(max)), max, refused: Arc::default() }
    }

    /// Returns the number of calls that are open now.
    pub(crate) fn open(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    /// Returns the number of calls that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Admits a call, of `connection` if that is known.
    ///
    /// A connection has at most as many calls open as it leaves to others: see [`MemoryPool`](super::memory_pool::MemoryPool), which
    /// does so with memory.
    fn admit(&self, connection: Option<&Arc<ConnectionCalls>>) -> Result<Admitted, Status> {
        let own = connection.map_or(0, |connection| connection.admitted.load(Ordering::Relaxed));
        let left = self.permits.available_permits();
        let refused = |reason: String| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Status::resource_exhausted(reason)
        };
        if own > 0 && own >= left && left > 0 {
            return Err(refused(format!(
                "connection has {own} of {} calls open, and the {left} that are left are for others",
                self.max
            )));
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit =
            permit.map_err(|_| refused(format!("server has {} calls open, which is as many as it takes", self.max)))?;
        if let Some(connection) = connection {
            connection.admitted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Admitted { _permit: permit, connection: connection.map(Arc::clone) })
    }
}

/// A call that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permit: OwnedSemaphorePermit,
    connection: Option<Arc<ConnectionCalls>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.admitted.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<S> Layer<S> for OpenCalls {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited { inner, calls: self.clone() }
    }
}

/// The service that [`OpenCalls`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    calls: OpenCalls,
}

impl<S: NamedService> NamedService for Limited<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, Q, B> Service<http::Request<Q>> for Limited<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<SentBody<B, Admitted>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let call = request.extensions().get::<Call>().cloned();
        let admitted = match self.calls.admit(call.as_ref().map(Call::connection)) {
            Ok(admitted) => admitted,
            Err(status) => {
                let refusal = status.into_http::<()>().map(|()| SentBody::ended());
                return Box::pin(async move { Ok(refusal) });
            }
        };
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| SentBody::new(body, admitted, call))) })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt;
    use futures::future::{pending, ready};
    use http_body::Body as _;

    use super::*;

    fn call<S>(
        service: &mut Limited<S>,
    ) -> BoxFuture<'static, Result<http::Response<SentBody<String, Admitted>>, Infallible>>
    where
        S: Service<http::Request<()>, Response = http::Response<String>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        service.call(http::Request::new(()))
    }

    #[test]
    fn a_call_is_open_until_its_answer_is_let_go() {
        let calls = OpenCalls::new(1);
        let mut service = calls.layer(tower::service_fn(|_| ready(Ok(http::Response::new("answer".to_owned())))));
        let first = call(&mut service).now_or_never().unwrap().unwrap();
        assert_eq!(calls.open(), 1);

        let refused = call(&mut service).now_or_never().unwrap().unwrap();
        assert_eq!(Status::from_header_map(refused.headers()).unwrap().code(), tonic::Code::ResourceExhausted);
        assert!(refused.body().is_end_stream());
        assert_eq!(calls.refused(), 1);

        drop(first);
        assert_eq!(calls.open(), 0);
        let next = call(&mut service).now_or_never().unwrap().unwrap();
        assert!(Status::from_header_map(next.headers()).is_none());
    }

    #[test]
    fn a_call_that_is_given_up_before_its_answer_is_open_no_longer() {
        let calls = OpenCalls::new(1);
        let mut service = calls.layer(tower::service_fn(|_| pending()));
        let hanging = call(&mut service);
        assert_eq!(calls.open(), 1);
        drop(hanging);
        assert_eq!(calls.open(), 0);
    }
}
