//! The bodies of responses, in pieces that count until they are sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::call::Call;

/// The maximum size of a piece, in bytes. The transport asks for the next one when it has room, by which a client that reads is
/// told from one that does not: 256 KiB, so that usual messages of a byte stream are one piece.
const PIECE_BYTES: usize = 256 << 10;

/// The maximum size of a piece of an answer that holds memory, in bytes. Its client has to take one a second while others need that
/// memory, which slow lines must be able to: 32 KiB.
const HELD_PIECE_BYTES: usize = KEPT_BYTES;

/// The size from which on a piece keeps its call open until it is sent, in bytes. The transport holds smaller ones without that.
const KEPT_BYTES: usize = 32 << 10;

/// The body of a response, which keeps a guard until it ends.
#[derive(Debug)]
pub(crate) struct SentBody<B, G> {
    /// The body and its guard; `None` once the body has ended.
    open: Option<(B, G)>,
    call: Option<Call>,
    /// The rest of a piece that was too large.
    rest: Bytes,
}

/// A piece that keeps its call open.
struct Kept {
    bytes: Bytes,
    _call: Call,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B, G> SentBody<B, G> {
    /// Makes a body that keeps `guard` until `body` ends, fails or is dropped.
    pub(crate) const fn new(body: B, guard: G, call: Option<Call>) -> Self {
        Self { open: Some((body, guard)), call, rest: Bytes::new() }
    }

    /// Makes a body that has ended.
    pub(crate) const fn ended() -> Self {
        Self { open: None, call: None, rest: Bytes::new() }
    }

    /// Returns the next piece of `data`, and keeps the rest.
    fn piece(&mut self, mut data: Bytes) -> Bytes {
        let Some(call) = &self.call else { return data };
        let max = if call.holds_answer() { HELD_PIECE_BYTES } else { PIECE_BYTES };
        if data.len() > max {
            self.rest = data.split_off(max);
        }
        call.set_sending(true);
        if data.len() < KEPT_BYTES { data } else { Bytes::from_owner(Kept { bytes: data, _call: call.clone() }) }
    }
}

impl<B: Body<Data = Bytes> + Unpin, G: Unpin> Body for SentBody<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.piece(rest)))));
        }
        let Some((body, _)) = &mut this.open else { return Poll::Ready(None) };
        if let Some(call) = &this.call {
            call.set_sending(false);
        }
        let polled = Pin::new(body).poll_frame(cx);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None | Some(Err(_))) => {
                this.open = None;
                polled
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => Frame::data(this.piece(data)),
                Err(frame) => {
                    if frame.is_trailers() {
                        this.open = None;
                    }
                    frame
                }
            }))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.open.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // What is cut is sent in full, but nobody needs to know how much it is.
        if !self.rest.is_empty() {
            return SizeHint::default();
        }
        self.open.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}
