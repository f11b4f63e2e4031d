//! Calls that are made of bytes.

use blobaccess_grpc::services::bytestream::byte_stream_server::SERVICE_NAME as BYTE_STREAM;
use blobaccess_grpc::services::remote_execution::action_cache_server::SERVICE_NAME as ACTION_CACHE;
use blobaccess_grpc::services::remote_execution::capabilities_server::SERVICE_NAME as CAPABILITIES;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_server::SERVICE_NAME as STORAGE;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

/// Returns the paths of all implemented methods.
pub(crate) fn methods() -> Vec<String> {
    let methods = [
        (CAPABILITIES, "GetCapabilities"),
        (STORAGE, "FindMissingBlobs"),
        (STORAGE, "BatchUpdateBlobs"),
        (STORAGE, "BatchReadBlobs"),
        (STORAGE, "GetTree"),
        (BYTE_STREAM, "Read"),
        (BYTE_STREAM, "Write"),
        (BYTE_STREAM, "QueryWriteStatus"),
        (ACTION_CACHE, "GetActionResult"),
        (ACTION_CACHE, "UpdateActionResult"),
    ];
    methods.into_iter().map(|(service, method)| format!("/{service}/{method}")).collect()
}

/// Frames one message as in the body of a call.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    with_prefix(0, u32::try_from(message.len()).unwrap(), message)
}

/// Frames one message with any prefix.
pub(crate) fn with_prefix(flag: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

pub(crate) fn request(path: &str, body: impl Into<Bytes>) -> http::Request<Body> {
    let body = Body::new(Full::new(body.into()));
    let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    request.body(body).unwrap()
}

/// Makes a call and reads its answer to the end: the status, and how many bytes there were.
pub(crate) async fn call<S>(service: &mut S, request: http::Request<Body>) -> (Status, usize)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    std::future::poll_fn(|poller| service.poll_ready(poller)).await.unwrap_or_else(|error| panic!("{error:?}"));
    let response = match service.call(request).await {
        Ok(response) => response,
        Err(error) => return (Status::from_error(Box::new(error)), 0),
    };
    if let Some(status) = Status::from_header_map(response.headers()) {
        return (status, 0);
    }
    let http = response.status();
    match response.into_body().collect().await {
        Ok(body) => {
            let status = body.trailers().and_then(Status::from_header_map);
            let none = || Status::new(Code::Unknown, format!("no status, but that of HTTP: {http}"));
            (status.unwrap_or_else(none), body.to_bytes().len())
        }
        Err(status) => (status, 0),
    }
}
