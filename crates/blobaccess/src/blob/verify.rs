//! Verifies a stream against its digest: size and hash, by the time it ends.

use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::RawStream;
use super::provenance::Check;
use crate::Result;
use crate::digest::Hasher;

struct Verifying {
    stream: RawStream,
    /// The check; `None` once it has been concluded.
    check: Option<Check>,
    /// The hasher; `None` if only the size is verified.
    hasher: Option<Hasher>,
    observed: u64,
}

/// Passes on `stream`, and ends with an error unless it passes `check`.
///
/// An excess piece is found before it is handed out. The last piece is handed out before the hash is known: the reader
/// must hold it back until the stream has ended.
pub(super) fn verify(stream: RawStream, check: Check) -> RawStream {
    let hasher = check.hasher();
    Verifying { stream, check: Some(check), hasher, observed: 0 }.boxed()
}

impl Stream for Verifying {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(expected) = this.check.as_ref().map(Check::size_bytes) else {
                return Poll::Ready(None);
            };
            match ready!(this.stream.poll_next_unpin(poller)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    this.observed = this.observed.saturating_add(super::size_of_bytes(&piece));
                    if this.observed <= expected {
                        if let Some(hasher) = &mut this.hasher {
                            hasher.update(&piece);
                        }
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    let error = this.check.take().map(|check| check.wrong_size(this.observed, true));
                    return Poll::Ready(error.map(Err));
                }
                Some(Err(error)) => {
                    this.check = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let error =
                        this.check.take().and_then(|check| check.conclude(this.observed, this.hasher.take()).err());
                    return Poll::Ready(error.map(Err));
                }
            }
        }
    }
}
