//! Asks the authenticator before a request reaches a service.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use blobaccess::{AccountName, Caller, Claims};
use futures::future::BoxFuture;
use tonic::server::NamedService;
use tower::{Layer, Service};

use super::{Authenticator, RequestParts};
use crate::status::to_status;

/// A layer that puts the identity of each request into its extensions, or answers with the authenticator's error.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticationLayer {
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl AuthenticationLayer {
    /// Makes a layer that asks `authenticator`; without one, requests pass as they are.
    pub(crate) fn new(authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticated { inner, authenticator: self.authenticator.clone() }
    }
}

/// The service that [`AuthenticationLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    inner: S,
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, Q, B> Service<http::Request<Q>> for Authenticated<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Q: Send + 'static,
    B: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let Some(authenticator) = self.authenticator.clone() else { return Box::pin(self.inner.call(request)) };
        let next = self.inner.clone();
        // The service that was polled until it was ready is the one to call.
        let mut inner = mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let identity = match authenticator.authenticate(&RequestParts::new(&parts)).await {
                Ok(identity) => identity,
                Err(error) => return Ok(to_status(&error).into_http()),
            };
            // The identity replaces what layers in front of the services may have said.
            parts.extensions.remove::<Caller>();
            parts.extensions.remove::<Claims>();
            parts.extensions.remove::<AccountName>();
            identity.caller.map(|caller| parts.extensions.insert(caller));
            identity.claims.map(|claims| parts.extensions.insert(claims));
            identity.account_name.map(|account_name| parts.extensions.insert(account_name));
            inner.call(http::Request::from_parts(parts, body)).await
        })
    }
}
