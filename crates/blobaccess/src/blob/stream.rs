//! The contents of a blob in pieces, the last of which comes once all have passed verification.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::{RawStream, size_of_bytes, wrong_size};
use crate::{Error, ErrorKind, Result};

/// The contents of a blob, or a range of them, in pieces that are not empty.
///
/// The last piece is handed out once the source has ended and all contents have passed verification. After an error,
/// every further read returns that error.
pub struct BlobStream {
    source: Source,
    remaining_bytes: u64,
}

enum Source {
    /// Pieces are to come. The one that completes the range is held back until the source has ended.
    Flowing { stream: RawStream, last: Option<Bytes> },
    /// All contents are at hand and verified.
    Bytes(Bytes),
    /// The stream has ended without an error.
    Ended,
    /// The stream has failed with this error.
    Failed(Error),
}

impl BlobStream {
    pub(super) fn new(stream: RawStream, length: u64) -> Self {
        Self { source: Source::Flowing { stream, last: None }, remaining_bytes: length }
    }

    pub(super) fn from_bytes(bytes: Bytes) -> Self {
        let remaining_bytes = size_of_bytes(&bytes);
        let source = if bytes.is_empty() { Source::Ended } else { Source::Bytes(bytes) };
        Self { source, remaining_bytes }
    }

    /// Returns the number of bytes still to be handed out.
    #[must_use]
    pub fn remaining_bytes(&self) -> u64 {
        self.remaining_bytes
    }

    /// Returns the remaining contents, if all of them are at hand and verified, so that a reader can send them
    /// immediately.
    #[must_use]
    pub fn at_hand(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::Flowing { .. } | Source::Ended | Source::Failed(_) => None,
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Bytes>>> {
        self.source = Source::Failed(error.clone());
        Poll::Ready(Some(Err(error)))
    }

    fn hand_out(&mut self, piece: Bytes) -> Poll<Option<Result<Bytes>>> {
        self.remaining_bytes = self.remaining_bytes.saturating_sub(size_of_bytes(&piece));
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let remaining = self.remaining_bytes;
            let (next, last) = match &mut self.source {
                Source::Ended => return Poll::Ready(None),
                Source::Failed(error) => return Poll::Ready(Some(Err(error.clone()))),
                Source::Bytes(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.source = Source::Ended;
                    return self.hand_out(bytes);
                }
                Source::Flowing { stream, last } => (ready!(stream.poll_next_unpin(poller)), last),
            };
            match next {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    let size = size_of_bytes(&piece);
                    if last.is_some() || size > remaining {
                        let held = last.as_ref().map_or(0, size_of_bytes);
                        let observed = held.saturating_add(size);
                        return self.fail(wrong_size(ErrorKind::DataLoss, &"rest of blob", observed, true, remaining));
                    }
                    if size < remaining {
                        return self.hand_out(piece);
                    }
                    *last = Some(piece);
                }
                Some(Err(error)) => return self.fail(error),
                None => {
                    let last = last.take();
                    if last.is_none() && remaining > 0 {
                        return self.fail(wrong_size(ErrorKind::DataLoss, &"rest of blob", 0, false, remaining));
                    }
                    self.source = Source::Ended;
                    return match last {
                        Some(piece) => self.hand_out(piece),
                        None => Poll::Ready(None),
                    };
                }
            }
        }
    }
}

impl Debug for BlobStream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("remaining_bytes", &self.remaining_bytes).finish_non_exhaustive()
    }
}
