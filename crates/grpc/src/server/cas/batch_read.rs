//! Returns many small blobs in one answer.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Compressor, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::rpc;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::message_budget::MessageBudget;
use super::{CasService, batch_update, digests};
use crate::compression;
use crate::server::call::CallMemory;
use crate::server::requested_digest;

/// A blob, in the form that it is sent in.
#[derive(Clone)]
struct EncodedContents {
    data: Bytes,
    /// The number of the compressor; 0 for none.
    compressor: i32,
}

impl CasService {
    /// Returns one result for each digest, in their order. A blob that is requested several times is read once.
    pub(super) async fn batch_read(
        &self,
        ctx: &Context,
        memory: &CallMemory,
        request: re::BatchReadBlobsRequest,
    ) -> Result<re::BatchReadBlobsResponse> {
        if request.digests.is_empty() {
            return Ok(re::BatchReadBlobsResponse::default());
        }
        let instance_name = requested_digest::instance_name(&request.instance_name)?;
        let function = batch_update::function(request.digest_function, request.digests.iter().map(Some))?;
        let parse = |digest: &re::Digest| {
            let function = function.map_or_else(|| requested_digest::digest_function(0, Some(digest)), Ok)?;
            requested_digest::digest(&instance_name, function, Some(digest))
        };
        // A malformed digest fails alone.
        let digests: Vec<Result<Digest>> = request.digests.iter().map(parse).collect();
        let total = digests::total_size_bytes(digests.iter().flatten());
        let max = self.options.max_batch_total_size_bytes();
        if total > max {
            let message = format!("batch reads a total of {total} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }
        let mut budget = MessageBudget::new(request.digests.iter().map(Some), false, &self.options)?;
        let zstd = request.acceptable_compressors.contains(&Compressor::Zstd.number());
        let level = self.options.compression_level.filter(|_| zstd);

        let (unique, places) = deduplicate(digests);
        memory.hold(digests::total_size_bytes(&unique)).await?;
        let read = |digest| read(Arc::clone(&self.store), ctx.clone(), digest, level);
        let concurrency = self.options.batch_concurrency;
        let results: Vec<_> = stream::iter(unique).map(read).buffered(concurrency).collect().await;

        // Contents go before words.
        let answers: Vec<Result<&EncodedContents>> = places
            .into_iter()
            .map(|place| {
                let read = results.get(place?).ok_or_else(|| Error::internal("blob was not read"))?;
                let contents = read.as_ref().map_err(Clone::clone)?;
                if budget.take_contents(contents.data.len()) {
                    return Ok(contents);
                }
                Err(Error::resource_exhausted("answer is full"))
            })
            .collect();
        let entries = request.digests.into_iter().zip(answers);
        let responses = entries.map(|(digest, answer)| entry(digest, answer, &mut budget)).collect();
        Ok(re::BatchReadBlobsResponse { responses })
    }
}

/// Returns the digests without duplicates, and the place of each of `digests` among them.
fn deduplicate(digests: Vec<Result<Digest>>) -> (Vec<Digest>, Vec<Result<usize>>) {
    let mut unique = Vec::with_capacity(digests.len());
    let mut known = HashMap::with_capacity(digests.len());
    let places = digests
        .into_iter()
        .map(|digest| {
            Ok(*known.entry(digest?).or_insert_with_key(|digest| {
                unique.push(digest.clone());
                unique.len() - 1
            }))
        })
        .collect();
    (unique, places)
}

/// Reads the blob, compressed at `level` if a level is set and that makes the blob smaller. A compressed form that the
/// store has is passed on unchanged: the client verifies it.
async fn read(
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    ctx: Context,
    digest: Digest,
    level: Option<i32>,
) -> Result<EncodedContents> {
    let max = usize::try_from(digest.size_bytes()).unwrap_or(usize::MAX);
    let mut blob = store.get(&ctx, &digest).await?;
    if level.is_some() {
        blob = match blob.into_encoded(&[Compressor::Zstd]) {
            Ok(encoded) => match compression::collect(encoded.boxed(), max).await? {
                Some(data) => return Ok(EncodedContents { data, compressor: Compressor::Zstd.number() }),
                // The compressed form is larger than the blob itself.
                None => store.get(&ctx, &digest).await?,
            },
            Err(blob) => blob,
        };
    }
    let data = blob.into_bytes(digest.size_bytes()).await?;
    Ok(match level.and_then(|level| compression::encode_at_once(&data, level)) {
        Some(data) => EncodedContents { data, compressor: Compressor::Zstd.number() },
        None => EncodedContents { data, compressor: 0 },
    })
}

fn entry(
    digest: re::Digest,
    answer: Result<&EncodedContents>,
    budget: &mut MessageBudget,
) -> re::batch_read_blobs_response::Response {
    let (contents, status) = match answer {
        Ok(contents) => (Some(contents), rpc::Status::default()),
        Err(error) => (None, budget.status(&error)),
    };
    re::batch_read_blobs_response::Response {
        digest: Some(digest),
        data: contents.map(|contents| contents.data.clone()).unwrap_or_default(),
        compressor: contents.map_or(0, |contents| contents.compressor),
        status: Some(status),
    }
}
