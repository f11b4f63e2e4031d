//! The objects and uploads of the bucket, and what requests do to them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use super::Modes;
use super::request::{Operation, Request};
use super::xml;

#[derive(Clone, Debug)]
struct Object {
    contents: Bytes,
    metadata: Vec<(String, String)>,
    /// The time at which it was written, by the server's clock.
    written: u64,
    e_tag: String,
}

#[derive(Debug)]
struct Upload {
    key: String,
    metadata: Vec<(String, String)>,
    parts: BTreeMap<usize, (Bytes, String)>,
}

/// The objects and uploads of the bucket.
#[derive(Debug, Default)]
pub(super) struct World {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    late: Vec<Request>,
    named: u64,
    /// The time of the server's clock, in seconds since [`BEGIN`].
    now: u64,
}

/// The time at which the server's clock begins, in seconds since 1970: 2026 in Greenwich.
const BEGIN: u64 = 1_767_225_600;

/// The size from which bodies are large enough for a race to show what a server does, in bytes.
const LARGE: usize = 4 << 20;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The value of `Content-Length`, if it is not the length of the body.
    pub(super) length: Option<u64>,
}

impl Reply {
    pub(super) fn error(status: u16, code: &str) -> Self {
        Self { status, headers: Vec::new(), body: xml::error(code).into(), length: None }
    }

    fn ok(body: impl Into<Bytes>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), length: None }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn size_of(contents: &Bytes) -> u64 {
    u64::try_from(contents.len()).unwrap_or(u64::MAX)
}

impl World {
    pub(super) fn sizes(&self) -> BTreeMap<String, u64> {
        self.objects.iter().map(|(key, object)| (key.clone(), size_of(&object.contents))).collect()
    }

    pub(super) fn contents(&self, key: &str) -> Option<Bytes> {
        self.objects.get(key).map(|object| object.contents.clone())
    }

    pub(super) fn insert(&mut self, key: &str, contents: Bytes) {
        let e_tag = e_tag_of(&contents);
        let written = (BEGIN + self.now).saturating_sub(3_600);
        self.objects.insert(key.to_owned(), Object { contents, metadata: Vec::new(), written, e_tag });
    }

    pub(super) fn forget_metadata(&mut self) {
        for object in self.objects.values_mut() {
            object.metadata.clear();
        }
    }

    pub(super) fn advance(&mut self, seconds: u64) {
        self.now += seconds;
    }

    /// Returns whether the server looks at the key before it takes the body of `request`, which is large.
    pub(super) fn looks_first(&self, request: &Request, modes: Modes) -> bool {
        let is_large = if let Operation::Complete { upload } = &request.operation {
            let size = |upload: &Upload| upload.parts.values().map(|(part, _)| part.len()).sum::<usize>();
            modes.looks_before_completions && self.uploads.get(upload).is_some_and(|upload| size(upload) >= LARGE)
        } else {
            modes.looks_before_puts && request.operation == Operation::Put && request.body.len() >= LARGE
        };
        request.if_none_match && is_large
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.objects.remove(key);
    }

    pub(super) fn unfinished_uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Keeps a request, to be carried out when nobody waits for it any more.
    pub(super) fn delay(&mut self, request: Request) {
        self.late.push(request);
    }

    /// Carries out one of the requests that were kept.
    pub(super) fn deliver_one(&mut self, modes: Modes) {
        if !self.late.is_empty() {
            let request = self.late.remove(0);
            self.carry_out(&request, modes);
        }
    }

    pub(super) fn deliver_all(&mut self, modes: Modes) {
        for request in std::mem::take(&mut self.late) {
            self.carry_out(&request, modes);
        }
    }

    /// Carries a request out. Answers bear a mark, as those of S3 do, unless the server marks nothing.
    pub(super) fn carry_out(&mut self, request: &Request, modes: Modes) -> Reply {
        let reply = self.carry_out_unmarked(request, modes);
        let reads = matches!(request.operation, Operation::Get { .. } | Operation::Head);
        let hidden = reads && reply.status == 404 && modes.hides_absence;
        let reply = if hidden { Reply::error(403, "AccessDenied") } else { reply };
        let reply = reply.with("date", &http_date(BEGIN + self.now));
        if modes.marks_nothing { reply } else { reply.with("x-amz-request-id", "SIM") }
    }

