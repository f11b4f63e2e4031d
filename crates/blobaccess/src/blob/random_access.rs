//! Contents that can be read from anywhere.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{RawStream, size_of_bytes};
use crate::{Error, Result};

/// The bytes of a random-access source that are read together: 256 KiB. This bounds the memory of one reader. Larger
/// pieces gain nothing measurable.
const PIECE_BYTES: u64 = 256 << 10;

/// A source of contents that can be read from anywhere, any number of times.
#[async_trait]
pub trait RandomAccess: Send + Sync + 'static {
    /// Returns contents from `offset` on: up to `length` bytes, and at least one unless the contents end there.
    ///
    /// The bytes must be right: the blob does not verify them.
    ///
    /// # Errors
    ///
    /// The error of the source; `DataLoss` if the source finds that its bytes are damaged.
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes>;
}

/// Returns the contents within `range`, in pieces.
pub(super) fn stream(source: Arc<dyn RandomAccess>, range: Range<u64>) -> RawStream {
    stream::try_unfold((source, range), |(source, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let length = usize::try_from(PIECE_BYTES.min(range.end - range.start)).unwrap_or(usize::MAX);
        let mut piece = source.read_at(range.start, length).await?;
        piece.truncate(length);
        if piece.is_empty() {
            return Err(Error::data_loss(format!("blob ends at {} bytes, while it goes on", range.start)));
        }
        let next = range.start + size_of_bytes(&piece)..range.end;
        Ok(Some((piece, (source, next))))
    })
    .boxed()
}
