//! What a blob reads its contents from.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::random_access::{self, RandomAccess};
use super::{Decoder, RawStream, window};
use crate::{Compressor, Error};

pub(super) enum Body {
    /// Contents at hand.
    Bytes { bytes: Bytes, trusted: bool },
    /// Contents that can be read from anywhere, and are vouched for wherever that is.
    RandomAccess(Arc<dyn RandomAccess>),
    /// Contents from the first byte on.
    Stream { stream: RawStream, vouched: bool },
    /// Compressed contents from the first byte on.
    Encoded { compressor: Compressor, size_bytes: Option<u64>, stream: RawStream, decode: Decoder },
    /// Nothing but an error.
    Failed(Error),
}

impl Body {
    /// The contents, unverified. What is not seekable yields all of them.
    pub(super) fn open(self, range: Range<u64>) -> RawStream {
        match self {
            Self::Bytes { bytes, .. } => {
                let bytes = window::slice(&bytes, &range);
                stream::once(async move { Ok(bytes) }).boxed()
            }
            Self::RandomAccess(source) => random_access::stream(source, range),
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
