//! Gets blobs: whole blobs in a single request, or ranges.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Blob, Context, Digest, Error, Provenance, RandomAccess, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use tokio::sync::Mutex;

use crate::bucket::{ObjectInfo, Reading};
use crate::layout::Form;
use crate::shared::{Shared, not_found};

/// The size of the largest blob that is requested at once, in bytes. A larger one is looked up first, and requested
/// when it is read, so that reading a range costs one small request instead of a large one that is broken off.
const EAGER_MAX_BYTES: u64 = 8 << 20;

/// The sizes of the first and of the largest request for a range that is read piece by piece, in bytes. They double in
/// between, so that short ranges cost little and long ones few requests.
const READAHEAD_BYTES: (u64, u64) = (1 << 20, 16 << 20);

impl Shared {
    pub(crate) async fn get_contents(self: &Arc<Self>, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let path = self.path(digest)?;
        if self.is_always_there(digest) {
            return Ok(Blob::from_untrusted_bytes(digest, Bytes::new(), Provenance::store()));
        }
        if self.form() == Form::Casblob {
            return self.get_casblob(ctx, digest, &path).await;
        }
        let ranges = Arc::new(Ranges {
            shared: Arc::clone(self),
            path: path.clone(),
            open: Mutex::new(None),
            size_bytes: digest.size_bytes(),
        });
        let (stream, found) = if digest.size_bytes() <= EAGER_MAX_BYTES {
            let reading = self.within(ctx, self.bucket.get(&path, None)).await??;
            let reading = reading.ok_or_else(|| not_found(digest))?;
            if !self.holds_blob(digest, &reading.found)? {
                return Err(not_found(digest));
            }
            (reading.stream, reading.found)
        } else {
            let found = self.head_blob(ctx, digest, &path).await?.ok_or_else(|| not_found(digest))?;
            (self.later(path, None), found)
        };
        let provenance = self.provenance(digest, &found);
        Ok(Blob::from_untrusted_stream(digest, stream, provenance).with_ranges(ranges))
    }

    pub(crate) async fn get_message(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let path = self.path(digest)?;
        let found = self.value(ctx, &path).await?;
        let (_, value) = found.ok_or_else(|| self.storage_type.absence(digest))?;
        Ok(Blob::from_bytes(value))
    }

    /// Returns the object as a stream that requests it when it is first read.
    pub(crate) fn later(self: &Arc<Self>, path: Path, range: Option<Range<u64>>) -> BoxStream<'static, Result<Bytes>> {
        let shared = Arc::clone(self);
        stream::once(async move { Ok::<_, Error>(shared.reading(&path, range).await?.stream) }).try_flatten().boxed()
    }

    /// Reads a range of an object that existed a moment ago.
    pub(crate) async fn reading(&self, path: &Path, range: Option<Range<u64>>) -> Result<Reading> {
        let reading = self.bucket.get(path, range).await?;
        reading.ok_or_else(|| Error::aborted("the object was deleted while it was read").with_retryable(true))
    }

    /// Reads a small range whole.
    pub(crate) async fn read_range(&self, path: &Path, range: Range<u64>) -> Result<(ObjectInfo, Bytes)> {
        let mut reading = self.reading(path, Some(range.clone())).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = reading.stream.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        let expected = range.end.min(reading.found.size_bytes) - range.start;
        if u64::try_from(bytes.len()) != Ok(expected) {
            let observed = bytes.len();
            return Err(Error::unavailable(format!("the object was cut short: {observed} bytes of {expected}")));
        }
        Ok((reading.found, bytes.freeze()))
    }
}

/// Ranges of an object that is the plain blob.
struct Ranges {
    shared: Arc<Shared>,
    path: Path,
    size_bytes: u64,
    /// The open read, if more is expected from where it ended.
    open: Mutex<Option<Open>>,
}

struct Open {
    at: u64,
    end: u64,
    asked_bytes: u64,
    buffered: Bytes,
    stream: BoxStream<'static, Result<Bytes>>,
}

#[async_trait]
impl RandomAccess for Ranges {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let mut slot = self.open.lock().await;
        let open = slot.take().filter(|open| open.at == offset);
        let mut open = match open {
            Some(open) if open.at < open.end => open,
            other => {
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                let (first, max) = READAHEAD_BYTES;
                let asked_bytes = other.map_or(first.min(length), |open| (open.asked_bytes * 2).clamp(first, max));
                let end = offset.saturating_add(asked_bytes).min(self.size_bytes);
                let reading = self.shared.reading(&self.path, Some(offset..end)).await?;
                Open { at: offset, end, asked_bytes, buffered: Bytes::new(), stream: reading.stream }
            }
        };
        while open.buffered.is_empty() {
            match open.stream.try_next().await? {
                Some(piece) => open.buffered = piece,
                None => return Err(Error::unavailable("the object was cut short")),
            }
        }
        let piece = open.buffered.split_to(length.min(open.buffered.len()));
        open.at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        *slot = Some(open);
        Ok(piece)
    }
}