    fn carry_out_unmarked(&mut self, request: &Request, modes: Modes) -> Reply {
        match &request.operation {
            Operation::Put => self.put(request, modes),
            Operation::Get { range } => self.get(&request.key, *range),
            Operation::Head => match self.objects.get(&request.key) {
                None => Reply { body: Bytes::new(), ..Reply::error(404, "NoSuchKey") },
                Some(object) => Reply { length: Some(size_of(&object.contents)), ..described(object, Bytes::new()) },
            },
            Operation::Delete => {
                // A deletion of nothing succeeds, whatever its condition.
                let there = self.objects.contains_key(&request.key);
                if there
                    && !modes.deletes_unconditionally
                    && let Some(refused) = self.refused(request, modes)
                {
                    return refused;
                }
                self.objects.remove(&request.key);
                Reply { status: 204, ..Reply::ok("") }
            }
            Operation::List { prefix, after, delimiter, max_keys } => {
                self.list(prefix, after, delimiter.as_deref(), *max_keys, modes.lists_backwards)
            }
            Operation::Begin => {
                self.named += 1;
                let id = format!("upload-{}", self.named);
                let metadata =
                    if modes.drops_metadata || modes.strips_metadata { Vec::new() } else { request.metadata.clone() };
                let upload = Upload { key: request.key.clone(), metadata, parts: BTreeMap::new() };
                self.uploads.insert(id.clone(), upload);
                Reply::ok(xml::begun(&request.key, &id))
            }
            Operation::PutPart { upload, number } => {
                let e_tag = e_tag_of(&request.body);
                match self.uploads.get_mut(upload) {
                    None => Reply::error(404, "NoSuchUpload"),
                    Some(upload) => {
                        upload.parts.insert(*number, (request.body.clone(), e_tag.clone()));
                        Reply::ok("").with("etag", &e_tag)
                    }
                }
            }
            Operation::Complete { upload } => self.complete(upload, request, modes),
            Operation::Abort { .. } if modes.refuses_aborts => Reply::error(403, "AccessDenied"),
            Operation::Abort { upload } => match self.uploads.remove(upload) {
                None => Reply::error(404, "NoSuchUpload"),
                Some(_) => Reply { status: 204, ..Reply::ok("") },
            },
            Operation::Unknown => Reply::error(501, "NotImplemented"),
        }
    }

    /// Returns the answer to a failed condition, if it failed.
    pub(super) fn refused(&self, request: &Request, modes: Modes) -> Option<Reply> {
        let current = self.objects.get(&request.key);
        let matches = |expected: &str, e_tag: &str| {
            expected == if modes.compares_bare_e_tags { e_tag.trim_matches('"') } else { e_tag }
        };
        if modes.ignores_conditions {
            return None;
        }
        let below = format!("{}/", request.key);
        let is_above = modes.nests_no_keys && self.objects.keys().any(|key| key.starts_with(&below));
        if request.if_none_match && (current.is_some() || is_above) {
            let status = if modes.answers_not_modified { 304 } else { 412 };
            return Some(Reply::error(status, "PreconditionFailed"));
        }
        match (&request.if_match, current) {
            (Some(_), None) => Some(Reply::error(404, "NoSuchKey")),
            (Some(expected), Some(current)) if !matches(expected, &current.e_tag) => {
                Some(Reply::error(412, "PreconditionFailed"))
            }
            (Some(_) | None, _) => None,
        }
    }

    fn put(&mut self, request: &Request, modes: Modes) -> Reply {
        if let Some(refused) = self.refused(request, modes) {
            return refused;
        }
        let e_tag = e_tag_of(&request.body);
        let metadata =
            if modes.drops_metadata || modes.strips_metadata { Vec::new() } else { request.metadata.clone() };
        let written = BEGIN + self.now;
        let object = Object { contents: request.body.clone(), metadata, written, e_tag: e_tag.clone() };
        self.objects.insert(request.key.clone(), object);
        Reply::ok("").with("etag", &e_tag)
    }

