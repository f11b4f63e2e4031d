//! A bucket within the process that speaks as one of the providers does, as far as this crate asks it anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess_s3_backend::{Bucket, Connection};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use crate::{azure, google};

/// The provider whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Google,
    Azure,
}

/// A bucket within the process. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) dialect: Dialect,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) contents: Bytes,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) version: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Object>,
    /// Parts by their names: of Google by upload, of Azure by the key that they are under.
    pub(crate) parts: BTreeMap<String, BTreeMap<String, Bytes>>,
    /// The metadata of uploads from when they began, for Google alone.
    pub(crate) begun: BTreeMap<String, Vec<(String, String)>>,
    pub(crate) versions: u64,
    /// How many keys a page of a listing has; 0 for all.
    pub(crate) page_keys: usize,
    /// Whether a listing begins with a page of nothing, as Azure's may.
    pub(crate) empty_page_first: bool,
    pub(crate) ignores_conditions: bool,
    /// The answer to every change, which is then not carried out.
    pub(crate) refusal: Option<(u16, &'static str)>,
    /// How many answers to changes are lost after these were carried out.
    pub(crate) lost: u32,
    /// The same of completions.
    pub(crate) lost_lists: u32,
    /// The code of the 409 that answers completions, which are then not carried out.
    pub(crate) refused_list: Option<&'static str>,
    /// The contents that another writer puts under the key just before a completion.
    pub(crate) raced: Option<Bytes>,
    /// The code with which everything is answered, by 404.
    pub(crate) gone: Option<&'static str>,
    pub(crate) broken: bool,
    /// How many requests there were of a kind: `PUT`, `POST` and so on.
    pub(crate) requests: BTreeMap<String, u64>,
}

/// A request, taken apart.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) key: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns whether the request completes a multipart upload.
    fn completes(&self) -> bool {
        self.query.get("comp").is_some_and(|comp| comp == "blocklist")
            || self.method == Method::POST && self.query.contains_key("uploadId")
    }

    /// Returns the metadata in headers with this prefix, by the names of the headers.
    pub(crate) fn metadata(&self, prefix: &str) -> Vec<(String, String)> {
        let named = self.headers.iter().filter(|(name, _)| name.as_str().starts_with(prefix));
        named.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    /// Returns the requested range of `size` bytes.
    pub(crate) fn range(&self, size: usize) -> Option<std::ops::Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let end = last.parse::<usize>().map_or(size, |last| (last + 1).min(size));
        Some(first.parse().unwrap()..end)
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl State {
    pub(crate) fn store(&mut self, key: &str, contents: Bytes, metadata: Vec<(String, String)>) {
        self.versions += 1;
        // Of the order of Google's, which are times in microseconds.
        let version = (1 << 50) + self.versions;
        self.objects.insert(key.to_owned(), Object { contents, metadata, version });
    }

    /// Returns a page of keys that begin with `prefix`, from where `comes` says on, and the key that the next one begins with.
    pub(crate) fn page(&self, prefix: &str, comes: impl Fn(&str) -> bool) -> (Vec<(&String, &Object)>, Option<String>) {
        let listed = self.objects.iter().filter(|(key, _)| key.starts_with(prefix) && comes(key));
        let mut listed: Vec<_> = listed.collect();
        let length = if self.page_keys == 0 { listed.len() } else { self.page_keys };
        let next = listed.get(length).map(|(key, _)| (*key).clone());
        listed.truncate(length);
        (listed, next)
    }
}

impl Fake {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { dialect, state: Arc::default() }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::new(Dialect::Google), Self::new(Dialect::Azure)]
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn bucket(&self) -> Bucket {
        let connection = Connection::default()
            .with_connector(self.clone())
            .with_backoff(Duration::from_millis(1), Duration::from_millis(2))
            .with_retries(5, Duration::from_mins(1));
        match self.dialect {
            Dialect::Google => Bucket::gcs(google::builder(), &connection).unwrap(),
            Dialect::Azure => Bucket::azure(azure::builder(), &connection).unwrap(),
        }
    }

    fn error(&self, status: u16, code: &str) -> Reply {
        match self.dialect {
            Dialect::Google => google::error(status, code),
            Dialect::Azure => azure::error(status, code),
        }
    }

    fn answer(&self, asked: &Asked) -> Result<Reply, HttpError> {
        let mut state = self.state();
        let state = &mut *state;
        *state.requests.entry(asked.method.to_string()).or_default() += 1;
        let changes = matches!(asked.method, Method::PUT | Method::POST);
        if state.broken {
            return Ok(self.error(503, "ServerBusy"));
        }
        if let Some((status, code)) = state.refusal.filter(|_| changes) {
            return Ok(self.error(status, code));
        }
        if let Some(code) = state.gone {
            return Ok(self.error(404, code));
        }
        if asked.completes() {
            if let Some(code) = state.refused_list {
                return Ok(self.error(409, code));
            }
            if let Some(contents) = state.raced.take() {
                state.store(&asked.key, contents, Vec::new());
            }
        }
        let reply = match self.dialect {
            Dialect::Google => google::carry_out(state, asked),
            Dialect::Azure => azure::carry_out(state, asked),
        };
        let lost = if asked.completes() { &mut state.lost_lists } else { &mut state.lost };
        if changes && *lost > 0 {
            *lost -= 1;
            let closed = std::io::Error::other("connection closed before message completed");
            return Err(HttpError::new(HttpErrorKind::Request, closed));
        }
        Ok(reply)
    }
}

#[async_trait]
impl HttpService for Fake {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Requests that are sent at once mix.
        tokio::task::yield_now().await;
        if self.dialect == Dialect::Azure {
            azure::check_signature(&request);
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        assert_eq!(bucket, "bucket");
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(&value.replace('+', " ")))
        });
        let asked = Asked {
            method: parts.method,
            key: decoded(key),
            query: query.collect(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        };
        let reply = self.answer(&asked)?;
        tokio::task::yield_now().await;
        let mut response = Response::builder().status(reply.status);
        if !reply.headers.iter().any(|(name, _)| name == "content-length") {
            response = response.header("content-length", reply.body.len());
        }
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        let body = if asked.method == Method::HEAD { Bytes::new() } else { reply.body };
        let (parts, ()) = response.body(()).unwrap().into_parts();
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

impl HttpConnector for Fake {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// Answers who asks for an object, or for a description of it; `described` makes the answer of status and body.
pub(crate) fn get(
    state: &State,
    asked: &Asked,
    described: impl Fn(&Object, u16, Bytes) -> Reply,
    absent: impl FnOnce() -> Reply,
) -> Reply {
    let Some(object) = state.objects.get(&asked.key) else { return absent() };
    let size = object.contents.len();
    match asked.range(size) {
        _ if asked.method == Method::HEAD => {
            described(object, 200, Bytes::new()).with("content-length", size.to_string())
        }
        None => described(object, 200, object.contents.clone()),
        Some(range) => described(object, 206, object.contents.slice(range.clone()))
            .with("content-range", format!("bytes {}-{}/{size}", range.start, range.end - 1)),
    }
}

pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Returns each text between `<tag>` and `</tag>`.
pub(crate) fn within<'a>(document: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    document.split(open.as_str()).skip(1).map(|rest| rest.split_once(close.as_str()).unwrap().0).collect()
}
