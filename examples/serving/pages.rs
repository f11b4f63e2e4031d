//! Pages over HTTP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, SystemClock};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The type of pages for people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

/// The source of pages.
pub(crate) trait Pages: Send + Sync + 'static {
    /// Returns the page for a request.
    fn page(&self, request: &Parts) -> impl Future<Output = Page> + Send;
}

impl Page {
    /// Makes a page that was found.
    pub(crate) fn found(content_type: &'static str, text: String) -> Self {
        Self { status: StatusCode::OK, content_type, text }
    }

    /// Makes a page for people about why there is no other.
    pub(crate) fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: TEXT, text: text.into() }
    }
}

/// The time within which the header of a request must have come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum number of connections at once. Others wait.
const MAX_CONNECTIONS: usize = 256;

/// Serves `pages` on `listener` until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Arc<impl Pages>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Most likely, the process is out of file descriptors: wait, then go on.
            SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(100)).await;
            continue;
        };
        let pages = Arc::clone(&pages);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let pages = Arc::clone(&pages);
                async move { Ok::<_, Infallible>(answer(request, &*pages).await) }
            });
            // A client that disconnects in the middle of a page is not an error.
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            drop(builder.serve_connection(TokioIo::new(connection), service).await);
        });
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
    }
}

async fn answer(request: Request<Incoming>, pages: &impl Pages) -> Response<Full<Bytes>> {
    let (request, _) = request.into_parts();
    let page = match request.method {
        Method::GET | Method::HEAD => pages.page(&request).await,
        _ => Page::refused(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(page.text)));
    *response.status_mut() = page.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response
}
