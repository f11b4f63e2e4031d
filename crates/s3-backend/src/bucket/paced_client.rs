//! An HTTP client that gives up what makes no progress, and leaves connections that fell silent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::{Clock, SystemClock};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};

/// The size of the pieces in which a body is handed on, in bytes: the bytes that must leave within one time-out.
const PIECE_BYTES: usize = 64 << 10;

/// Makes clients that trust and time out as the first one does.
pub(super) type MakeClient = Arc<dyn Fn() -> reqwest::Result<reqwest::Client> + Send + Sync>;

/// An HTTP client whose time-out is one of silence: it begins anew with each piece of the request that is taken, and with
/// each piece of the answer that is asked for.
///
/// The client's own time-out begins with the request, so it would also end uploads whose bytes flow. Once a request met
/// silence, the connections of the old client are left: others of them may have died with the one that was used.
pub(super) struct PacedClient {
    make: MakeClient,
    silence: Duration,
    current: Mutex<Current>,
}

struct Current {
    client: reqwest::Client,
    generation: u64,
}

impl PacedClient {
    pub(super) fn new(make: MakeClient, silence: Duration) -> reqwest::Result<Self> {
        let current = Mutex::new(Current { client: make()?, generation: 0 });
        Ok(Self { make, silence, current })
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // A panic cannot leave the client half replaced.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves all connections of the client that met silence, unless somebody else did so before.
    fn leave(&self, generation: u64) {
        let mut current = self.current();
        if current.generation == generation
            && let Ok(client) = (self.make)()
        {
            *current = Current { client, generation: generation + 1 };
        }
    }
}

impl std::fmt::Debug for PacedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacedClient").field("silence", &self.silence).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpService for PacedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|_| failed(HttpErrorKind::Unknown, "the address of a request is no URL"))?;
        let progress = Progress::new();
        let mut sent = reqwest::Request::new(parts.method, url);
        *sent.headers_mut() = parts.headers;
        *sent.body_mut() = Some(match body.as_bytes() {
            Some(bytes) if bytes.len() <= PIECE_BYTES => reqwest::Body::from(bytes.clone()),
            _ => reqwest::Body::wrap(Watched { body, rest: Bytes::new(), progress: Arc::clone(&progress) }),
        });
        let (client, generation) = {
            let current = self.current();
            (current.client.clone(), current.generation)
        };
        let answer = std::pin::pin!(client.execute(sent));
        let silence = std::pin::pin!(progress.silence(self.silence));
        let answer = match select(answer, silence).await {
            Either::Left((answer, _)) => answer.map_err(classified)?,
            Either::Right(((), _)) => {
                self.leave(generation);
                return Err(failed(HttpErrorKind::Timeout, "nothing was sent or answered for too long"));
            }
        };
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let body = Answered { body, silence: self.silence, timer: None };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// The time at which the last piece of a request was taken.
struct Progress(Mutex<Instant>);

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemClock.monotonic())))
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // One assignment: a panic cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing has been taken for `longest`.
    async fn silence(&self, longest: Duration) {
        loop {
            let last = *self.lock();
            let Some(end) = last.checked_add(longest) else { return futures::future::pending().await };
            if SystemClock.monotonic() >= end {
                return;
            }
            SystemClock.sleep_until(end).await;
        }
    }
}

/// The body of a request, in pieces whose taking is noted.
struct Watched {
    body: HttpRequestBody,
    rest: Bytes,
    progress: Arc<Progress>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.rest = frame.into_data().unwrap_or_default(),
                other @ (Poll::Ready(_) | Poll::Pending) => return other,
            }
        }
        *this.progress.lock() = SystemClock.monotonic();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        match self.body.size_hint().exact() {
            Some(size) => SizeHint::with_exact(size.saturating_add(rest)),
            None => SizeHint::default(),
        }
    }
}

/// The body of an answer, which fails if its reader waits for too long. A reader that does not read has all the time.
struct Answered {
    body: reqwest::Body,
    silence: Duration,
    /// The end of the wait, if the reader waits. The lock makes it shareable, and is never waited for.
    timer: Option<Mutex<BoxFuture<'static, ()>>>,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(classified)));
        }
        let Some(end) = SystemClock.monotonic().checked_add(this.silence) else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Mutex::new(SystemClock.sleep_until(end)));
        match timer.get_mut().unwrap_or_else(PoisonError::into_inner).poll_unpin(context) {
            Poll::Ready(()) => {
                Poll::Ready(Some(Err(failed(HttpErrorKind::Timeout, "the rest of an answer did not come"))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn failed(kind: HttpErrorKind, what: &'static str) -> HttpError {
    HttpError::new(kind, std::io::Error::other(what))
}

/// The failures of a connection that was there.
const INTERRUPTED: [std::io::ErrorKind; 4] = [
    std::io::ErrorKind::ConnectionAborted,
    std::io::ErrorKind::ConnectionReset,
    std::io::ErrorKind::BrokenPipe,
    std::io::ErrorKind::UnexpectedEof,
];

/// Returns a failure of the HTTP client with the kind that decides whether the request may be sent again.
fn classified(error: reqwest::Error) -> HttpError {
    let mut kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Unknown
    };
    let first = std::error::Error::source(&error);
    for cause in std::iter::successors(first, |cause: &&(dyn std::error::Error + 'static)| (*cause).source()) {
        if kind != HttpErrorKind::Unknown {
            break;
        }
        if let Some(cause) = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            if cause == std::io::ErrorKind::TimedOut {
                kind = HttpErrorKind::Timeout;
            } else if INTERRUPTED.contains(&cause) {
                kind = HttpErrorKind::Interrupted;
            }
        } else if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
            if cause.is_closed() || cause.is_incomplete_message() || cause.is_body_write_aborted() {
                kind = HttpErrorKind::Request;
            } else if cause.is_timeout() {
                kind = HttpErrorKind::Timeout;
            }
        }
    }
    HttpError::new(kind, error.without_url())
}
