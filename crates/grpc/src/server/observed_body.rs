//! The bodies of calls that are observed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Code;

use super::call_observer::{MethodObserver, ObservedCall, Side};
use super::message_count::MessageCount;

/// The body of a request, whose messages are counted.
#[derive(Debug)]
pub(crate) struct ObservedRequest<B> {
    body: B,
    count: MessageCount,
    method: Arc<dyn MethodObserver>,
    side: Side,
}

impl<B> ObservedRequest<B> {
    /// Makes the body of a request of `call`.
    pub(crate) fn new(body: B, call: &ObservedCall) -> Self {
        Self { body, count: MessageCount::default(), method: Arc::clone(&call.method), side: call.side }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ObservedRequest<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let count = self.count.count(data);
            if count > 0 {
                match self.side {
                    Side::Server => self.method.messages_received(count),
                    #[cfg(feature = "client")]
                    Side::Client => self.method.messages_sent(count),
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, whose messages are counted, and whose trailers end the call.
#[derive(Debug)]
pub(crate) struct ObservedResponse<B> {
    body: B,
    count: MessageCount,
    call: ObservedCall,
}

impl<B> ObservedResponse<B> {
    /// Makes the body of a response with these headers, which may be all of the response.
    pub(crate) fn new(body: B, headers: &http::HeaderMap, mut call: ObservedCall) -> Self {
        if let Some(code) = code_in(headers) {
            call.end(code);
        }
        Self { body, count: MessageCount::default(), call }
    }
}

fn code_in(headers: &http::HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

impl<B: Body<Data = Bytes> + Unpin> Body for ObservedResponse<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let count = self.count.count(data);
                    if count > 0 {
                        match self.call.side {
                            Side::Server => self.call.method.messages_sent(count),
                            #[cfg(feature = "client")]
                            Side::Client => self.call.method.messages_received(count),
                        }
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.call.end(code_in(trailers).unwrap_or(Code::Unknown));
                }
            }
            Poll::Ready(None | Some(Err(_))) => self.call.end(Code::Unknown),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
