//! A channel whose calls are observed, if anybody observes them.

use std::task::{Context, Poll};

#[cfg(feature = "server")]
use futures::FutureExt as _;
use futures::TryFutureExt as _;
use futures::future::{BoxFuture, Either, MapOk};
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Error};
use tower::Service;

use super::not_grpc;
#[cfg(feature = "server")]
use crate::server::{ObservedMethods, ObservedRequest, ObservedResponse};

/// A channel whose calls are observed, if anybody observes them.
#[derive(Clone, Debug)]
pub(super) struct CallChannel {
    channel: Channel,
    #[cfg(feature = "server")]
    methods: Option<ObservedMethods>,
}

impl CallChannel {
    #[cfg(feature = "server")]
    pub(super) fn new(channel: Channel, methods: Option<ObservedMethods>) -> Self {
        Self { channel, methods }
    }

    #[cfg(not(feature = "server"))]
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

/// An answer, once it is known whether it is one of gRPC.
type Checked = MapOk<ResponseFuture, fn(Response<Body>) -> Response<Body>>;

impl Service<Request<Body>> for CallChannel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<Checked, BoxFuture<'static, Result<Response<Body>, Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        #[cfg(feature = "server")]
        if let Some(methods) = &self.methods {
            let mut call = methods.begin(request.uri().path());
            let request = request.map(|body| Body::new(ObservedRequest::new(body, &call)));
            let answer = Service::call(&mut self.channel, request).map_ok(not_grpc::replace);
            let observed = async move {
                match answer.await {
                    Ok(answer) => {
                        let (parts, body) = answer.into_parts();
                        let body = ObservedResponse::new(body, &parts.headers, call);
                        Ok(Response::from_parts(parts, Body::new(body)))
                    }
                    Err(error) => {
                        call.end(tonic::Code::Unavailable);
                        Err(error)
                    }
                }
            };
            return Either::Right(observed.boxed());
        }
        let replace: fn(Response<Body>) -> Response<Body> = not_grpc::replace;
        Either::Left(Service::call(&mut self.channel, request).map_ok(replace))
    }
}
