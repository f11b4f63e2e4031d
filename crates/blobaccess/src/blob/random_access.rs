//! Contents that can be read from anywhere.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::attachment::{self, Attachment};
use super::body::Body;
use super::{Blob, RawStream, size_of_bytes, window};
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

impl Blob {
    /// Returns whether ranges are read from a source that vouches for them.
    pub(crate) fn has_ranges(&self) -> bool {
        !self.has_handler() && (self.ranges.is_some() || self.body.vouches_for_ranges())
    }

    /// Returns a source of the same contents that can be read from anywhere and outlives the blob, if it has one and
    /// nothing is attached that has a part in its reading.
    pub(crate) fn shared_ranges(&self) -> Option<Arc<dyn RandomAccess>> {
        if !self.attachments.iter().all(Attachment::is_guard) {
            return None;
        }
        let source = match (&self.ranges, &self.body) {
            (Some(source), _) | (None, Body::RandomAccess(source)) => Arc::clone(source),
            (None, Body::Bytes { bytes, trusted: true }) => Arc::new(AtHand(bytes.clone())),
            (
                None,
                Body::Bytes { trusted: false, .. } | Body::Stream { .. } | Body::Encoded { .. } | Body::Failed(_),
            ) => {
                return None;
            }
        };
        let guards = attachment::shared_guards(&self.attachments);
        Some(if guards.is_empty() { source } else { Arc::new(Guarded { source, _guards: guards }) })
    }
}

/// Contents at hand that were verified.
struct AtHand(Bytes);

#[async_trait]
impl RandomAccess for AtHand {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        Ok(window::slice(&self.0, &(offset..offset.saturating_add(length))))
    }
}

/// A source, and the guards that are held while it can be read.
struct Guarded {
    source: Arc<dyn RandomAccess>,
    _guards: Vec<Arc<dyn Any + Send + Sync>>,
}

#[async_trait]
impl RandomAccess for Guarded {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.source.read_at(offset, length).await
    }
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
