//! Returns many small blobs in one answer.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Compressor, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::message_budget::MessageBudget;
use super::{CasService, digests};
use crate::compression;

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
        request: re::BatchReadBlobsRequest,
    ) -> Result<re::BatchReadBlobsResponse> {
        if request.digests.is_empty() {
            return Ok(re::BatchReadBlobsResponse::default());
        }
        let spelled = digests::spelled(&request.digests);
        let digests = digests::parse(&request.instance_name, request.digest_function, spelled)?;
        let (total, max) = (digests::total_size_bytes(&digests), self.options.max_batch_total_size_bytes());
        if total > max {
            let message = format!("batch reads a total of {total} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }
        let mut budget = MessageBudget::new(request.digests.iter().map(Some), &self.options)?;
        let zstd = request.acceptable_compressors.contains(&Compressor::Zstd.number());
        let level = self.options.compression_level.filter(|_| zstd);

        let (unique, places) = deduplicate(&digests);
        let share = self.in_flight.share(digests::total_size_bytes(&unique)).await?;
        let read = |digest| read(Arc::clone(&self.store), ctx.clone(), digest, level);
        let concurrency = self.options.batch_concurrency;
        let results: Vec<_> = stream::iter(unique).map(read).buffered(concurrency).collect().await;
        drop(share);

        let entries = request.digests.into_iter().zip(places);
        let responses = entries.map(|(digest, place)| entry(digest, results.get(place), &mut budget)).collect();
        Ok(re::BatchReadBlobsResponse { responses })
    }
}

/// Returns the digests without duplicates, and the place of each of `digests` among them.
fn deduplicate(digests: &[Digest]) -> (Vec<Digest>, Vec<usize>) {
    let mut unique = Vec::with_capacity(digests.len());
    let mut known = HashMap::with_capacity(digests.len());
    let places = digests
        .iter()
        .map(|digest| {
            *known.entry(digest).or_insert_with(|| {
                unique.push(digest.clone());
                unique.len() - 1
            })
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
    result: Option<&Result<EncodedContents>>,
    budget: &mut MessageBudget,
) -> re::batch_read_blobs_response::Response {
    let failed = |status| re::batch_read_blobs_response::Response {
        status: Some(status),
        ..re::batch_read_blobs_response::Response::default()
    };
    let response = match result {
        Some(Ok(contents)) if budget.take(contents.data.len()) => re::batch_read_blobs_response::Response {
            data: contents.data.clone(),
            compressor: contents.compressor,
            status: Some(blobaccess_proto::rpc::Status::default()),
            ..re::batch_read_blobs_response::Response::default()
        },
        Some(Ok(_)) => failed(budget.status(&Error::resource_exhausted("answer is full"))),
        Some(Err(error)) => failed(budget.status(error)),
        None => failed(budget.status(&Error::internal("blob was not read"))),
    };
    re::batch_read_blobs_response::Response { digest: Some(digest), ..response }
}
