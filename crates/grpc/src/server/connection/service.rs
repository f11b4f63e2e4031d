//! The services, as one connection calls them.

use std::convert::Infallible;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use super::activity::Activity;
use crate::server::call_body::CallBody;

/// The services of one connection, which each request is told about.
#[derive(Clone, Debug)]
pub(super) struct ConnectionService<I> {
    pub(super) routes: Routes,
    pub(super) info: I,
    /// The calls of the connection, if they are counted.
    pub(super) activity: Option<Activity>,
    #[cfg(feature = "tls")]
    pub(super) certificates: Option<crate::server::tls::UnverifiedCertificates>,
}

impl<I: Clone + Send + Sync + 'static> hyper::service::Service<http::Request<Incoming>> for ConnectionService<I> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.info.clone());
        #[cfg(feature = "tls")]
        if let Some(certificates) = self.certificates {
            request.extensions_mut().insert(certificates);
        }
        let open = self.activity.as_ref().map(Activity::begin);
        // Routes are always ready.
        let answer = self.routes.clone().call(request);
        match open {
            None => Box::pin(answer),
            Some(open) => Box::pin(async move { Ok(answer.await?.map(|body| Body::new(CallBody::new(body, open)))) }),
        }
    }
}
