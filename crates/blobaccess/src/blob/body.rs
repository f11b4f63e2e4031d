//! The source that a blob reads its contents from.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::random_access::{self, RandomAccess};
use super::{Decoder, RawStream, window};
use crate::{Compressor, Error};

/// The size in which contents at hand are opened, so that they are verified piece by piece, in bytes.
const PIECE_BYTES: usize = 256 << 10;

pub(super) enum Body {
    /// Contents at hand.
    Bytes { bytes: Bytes, trusted: bool },
    /// Contents that can be read from anywhere, from a source that vouches for every range.
    RandomAccess(Arc<dyn RandomAccess>),
    /// Contents from the first byte on.
    Stream { stream: RawStream, vouched: bool },
    /// Compressed contents from the first byte on.
    Encoded { compressor: Compressor, size_bytes: Option<u64>, stream: RawStream, decode: Decoder },
    /// An error instead of contents.
    Failed(Error),
}

impl Body {
    /// Returns whether every byte is right by itself, regardless of where reading begins and of what comes later.
    pub(super) fn vouches_for_ranges(&self) -> bool {
        match self {
            Self::Bytes { trusted, .. } => *trusted,
            Self::RandomAccess(_) | Self::Failed(_) => true,
            Self::Stream { .. } | Self::Encoded { .. } => false,
        }
    }

    /// Returns whether the contents are right if they are read to their end.
    pub(super) fn vouches_as_a_whole(&self) -> bool {
        self.vouches_for_ranges() || matches!(self, Self::Stream { vouched: true, .. })
    }

    /// Returns whether a range can be read without the bytes before it.
    pub(super) fn is_seekable(&self) -> bool {
        match self {
            Self::Bytes { .. } | Self::RandomAccess(_) | Self::Failed(_) => true,
            Self::Stream { .. } | Self::Encoded { .. } => false,
        }
    }

    /// Opens the contents without verification. A source that is not seekable yields all of them; random access yields
    /// up to `size_bytes`.
    pub(super) fn open(self, range: Range<u64>, size_bytes: u64) -> RawStream {
        match self {
            Self::Bytes { bytes, .. } => {
                let mut bytes = window::slice(&bytes, &range);
                if bytes.len() <= PIECE_BYTES {
                    return stream::once(async move { Ok(bytes) }).boxed();
                }
                let next = move || {
                    let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                    (!piece.is_empty()).then_some(Ok(piece))
                };
                stream::iter(std::iter::from_fn(next)).boxed()
            }
            Self::RandomAccess(source) => random_access::stream(source, range.start..range.end.min(size_bytes)),
            Self::Stream { stream, .. } => stream,
            Self::Encoded { stream, decode, .. } => decode(stream),
            Self::Failed(error) => stream::once(async move { Err(error) }).boxed(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bytes { trusted: true, .. } => "bytes",
            Self::Bytes { trusted: false, .. } => "untrusted bytes",
            Self::RandomAccess(_) => "random access",
            Self::Stream { vouched: true, .. } => "stream",
            Self::Stream { vouched: false, .. } => "untrusted stream",
            Self::Encoded { .. } => "encoded stream",
            Self::Failed(_) => "failed",
        }
    }
}
