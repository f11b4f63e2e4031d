//! The body of a response, with a guard that lasts as long as the call.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// The body of a response, which keeps a guard until it ends.
#[derive(Debug)]
pub(crate) struct CallBody<B, G> {
    /// The body and its guard; `None` once the body has ended.
    open: Option<(B, G)>,
}

impl<B, G> CallBody<B, G> {
    /// Makes a body that keeps `guard` until `body` ends, fails or is dropped.
    pub(crate) const fn new(body: B, guard: G) -> Self {
        Self { open: Some((body, guard)) }
    }
}

impl<B: Body + Unpin, G: Unpin> Body for CallBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some((body, _)) = &mut self.open else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        let ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
        };
        if ended {
            self.open = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.open.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.open.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}
