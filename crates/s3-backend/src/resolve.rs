//! Resolves whose upload a stored blob is, by the token that it was stored with.

use blobaccess::{Context, Digest, Result, UploadResolution, UploadToken};

use crate::shared::Shared;
use crate::whose::Whose;

impl Shared {
    pub(crate) async fn resolve_upload(
        &self,
        ctx: &Context,
        digest: &Digest,
        token: &UploadToken,
    ) -> Result<UploadResolution> {
        if self.is_always_there(digest) {
            return Ok(UploadResolution::Anothers { stored_bytes: 0 });
        }
        let path = self.path(digest)?;
        let Some(found) = self.head_blob(ctx, digest, &path).await? else {
            return Ok(UploadResolution::Absent);
        };
        let stored_bytes = found.size_bytes;
        Ok(match found.token {
            _ if !self.findings().keeps_tokens => UploadResolution::Unknown,
            Some(stored) if stored == *token => UploadResolution::Mine { stored_bytes },
            Some(_) => UploadResolution::Anothers { stored_bytes },
            None if !self.bucket.provider().is_remote() => UploadResolution::Anothers { stored_bytes },
            // The writer leaves no tokens, or the token was lost. A put of this process knows whether the object is older.
            None => match self.doubts.since(token) {
                Some(since) if self.whose(&found, token, since) == Whose::Anothers => {
                    UploadResolution::Anothers { stored_bytes }
                }
                Some(_) | None => UploadResolution::Unknown,
            },
        })
    }
}
