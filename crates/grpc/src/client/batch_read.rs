//! Reads small blobs, many in one call.

use std::sync::Arc;

use blobaccess::{Blob, Compressor, Context, Digest, Error, Provenance, Result};
use blobaccess_proto::remote_execution::{self as re, batch_read_blobs_response::Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};

use super::batch_answers::BatchAnswers;
use super::batch_key::BatchKey;
use super::batching::BatchCall;
use super::connection::Connection;
use super::failure;
use super::server_offer::ServerOffer;
use super::snapshot::Counters;
use crate::compression;
use crate::message::to_proto;
use crate::stubs::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;

/// The maximum that a blob takes in a message besides its contents: a hash of 128 digits, sizes, a status, lengths.
pub(super) const ENTRY_BYTES: u64 = 192;

/// A blob that is smaller than this part of the message that it came in is copied out of it, so that a small blob that
/// is kept does not keep a large message.
const KEPT_PART: usize = 4;

/// Reads batches.
pub(super) struct ReadBatch(pub(super) Arc<Connection>);

/// A digest to read, and whether it may come compressed.
pub(super) struct BlobToRead {
    pub(super) digest: Digest,
    pub(super) zstd: bool,
}

/// Contents as they came: not verified.
#[derive(Clone)]
pub(super) struct ReceivedContents {
    data: Bytes,
    zstd: bool,
}

impl ReceivedContents {
    /// Returns the blob, which is verified against its digest.
    pub(super) fn into_blob(self, digest: &Digest) -> Blob {
        if !self.zstd {
            return Blob::from_untrusted_bytes(digest, self.data, Provenance::store());
        }
        let size = u64::try_from(self.data.len()).ok();
        let stream = stream::iter([Ok(self.data)]);
        let decode = |stream| compression::decode(stream, blobaccess::ErrorKind::DataLoss);
        Blob::from_encoded(digest, Compressor::Zstd, size, stream, decode, Provenance::store())
    }
}

/// Returns the part of a message that a batch of blobs may take, in bytes, with the costs of entries.
pub(super) fn max_cost(connection: &Connection, offer: &ServerOffer) -> u64 {
    let message = connection.options.max_batch_contents();
    offer.max_batch_bytes.map_or(message, |max| max.min(message))
}

impl BatchCall for ReadBatch {
    type Item = BlobToRead;
    type Answer = ReceivedContents;

    fn call(
        &self,
        key: BatchKey,
        ctx: Context,
        items: Vec<BlobToRead>,
    ) -> BoxFuture<'static, Result<Vec<Result<ReceivedContents>>>> {
        read(Arc::clone(&self.0), key, ctx, items).boxed()
    }
}

async fn read(
    connection: Arc<Connection>,
    key: BatchKey,
    ctx: Context,
    items: Vec<BlobToRead>,
) -> Result<Vec<Result<ReceivedContents>>> {
    let zstd = items.iter().all(|item| item.zstd);
    // Several may want one blob: it is asked for once.
    let mut digests: Vec<re::Digest> = items.iter().map(|item| to_proto(&item.digest)).collect();
    digests.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then(a.size_bytes.cmp(&b.size_bytes)));
    digests.dedup();
    Counters::batch(&connection.counters.read_batches, &connection.counters.batched_reads, digests.len());
    let message = re::BatchReadBlobsRequest {
        instance_name: key.instance_name.as_str().to_owned(),
        digests,
        acceptable_compressors: if zstd { vec![0, Compressor::Zstd.number()] } else { Vec::new() },
        digest_function: key.function.number(),
    };
    let max = connection.options.max_message_size_bytes;
    let call = connection.call(&ctx, message, |channel, request| async move {
        ContentAddressableStorageClient::new(channel).max_decoding_message_size(max).batch_read_blobs(request).await
    });
    let answer = call.await.map_err(failure::never_absent)?.into_inner();
    let total = answer.responses.iter().map(|response| response.data.len()).sum();
    let answers = answer.responses.into_iter().filter_map(|response| Some((response.digest.clone()?, response)));
    let found = BatchAnswers::new(answers);
    let answers = items.into_iter().map(|BlobToRead { digest, .. }| {
        let response = found.get(&digest)?;
        contents(&digest, response, zstd, total)
    });
    Ok(answers.collect())
}

fn contents(digest: &Digest, response: &Response, zstd: bool, total: usize) -> Result<ReceivedContents> {
    if let Some(error) = failure::from_entry(response.status.as_ref()) {
        return Err(if error.is_not_found() { failure::not_found(digest, &error) } else { error });
    }
    let compressed = match Compressor::from_number(response.compressor) {
        None if response.compressor == 0 => false,
        Some(Compressor::Zstd) if zstd => true,
        Some(_) | None => {
            let number = response.compressor;
            return Err(Error::internal(format!(
                "remote store sent blob {digest} in compressor {number}, which was not asked for"
            )));
        }
    };
    let data = &response.data;
    let small = data.len().saturating_mul(KEPT_PART) < total;
    let data = if small { Bytes::copy_from_slice(data) } else { data.clone() };
    Ok(ReceivedContents { data, zstd: compressed })
}
