//! Stores small blobs, many in one call.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::{Compressor, Context, Digest, PutOutcome, Result, UploadToken};
use blobaccess_proto::remote_execution::{self as re, batch_update_blobs_request::Request};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::batch_answers::BatchAnswers;
use super::batch_key::BatchKey;
use super::batching::BatchCall;
use super::connection::Connection;
use super::failure;
use super::snapshot::Counters;
use crate::compression;
use crate::message::to_proto;
use crate::outcome;
use crate::stubs::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;

/// The smallest blob that is worth compressing by itself, in bytes.
const MIN_COMPRESSED_BYTES: usize = 512;

/// Stores batches.
pub(super) struct WriteBatch(pub(super) Arc<Connection>);

/// A blob to store: its contents were verified.
pub(super) struct BlobToStore {
    pub(super) digest: Digest,
    pub(super) contents: Bytes,
    /// Whether the server takes it compressed.
    pub(super) zstd: bool,
    /// The token of this upload, which the server tells it by.
    pub(super) token: Option<UploadToken>,
}

impl BatchCall for WriteBatch {
    type Item = BlobToStore;
    type Answer = PutOutcome;

    fn call(
        &self,
        key: BatchKey,
        ctx: Context,
        items: Vec<BlobToStore>,
    ) -> BoxFuture<'static, Result<Vec<Result<PutOutcome>>>> {
        write(Arc::clone(&self.0), key, ctx, items).boxed()
    }
}

async fn write(
    connection: Arc<Connection>,
    key: BatchKey,
    ctx: Context,
    items: Vec<BlobToStore>,
) -> Result<Vec<Result<PutOutcome>>> {
    let (mut requests, mut names) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    // A blob is sent once for each token. Two uploads of one blob must not be told what became of one of them.
    let mut sent: HashMap<Digest, Vec<Option<UploadToken>>> = HashMap::with_capacity(items.len());
    for BlobToStore { digest, contents, zstd, token } in items {
        let tokens = sent.entry(digest.clone()).or_default();
        let known = tokens.iter().position(|sent| *sent == token);
        let turn = known.unwrap_or(tokens.len());
        if known.is_none() {
            tokens.push(token);
            let level = connection.options.compression_level.filter(|_| zstd);
            requests.push(request(to_proto(&digest), contents, token, level));
        }
        names.push((digest, turn, known.is_none()));
    }
    Counters::batch(&connection.counters.write_batches, &connection.counters.batched_writes, requests.len());
    let message = re::BatchUpdateBlobsRequest {
        instance_name: key.instance_name.as_str().to_owned(),
        requests,
        digest_function: key.function.number(),
    };
    let max = connection.options.max_message_size_bytes;
    let call = connection.call(&ctx, message, |channel, request| async move {
        ContentAddressableStorageClient::new(channel).max_decoding_message_size(max).batch_update_blobs(request).await
    });
    let answer = call.await.map_err(failure::never_absent)?.into_inner();
    let answers = answer.responses.into_iter().filter_map(|response| Some((response.digest.clone()?, response)));
    let found = BatchAnswers::new(answers);
    let answers = names.into_iter().map(|(digest, turn, first)| {
        let times = sent.get(&digest).map_or(1, Vec::len);
        let response = found.get_in_turn(&digest, turn, times)?;
        if let Some(error) = failure::from_entry(response.status.as_ref()) {
            return Err(failure::never_absent(error));
        }
        let outcome = outcome::from_proto(response.outcome.as_ref());
        Ok(if first { outcome } else { repeated(outcome) })
    });
    Ok(answers.collect())
}

fn request(digest: re::Digest, contents: Bytes, token: Option<UploadToken>, level: Option<i32>) -> Request {
    let upload_token = token.map(|token| Bytes::copy_from_slice(token.as_bytes())).unwrap_or_default();
    let compressed = level
        .filter(|_| contents.len() >= MIN_COMPRESSED_BYTES)
        .and_then(|level| compression::encode_at_once(&contents, level));
    match compressed {
        Some(data) => Request { digest: Some(digest), data, compressor: Compressor::Zstd.number(), upload_token },
        None => Request { digest: Some(digest), data: contents, compressor: 0, upload_token },
    }
}

/// Returns the outcome of a put whose blob was sent for an equal put: as if it had come right after that one.
fn repeated(outcome: PutOutcome) -> PutOutcome {
    match outcome {
        PutOutcome::Created { stored_bytes } | PutOutcome::Replaced { stored_bytes, .. } => {
            PutOutcome::AlreadyExists { stored_bytes }
        }
        PutOutcome::AlreadyExists { .. } | PutOutcome::Unclassified { .. } => outcome,
    }
}
