//! Puts contents: in one request, or in parts.

use blobaccess::{Blob, Context, Digest, Error, PutOutcome, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::PutPayload;
use object_store::path::Path;

use crate::casblob;
use crate::create::Creation;
use crate::layout::Form;
use crate::shared::Shared;
use crate::whose::Putting;

/// The size of the largest object that providers accept, in bytes. It takes 10,000 parts of 5 GiB; S3 allows 48.8 TiB.
pub(crate) const MAX_OBJECT_BYTES: u64 = 48 << 40;

impl Shared {
    pub(crate) async fn put_contents(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let putting = self.begin_putting(ctx);
        let result = self.put_contents_as(ctx, digest, blob, &putting).await;
        self.end_putting(&putting, &result);
        result
    }

    async fn put_contents_as(
        &self,
        ctx: &Context,
        digest: &Digest,
        blob: Blob,
        putting: &Putting,
    ) -> Result<PutOutcome> {
        let path = self.path(digest)?;
        if self.is_always_there(digest) {
            self.within(ctx, blob.with_expected_digest(digest).verify()).await??;
            return Ok(PutOutcome::AlreadyExists { stored_bytes: 0 });
        }
        if digest.size_bytes() > MAX_OBJECT_BYTES {
            let size = digest.size_bytes();
            return Err(Error::invalid_argument(format!(
                "blob {digest} is {size} bytes; the maximum is {MAX_OBJECT_BYTES}"
            )));
        }
        let large = digest.size_bytes() > self.single_put_max_bytes() && self.bucket.parts().exist();
        let asks_first = large || !self.findings().conditional_put || self.asks_first(digest);
        let mut wrong = None;
        if asks_first && let Some(found) = self.head(ctx, &path).await.map_err(Error::not_stored)? {
            if self.holds_blob(digest, &found).map_err(Error::not_stored)? {
                return Ok(self.outcome_of_found(&found, putting));
            }
            wrong = Some(found).filter(|found| !self.is_claim(digest, found.size_bytes));
        }
        let blob = blob.with_expected_digest(digest);
        if large {
            Box::pin(self.put_in_parts(ctx, digest, &path, blob, wrong, putting)).await
        } else {
            self.put_whole(ctx, digest, &path, blob, putting).await
        }
    }

    /// Returns whether asking for the blob before the put can pay. In memory it cannot.
    fn asks_first(&self, digest: &Digest) -> bool {
        self.bucket.provider().is_remote() && digest.size_bytes() >= self.options.ask_first_from_bytes
    }

    pub(crate) fn single_put_max_bytes(&self) -> u64 {
        self.options.single_put_max_bytes.max(self.options.part_size_bytes)
    }

    async fn put_whole(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        blob: Blob,
        putting: &Putting,
    ) -> Result<PutOutcome> {
        let payload = self.within(ctx, self.payload(digest, blob)).await.map_err(Error::not_stored)??;
        let stored_bytes = u64::try_from(payload.content_length()).unwrap_or(u64::MAX);
        let token = &putting.token;
        loop {
            let creation =
                self.create(ctx, path, &payload, token).await.map_err(|error| error.at(digest.to_string()))?;
            return Ok(match creation {
                // A server that ignores the condition answers with success even if there is an object.
                Creation::Created { .. } if !self.findings().conditional_put => {
                    PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }
                }
                Creation::Created { .. } => PutOutcome::Created { stored_bytes },
                Creation::Exists { found, .. } if self.is_claim(digest, found.size_bytes) => {
                    // Another upload sends the same blob in parts.
                    if let Some(outcome) = self.wait_for_claimed(ctx, digest, path, putting).await? {
                        return Ok(outcome);
                    }
                    continue;
                }
                Creation::Exists { found, .. } if self.is_wrong(digest, &found)? => {
                    if let Some(outcome) = self.replace_wrong(ctx, digest, path, &payload, token, &found).await? {
                        return Ok(outcome);
                    }
                    continue;
                }
                Creation::Exists { found, after_ambiguity: true } if !self.findings().keeps_tokens => {
                    PutOutcome::Unclassified { stored_bytes: Some(found.size_bytes) }
                }
                Creation::Exists { found, .. } => self.outcome_of_found(&found, putting),
            });
        }
    }

    /// Waits until a claim has become the blob. Returns `None` if the key is free: the claim is gone, or was taken over
    /// and released.
    async fn wait_for_claimed(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        putting: &Putting,
    ) -> Result<Option<PutOutcome>> {
        let token = &putting.token;
        match self.claim(ctx, digest, path, token).await? {
            crate::claim::Claimed::Exists(found) => Ok(Some(self.outcome_of_found(&found, putting))),
            crate::claim::Claimed::Yes(_) => {
                self.within(ctx, self.release(path, token))
                    .await
                    .map_err(Error::not_stored)?
                    .map_err(Error::not_stored)?;
                Ok(None)
            }
        }
    }

    /// Reads and verifies the whole blob, in the form in which it is stored.
    async fn payload(&self, digest: &Digest, blob: Blob) -> Result<PutPayload> {
        match self.form() {
            Form::Plain => {
                let pieces: Vec<Bytes> =
                    blob.into_stream(..).map_err(Error::not_stored)?.try_collect().await.map_err(Error::not_stored)?;
                Ok(pieces.into_iter().collect())
            }
            Form::Casblob => {
                let contents = blob.into_bytes(digest.size_bytes()).await.map_err(Error::not_stored)?;
                Ok(casblob::encode(contents).map_err(Error::not_stored)?.into_iter().collect())
            }
        }
    }
}
