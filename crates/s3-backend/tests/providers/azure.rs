//! The interface of Azure Blob Storage: blocks lie under the key until a list of them is put, error codes say what a
//! status does not, and every request is signed.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{AUTHORIZATION, DATE as DATE_HEADER};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::HttpRequest;

use crate::fake::{Asked, Object, Reply, State, decoded, get, within};

const ACCOUNT: &str = "us";
/// "secret", as keys are written.
const KEY: &str = "c2VjcmV0";
const METADATA: &str = "x-ms-meta-";
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

pub(crate) fn builder() -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_container_name("bucket").with_access_key(KEY)
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code></Error>"))
        .with("x-ms-error-code", code)
}

/// Panics unless the signature is that of the request as it came.
pub(crate) fn check_signature(request: &HttpRequest) {
    let mut again = request.clone();
    again.headers_mut().remove(AUTHORIZATION);
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut again).unwrap();
    // The date is part of what is signed, and may have become another by now.
    if again.headers()[DATE_HEADER] == request.headers()[DATE_HEADER] {
        let signatures =
            [&again, request].map(|request| request.headers().get_all(AUTHORIZATION).iter().collect::<Vec<_>>());
        assert_eq!(signatures[0], signatures[1], "{request:?}");
    }
}

pub(crate) fn carry_out(state: &mut State, asked: &Asked) -> Reply {
    match (&asked.method, asked.query.get("comp").map(String::as_str)) {
        (&Method::GET, Some("list")) => list(state, asked),
        (&Method::GET | &Method::HEAD, None) => get(state, asked, described, || error(404, "BlobNotFound")),
        (&Method::PUT, Some("block")) => {
            let block = asked.query["blockid"].clone();
            state.parts.entry(asked.key.clone()).or_default().insert(block, asked.body.clone());
            // No tag of a block is asked for.
            Reply::new(201, "")
        }
        (&Method::PUT, Some("blocklist")) => put_blocks(state, asked),
        (&Method::PUT, None) => {
            assert_eq!(asked.header("x-ms-blob-type"), Some("BlockBlob"));
            if let Some(refused) = refused(state, asked) {
                return refused;
            }
            // Blocks that were not yet made a blob are given up when one is put whole.
            state.parts.remove(&asked.key);
            put(state, asked, asked.body.clone())
        }
        (&Method::POST, Some("batch")) => delete(state, asked),
        other => panic!("nobody asks Azure for {other:?}"),
    }
}

fn e_tag(object: &Object) -> String {
    format!("0x8D{:014X}", object.version)
}

fn described(object: &Object, status: u16, body: Bytes) -> Reply {
    let reply = Reply::new(status, body).with("etag", format!("\"{}\"", e_tag(object))).with("last-modified", DATE);
    object.metadata.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

fn refused(state: &State, asked: &Asked) -> Option<Reply> {
    let current = state.objects.get(&asked.key);
    if state.ignores_conditions {
        return None;
    }
    if asked.header("if-none-match") == Some("*") && current.is_some() {
        return Some(error(409, "BlobAlreadyExists"));
    }
    let expected = asked.header("if-match")?;
    let matches = current.is_some_and(|current| expected.trim_matches('"') == e_tag(current));
    (!matches).then(|| error(412, "ConditionNotMet"))
}

fn put(state: &mut State, asked: &Asked, contents: Bytes) -> Reply {
    state.store(&asked.key, contents, asked.metadata(METADATA));
    Reply { body: Bytes::new(), ..described(&state.objects[&asked.key], 201, Bytes::new()) }
}

fn put_blocks(state: &mut State, asked: &Asked) -> Reply {
    if let Some(refused) = refused(state, asked) {
        return refused;
    }
    let blocks = state.parts.get(&asked.key).cloned().unwrap_or_default();
    let mut contents = BytesMut::new();
    for block in within(std::str::from_utf8(&asked.body).unwrap(), "Uncommitted") {
        match blocks.get(block) {
            Some(block) => contents.extend_from_slice(block),
            None => return error(400, "InvalidBlockList"),
        }
    }
    // Those that are not in the list are given up, whoever has put them.
    state.parts.remove(&asked.key);
    put(state, asked, contents.freeze())
}

/// Answers a batch of deletes, which the client library also sends for a single object.
fn delete(state: &mut State, asked: &Asked) -> Reply {
    let mut answers = String::new();
    let body = std::str::from_utf8(&asked.body).unwrap();
    for (number, line) in body.lines().filter(|line| line.starts_with("DELETE ")).enumerate() {
        let path = line.split(' ').nth(1).unwrap();
        let key = decoded(path.strip_prefix("/bucket/").unwrap());
        let status = if state.objects.remove(&key).is_some() { "202 Accepted" } else { "404 Not Found" };
        write!(
            answers,
            "--batch\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n"
        )
        .unwrap();
    }
    Reply::new(202, answers + "--batch--\r\n").with("content-type", "multipart/mixed; boundary=batch")
}

fn list(state: &State, asked: &Asked) -> Reply {
    let named = |name: &str| asked.query.get(name).map_or("", String::as_str);
    let (marker, from) = (named("marker"), named("startFrom"));
    let begin = if marker.is_empty() { from } else { marker };
    let (mut listed, mut next) = state.page(named("prefix"), |key| key >= begin);
    if state.empty_page_first && marker.is_empty() && !listed.is_empty() {
        next = Some(listed[0].0.clone());
        listed.clear();
    }
    let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>".to_owned();
    for (key, object) in listed {
        let (size, e_tag) = (object.contents.len(), e_tag(object));
        write!(
            xml,
            "<Blob><Name>{key}</Name><Properties><Last-Modified>{DATE}</Last-Modified><Etag>{e_tag}</Etag>\
             <Content-Length>{size}</Content-Length><Content-Type>application/octet-stream</Content-Type>\
             <BlobType>BlockBlob</BlobType></Properties></Blob>"
        )
        .unwrap();
    }
    write!(xml, "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>", next.unwrap_or_default()).unwrap();
    Reply::new(200, xml)
}