    fn get(&self, key: &str, range: Option<(u64, Option<u64>)>) -> Reply {
        let Some(object) = self.objects.get(key) else {
            return Reply::error(404, "NoSuchKey");
        };
        let size = size_of(&object.contents);
        let Some((first, last)) = range else {
            return described(object, object.contents.clone());
        };
        if first >= size {
            return Reply::error(416, "InvalidRange");
        }
        let end = last.map_or(size, |last| last.saturating_add(1).min(size));
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let part = object.contents.slice(index(first)..index(end));
        let reply = described(object, part).with("content-range", &format!("bytes {first}-{}/{size}", end - 1));
        Reply { status: 206, ..reply }
    }

    fn list(&self, prefix: &str, after: &str, delimiter: Option<&str>, max_keys: usize, backwards: bool) -> Reply {
        use std::ops::Bound::{Excluded, Unbounded};
        let begin = if after >= prefix { Excluded(after.to_owned()) } else { Unbounded };
        let mut keys = Vec::new();
        let mut folders = Vec::new();
        let mut more = None;
        for (key, object) in self.objects.range((begin, Unbounded)).skip_while(|(key, _)| key.as_str() < prefix) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            if keys.len() + folders.len() >= max_keys {
                more = keys.last().map(|(key, _, _): &(String, u64, String)| key.clone());
                break;
            }
            match delimiter.and_then(|delimiter| rest.split_once(delimiter).map(|(folder, _)| (folder, delimiter))) {
                Some((folder, delimiter)) => {
                    let folder = format!("{prefix}{folder}{delimiter}");
                    if folders.last() != Some(&folder) {
                        folders.push(folder);
                    }
                }
                None => keys.push((key.clone(), size_of(&object.contents), object.e_tag.clone())),
            }
        }
        if backwards {
            keys.reverse();
        }
        Reply::ok(xml::listing(&keys, &folders, more.as_deref()))
    }

    fn complete(&mut self, id: &str, request: &Request, modes: Modes) -> Reply {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.key == request.key) else {
            return Reply::error(404, "NoSuchUpload");
        };
        if !modes.completes_unconditionally
            && let Some(refused) = self.refused(request, modes)
        {
            return refused;
        }
        let mut contents = BytesMut::new();
        let listed = xml::parts(&String::from_utf8_lossy(&request.body));
        let last = listed.last().map(|(number, _)| *number);
        for (number, e_tag) in &listed {
            match upload.parts.get(number) {
                Some((part, known)) if known == e_tag => {
                    if Some(*number) != last && part.len() < 5 << 20 {
                        return Reply::error(400, "EntityTooSmall");
                    }
                    contents.extend_from_slice(part);
                }
                Some(_) | None => return Reply::error(400, "InvalidPart"),
            }
        }
        let Some(upload) = self.uploads.remove(id) else {
            return Reply::error(404, "NoSuchUpload");
        };
        let contents = contents.freeze();
        let e_tag = e_tag_of(&contents);
        let written = BEGIN + self.now;
        let object = Object { contents, metadata: upload.metadata, written, e_tag: e_tag.clone() };
        self.objects.insert(request.key.clone(), object);
        Reply::ok(xml::completed(&request.key, &e_tag))
    }
}

/// Returns an `ETag` that is equal for equal contents, as on S3. It is FNV-1a, over a sample of large contents.
fn e_tag_of(contents: &Bytes) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in contents.iter().step_by(1 + contents.len() / 4096) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    format!("\"{hash:016x}{:016x}\"", contents.len())
}

fn http_date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn described(object: &Object, body: Bytes) -> Reply {
    let reply = Reply::ok(body).with("etag", &object.e_tag).with("last-modified", &http_date(object.written));
    object.metadata.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}
