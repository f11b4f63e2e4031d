//! Contents that can be read from anywhere.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{RawStream, size_of_bytes};
use crate::{Error, Result};

/// How much of a random-access source is read at a time, in bytes: 256 KiB. It bounds what one reader holds in memory;
/// larger pieces gain nothing measurable once the call itself is paid for.
const PIECE_BYTES: u64 = 256 << 10;

/// A source of contents that can be read from anywhere, any number of times.
#[async_trait]
pub trait RandomAccess: Send + Sync + 'static {
    /// The contents from `offset` on: at least one byte of them and at most `length`, where there are any left.
    ///
    /// Whatever is returned must be right: the blob does not verify it.
    ///
    /// # Errors
    ///
    /// What keeps the source from reading; `DataLoss` if it finds that what it read is not what was put.
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes>;
}

/// The contents within `range`, in pieces.
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
