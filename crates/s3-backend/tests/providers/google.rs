//! The XML interface of Google Cloud Storage: that of S3, but for conditions on generations, which completions lack.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Method;
use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use crate::fake::{Asked, Object, Reply, State, get, within};

const METADATA: &str = "x-goog-meta-";

pub(crate) fn builder() -> GoogleCloudStorageBuilder {
    let credentials = StaticCredentialProvider::new(GcpCredential { bearer: "token".to_owned() });
    GoogleCloudStorageBuilder::new().with_bucket_name("bucket").with_credentials(Arc::new(credentials))
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"))
}

pub(crate) fn carry_out(state: &mut State, asked: &Asked) -> Reply {
    let named = |name: &str| asked.query.get(name);
    match (&asked.method, named("uploadId")) {
        (&Method::GET, _) if named("list-type").is_some() => list(state, asked),
        (&Method::GET | &Method::HEAD, None) => get(state, asked, described, || error(404, "NoSuchKey")),
        (&Method::PUT, None) => put(state, asked),
        (&Method::PUT, Some(upload)) => match state.parts.get_mut(upload) {
            None => error(404, "NoSuchUpload"),
            Some(parts) => {
                let number = named("partNumber").unwrap();
                let e_tag = format!("\"part-{number}-{}\"", asked.body.len());
                parts.insert(number.clone(), asked.body.clone());
                Reply::new(200, "").with("etag", e_tag)
            }
        },
        (&Method::POST, None) if named("uploads").is_some() => {
            state.versions += 1;
            let upload = format!("upload-{}", state.versions);
            state.parts.insert(upload.clone(), BTreeMap::default());
            state.begun.insert(upload.clone(), asked.metadata(METADATA));
            let (key, root) = (&asked.key, "InitiateMultipartUploadResult");
            Reply::new(200, format!("<{root}><Key>{key}</Key><UploadId>{upload}</UploadId></{root}>"))
        }
        (&Method::POST, Some(upload)) => complete(state, asked, upload),
        (&Method::DELETE, Some(upload)) => {
            state.begun.remove(upload);
            match state.parts.remove(upload) {
                None => error(404, "NoSuchUpload"),
                Some(_) => Reply::new(204, ""),
            }
        }
        (&Method::DELETE, None) => match state.objects.remove(&asked.key) {
            None => error(404, "NoSuchKey"),
            Some(_) => Reply::new(204, ""),
        },
        other => panic!("nobody asks Google for {other:?}"),
    }
}

fn e_tag(object: &Object) -> String {
    format!("\"{:032x}\"", object.version)
}

fn described(object: &Object, status: u16, body: Bytes) -> Reply {
    let reply = Reply::new(status, body)
        .with("etag", e_tag(object))
        .with("x-goog-generation", object.version.to_string())
        .with("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    object.metadata.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

fn put(state: &mut State, asked: &Asked) -> Reply {
    let generation = state.objects.get(&asked.key).map_or(0, |object| object.version);
    let expected = asked.header("x-goog-if-generation-match").filter(|_| !state.ignores_conditions);
    if expected.is_some_and(|expected| expected != generation.to_string()) {
        return error(412, "PreconditionFailed");
    }
    state.store(&asked.key, asked.body.clone(), asked.metadata(METADATA));
    described(&state.objects[&asked.key], 200, Bytes::new())
}

fn complete(state: &mut State, asked: &Asked, upload: &str) -> Reply {
    assert_eq!(asked.header("if-none-match"), None, "Google knows no condition of a completion");
    let (Some(parts), Some(metadata)) = (state.parts.remove(upload), state.begun.remove(upload)) else {
        return error(404, "NoSuchUpload");
    };
    let mut contents = BytesMut::new();
    for number in within(std::str::from_utf8(&asked.body).unwrap(), "PartNumber") {
        contents.extend_from_slice(&parts[number]);
    }
    state.store(&asked.key, contents.freeze(), metadata);
    let object = &state.objects[&asked.key];
    let root = "CompleteMultipartUploadResult";
    described(object, 200, format!("<{root}><ETag>{}</ETag></{root}>", e_tag(object)).into())
}

fn list(state: &State, asked: &Asked) -> Reply {
    let named = |name: &str| asked.query.get(name).map_or("", String::as_str);
    let (token, after) = (named("continuation-token"), named("start-after"));
    let (listed, next) = state.page(named("prefix"), |key| if token.is_empty() { key > after } else { key >= token });
    let mut xml = "<ListBucketResult>".to_owned();
    for (key, object) in listed {
        let (size, e_tag) = (object.contents.len(), e_tag(object));
        write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{e_tag}</ETag>\
             <Size>{size}</Size></Contents>"
        )
        .unwrap();
    }
    if let Some(next) = next {
        write!(xml, "<NextContinuationToken>{next}</NextContinuationToken>").unwrap();
    }
    Reply::new(200, xml + "</ListBucketResult>")
}
