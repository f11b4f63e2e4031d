//! A request of S3, taken apart.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

/// The prefix of headers that are kept with an object.
pub(super) const METADATA: &str = "x-amz-meta-";

/// A request of S3, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) key: String,
    pub(super) if_none_match: bool,
    pub(super) if_match: Option<String>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Get { range: Option<(u64, Option<u64>)> },
    Head,
    Delete,
    List { prefix: String, after: String, delimiter: Option<String>, max_keys: usize },
    Begin,
    PutPart { upload: String, number: usize },
    Complete { upload: String },
    Abort { upload: String },
    Unknown,
}

impl Request {
    pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Self {
        let path = uri.path().trim_start_matches('/');
        let (_, key) = path.split_once('/').unwrap_or((path, ""));
        let query = Query::read(uri.query().unwrap_or_default());
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let upload = query.get("uploadId");
        let operation = match (method, upload) {
            (&Method::GET, _) if query.get("list-type").is_some() => Operation::List {
                prefix: query.get("prefix").unwrap_or_default(),
                after: query.get("continuation-token").or_else(|| query.get("start-after")).unwrap_or_default(),
                delimiter: query.get("delimiter"),
                max_keys: query.get("max-keys").and_then(|max| max.parse().ok()).unwrap_or(1000).min(1000),
            },
            (&Method::GET, None) => Operation::Get { range: header("range").and_then(read_range) },
            (&Method::HEAD, None) => Operation::Head,
            (&Method::PUT, None) => Operation::Put,
            (&Method::PUT, Some(upload)) => match query.get("partNumber").and_then(|number| number.parse().ok()) {
                Some(number) => Operation::PutPart { upload, number },
                None => Operation::Unknown,
            },
            (&Method::POST, Some(upload)) => Operation::Complete { upload },
            (&Method::POST, None) if query.get("uploads").is_some() => Operation::Begin,
            (&Method::DELETE, Some(upload)) => Operation::Abort { upload },
            (&Method::DELETE, None) => Operation::Delete,
            _ => Operation::Unknown,
        };
        let metadata = headers.iter().filter(|(name, _)| name.as_str().starts_with(METADATA));
        let metadata = metadata.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Self {
            operation,
            key: decoded(key),
            if_none_match: header("if-none-match") == Some("*"),
            if_match: header("if-match").map(str::to_owned),
            metadata: metadata.collect(),
            body,
        }
    }

    pub(super) fn changes(&self) -> bool {
        !matches!(self.operation, Operation::Get { .. } | Operation::Head | Operation::List { .. })
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.changes() && (self.if_none_match || self.if_match.is_some())
    }
}

struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// Reads `bytes=first-last`, of which the last may be left out.
fn read_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, if last.is_empty() { None } else { Some(last.parse().ok()?) }))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
