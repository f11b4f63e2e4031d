//! Stores many small blobs in one call.

use std::sync::Arc;

use blobaccess::{
    Blob, Compressor, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, Provenance, PutOutcome, Result,
    UploadToken,
};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::rpc;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use re::batch_update_blobs_request::Request;
use re::batch_update_blobs_response::Response;

use super::message_budget::MessageBudget;
use super::{CasService, digests};
use crate::server::call::CallMemory;
use crate::server::requested_digest;
use crate::{compression, outcome};

impl CasService {
    /// Returns one result for each blob, in their order. An error of one blob is reported for that blob.
    pub(super) async fn batch_update(
        &self,
        ctx: &Context,
        memory: &CallMemory,
        request: re::BatchUpdateBlobsRequest,
        wants_outcome: bool,
    ) -> Result<re::BatchUpdateBlobsResponse> {
        if request.requests.is_empty() {
            return Ok(re::BatchUpdateBlobsResponse::default());
        }
        let instance_name = requested_digest::instance_name(&request.instance_name)?;
        let all_named = request.requests.iter().map(|entry| entry.digest.as_ref());
        let function = function(request.digest_function, all_named.clone())?;
        let mut budget = MessageBudget::new(all_named, wants_outcome, &self.options)?;

        let mut names = Vec::with_capacity(request.requests.len());
        let mut uploads = Vec::with_capacity(request.requests.len());
        let compressed: u64 = request
            .requests
            .iter()
            .filter(|entry| entry.compressor != 0)
            .map(announced_bytes)
            .fold(0, u64::saturating_add);
        let mut contexts = Vec::with_capacity(request.requests.len());
        for entry in request.requests {
            contexts.push(context(ctx, &entry.upload_token));
            uploads.push(self.upload(&instance_name, function, &entry));
            names.push(entry.digest);
        }
        let announced = digests::total_size_bytes(uploads.iter().flatten().map(|(digest, _)| digest));
        let max = self.options.max_batch_total_size_bytes();
        if announced > max {
            let message = format!("batch stores a total of {announced} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }

        // What came as it is counts as a part of the request. The other blobs may grow as they are decoded.
        memory.hold(compressed.min(announced)).await?;
        let put = |(upload, ctx): (Result<(Digest, Blob)>, Context)| {
            let (store, put_failures) = (Arc::clone(&self.store), self.put_failures.clone());
            let uploads = self.uploads.clone();
            async move {
                let (digest, blob) = upload?;
                let put = store.put(&ctx, &digest, blob).await;
                put.inspect(|outcome| uploads.tell(&digest, *outcome))
                    .inspect_err(|error| put_failures.record(&digest, error))
            }
        };
        let concurrency = self.options.batch_concurrency;
        let results: Vec<Result<PutOutcome>> =
            stream::iter(uploads.into_iter().zip(contexts)).map(put).buffered(concurrency).collect().await;

        let entries = names.into_iter().zip(results);
        let responses = entries.map(|(digest, result)| {
            let outcome = result.as_ref().ok().filter(|_| wants_outcome).map(|put| outcome::to_proto(*put));
            let status = result.map_or_else(|error| budget.status(&error), |_| rpc::Status::default());
            Response { digest, status: Some(status), outcome }
        });
        Ok(re::BatchUpdateBlobsResponse { responses: responses.collect() })
    }

    /// Returns the digest and the blob that `entry` is to store. Compressed contents are decoded as the store reads
    /// them, up to the size in the digest.
    fn upload(
        &self,
        instance_name: &InstanceName,
        function: Option<DigestFunction>,
        entry: &Request,
    ) -> Result<(Digest, Blob)> {
        let function = function.map_or_else(|| requested_digest::digest_function(0, entry.digest.as_ref()), Ok)?;
        let digest = requested_digest::digest(instance_name, function, entry.digest.as_ref())?;
        let data = entry.data.clone();
        let blob = match Compressor::from_number(entry.compressor) {
            None if entry.compressor == 0 => plain(&digest, data)?,
            Some(Compressor::Zstd) if self.options.compression_level.is_some() => zstd(&digest, data),
            Some(_) | None => {
                let number = entry.compressor;
                return Err(Error::unimplemented(format!("compressor number {number} is not supported")));
            }
        };
        Ok((digest, blob))
    }
}

fn announced_bytes(entry: &Request) -> u64 {
    entry.digest.as_ref().and_then(|digest| u64::try_from(digest.size_bytes).ok()).unwrap_or(0)
}

/// Returns the context of an entry, with the token of its upload if it has one.
fn context(ctx: &Context, token: &[u8]) -> Context {
    match <[u8; 16]>::try_from(token) {
        Ok(token) => ctx.clone().with_upload_token(UploadToken::from_bytes(token)),
        Err(_) => ctx.clone(),
    }
}

/// Returns the function of a request. A request that names none has that of the first hash whose length fits a
/// function, so that a malformed digest in front fails alone. `None` if there is no such hash.
pub(in crate::server) fn function<'a>(
    number: i32,
    digests: impl Iterator<Item = Option<&'a re::Digest>>,
) -> Result<Option<DigestFunction>> {
    if number != 0 {
        return DigestFunction::resolve(number, 0).map(Some);
    }
    Ok(digests.flatten().map(|digest| digest.hash.len()).find_map(DigestFunction::infer))
}

fn plain(digest: &Digest, data: Bytes) -> Result<Blob> {
    let (sent, expected) = (u64::try_from(data.len()).unwrap_or(u64::MAX), digest.size_bytes());
    if sent != expected {
        let message = format!("blob {digest} is {sent} bytes, while {expected} bytes were expected");
        return Err(Error::invalid_argument(message));
    }
    Ok(Blob::from_untrusted_bytes(digest, data, Provenance::client()))
}

fn zstd(digest: &Digest, data: Bytes) -> Blob {
    let size = u64::try_from(data.len()).ok();
    let whole = stream::once(future::ready(Ok(data)));
    let decode = |compressed| compression::decode(compressed, ErrorKind::InvalidArgument);
    Blob::from_encoded(digest, Compressor::Zstd, size, whole, decode, Provenance::client())
}
