//! Reads all of a blob into memory.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::attachment::Attachment;
use super::body::Body;
use super::provenance::Check;
use super::resume::{ErrorHandler, Expected};
use super::{Blob, BlobStream, RawStream};
use crate::{Error, Result};

/// The largest buffer allocated on the strength of an announced size, in bytes: 1 MiB. Beyond it, memory grows with the
/// bytes that arrive. Most blobs are smaller and so cost one allocation.
const BELIEVED_BYTES: usize = 1 << 20;

impl Blob {
    /// Returns all contents, if they are up to `max` bytes.
    ///
    /// # Memory
    ///
    /// Bytes at hand are not copied. For contents that arrive in pieces, up to 1 MiB and twice the bytes that have
    /// arrived are allocated, whatever size was announced.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the blob.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if they are larger than `max` bytes; nothing is read then. Whatever the source failed with;
    /// what is wrong with the contents.
    pub async fn into_bytes(self, max: u64) -> Result<Bytes> {
        let size = self.size_bytes;
        if size > max {
            return Err(Error::invalid_argument(format!("blob is {size} bytes, while at most {max} are permitted")));
        }
        if self.attachments.is_empty()
            && let Body::Bytes { bytes, trusted } = self.body
        {
            if !trusted && let Some(digest) = self.digest {
                Check::new(digest, self.provenance).verify(&bytes)?;
            }
            return Ok(bytes);
        }
        collect(BlobStream::new(self.open_whole(max), size)).await
    }

    /// Opens the verified contents for a reader that takes none of them before the last.
    ///
    /// A failure of any kind, including wrong contents, can so be made good by reading all of a replacement.
    fn open_whole(mut self, max: u64) -> RawStream {
        let Some(position) = self.attachments.iter().rposition(Attachment::is_handler) else {
            let all = 0..self.size_bytes;
            return self.open(all, true);
        };
        let expected = Expected::of(&self);
        let mut above = self.attachments.split_off(position).into_iter();
        let whole = match above.next() {
            Some(Attachment::Handler(handler)) => stream::once(read_or_replace(self, handler, expected, max)).boxed(),
            _ => self.open(0..0, true),
        };
        above.fold(whole, |stream, attachment| attachment.wrap(stream))
    }
}

fn read_or_replace(
    mut blob: Blob,
    mut handler: Box<dyn ErrorHandler>,
    expected: Expected,
    max: u64,
) -> BoxFuture<'static, Result<Bytes>> {
    async move {
        loop {
            match blob.into_bytes(max).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => blob = expected.hold(handler.on_error(error).await?)?,
            }
        }
    }
    .boxed()
}

async fn collect(mut stream: BlobStream) -> Result<Bytes> {
    let size = usize::try_from(stream.remaining_bytes())
        .map_err(|_| Error::resource_exhausted("blob is larger than the address space"))?;
    let first = stream.try_next().await?.unwrap_or_default();
    if first.len() == size {
        return Ok(first);
    }
    let mut whole = Vec::new();
    make_room(&mut whole, first.len(), size);
    whole.extend_from_slice(&first);
    drop(first);
    while let Some(piece) = stream.try_next().await? {
        make_room(&mut whole, piece.len(), size);
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Reserves space for `more` bytes of contents that are announced as `size` bytes.
fn make_room(whole: &mut Vec<u8>, more: usize, size: usize) {
    let needed = whole.len().saturating_add(more);
    if needed > whole.capacity() {
        let wanted = needed.saturating_mul(2).max(BELIEVED_BYTES).min(size).max(needed);
        whole.reserve_exact(wanted - whole.len());
    }
}
