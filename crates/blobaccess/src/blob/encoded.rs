//! A compressed form of a blob that its source already has.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::RawStream;
use crate::{Compressor, Result};

/// The compressed form of a blob, in pieces, as its source has it: not verified.
pub struct EncodedBlob {
    compressor: Compressor,
    size_bytes: Option<u64>,
    stream: RawStream,
}

impl EncodedBlob {
    pub(super) fn new(compressor: Compressor, size_bytes: Option<u64>, stream: RawStream) -> Self {
        Self { compressor, size_bytes, stream }
    }

    /// What it is compressed with.
    #[must_use]
    pub fn compressor(&self) -> Compressor {
        self.compressor
    }

    /// The size of the compressed form in bytes, if the source knows it.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

impl Stream for EncodedBlob {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(poller)
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
