//! The status page and the metrics, over HTTP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, SystemClock};
use blobaccess_metrics::CONTENT_TYPE as CONTENT_TYPE_OF_METRICS;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The sources of the pages.
pub(crate) trait Pages: Send + Sync + 'static {
    /// Returns the status page, for people.
    fn status(&self) -> String;

    /// Returns the metrics, for Prometheus.
    fn metrics(&self) -> String;

    /// Returns the metrics of the accounts of a bucket, if there is one, in the older format of Prometheus.
    fn accounting(&self) -> Option<String>;
}

/// Serves `pages` on `listener` until it is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Arc<dyn Pages>) -> io::Result<()> {
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
                async move { Ok::<_, Infallible>(answer(&request, &*pages)) }
            });
            // A client that disconnects in the middle of a page is not an error.
            drop(http1::Builder::new().serve_connection(TokioIo::new(connection), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

fn answer(request: &Request<Incoming>, pages: &dyn Pages) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let accounting = || pages.accounting().map(|page| (StatusCode::OK, "text/plain; version=0.0.4", page));
    let not_found =
        || (StatusCode::NOT_FOUND, TEXT, "there are /, /metrics and, for a bucket, /accounting\n".to_owned());
    let (status, content_type, page) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => (StatusCode::OK, TEXT, pages.status()),
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, CONTENT_TYPE_OF_METRICS, pages.metrics()),
        (&Method::GET | &Method::HEAD, "/accounting") => accounting().unwrap_or_else(not_found),
        (&Method::GET | &Method::HEAD, _) => not_found(),
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(page)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
