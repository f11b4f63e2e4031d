//! The statuses of answers, as the libraries underneath made them.

use std::task::{Context, Poll};

use futures::TryFutureExt;
use futures::future::MapOk;
use http::{HeaderMap, HeaderValue};
use tonic::Code;
use tower::{Layer, Service};

use crate::bounded_text::{MAX_TEXT_BYTES, start};
use crate::status;

const CODE: &str = "grpc-status";
const TEXT: &str = "grpc-message";

/// The words of a message that is larger than permitted, as headers have them.
const TOO_LARGE: &str = "message%20length%20too%20large";

/// The maximum size of a text in headers, in bytes: each byte may be encoded as three.
const MAX_ENCODED_BYTES: usize = 3 * MAX_TEXT_BYTES;

/// A layer that corrects the statuses of calls that fail before any service sees them.
///
/// A message that is larger than permitted is `ResourceExhausted`, as every other gRPC server has it: clients split a
/// request on that, and take `OutOfRange` for an offset. A text that echoes a long header is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerStatusLayer;

impl<S> Layer<S> for AnswerStatusLayer {
    type Service = AnswerStatuses<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnswerStatuses { inner }
    }
}

/// The service that [`AnswerStatusLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct AnswerStatuses<S> {
    inner: S,
}

impl<S, Q, B> Service<http::Request<Q>> for AnswerStatuses<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(S::Response) -> S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        self.inner.call(request).map_ok(correct)
    }
}

fn correct<B>(mut answer: http::Response<B>) -> http::Response<B> {
    // Only an answer without messages has its status here.
    if answer.headers().contains_key(CODE) {
        correct_headers(answer.headers_mut());
    }
    answer
}

fn correct_headers(headers: &mut HeaderMap) {
    let Some(text) = headers.get(TEXT).and_then(|text| text.to_str().ok()) else { return };
    let is_too_large = text.contains(TOO_LARGE)
        && headers.get(CODE).is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::OutOfRange);
    let cut = (text.len() > MAX_ENCODED_BYTES).then(|| {
        status::log(text);
        HeaderValue::from_str(whole_escapes(start(text, MAX_ENCODED_BYTES)))
    });
    if let Some(Ok(cut)) = cut {
        headers.insert(TEXT, cut);
    }
    if is_too_large {
        headers.insert(CODE, HeaderValue::from(i32::from(Code::ResourceExhausted)));
    }
}

/// Returns `text` without an escape that was cut in two.
fn whole_escapes(text: &str) -> &str {
    match text.rfind('%') {
        Some(last) if text.len() - last < 3 => start(text, last),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn corrected(status: &Status) -> Status {
        let answer = correct(status.clone().into_http::<()>());
        Status::from_header_map(answer.headers()).unwrap()
    }

    #[test]
    fn a_message_that_is_too_large_exhausts_a_resource_and_everything_else_stays() {
        let text = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        let status = corrected(&Status::out_of_range(text));
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
        for status in [
            Status::out_of_range("blob is 5 bytes, while a read at offset 6 was requested"),
            Status::internal(text),
            Status::not_found(""),
        ] {
            let same = corrected(&status);
            assert_eq!((same.code(), same.message()), (status.code(), status.message()));
        }
    }

    #[test]
    fn a_text_that_echoes_without_end_is_cut() {
        let status = corrected(&Status::unimplemented("\u{e9}".repeat(10_000)));
        assert_eq!(status.code(), Code::Unimplemented);
        assert!((1..=MAX_TEXT_BYTES).contains(&status.message().len()), "{}", status.message().len());
    }
}
