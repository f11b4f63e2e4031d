//! The contents of an answer, which fail if they end early.

use std::pin::Pin;
use std::task::{Context, Poll};

use blobaccess::{Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// The contents of an answer. A proxy may pass on the beginning of a body as all of it: that is a failure of the way, not a
/// fault of the object.
pub(super) struct Whole<S> {
    stream: S,
    missing_bytes: u64,
    ended: bool,
}

impl<S> Whole<S> {
    /// Expects `expected_bytes` of `stream`.
    pub(super) const fn new(stream: S, expected_bytes: u64) -> Self {
        Self { stream, missing_bytes: expected_bytes, ended: false }
    }
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Whole<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.stream.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) => {
                let size = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.missing_bytes = self.missing_bytes.saturating_sub(size);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(None) if self.missing_bytes > 0 => {
                self.ended = true;
                let message = format!("the bucket's answer was cut short by {} bytes", self.missing_bytes);
                Poll::Ready(Some(Err(Error::unavailable(message).with_retryable(true))))
            }
            other @ (Poll::Ready(_) | Poll::Pending) => other,
        }
    }
}
