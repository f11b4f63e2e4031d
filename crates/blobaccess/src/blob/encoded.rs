//! A compressed form of a blob that its source already has.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::RawStream;
use crate::{Compressor, Error, Result};

/// The compressed form of a blob, unverified, in pieces that are not empty.
///
/// If something is attached to the blob, a piece is handed out once the next one is there, so that the error of a task
/// can take the place of the last. After an error, every further read returns that error.
pub struct EncodedBlob {
    compressor: Compressor,
    size_bytes: Option<u64>,
    source: Source,
    holds_back: bool,
}

enum Source {
    Flowing { stream: RawStream, held: Option<Bytes> },
    Ended,
    Failed(Error),
}

impl EncodedBlob {
    pub(super) fn new(compressor: Compressor, size_bytes: Option<u64>, stream: RawStream, holds_back: bool) -> Self {
        Self { compressor, size_bytes, source: Source::Flowing { stream, held: None }, holds_back }
    }

    /// Returns the compressor.
    #[must_use]
    pub fn compressor(&self) -> Compressor {
        self.compressor
    }

    /// Returns the size of the compressed form in bytes, if the source knows it.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

impl Stream for EncodedBlob {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        let holds_back = self.holds_back;
        loop {
            let (next, held) = match &mut self.source {
                Source::Flowing { stream, held } => (ready!(stream.poll_next_unpin(poller)), held),
                Source::Ended => return Poll::Ready(None),
                Source::Failed(error) => return Poll::Ready(Some(Err(error.clone()))),
            };
            match next {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) if !holds_back => return Poll::Ready(Some(Ok(piece))),
                Some(Ok(piece)) => {
                    if let Some(before) = held.replace(piece) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(error)) => {
                    self.source = Source::Failed(error.clone());
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let last = held.take();
                    self.source = Source::Ended;
                    return Poll::Ready(last.map(Ok));
                }
            }
        }
    }
}

impl Debug for EncodedBlob {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedBlob")
            .field("compressor", &self.compressor)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}
