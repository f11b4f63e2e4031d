//! The services, as one connection calls them.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use super::activity::Activity;
use super::call_tasks::CallTasks;
use crate::server::call::{Call, CallLimits, ConnectionCalls};
use crate::server::call_body::CallBody;
use crate::server::call_observer::ObservedMethods;
use crate::server::observed_body::{ObservedRequest, ObservedResponse};
use crate::server::received_body::ReceivedBody;

/// The services of one connection, which each request is told about.
#[derive(Clone, Debug)]
pub(super) struct ConnectionService<I> {
    pub(super) routes: Routes,
    pub(super) info: I,
    /// The limits of each call.
    pub(super) limits: Arc<CallLimits>,
    /// The calls of this connection.
    pub(super) calls: Arc<ConnectionCalls>,
    /// The executor of this connection.
    pub(super) tasks: CallTasks,
    /// The calls of the connection, if they are counted.
    pub(super) activity: Option<Activity>,
    /// The observers of calls, if there are any.
    pub(super) methods: Option<ObservedMethods>,
    pub(super) max_metadata_bytes: u32,
    #[cfg(feature = "tls")]
    pub(super) certificates: Option<crate::server::tls::UnverifiedCertificates>,
}

impl<I: Clone + Send + Sync + 'static> hyper::service::Service<http::Request<Incoming>> for ConnectionService<I> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let (size, max) = (metadata_bytes(request.headers()), self.max_metadata_bytes);
        if u32::try_from(size).is_ok_and(|size| size > max) {
            let message = format!("call has {size} bytes of metadata, while at most {max} are permitted");
            return Box::pin(async move { Ok(Status::resource_exhausted(message).into_http()) });
        }
        request.extensions_mut().insert(self.info.clone());
        let call = Call::new(Arc::clone(&self.limits), Arc::clone(&self.calls));
        self.tasks.begin(call.clone());
        request.extensions_mut().insert(call.clone());
        #[cfg(feature = "tls")]
        if let Some(certificates) = self.certificates {
            request.extensions_mut().insert(certificates);
        }
        let (parts, body) = request.into_parts();
        let body = ReceivedBody::new(body, call, parts.uri.path());
        let request = http::Request::from_parts(parts, body);
        let open = self.activity.as_ref().map(Activity::begin);
        // Routes are always ready.
        let mut routes = self.routes.clone();
        let observed = self.methods.as_ref().map(|methods| methods.begin(request.uri().path()));
        match (observed, open) {
            (None, None) => Box::pin(routes.call(request)),
            (None, Some(open)) => {
                let answer = routes.call(request);
                Box::pin(async move { Ok(answer.await?.map(|body| Body::new(CallBody::new(body, open)))) })
            }
            (Some(call), open) => {
                let answer = routes.call(request.map(|body| ObservedRequest::new(body, &call)));
                Box::pin(async move {
                    let (parts, body) = answer.await?.into_parts();
                    let body = CallBody::new(ObservedResponse::new(body, &parts.headers, call), open);
                    Ok(http::Response::from_parts(parts, Body::new(body)))
                })
            }
        }
    }
}

/// Returns the size of `headers`, as HTTP/2 counts it (RFC 9113, section 6.5.2).
fn metadata_bytes(headers: &http::HeaderMap) -> usize {
    headers.iter().fold(0, |total, (name, value)| total.saturating_add(name.as_str().len() + value.len() + 32))
}
