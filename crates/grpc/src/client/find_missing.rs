//! Asks which blobs are missing, in as many calls as the sizes of messages take.

use blobaccess::{Context, Digest, DigestSet, Error, RECOMMENDED_FIND_MISSING_DIGESTS, Result};
use blobaccess_proto::remote_execution as re;
use futures::{StreamExt, TryStreamExt, stream};

use super::connection::Connection;
use super::failure;
use crate::message::to_proto;
use crate::stubs::icas::indirect_content_addressable_storage_client::IndirectContentAddressableStorageClient;
use crate::stubs::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;

/// The maximum that a digest takes in a message besides the hash: two lengths, three keys, the size.
const DIGEST_BYTES: u64 = 20;

/// The method that finds what is missing.
#[derive(Clone, Copy, Debug)]
pub(super) enum FindsMissing {
    Blobs,
    References,
}

impl Connection {
    /// Returns the `digests` that the server does not have.
    pub(super) async fn find_missing(
        &self,
        ctx: &Context,
        digests: &DigestSet,
        method: FindsMissing,
    ) -> Result<DigestSet> {
        let alike = digests.partition_by(|digest| (digest.instance_name(), digest.function()));
        let mut calls = Vec::new();
        for (_, digests) in &alike {
            for chunk in digests.as_slice().chunks(self.digests_of_a_message(digests)) {
                calls.push(self.find_missing_in(ctx, chunk, method));
            }
        }
        let found = stream::iter(calls).buffer_unordered(self.options.find_missing_concurrency);
        let missing: Vec<Vec<Digest>> = found.try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// Returns how many of `digests`, which are of one instance name and function, fit into a message: at least 1.
    pub(super) fn digests_of_a_message(&self, digests: &DigestSet) -> usize {
        let each = digests.first().map_or(1, |digest| {
            let hex = digest.function().hash_size_bytes() * 2;
            DIGEST_BYTES + u64::try_from(hex).unwrap_or(u64::MAX)
        });
        let fit = self.options.max_batch_contents() / each;
        usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, RECOMMENDED_FIND_MISSING_DIGESTS)
    }

    async fn find_missing_in(&self, ctx: &Context, chunk: &[Digest], method: FindsMissing) -> Result<Vec<Digest>> {
        let Some(first) = chunk.first() else { return Ok(Vec::new()) };
        let (instance_name, function) = (first.instance_name(), first.function());
        let max = self.options.max_message_size_bytes;
        let ask = || {
            let message = re::FindMissingBlobsRequest {
                instance_name: instance_name.as_str().to_owned(),
                blob_digests: chunk.iter().map(to_proto).collect(),
                digest_function: function.number(),
            };
            self.call(ctx, message, move |channel, request| async move {
                match method {
                    FindsMissing::Blobs => {
                        let client = ContentAddressableStorageClient::new(channel);
                        client.max_decoding_message_size(max).find_missing_blobs(request).await
                    }
                    FindsMissing::References => {
                        let client = IndirectContentAddressableStorageClient::new(channel);
                        client.max_decoding_message_size(max).find_missing_references(request).await
                    }
                }
            })
        };
        let answer = self.retried(ctx, |_| true, ask).await.map_err(failure::never_absent)?.into_inner();
        let missing = answer.missing_blob_digests.iter().map(|digest| {
            let parsed = Digest::parse(instance_name.clone(), function, &digest.hash, digest.size_bytes);
            parsed.ok().filter(|digest| chunk.binary_search(digest).is_ok()).ok_or_else(|| {
                let (hash, size) = (&digest.hash, digest.size_bytes);
                Error::internal(format!("remote store reported {hash}-{size} as missing, which was not asked for"))
            })
        });
        missing.collect()
    }
}
