//! The bucket as the HTTP client of a client library.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Clock, SystemClock};
use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::SimS3;
use super::faults::{Fault, Nature};
use super::request::{Operation, Request};
use super::world::Reply;

/// The time that a slow answer takes.
const SLOW: Duration = Duration::from_millis(700);

/// The end of a request, in terms of the connection.
pub(super) enum Ending {
    Reply(Reply),
    /// The same, but the body ends early.
    Truncated(Reply),
    Closed,
    Reset,
    NotConnected,
    Hang,
}

impl SimS3 {
    /// Carries a request out, with the fault that befalls it, if one does.
    pub(super) async fn handle(&self, mut request: Request) -> Ending {
        let (looks_first, refused) = {
            let state = self.lock();
            let looks_first = state.world.looks_first(&request, state.modes);
            (looks_first, state.world.refused(&request, state.modes).filter(|_| looks_first))
        };
        if let Some(refused) = refused {
            return Ending::Reply(refused.with("x-amz-request-id", "SIM"));
        }
        if looks_first {
            // Others look meanwhile.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            request.if_none_match = false;
        }
        let (slow, ending) = self.decide(request);
        if slow {
            SystemClock.sleep_until(SystemClock.monotonic() + SLOW).await;
        }
        ending
    }

    fn decide(&self, request: Request) -> (bool, Ending) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(foreign) = &state.foreign {
            return (false, foreign.ending(!matches!(request.operation, Operation::Head)));
        }
        if state.broken {
            return (false, Ending::Reply(Reply::error(503, "ServiceUnavailable")));
        }
        if state.modes.makes_buckets && matches!(request.operation, Operation::Put) {
            state.deleted = false;
        }
        if state.deleted {
            let reply = Reply::error(404, "NoSuchBucket").with("x-amz-request-id", "SIM");
            let silent = matches!(request.operation, Operation::Head);
            return (false, Ending::Reply(if silent { Reply { body: Bytes::new(), ..reply } } else { reply }));
        }
        let nature = Nature { changes: request.changes(), conditional: request.is_conditional() };
        let fault = state.dice.fault(&state.plan, nature);
        // What was late may arrive before any other.
        if state.dice.next().is_multiple_of(4) && nature.changes {
            state.world.deliver_one(state.modes);
        }
        let mut carry_out = || state.world.carry_out(&request, state.modes);
        let ending = match fault {
            None | Some(Fault::Slow) => Ending::Reply(carry_out()),
            Some(Fault::LostAfterCommit) => {
                carry_out();
                Ending::Closed
            }
            Some(Fault::ResetAfterCommit) => {
                carry_out();
                Ending::Reset
            }
            Some(Fault::HangAfterCommit) => {
                carry_out();
                Ending::Hang
            }
            Some(Fault::ErrorAfterCommit) => {
                carry_out();
                Ending::Reply(Reply::error(500, "InternalError"))
            }
            Some(Fault::UnavailableAfterCommit) => {
                carry_out();
                Ending::Reply(Reply::error(503, "ServiceUnavailable"))
            }
            Some(Fault::SentTwice) => {
                carry_out();
                Ending::Reply(carry_out())
            }
            Some(Fault::Truncated) => Ending::Truncated(carry_out()),
            Some(Fault::ClosedBeforeCommit) => Ending::Closed,
            Some(Fault::NotConnected) => Ending::NotConnected,
            Some(Fault::Throttled) => Ending::Reply(Reply::error(503, "SlowDown")),
            Some(Fault::TooMany) => Ending::Reply(Reply::error(429, "TooManyRequests")),
            Some(Fault::Conflict) => {
                Ending::Reply(Reply::error(409, "ConditionalRequestConflict").with("x-amz-request-id", "SIM"))
            }
            Some(Fault::Late) => {
                state.world.delay(request);
                Ending::Hang
            }
        };
        (fault == Some(Fault::Slow), ending)
    }
}

pub(super) fn response(reply: Reply) -> (http::response::Parts, Bytes) {
    let mut response = Response::new(());
    if let Ok(status) = http::StatusCode::from_u16(reply.status) {
        *response.status_mut() = status;
    }
    let length = reply.length.unwrap_or_else(|| u64::try_from(reply.body.len()).unwrap_or(u64::MAX));
    let headers = reply.headers.into_iter().chain([("content-length".to_owned(), length.to_string())]);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    (response.into_parts().0, reply.body)
}

fn error(kind: HttpErrorKind, what: &'static str) -> HttpError {
    HttpError::new(kind, std::io::Error::other(what))
}

#[async_trait]
impl HttpService for SimS3 {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = Request::read(&parts.method, &parts.uri, &parts.headers, body);
        match self.handle(request).await {
            Ending::Reply(reply) => {
                let (parts, body) = response(reply);
                Ok(HttpResponse::from_parts(parts, body.into()))
            }
            Ending::Truncated(reply) => {
                let (parts, mut body) = response(reply);
                body.truncate(body.len() / 2);
                let frames = [Ok(Frame::data(body)), Err(error(HttpErrorKind::Interrupted, "connection reset"))];
                let body = HttpResponseBody::new(BodyExt::boxed(StreamBody::new(stream::iter(frames))));
                Ok(HttpResponse::from_parts(parts, body))
            }
            Ending::Closed => Err(error(HttpErrorKind::Request, "connection closed before message completed")),
            Ending::Reset => Err(error(HttpErrorKind::Interrupted, "connection reset by peer")),
            Ending::NotConnected => Err(error(HttpErrorKind::Connect, "connection refused")),
            Ending::Hang => {
                let never: Infallible = futures::future::pending().await;
                match never {}
            }
        }
    }
}

impl HttpConnector for SimS3 {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
