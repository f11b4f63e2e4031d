//! Calls of servers that are not ours.

use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::service::AxumBody;
use tower::{Layer, Service};

use super::call::{Call, CallLimits, ConnectionCalls};
use super::received_body::ReceivedBody;

/// A layer that makes a [`Call`] of each request. It does not know connections: each call has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct NewCalls(pub(crate) Arc<CallLimits>);

impl<S> Layer<S> for NewCalls {
    type Service = WithCalls<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithCalls { inner, limits: Arc::clone(&self.0) }
    }
}

/// The service that [`NewCalls`] makes.
#[derive(Clone, Debug)]
pub(crate) struct WithCalls<S> {
    inner: S,
    limits: Arc<CallLimits>,
}

impl<S: Service<http::Request<AxumBody>>> Service<http::Request<AxumBody>> for WithCalls<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<AxumBody>) -> Self::Future {
        let call = Call::new(Arc::clone(&self.limits), Arc::<ConnectionCalls>::default());
        request.extensions_mut().insert(call.clone());
        let (parts, body) = request.into_parts();
        let body = AxumBody::new(ReceivedBody::new(body, call, parts.uri.path()));
        self.inner.call(http::Request::from_parts(parts, body))
    }
}
