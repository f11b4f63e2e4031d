//! Answers that are not those of a server of gRPC: pages of proxies and gateways.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use tonic::body::Body;
use tonic::{Code, Status};

/// The words of a status that stands for such an answer.
const WORDS: &str = "the answer is not one of gRPC";

/// The words of the library for an answer that ends without a status.
const NO_END: &str = "missing grpc-status trailer";

/// Replaces an answer that is not one of gRPC by a status that says so: `Unavailable`, as nobody knows what the server would
/// have answered.
///
/// The library maps statuses of HTTP to codes that servers of gRPC use for what they know, and takes the bytes of a page
/// for messages.
pub(super) fn replace(answer: Response<Body>) -> Response<Body> {
    if answer.headers().contains_key("grpc-status") || (answer.status() == StatusCode::OK && is_grpc(answer.headers()))
    {
        return answer;
    }
    let status = answer.status().as_u16();
    Status::new(Code::Unavailable, format!("{WORDS} (HTTP {status}): it comes from something in between")).into_http()
}

fn is_grpc(headers: &HeaderMap<HeaderValue>) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Returns whether a status stands for an answer that is not one of gRPC, or ends too early.
pub(super) fn is_foreign(status: &Status) -> bool {
    let (code, words) = (status.code(), status.message());
    (code == Code::Unavailable && words.starts_with(WORDS)) || (code == Code::Unknown && words.contains(NO_END))
}
