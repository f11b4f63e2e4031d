//! Sends a blob, or a range of it.

use blobaccess::{BlobAccess, Compressor, Context, Error, ReadResource, Result};
use blobaccess_proto::bytestream as bs;
use futures::StreamExt;

use super::ByteStreamService;
use super::pieces::{Pieces, pieces};
use crate::compression;

impl ByteStreamService {
    /// Returns the blob in messages. A failure before the first message fails the call; a later one ends the stream.
    ///
    /// An offset counts bytes of the blob, even if the blob is sent compressed. A limit applies to uncompressed blobs
    /// only.
    pub(super) async fn read_blob(&self, ctx: &Context, request: bs::ReadRequest) -> Result<Pieces> {
        let ReadResource { digest, compressor } = ReadResource::parse(&request.resource_name)?;
        let size = digest.size_bytes();
        let offset = u64::try_from(request.read_offset).ok().filter(|offset| *offset <= size);
        let offset = offset.ok_or_else(|| {
            let offset = request.read_offset;
            Error::out_of_range(format!("blob is {size} bytes, while a read at offset {offset} was requested"))
        })?;
        let limit = u64::try_from(request.read_limit)
            .map_err(|_| Error::invalid_argument(format!("read limit {} is negative", request.read_limit)))?;
        let level = compressor.map(|compressor| self.compression_level(compressor)).transpose()?;
        if level.is_some() && limit > 0 {
            let message = format!("read limit {limit} was requested, while compressed blobs are read without one");
            return Err(Error::invalid_argument(message));
        }

        let max = self.options.max_batch_total_size_bytes();
        let blob = self.store.get(ctx, &digest).await?;
        let Some(level) = level else {
            let end = if limit == 0 { size } else { offset.saturating_add(limit) };
            return Ok(pieces(blob.into_stream(offset..end)?, max));
        };
        if offset > 0 {
            return Ok(pieces(compression::encode(blob.into_stream(offset..)?.boxed(), level), max));
        }
        match blob.into_encoded(&[Compressor::Zstd]) {
            Ok(encoded) => Ok(pieces(encoded, max)),
            Err(blob) => Ok(pieces(compression::encode(blob.into_stream(..)?.boxed(), level), max)),
        }
    }
}
