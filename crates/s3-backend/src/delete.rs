//! Deletes single blobs, and tells whose upload a stored blob is.

use std::sync::Arc;

use blobaccess::{Context, DeleteOutcome, Digest, Result, StoredBlob};

use crate::bucket::ObjectInfo;
use crate::shared::Shared;

/// The character between `ETag` and version, which neither can have.
const BETWEEN: char = '\n';

impl Shared {
    /// Reads the metadata of the object under the key of `digest`, whether it is damaged or not. A claim is no blob.
    pub(crate) async fn stored_blob(&self, ctx: &Context, digest: &Digest) -> Result<Option<StoredBlob>> {
        let path = self.path(digest)?;
        let mut found = self.head(ctx, &path).await?;
        if found.is_none() && self.bucket.provider().is_remote() {
            // What is absent is counted as gone, so the answer must have a body that says so: the bucket may be gone.
            found = self.within(ctx, self.bucket.get(&path, None)).await??.map(|reading| reading.found);
        }
        Ok(found.filter(|found| !self.is_claim(digest, found.size_bytes)).map(|found| self.describe(&found)))
    }

    fn describe(&self, found: &ObjectInfo) -> StoredBlob {
        let keeps = self.findings().keeps_tokens;
        let parts = [found.e_tag.as_deref(), found.version.as_deref()].map(Option::unwrap_or_default);
        let version: Arc<str> = Arc::from(format!("{}{BETWEEN}{}", parts[0], parts[1]));
        StoredBlob::new(found.size_bytes)
            .with_upload_token(found.token.filter(|_| keeps))
            .with_account_name(found.account.clone().filter(|_| keeps))
            .with_version(Some(version))
    }

    /// Deletes the object that `expected` describes.
    pub(crate) async fn delete_blob(
        &self,
        ctx: &Context,
        digest: &Digest,
        expected: &StoredBlob,
    ) -> Result<DeleteOutcome> {
        let path = self.path(digest)?;
        let (e_tag, version) = expected.version.as_deref().and_then(|v| v.split_once(BETWEEN)).unwrap_or_default();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let object = ObjectInfo {
            size_bytes: expected.stored_bytes,
            token: expected.upload_token,
            account: None,
            e_tag: given(e_tag),
            version: given(version),
            age: None,
            own: true,
        };
        let deleting = self.bucket.delete_if_same(&path, &object, self.findings().bare_e_tags);
        self.within(ctx, deleting).await?.map_err(|error| error.at(digest.to_string()))
    }
}
