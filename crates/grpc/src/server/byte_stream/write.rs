//! Receives a blob.

use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, Compressor, Context, Digest, DigestSet, Error, ErrorKind, Provenance, PutOutcome, Result,
    WriteResource,
};
use blobaccess_proto::bytestream::WriteRequest;
use futures::Stream;
use tonic::Status;

use super::ByteStreamService;
use super::idle_timeout::IdleTimeout;
use super::upload::Upload;
use crate::{compression, message};

/// The answer to an upload.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) committed_size: i64,
    pub(super) outcome: PutOutcome,
}

impl ByteStreamService {
    /// Stores the blob that `messages` carry.
    ///
    /// If another upload of the blob is stored meanwhile, this one ends with success too.
    ///
    /// Nothing is read after the first message unless the store wants it. A store that has the blob answers
    /// immediately, and so does the call; the transport then discards the rest. A compressed upload is read to its end
    /// first, up to the size that it can have: Buildbarn's client takes an early answer to one for a failure.
    ///
    /// The message that is arriving counts for the bytes in flight, whatever size the upload has announced: see
    /// [`ReceivedBody`](crate::server::received_body::ReceivedBody). What the store holds is the store's to limit.
    pub(super) async fn write_blob<S>(&self, ctx: &Context, messages: S) -> Result<Written>
    where
        S: Stream<Item = Result<WriteRequest, Status>> + Unpin + Send + 'static,
    {
        let timeout = self.options.upload_idle_timeout;
        let idle_timeout = IdleTimeout { clock: Arc::clone(&self.clock), timeout };
        let mut upload = Upload::begin(messages, idle_timeout).await?;
        let WriteResource { digest, compressor, uuid: _ } = WriteResource::parse(upload.resource_name())?;
        if let Some(compressor) = compressor {
            self.compression_level(compressor)?;
        }
        let size = digest.size_bytes();
        if let Some(offset) = upload.resumed_offset() {
            return self.resume(ctx, &digest, compressor, offset, upload).await;
        }
        let progress = upload.progress();
        let remainder = compressor.map(|_| upload.remainder());
        let put = self.store.put(ctx, &digest, blob(&digest, compressor, upload));
        let outcome = self.uploads.put_or_find(&*self.store, ctx, &digest, put).await;
        let outcome = outcome.inspect_err(|error| self.put_failures.record(&digest, error))?;
        if let Some(remainder) = remainder.filter(|_| !progress.is_finished()) {
            let until = self.clock.monotonic().checked_add(timeout);
            // A store that has answered lets go of what it has not read.
            if let Ok(Ok(remainder)) = self.clock.timeout(until, remainder).await {
                remainder.discard(max_discarded_bytes(size)).await;
            }
        }
        let committed_size = match compressor {
            None => message::size(size),
            Some(_) if progress.is_finished() => message::size(progress.received_bytes()),
            // The protocol's value when a blob existed before the upload completed.
            Some(_) => -1,
        };
        Ok(Written { committed_size, outcome })
    }

    /// Answers an upload that goes on at `offset`.
    ///
    /// No part of an interrupted upload is kept, so only a blob that is there has anything to go on with. It ends well
    /// wherever the client goes on: [`query`](super::query) has told it that all is there.
    async fn resume<S>(
        &self,
        ctx: &Context,
        digest: &Digest,
        compressor: Option<Compressor>,
        offset: i64,
        mut upload: Upload<S>,
    ) -> Result<Written>
    where
        S: Stream<Item = Result<WriteRequest, Status>> + Unpin + Send + 'static,
    {
        let size = digest.size_bytes();
        let is_within = u64::try_from(offset).is_ok_and(|offset| offset <= size);
        if !is_within || !self.store.find_missing(ctx, &DigestSet::from(digest.clone())).await?.is_empty() {
            let message = format!("write at offset {offset} was requested, while 0 was expected");
            return Err(Error::invalid_argument(message));
        }
        let outcome = PutOutcome::Unclassified { stored_bytes: None };
        if compressor.is_none() {
            return Ok(Written { committed_size: message::size(size), outcome });
        }
        let remainder = upload.remainder();
        drop(upload);
        if let Ok(remainder) = remainder.await {
            remainder.discard(max_discarded_bytes(size)).await;
        }
        Ok(Written { committed_size: -1, outcome })
    }
}

/// Returns the bytes of a compressed upload that are read for nothing: the largest result of compressing
/// `size_bytes` in one frame, which is less than 1/128 more (`ZSTD_COMPRESSBOUND` in `zstd.h`), and a margin.
pub(super) const fn max_discarded_bytes(size_bytes: u64) -> u64 {
    size_bytes.saturating_add(size_bytes / 128).saturating_add(64 << 10)
}

/// Makes the blob to store. Compressed contents are decoded as the store reads them, up to the size of the blob.
fn blob<S>(digest: &Digest, compressor: Option<Compressor>, upload: Upload<S>) -> Blob
where
    S: Stream<Item = Result<WriteRequest, Status>> + Unpin + Send + 'static,
{
    let size = digest.size_bytes();
    let Some(compressor) = compressor else {
        return Blob::from_untrusted_stream(digest, upload.into_stream(size), Provenance::client());
    };
    let max = compression::max_encoded_bytes(size);
    let decode = |compressed| compression::decode(compressed, ErrorKind::InvalidArgument);
    Blob::from_encoded(digest, compressor, None, upload.into_stream(max), decode, Provenance::client())
}
