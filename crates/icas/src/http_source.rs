//! Web servers, as sources.

use std::error::Error as StdError;
use std::sync::Arc;

use blobaccess::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Request, Response, StatusCode};
use rustls_pki_types::CertificateDer;
use url::Url;

use crate::content_range::ContentRange;
use crate::name_resolver::{CheckedResolver, NameResolver};
use crate::opened::Opened;
use crate::reference::Window;
use crate::snapshot::Counts;
use crate::{AllowedHosts, ExpandingOptions};

/// A client of the allowed web servers.
pub(crate) struct HttpSource {
    client: reqwest::Client,
    hosts: Arc<AllowedHosts>,
    max_skipped_bytes: u64,
    pub(crate) counts: Arc<Counts>,
}

impl HttpSource {
    /// Makes a client that follows no redirect, uses no proxy, keeps no cookie, and decodes nothing.
    ///
    /// It trusts the certificates of the system, and `authorities`. It sends `headers` with each request.
    pub(crate) fn new(
        options: &ExpandingOptions,
        resolver: Arc<dyn NameResolver>,
        authorities: &[CertificateDer<'static>],
        headers: &HeaderMap,
        counts: Arc<Counts>,
    ) -> Result<Self> {
        let hosts = Arc::new(options.allowed_hosts.clone());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(authorities)?)
            .dns_resolver(CheckedResolver { inner: resolver, hosts: Arc::clone(&hosts) })
            .user_agent("blobaccess")
            .default_headers(headers.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            // It is divided among the addresses of a name, so that one that does not answer leaves time for the next.
            .connect_timeout(options.answer_timeout)
            .build()
            .map_err(|error| Error::failed_precondition(format!("no HTTP client can be set up: {error}")))?;
        Ok(Self { client, hosts, max_skipped_bytes: options.max_skipped_bytes, counts })
    }

    /// Fails unless the server of `url` is allowed.
    pub(crate) fn check(&self, url: &Url) -> Result<()> {
        self.hosts.check(url)
    }

    /// Requests `window` of what is at `url`, which was checked. Returns `None` if there is nothing.
    ///
    /// With an `e_tag`, it must be the version of that tag.
    pub(crate) async fn open(&self, url: &Url, window: Window, e_tag: Option<&HeaderValue>) -> Result<Option<Opened>> {
        let mut request = Request::new(Method::GET, url.clone());
        let headers = request.headers_mut();
        // A server that compresses would change what offsets and the digest mean.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !window.is_whole() {
            headers.insert(RANGE, range_header(window)?);
            if let Some(e_tag) = e_tag {
                headers.insert(IF_RANGE, e_tag.clone());
            }
        }
        self.counts.add_http_request();
        let response = self.client.execute(request).await.map_err(from_client)?;
        let opened = match response.status() {
            StatusCode::PARTIAL_CONTENT => partial(response, window)?,
            StatusCode::OK => self.whole(response, window)?,
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status => return Err(from_status(status)),
        };
        if let (Some(before), Some(now)) = (e_tag, &opened.e_tag)
            && before != now
        {
            return Err(Error::aborted("source changed while it was read").with_retryable(true));
        }
        Ok(Some(opened))
    }

    /// Takes the answer of a server that sends the whole, be it asked to or not.
    fn whole(&self, response: Response, window: Window) -> Result<Opened> {
        let (skip, max) = (window.offset, self.max_skipped_bytes);
        if skip > max {
            let message = format!("server ignores ranges: {skip} bytes must be skipped; the maximum is {max}");
            return Err(Error::failed_precondition(message));
        }
        let total = response.content_length();
        let left = match (window.size, total) {
            (size, Some(total)) => Some(left_of(window, total)?.min(size.unwrap_or(u64::MAX))),
            (size, None) => size,
        };
        Ok(opened(response, skip, left))
    }
}

/// Takes the answer of a server that sends a part.
fn partial(response: Response, window: Window) -> Result<Opened> {
    let header = header(response.headers(), &CONTENT_RANGE);
    let range = header.and_then(ContentRange::parse);
    let range = range.ok_or_else(|| Error::internal("server answered with a part, and does not say which"))?;
    if range.first != window.offset {
        let (first, offset) = (range.first, window.offset);
        return Err(Error::internal(format!(
            "server answered with bytes from {first} on, and was asked from {offset}"
        )));
    }
    let left = match (window.size, range.total) {
        (size, Some(total)) => left_of(window, total)?.min(size.unwrap_or(u64::MAX)),
        (Some(size), None) => size,
        (None, None) => range.end - range.first,
    };
    Ok(opened(response, 0, Some(left)))
}

fn opened(response: Response, skip: u64, left: Option<u64>) -> Opened {
    let e_tag = response.headers().get(ETAG).filter(|e_tag| !e_tag.as_bytes().starts_with(b"W/")).cloned();
    Opened { pieces: response.bytes_stream().map_err(from_client).boxed(), skip, left, e_tag }
}

/// Returns the bytes from the offset of `window` to the end of a source of `total` bytes, which must have the window.
pub(crate) fn left_of(window: Window, total: u64) -> Result<u64> {
    if window.end().unwrap_or(window.offset) > total {
        return Err(ends_early(window, Some(total)));
    }
    Ok(total - window.offset)
}

/// Makes the error of a source that does not have the window.
#[cold]
fn ends_early(window: Window, total: Option<u64>) -> Error {
    let end = window.end().unwrap_or(window.offset);
    Error::data_loss(match total {
        Some(total) => format!("source is {total} bytes, while the reference needs {end}"),
        None => format!("source ends before byte {end}, which the reference needs"),
    })
}

fn range_header(window: Window) -> Result<HeaderValue> {
    let range = match window.end() {
        Some(end) => format!("bytes={}-{}", window.offset, end.saturating_sub(1)),
        None => format!("bytes={}-", window.offset),
    };
    HeaderValue::try_from(range).map_err(|error| Error::internal(format!("the range cannot be asked for: {error}")))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cold]
fn from_status(status: StatusCode) -> Error {
    let kind = match status.as_u16() {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        408 | 504 => ErrorKind::DeadlineExceeded,
        // The source is shorter than the reference says.
        416 => ErrorKind::DataLoss,
        429 => ErrorKind::ResourceExhausted,
        500 | 502 | 503 => ErrorKind::Unavailable,
        300..500 => ErrorKind::FailedPrecondition,
        _ => ErrorKind::Internal,
    };
    let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted);
    let hint = if status.is_redirection() { ", and redirects are not followed" } else { "" };
    Error::new(kind, format!("server answered with the status {status}{hint}")).with_retryable(retryable)
}

/// Converts a failure of the client, without the URL, whose query may be secret.
#[cold]
fn from_client(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        // An error of the resolver has passed through the client.
        if let Some(own) = source.downcast_ref::<Error>() {
            return own.clone();
        }
        cause = source.source();
        if cause.is_none() {
            message = format!("{message}: {source}");
        }
    }
    let kind = if error.is_timeout() { ErrorKind::DeadlineExceeded } else { ErrorKind::Unavailable };
    Error::new(kind, message).with_retryable(true).with_source(error)
}

/// Returns TLS by `rustls` and `ring`. No provider of cryptography has to be installed in the process.
fn tls(authorities: &[CertificateDer<'static>]) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|error| Error::invalid_argument(format!("the certificate of an authority is invalid: {error}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::failed_precondition(format!("TLS cannot be set up: {error}")))?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}
