//! Gets blobs that are stored as casblobs.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Blob, Compressor, Context, Digest, Error, ErrorKind, Finish, RandomAccess, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use tokio::sync::Mutex;

use crate::casblob::{Header, MIN_FILE_SIZE_BYTES, decode, decode_piece};
use crate::shared::{Shared, not_found};

/// The largest table that is read, in bytes: that of a blob of 8 TiB.
const MAX_TABLE_BYTES: u64 = 64 << 20;

impl Shared {
    pub(crate) async fn get_casblob(self: &Arc<Self>, ctx: &Context, digest: &Digest, path: &Path) -> Result<Blob> {
        let reading = self.within(ctx, self.bucket.get(path, None)).await??;
        let mut reading = reading.ok_or_else(|| not_found(digest))?;
        if !self.holds_blob(digest, &reading.found)? {
            return Err(not_found(digest));
        }
        let file_size_bytes = reading.found.size_bytes;
        let header = self.within(ctx, read_header(&mut reading.stream, file_size_bytes)).await?;
        let (header, rest) = header.inspect_err(|error| {
            if error.kind() == ErrorKind::DataLoss {
                self.note_wrong(digest, &reading.found);
            }
        })?;
        if header.blob_size_bytes != digest.size_bytes() {
            if self.options.layout.has_sizes_in_keys() {
                self.note_wrong(digest, &reading.found);
            }
            // Otherwise the key does not have the size, and the object holds another blob.
            return Err(not_found(digest));
        }
        let data_bytes = file_size_bytes - header.offsets.first().copied().unwrap_or_default();
        let rest = stream::once(async move { Ok(rest) }).chain(reading.stream).boxed();
        let compressed = header.compressed;
        let pieces = Arc::new(Pieces { shared: Arc::clone(self), path: path.clone(), header, last: Mutex::new(None) });
        let provenance = self.provenance(digest, &reading.found);
        let (shared, of, found) = (Arc::clone(self), digest.clone(), reading.found);
        let blob = if compressed {
            Blob::from_encoded(digest, Compressor::Zstd, Some(data_bytes), rest, decode, provenance)
        } else {
            Blob::from_untrusted_stream(digest, rest, provenance)
        };
        // A piece that cannot be decompressed is never verified.
        let blob = blob.on_finish(move |finish| {
            if finish == Finish::Failed(ErrorKind::DataLoss) {
                shared.note_wrong(&of, &found);
            }
        });
        Ok(blob.with_ranges(pieces))
    }

    /// Reads the size of the blob from the table of its casblob. Returns `None` if there is no object.
    pub(crate) async fn blob_size_in_casblob(&self, path: &Path) -> Result<Option<u64>> {
        let Some(mut reading) = self.bucket.get(path, Some(0..MIN_FILE_SIZE_BYTES)).await? else {
            return Ok(None);
        };
        let mut beginning = BytesMut::new();
        while let Some(piece) = reading.stream.try_next().await? {
            beginning.extend_from_slice(&piece);
        }
        Header::size_of(&beginning)?;
        let size = beginning.get(8..16).and_then(|bytes| bytes.first_chunk());
        Ok(size.map(|bytes| u64::from_le_bytes(*bytes)))
    }
}

/// Reads the table, and the data that came with it.
async fn read_header(stream: &mut BoxStream<'static, Result<Bytes>>, file_size_bytes: u64) -> Result<(Header, Bytes)> {
    let mut beginning = BytesMut::new();
    let mut needed = 29;
    loop {
        if beginning.len() >= needed {
            let size = Header::size_of(&beginning)?;
            if size > MAX_TABLE_BYTES.min(file_size_bytes) {
                return Err(Error::data_loss(format!("table of a casblob is {size} bytes of {file_size_bytes}")));
            }
            needed = usize::try_from(size).unwrap_or(usize::MAX);
            if beginning.len() >= needed {
                let table = beginning.split_to(needed);
                return Ok((Header::read(&table, file_size_bytes)?, beginning.freeze()));
            }
        }
        match stream.try_next().await? {
            Some(piece) => beginning.extend_from_slice(&piece),
            None => return Err(Error::data_loss("casblob ends within its table")),
        }
    }
}

/// Ranges of a blob, by the pieces that contain them.
struct Pieces {
    shared: Arc<Shared>,
    path: Path,
    header: Header,
    /// The piece that was read last, as the next read mostly wants the rest of it.
    last: Mutex<Option<(u64, Bytes)>>,
}

#[async_trait]
impl RandomAccess for Pieces {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let size = self.header.piece_size_bytes;
        let index = offset / size;
        let mut last = self.last.lock().await;
        let contents = match &*last {
            Some((known, contents)) if *known == index => contents.clone(),
            _ => {
                let contents = self.piece(index).await?;
                *last = Some((index, contents.clone()));
                contents
            }
        };
        let start = usize::try_from(offset % size).unwrap_or(usize::MAX).min(contents.len());
        let end = start.saturating_add(length).min(contents.len());
        Ok(contents.slice(start..end))
    }
}

impl Pieces {
    async fn piece(&self, index: u64) -> Result<Bytes> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let (Some(begin), Some(end)) = (self.header.offsets.get(position), self.header.offsets.get(position + 1))
        else {
            return Err(Error::out_of_range(format!("casblob has no piece {index}")));
        };
        let before = index * self.header.piece_size_bytes;
        let size = (self.header.blob_size_bytes - before).min(self.header.piece_size_bytes);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (_, frame) = self.shared.read_range(&self.path, *begin..*end).await?;
        if self.header.compressed { decode_piece(&frame, size) } else { Ok(frame) }
    }
}
